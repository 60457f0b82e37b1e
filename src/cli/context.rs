//! What a command is given: configuration, options that all commands share,
//! and where it prints.

use crate::config::Config;

use super::args::{Global, KvOptions};
use super::exit::CliError;
use super::out::Out;

/// Everything a command below `kv` needs besides its own arguments.
pub(crate) struct Context {
    /// Defaults, files, `-C`, environment and `-h -p -a` put together.
    pub(crate) config: Config,
    /// How much is said on stderr.
    pub(crate) verbosity: Verbosity,
    /// `-m`: print the whole reply instead of the value.
    pub(crate) metadata: bool,
    /// `--json`: print JSON instead of YAML.
    pub(crate) json: bool,
    /// Where the command prints.
    pub(crate) out: Out,
}

impl Context {
    pub(super) fn new(global: &Global, kv: &KvOptions, out: Out) -> Result<Self, CliError> {
        Ok(Self {
            config: Config::default(),
            verbosity: global.verbosity.plus(Some(&kv.verbosity)),
            metadata: kv.metadata,
            json: global.json,
            out,
        })
    }
}

/// How much is said: `-q`, nothing, `-v`, `-vv`, `-vvv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Verbosity {
    /// Errors only: no `Running.`, no `No data at`.
    Quiet,
    /// Warnings.
    #[default]
    Normal,
    /// What happens.
    Info,
    /// What is exchanged, and the causes of an error.
    Debug,
    /// Everything.
    Trace,
}

impl Verbosity {
    /// From how often `-v` and `-q` were given.
    pub(super) fn from_counts(verbose: u8, quiet: u8) -> Self {
        match i16::from(verbose) - i16::from(quiet) {
            i16::MIN..=-1 => Self::Quiet,
            0 => Self::Normal,
            1 => Self::Info,
            2 => Self::Debug,
            3.. => Self::Trace,
        }
    }
}
