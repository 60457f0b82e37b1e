//! `moat man [DIR]`: manual pages from the definitions of the options.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::args::Cli;
use super::exit::{CliError, Exit};
use super::out::Out;

/// Write manual pages
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        moat man | man -l -\n  \
        moat man /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write one page a command into this directory, instead of printing the first
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints `moat(1)` or writes all pages.
pub(super) fn run(args: &ManArgs, out: &Out) -> Result<Exit, CliError> {
    let command = Cli::command();
    match &args.dir {
        Some(dir) => {
            clap_mangen::generate_to(command, dir)
                .with_context(|| format!("can't write manual pages to {}", dir.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            out.bytes(&page)?;
        }
    }
    Ok(Exit::Success)
}
