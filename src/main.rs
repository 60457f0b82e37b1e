//! The `moat` program: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    moat::cli::main(std::env::args_os().collect())
}
