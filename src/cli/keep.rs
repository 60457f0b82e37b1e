//! Options of the commands that deal with rotated state files.

use std::path::PathBuf;

use clap::Args;

use crate::config;
use crate::store::keep::{Ages, Dates, Keep, KeepError};

use super::exit::CliError;

/// How the directories are named.
#[derive(Args)]
pub(super) struct DateArgs {
    /// How directories are named by their time; server.keep.date if absent, as %Y-%m-%d-%H
    #[arg(long, value_name = "FORMAT")]
    date: Option<String>,
}

impl DateArgs {
    /// The rotated files below a directory, kept as long as is configured.
    pub(super) fn keep(&self, dir: PathBuf, config: &config::Keep) -> Result<Keep, CliError> {
        keep(dir, self.date.as_deref(), config)
    }
}

/// The rotated files below a directory.
pub(super) fn keep(
    dir: PathBuf,
    date: Option<&str>,
    config: &config::Keep,
) -> Result<Keep, CliError> {
    let dates = match date {
        Some(format) => Dates::new(format)
            .map_err(|why| CliError::usage(format!("Invalid value for '--date': {why}.")))?,
        None => Dates::new(&config.date).map_err(CliError::setup)?,
    };
    Ok(Keep {
        dir,
        dates,
        ages: Ages {
            hourly: config.hourly,
            daily: config.daily,
            monthly: config.monthly,
        },
    })
}

impl From<KeepError> for CliError {
    fn from(why: KeepError) -> Self {
        Self::failed(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_begins_with_the_layouts_own_numbers() {
        let args = DateArgs { date: None };
        let dir = PathBuf::from("/x");
        let keep = args.keep(dir.clone(), &config::Keep::default()).unwrap();
        assert_eq!(keep, Keep::new(dir));
    }
}
