//! The log on stderr: `HH:MM:SS.mmm LEVEL:name:text`, in colour on a terminal
//! unless `NO_COLOR` is set.
//!
//! Loggers are known by the original's names, `moat.kv.server`, which are our
//! modules. A command that was asked for no log installs none ([`Filters::is_default`]);
//! one that runs for long installs it anyway. The clock is that of
//! `env.timezone`.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, Level};

use super::context::Verbosity;
use super::exit::CliError;

/// What is to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filters {
    default: Level,
    /// Our names of loggers with their levels; later ones are stronger.
    loggers: Vec<(String, Level)>,
    is_default: bool,
}

impl Filters {
    /// From `-v`, `-q`, `-l LOGGER=LEVEL` and the `logging` section; the
    /// command line is stronger.
    pub(super) fn new(
        verbosity: Verbosity,
        options: &[String],
        config: &Config,
    ) -> Result<Self, CliError> {
        let base = match verbosity {
            Verbosity::Quiet => Level::Error,
            Verbosity::Normal => config.logging.root.level.unwrap_or(Level::Warning),
            Verbosity::Info => Level::Info,
            Verbosity::Debug => Level::Debug,
            Verbosity::Trace => Level::Trace,
        };
        let configured = &config.logging.loggers;
        let mut filters = Self {
            default: base,
            loggers: configured
                .iter()
                .filter_map(|(name, logger)| Some((target(name), logger.level?)))
                .collect(),
            is_default: base <= Level::Warning && options.is_empty(),
        };
        for option in options {
            let parsed = option.split_once('=').and_then(|(name, level)| {
                let level = Level::parse(level)?;
                Some((name, level))
            });
            let Some((name, level)) = parsed else {
                return Err(CliError::usage(format!(
                    "Invalid value for '-l' / '--log': '{option}' is not LOGGER=LEVEL, LEVEL being one of {}.",
                    Level::NAMES
                ))
                .of_program());
            };
            match name {
                "" | "root" => filters.default = level,
                name => filters.loggers.push((target(name), level)),
            }
        }
        filters.is_default &= filters.loggers.is_empty();
        Ok(filters)
    }

    /// Shows also how far a module has come, unless another level is wanted.
    pub(super) fn with_progress(mut self, module: &str) -> Self {
        if self.default == Level::Warning {
            self.loggers.insert(0, (module.to_owned(), Level::Info));
        }
        self
    }

    /// Whether nobody asked for more than warnings.
    pub(super) const fn is_default(&self) -> bool {
        self.is_default
    }

    fn targets(&self) -> Targets {
        let loggers = self.loggers.iter();
        Targets::new()
            .with_default(filter(self.default))
            .with_targets(loggers.map(|(name, level)| (name.clone(), filter(*level))))
    }
}

const fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warning => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// `moat.kv.server` → `moat::server`.
fn target(name: &str) -> String {
    let below = |prefix| name.strip_prefix(prefix).map(|rest| format!("moat.{rest}"));
    let name = match name {
        "moat.kv" => "moat".to_owned(),
        name => below("moat.kv.").unwrap_or_else(|| name.to_owned()),
    };
    name.replace("::", ".").replace('.', "::")
}

/// `moat::server` → `moat.kv.server`.
struct LoggerName<'a>(&'a str);

impl fmt::Display for LoggerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split("::");
        match parts.next() {
            Some("moat") => f.write_str("moat.kv")?,
            first => f.write_str(first.unwrap_or_default())?,
        }
        parts.try_for_each(|part| write!(f, ".{part}"))
    }
}

/// Installs the log, unless there is one.
///
/// # Errors
/// If `env.timezone` is unknown.
pub(super) fn start(filters: &Filters, config: &Config) -> Result<(), CliError> {
    let zone = match config.env.timezone.as_str() {
        "UTC" => TimeZone::UTC,
        name => TimeZone::get(name).map_err(CliError::setup)?,
    };
    let stderr = io::stderr();
    let colours = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(colours && stderr.is_terminal())
        .event_format(Line { zone });
    let (levels, handle) = reload::Layer::new(filters.targets());
    let log = tracing_subscriber::registry().with(layer).with(levels);
    // Another one is installed already if an option asked for it, or where a
    // program embeds ours.
    if log.try_init().is_ok() {
        let set = move |targets| handle.reload(targets).is_ok();
        let _ = SET_LEVELS.set(Box::new(set));
    }
    Ok(())
}

/// Sets the levels of the log that is installed, which is one a process.
static SET_LEVELS: OnceLock<Box<dyn Fn(Targets) -> bool + Send + Sync>> = OnceLock::new();

/// Logs from now on what these filters say. Returns whether there is a log.
pub(super) fn change(filters: &Filters) -> bool {
    SET_LEVELS.get().is_some_and(|set| set(filters.targets()))
}

/// The form of a line.
struct Line {
    zone: TimeZone,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let now = Timestamp::now().to_zoned_datetime(self.zone.clone());
        write!(
            writer,
            "{:02}:{:02}:{:02}.{:03} ",
            now.hour(),
            now.minute(),
            now.second(),
            now.millisecond()
        )?;
        let (level, colour) = match *metadata.level() {
            tracing::Level::ERROR => ("ERROR", 31),
            tracing::Level::WARN => ("WARNING", 33),
            tracing::Level::INFO => ("INFO", 32),
            tracing::Level::DEBUG => ("DEBUG", 34),
            tracing::Level::TRACE => ("TRACE", 35),
        };
        if writer.has_ansi_escapes() {
            write!(writer, "\x1b[{colour}m{level}\x1b[0m")?;
        } else {
            writer.write_str(level)?;
        }
        write!(writer, ":{}:", LoggerName(metadata.target()))?;
        ctx.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(verbosity: Verbosity, options: &[&str]) -> Result<Filters, CliError> {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        Filters::new(verbosity, &options, &Config::default())
    }

    #[test]
    fn loggers_are_known_by_the_originals_names() {
        assert_eq!(target("moat.kv"), "moat");
        assert_eq!(target("moat.kv.server"), "moat::server");
        assert_eq!(target("moat.mqtt"), "moat::mqtt");
        assert_eq!(target("moat::client::io"), "moat::client::io");
        assert_eq!(target("rumqttc"), "rumqttc");
        assert_eq!(
            LoggerName("moat::client::io").to_string(),
            "moat.kv.client.io"
        );
        assert_eq!(LoggerName("rumqttc").to_string(), "rumqttc");
    }

    #[test]
    fn only_who_asks_gets_a_log() {
        assert!(filters(Verbosity::Normal, &[]).unwrap().is_default());
        assert!(filters(Verbosity::Quiet, &[]).unwrap().is_default());
        assert!(!filters(Verbosity::Info, &[]).unwrap().is_default());
        assert!(
            !filters(Verbosity::Normal, &["moat.kv=DEBUG"])
                .unwrap()
                .is_default()
        );
    }

    #[test]
    fn a_loggers_level_is_stronger_than_the_general_one() {
        let targets = filters(Verbosity::Quiet, &["moat.kv.server=debug", "root=20"])
            .unwrap()
            .targets();
        assert!(targets.would_enable("moat::server::session", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("moat::client", &tracing::Level::DEBUG));
        assert!(targets.would_enable("moat::client", &tracing::Level::INFO));
    }

    #[test]
    fn a_wrong_level_is_refused() {
        for option in ["moat.kv", "moat.kv=LOUD", "=", "moat.kv="] {
            assert!(filters(Verbosity::Normal, &[option]).is_err(), "{option}");
        }
    }
}
