//! What a command is given: configuration, options that all commands share,
//! and where it prints.

use std::io;

use crate::config::{self, Auth, Config, Environment, Loaded, Setting, Sources};

use super::args::{Global, KvOptions};
use super::exit::CliError;
use super::logging::{self, Filters};
use super::out::Out;

/// Everything a command below `kv` needs besides its own arguments.
pub(crate) struct Context {
    /// Defaults, files, environment, `-C` and `-h -p -a` put together.
    pub(crate) config: Config,
    /// How much is said on stderr.
    pub(crate) verbosity: Verbosity,
    /// `-m`: print the whole reply instead of the value.
    pub(crate) metadata: bool,
    /// `--json`: print JSON instead of YAML.
    pub(crate) json: bool,
    /// Where the command prints.
    pub(crate) out: Out,
    filters: Filters,
    again: Again,
}

/// What the configuration was made of, to read it once more.
#[derive(Debug, Clone)]
struct Again {
    sources: Sources,
    verbosity: Verbosity,
    log: Vec<String>,
}

impl Context {
    pub(super) fn new(global: &Global, kv: &KvOptions, out: Out) -> Result<Self, CliError> {
        let sources = sources(global, &kv.conf);
        let Loaded {
            mut config, notes, ..
        } = read(&sources)?;
        if let Some(host) = &kv.host {
            config.kv.conn.host.clone_from(host);
        }
        if let Some(port) = kv.port {
            config.kv.conn.port = port;
        }
        if let Some(auth) = &kv.auth {
            config.kv.conn.auth = Some(Auth::Spec(auth.clone()));
        }
        let verbosity = global.verbosity.plus(Some(&kv.verbosity));
        let ctx = Self {
            filters: Filters::new(verbosity, &global.log, &config)?,
            config,
            verbosity,
            metadata: kv.metadata,
            json: global.json,
            out,
            again: Again {
                sources,
                verbosity,
                log: global.log.clone(),
            },
        };
        if !ctx.filters.is_default() {
            ctx.start_log()?;
            for note in notes {
                tracing::info!(target: "moat::config", "{note}");
            }
        }
        Ok(ctx)
    }

    /// Installs the log if no option did: for a command that runs for long,
    /// whose warnings should be seen.
    pub(crate) fn start_log(&self) -> Result<(), CliError> {
        logging::start(&self.filters, &self.config)
    }

    /// As [`Context::start_log`]; shows also how far a module has come.
    pub(crate) fn start_log_with(&self, module: &str) -> Result<(), CliError> {
        logging::start(&self.filters.clone().with_progress(module), &self.config)
    }

    /// Reads the configuration once more and sets the log's levels as it now
    /// says, with a module's progress as [`Context::start_log_with`] has it.
    /// Nothing else can change while a server runs.
    pub(crate) fn reload_log(
        &self,
        module: &'static str,
    ) -> impl FnMut() -> Result<(), String> + use<> {
        let again = self.again.clone();
        move || {
            let read = read(&again.sources).map_err(|why| why.line())?;
            let filters = Filters::new(again.verbosity, &again.log, &read.config);
            let filters = filters.map_err(|why| why.line())?;
            logging::change(&filters.with_progress(module));
            Ok(())
        }
    }
}

/// Reads the configuration that the options before `kv`, and the `-C` after
/// it, ask for.
pub(super) fn load(global: &Global, kv_conf: &[String]) -> Result<Loaded, CliError> {
    read(&sources(global, kv_conf))
}

fn sources(global: &Global, kv_conf: &[String]) -> Sources {
    fn pairs<'a>(
        words: &'a [String],
        setting: fn(String, String) -> Setting,
    ) -> impl Iterator<Item = Setting> + 'a {
        words.chunks(2).filter_map(move |pair| match pair {
            [key, value] => Some(setting(key.clone(), value.clone())),
            _ => None,
        })
    }
    let conf = |texts: &[String]| texts.iter().cloned().map(Setting::Conf).collect::<Vec<_>>();
    let mut settings = conf(&global.conf);
    settings.extend(pairs(&global.var, Setting::Var));
    settings.extend(pairs(&global.eval, Setting::Eval));
    settings.extend(pairs(&global.path, Setting::Path));
    settings.extend(conf(kv_conf));
    Sources {
        files: global.cfg.clone(),
        settings,
    }
}

fn read(sources: &Sources) -> Result<Loaded, CliError> {
    let environment = Environment::new(&|name| std::env::var_os(name));
    config::load(sources, &environment).map_err(|error| match &error {
        config::Error::File { path, source }
            if source.kind() == io::ErrorKind::NotFound && sources.files.contains(path) =>
        {
            CliError::usage(format!(
                "Invalid value for '-c' / '--cfg': Path '{}' does not exist.",
                path.display()
            ))
            .of_program()
        }
        _ => CliError::setup(error),
    })
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
