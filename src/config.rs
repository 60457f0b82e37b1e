//! Configuration: what can be set, its defaults, and where it comes from.
//!
//! Strongest first: options (`-C` and its like), the environment
//! (`MOAT_HOST`, `MOAT_PORT`, `MOAT_AUTH`), files (the last `-c` first), the
//! defaults in [`sections`](Config). Files are merged deeply: maps by key,
//! lists by index; null changes nothing. Without `-c` and `MOAT_CONFIG`, the
//! first readable file of the search list is the only one.
//!
//! Each file is checked by itself before it is merged, so that a mistake is
//! reported where it was written even if another file hides it. Where there
//! is neither file nor option, nothing is parsed: the defaults are the result.

mod de;
mod fault;
mod item;
mod sections;
mod types;
mod yaml;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use crate::literal;
use crate::path::{Path, PathElem};

use item::{Item, Kind, Origin, Step, Style};

pub use fault::{Error, Fault};
pub use sections::{
    Actor, Backend, Bind, Change, Config, Conn, Embedded, Env, Keep, Kv, Listener, Log, Logger,
    Logging, Mqtt, OnLogError, Prefix, Runner, RunnerSub, Serf, Server, Watch,
};
pub use types::{
    Auth, BrokerUri, ConfigPath, Level, LogSync, MqttVersion, Place, Scheme, Seconds, Size, Ssl,
    UriError,
};

/// The port of a server.
pub const DEFAULT_PORT: u16 = 27586;

/// Longest configuration file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// One item set by an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `-C KEY=VALUE`: an expression or text; without `=`, removes the item
    Conf(String),
    /// `--var KEY VALUE`: text
    Var(String, String),
    /// `-e KEY EXPR`: an expression
    Eval(String, String),
    /// `-p KEY PATH`: a path
    Path(String, String),
}

/// What decides a configuration besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Files to read instead of the search list; later ones are stronger
    pub files: Vec<PathBuf>,
    /// Items set by options; later ones are stronger
    pub settings: Vec<Setting>,
}

/// Access to environment variables.
pub struct Environment<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl<'a> Environment<'a> {
    /// An environment in which `variable` answers.
    #[must_use]
    pub const fn new(variable: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self(variable)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.0)(name).filter(|p| !p.is_empty()).map(PathBuf::from)
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)?.into_string().ok()
    }
}

/// A configuration and how it came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration
    pub config: Config,
    /// What to tell at `-v`: files read, sections that are not used
    pub notes: Vec<String>,
    merged: Option<Item>,
}

/// Reads the configuration.
///
/// # Errors
/// If a file that was asked for can't be read, or something in a file,
/// variable or option can't be: the error says where.
pub fn load(sources: &Sources, environment: &Environment<'_>) -> Result<Loaded, Error> {
    let notes = RefCell::new(Vec::new());
    let mut layers = Vec::new();
    for (path, text) in files(sources, environment)? {
        notes
            .borrow_mut()
            .push(format!("configuration from {}", path.display()));
        let mut layer = yaml::read(&text, &Arc::new(path), environment)?;
        rename_connect(&mut layer)?;
        layers.push(layer);
    }
    let start = Origin::Option("".into());
    let mut overrides = Item::new(Kind::Null, start);
    for (variable, key) in [
        ("MOAT_HOST", "host"),
        ("MOAT_PORT", "port"),
        ("MOAT_AUTH", "auth"),
    ] {
        if let Some(text) = environment.get(variable).filter(|text| !text.is_empty()) {
            let steps = ["kv", "conn", key].map(|key| Step::Key(key.to_owned()));
            overrides.set(&steps, Item::typed(text, Origin::Variable(variable)))?;
        }
    }
    if layers.is_empty() && sources.settings.is_empty() && matches!(overrides.kind, Kind::Null) {
        return Ok(Loaded {
            config: Config::default(),
            notes: Vec::new(),
            merged: None,
        });
    }
    for layer in &layers {
        de::read::<Config>(layer, &notes)?;
    }
    let mut merged = Item::new(Kind::Map(Vec::new()), Origin::Option("".into()));
    for layer in layers {
        merged.merge(layer);
    }
    merged.merge(overrides);
    for setting in &sources.settings {
        apply(setting, &mut merged)?;
    }
    // Sections that are not used were noted file by file.
    let config = de::read(&merged, &RefCell::new(Vec::new()))?;
    Ok(Loaded {
        config,
        notes: notes.into_inner(),
        merged: Some(merged),
    })
}

impl Loaded {
    /// One item, or the whole configuration for the empty path, in the JSON
    /// form of values. `None` if there is no such item.
    ///
    /// # Errors
    /// If the key has elements that are no names or numbers.
    pub fn get(&self, key: &Path) -> Result<Option<serde_json::Value>, Error> {
        let steps = steps(key, "key")?;
        let typed = serde_json::to_value(&self.config)
            .expect("invariant: sections have text keys and no failing types");
        let found = steps
            .iter()
            .try_fold(&typed, |value, step| match step {
                Step::Key(key) => value.get(key),
                Step::Index(at) => value.get(at),
            })
            .cloned();
        let other = || {
            // A section of another product.
            let item = self.merged.as_ref()?.get(&steps)?;
            de::read(item, &RefCell::new(Vec::new())).ok()
        };
        Ok(found.or_else(other))
    }
}

/// The files that count, weakest first, with their text.
fn files(
    sources: &Sources,
    environment: &Environment<'_>,
) -> Result<Vec<(PathBuf, String)>, Error> {
    let read = |path: PathBuf| match read_file(&path) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(Error::File { path, source }),
    };
    if !sources.files.is_empty() {
        return sources.files.iter().cloned().map(read).collect();
    }
    if let Some(named) = (environment.0)("MOAT_CONFIG") {
        let named = Some(named).filter(|name| !name.is_empty());
        return named.map(|name| read(name.into())).into_iter().collect();
    }
    for path in search_list(environment) {
        match read_file(&path) {
            Ok(text) => return Ok(vec![(path, text)]),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::File {
                    path,
                    source: error,
                });
            }
            Err(_) => {}
        }
    }
    Ok(Vec::new())
}

/// Where a configuration is looked for, the first readable file counts.
fn search_list(environment: &Environment<'_>) -> Vec<PathBuf> {
    let mut list = Vec::new();
    let home = environment.path("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    list.extend(below_home("config/moat.cfg"));
    let xdg = environment.path("XDG_CONFIG_HOME");
    list.extend(match xdg.filter(|dir| dir.is_absolute()) {
        Some(dir) => Some(dir.join("moat.cfg")),
        None => below_home(".config/moat.cfg"),
    });
    list.extend(below_home(".moat.cfg"));
    if let Some(dirs) = (environment.0)("XDG_CONFIG_DIRS") {
        let dirs = std::env::split_paths(&dirs).filter(|dir| dir.is_absolute());
        list.extend(dirs.map(|dir| dir.join("moat.cfg")));
    }
    list.push("/etc/moat/moat.cfg".into());
    list.push("/etc/moat.cfg".into());
    list
}

/// Reads a file of bounded size; what is no text is
/// [`InvalidData`](io::ErrorKind::InvalidData).
fn read_file(path: &FilePath) -> io::Result<String> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE.saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE) {
        let what = format!("larger than {MAX_FILE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// `kv.connect` is an older name of `kv.conn`.
fn rename_connect(layer: &mut Item) -> Result<(), Fault> {
    let Kind::Map(sections) = &mut layer.kind else {
        return Ok(());
    };
    let kv = sections.iter_mut().find(|entry| entry.key == "kv");
    let Some(Kind::Map(entries)) = kv.map(|entry| &mut entry.item.kind) else {
        return Ok(());
    };
    let has_conn = entries.iter().any(|entry| entry.key == "conn");
    if let Some(connect) = entries.iter_mut().find(|entry| entry.key == "connect") {
        if has_conn {
            return Err(Fault::new("connect is conn, which is there too").at(&connect.origin));
        }
        connect.key = "conn".to_owned();
    }
    Ok(())
}

/// Carries out one option.
fn apply(setting: &Setting, merged: &mut Item) -> Result<(), Fault> {
    let (option, key) = match setting {
        Setting::Conf(text) => ("-C", text.split_once('=').map_or(text.as_str(), |(k, _)| k)),
        Setting::Var(key, _) => ("--var", key.as_str()),
        Setting::Eval(key, _) => ("-e", key.as_str()),
        Setting::Path(key, _) => ("-p", key.as_str()),
    };
    // The value is left out: it may be a password.
    let shown = format!("{option} {key}");
    let origin = Origin::Option(shown.as_str().into());
    let steps = key
        .parse::<Path>()
        .map_err(|error| Fault::new(error.to_string()))
        .and_then(|key| steps(&key, "item"))
        .map(absolute)
        .map_err(|fault| fault.at(&origin))?;
    let scalar =
        |text: &str, style| Item::new(Kind::Scalar(text.to_owned(), style), origin.clone());
    let value = match setting {
        Setting::Conf(text) => match text.split_once('=') {
            Some((_, value)) => Item::typed(value, origin.clone()),
            None => {
                merged.remove(&steps);
                if matches!(steps.last(), Some(Step::Index(_))) {
                    return Ok(());
                }
                // Says nothing, but its key is checked.
                Item::new(Kind::Null, origin.clone())
            }
        },
        Setting::Var(_, text) => scalar(text, Style::Plain),
        Setting::Path(_, path) => scalar(path, Style::Text),
        Setting::Eval(_, expression) => {
            let value = literal::eval(expression)
                .map_err(|error| Fault::new(error.to_string()).at(&origin))?;
            Item::from_literal(value, origin.clone())
        }
    };
    merged.set(&steps, value)
}

/// A key's elements as steps; `what` it leads to is named in the error.
fn steps(key: &Path, what: &str) -> Result<Vec<Step>, Fault> {
    key.iter()
        .map(|elem| match elem {
            // `bind.0` is `bind:0`: no section has numbers as keys.
            PathElem::Str(name) => Some(match name.parse() {
                Ok(at) => Step::Index(at),
                Err(_) => Step::Key(name.to_string()),
            }),
            PathElem::Int(at) => usize::try_from(*at).ok().map(Step::Index),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .filter(|steps| steps.len() <= item::MAX_DEPTH)
        .ok_or_else(|| Fault::new(format!("no {what} can be there: write names and numbers")))
}

/// A key whose first word isn't that of a section is meant below `kv`.
fn absolute(mut steps: Vec<Step>) -> Vec<Step> {
    let key = |word: &str| Step::Key(word.to_owned());
    let is_absolute = ["kv", "logging", "env", "mqtt"]
        .iter()
        .any(|word| steps.first() == Some(&key(word)));
    if !is_absolute {
        steps.insert(0, key("kv"));
    }
    match steps.as_mut_slice() {
        [kv, connect, ..] if *kv == key("kv") && *connect == key("connect") => {
            *connect = key("conn");
        }
        _ => {}
    }
    steps
}
