//! Where a configuration comes from, what is stronger, what is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use moat::config::{
    self, Auth, Backend, Config, Environment, Error, Level, Loaded, Setting, Sources, Ssl,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// A home directory, environment variables and options.
struct Place {
    dir: TempDir,
    variables: BTreeMap<&'static str, OsString>,
    sources: Sources,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home").into_os_string();
        Self {
            dir,
            // What the machine has in /etc can't be kept from being found, so
            // tests that use no file say so.
            variables: BTreeMap::from([("HOME", home), ("MOAT_CONFIG", OsString::new())]),
            sources: Sources::default(),
        }
    }

    fn searching() -> Self {
        let mut place = Self::new();
        place.variables.remove("MOAT_CONFIG");
        place
    }

    /// Writes a file below the place's directory.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// `-c` with a file of this content.
    fn c(mut self, name: &str, text: &str) -> Self {
        let path = self.file(name, text);
        self.sources.files.push(path);
        self
    }

    /// `-C`
    fn set(mut self, text: &str) -> Self {
        self.sources.settings.push(Setting::Conf(text.to_owned()));
        self
    }

    fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    fn loaded(&self) -> Result<Loaded, Error> {
        let variable = |name: &str| self.variables.get(name).cloned();
        config::load(&self.sources, &Environment::new(&variable))
    }

    fn config(&self) -> Config {
        match self.loaded() {
            Ok(loaded) => loaded.config,
            Err(error) => panic!("{error}"),
        }
    }

    /// The error, with file names relative to the place's directory.
    fn error(&self) -> String {
        let dir = format!("{}/", self.dir.path().display());
        match self.loaded() {
            Ok(_) => panic!("this configuration should be refused"),
            Err(error) => error.to_string().replace(&dir, ""),
        }
    }

    /// One item as JSON.
    fn item(&self, key: &str) -> Option<serde_json::Value> {
        let loaded = self.loaded().unwrap();
        loaded.get(&key.parse().unwrap()).unwrap()
    }
}

fn spec(config: &Config) -> Option<&str> {
    match config.kv.conn.auth.as_ref()? {
        Auth::Spec(spec) => Some(spec),
        Auth::Map(_) => None,
    }
}

#[test]
fn every_documented_key_has_its_default() {
    let place = Place::new();
    let defaults = [
        ("kv.conn.host", "\"localhost\""),
        ("kv.conn.port", "27586"),
        ("kv.conn.ssl", "false"),
        ("kv.conn.init_timeout", "5"),
        ("kv.conn.auth", "null"),
        ("kv.conn.name", "null"),
        ("kv.config.prefix", r#"{"$path":":.moat.kv.config"}"#),
        ("kv.errors.prefix", r#"{"$path":":.moat.kv.error"}"#),
        ("kv.codes.prefix", r#"{"$path":":.moat.kv.code.proc"}"#),
        ("kv.modules.prefix", r#"{"$path":":.moat.kv.code.module"}"#),
        ("kv.runner.prefix", r#"{"$path":":.moat.kv.run"}"#),
        ("kv.runner.state", r#"{"$path":":.moat.kv.state"}"#),
        ("kv.runner.name", "\"run\""),
        ("kv.runner.start_delay", "1"),
        ("kv.runner.ping", "-15"),
        ("kv.runner.actor.cycle", "20"),
        ("kv.runner.actor.nodes", "-1"),
        ("kv.runner.actor.splits", "5"),
        ("kv.runner.actor.n_hosts", "3"),
        ("kv.runner.actor.version", "1"),
        ("kv.runner.sub.group", "\"any\""),
        ("kv.runner.sub.single", "\"at\""),
        ("kv.runner.sub.all", "\"all\""),
        ("kv.server.buffer", "10"),
        ("kv.server.mqtt.uri", "\"mqtt://localhost:1883\""),
        ("kv.server.mqtt.version", "\"auto\""),
        ("kv.server.mqtt.keep_alive", "10"),
        ("kv.server.mqtt.packet", "16777216"),
        ("kv.server.mqtt.part", "65536"),
        ("kv.server.mqtt.embedded", "\"auto\""),
        ("kv.server.mqtt.embedded_bind", "[]"),
        ("kv.server.serf.host", "\"localhost\""),
        ("kv.server.serf.port", "7373"),
        ("kv.server.root", r#"{"$path":"moat.kv"}"#),
        ("kv.server.paranoia", "false"),
        ("kv.paranoia", "false"),
        (
            "kv.server.bind",
            r#"[{"host":null,"port":null,"ssl":null}]"#,
        ),
        ("kv.server.change.length", "5"),
        ("kv.server.ping.cycle", "10"),
        ("kv.server.ping.gap", "2"),
        ("kv.server.delete.cycle", "100"),
        ("kv.server.delete.gap", "10"),
        ("kv.server.delete.version", "1"),
        ("kv.server.watch.buffer", "4194304"),
        ("kv.server.frame", "16777216"),
        ("kv.server.value", "8388608"),
        ("kv.server.log.on_error", "\"continue\""),
        ("kv.server.keep.period", "900"),
        ("kv.server.keep.date", "\"%Y-%m-%d-%H\""),
        ("kv.server.keep.hourly", "10"),
        ("kv.server.keep.daily", "45"),
        ("kv.server.keep.monthly", "400"),
        ("kv.domain", "null"),
        ("kv.hostmap", "{}"),
        ("env.timezone", "\"UTC\""),
    ];
    for (key, default) in defaults {
        let item = place.item(key).map(|item| item.to_string());
        assert_eq!(item.as_deref(), Some(default), "{key}");
    }
    assert_eq!(place.config().kv.server.backend, Backend::Mqtt);
    let listeners: Vec<_> = place.config().kv.server.listeners().collect();
    assert_eq!(listeners.len(), 1);
    assert_eq!(listeners[0].host, None);
    assert_eq!(listeners[0].port, 27586);
    assert_eq!(listeners[0].ssl, Ssl::Off);
}

#[test]
fn the_first_file_of_the_search_list_counts_alone() {
    let mut place = Place::searching();
    let list = [
        "home/config/moat.cfg",
        "xdg/moat.cfg",
        "home/.moat.cfg",
        "dirs/moat.cfg",
    ];
    place
        .variables
        .insert("XDG_CONFIG_HOME", place.dir.path().join("xdg").into());
    place
        .variables
        .insert("XDG_CONFIG_DIRS", place.dir.path().join("dirs").into());
    for name in list {
        place.file(name, &format!("kv: {{conn: {{name: {name}}}}}"));
    }
    for name in list {
        assert_eq!(place.config().kv.conn.name.as_deref(), Some(name));
        fs::remove_file(place.dir.path().join(name)).unwrap();
    }
    place.variables.remove("XDG_CONFIG_HOME");
    place.file("home/.config/moat.cfg", "kv: {conn: {name: dot}}");
    assert_eq!(place.config().kv.conn.name.as_deref(), Some("dot"));
}

#[test]
fn a_named_file_turns_the_search_off() {
    let place = Place::searching();
    place.file("home/.moat.cfg", "kv: {conn: {host: home, name: home}}");
    let named = place.file("named.cfg", "kv: {conn: {host: named}}");
    let place = place.variable("MOAT_CONFIG", named);
    let config = place.config();
    assert_eq!(config.kv.conn.host, "named");
    assert_eq!(config.kv.conn.name, None);
    // `-c` is stronger than the variable.
    let config = place.c("c.cfg", "kv: {conn: {name: c}}").config();
    assert_eq!(config.kv.conn.host, "localhost");
    assert_eq!(config.kv.conn.name.as_deref(), Some("c"));
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let mut place = Place::new();
    place.sources.files.push(place.dir.path().join("none.cfg"));
    assert!(
        place
            .error()
            .starts_with("can't read configuration file none.cfg: ")
    );
    let place = Place::new().variable("MOAT_CONFIG", "/nonexistent/moat.cfg");
    assert!(place.error().contains("/nonexistent/moat.cfg"));
}

#[test]
fn what_is_stronger() {
    let file = "kv: {conn: {host: file, port: 1, auth: file}}";
    let place = Place::new().c("a.cfg", file);
    assert_eq!(place.config().kv.conn.host, "file");
    let place = place.c("b.cfg", "kv: {conn: {host: later}}");
    assert_eq!(place.config().kv.conn.host, "later");
    assert_eq!(place.config().kv.conn.port, 1);
    let place = place
        .variable("MOAT_HOST", "variable")
        .variable("MOAT_PORT", "2")
        .variable("MOAT_AUTH", "_test name=joe");
    let config = place.config();
    assert_eq!(config.kv.conn.host, "variable");
    assert_eq!(config.kv.conn.port, 2);
    assert_eq!(spec(&config), Some("_test name=joe"));
    let place = place.set("kv.conn.host=option").set("conn.port=3");
    let config = place.config();
    assert_eq!(config.kv.conn.host, "option");
    assert_eq!(config.kv.conn.port, 3);
    let config = place.set("conn.host=last").config();
    assert_eq!(config.kv.conn.host, "last");
}

#[test]
fn files_are_merged_deeply() {
    let place = Place::new()
        .c(
            "a.cfg",
            "kv:\n  hostmap: {one: [a, 1], two: [b, 2]}\n  server:\n    \
             bind: [{port: 1}, {port: 2}, {port: 3}]\n    bind_default: {host: h}\n",
        )
        .c(
            "b.cfg",
            "kv:\n  hostmap: {two: [c]}\n  server:\n    bind: [{}, {host: x}]\n",
        )
        .c(
            "c.cfg",
            "kv: {hostmap: null, server: {bind: [null, {ssl: true}]}}",
        );
    // Each file by itself must be right, and half a pair isn't.
    assert_eq!(
        place.error(),
        "b.cfg:2:18: kv.hostmap.two: this is not [HOST, PORT] or HOST:PORT"
    );
    place.file(
        "b.cfg",
        "kv:\n  hostmap: {two: [c, 9]}\n  server:\n    bind: [{}, {host: x}]\n",
    );
    let config = place.config();
    assert_eq!(config.kv.hostmap["one"], config::Place("a".to_owned(), 1));
    assert_eq!(config.kv.hostmap["two"], config::Place("c".to_owned(), 9));
    let listeners: Vec<_> = config.kv.server.listeners().collect();
    let shown: Vec<_> = listeners
        .iter()
        .map(|l| {
            (
                l.host.as_deref().unwrap_or_default(),
                l.port,
                l.ssl != Ssl::Off,
            )
        })
        .collect();
    assert_eq!(shown, [("h", 1, false), ("x", 2, true), ("h", 3, false)]);
}

#[test]
fn null_unsets_nothing() {
    let place = Place::new()
        .c(
            "a.cfg",
            "kv: {conn: {host: h, port: null, init_timeout: ~}, server: }",
        )
        .c("b.cfg", "kv: {conn: {host: null}}\nlogging:\n");
    let config = place.config();
    assert_eq!(config.kv.conn.host, "h");
    assert_eq!(config.kv.conn.port, 27586);
    assert_eq!(config.kv.conn.init_timeout.get().as_secs(), 5);
    assert_eq!(
        Place::new().c("empty.cfg", "").config().kv.conn.host,
        "localhost"
    );
}

#[test]
fn keys_of_options_are_taken_below_kv() {
    let config = Place::new()
        .set("kv.server.mqtt.uri=mqtt://your-server:1883")
        .set("server.root=my.net")
        .set("connect.auth=_test name=joe")
        .set("kv.connect.host=h")
        .set("env.timezone=Europe/Berlin")
        .set("logging.root.level=INFO")
        .set("mqtt.broker.whatever=1")
        .config();
    assert_eq!(config.kv.server.mqtt.uri.host(), "your-server");
    assert_eq!(config.kv.server.root.0, "my.net".parse().unwrap());
    assert_eq!(spec(&config), Some("_test name=joe"));
    assert_eq!(config.kv.conn.host, "h");
    assert_eq!(config.env.timezone, "Europe/Berlin");
    assert_eq!(config.logging.root.level, Some(Level::Info));
}

#[test]
fn connect_is_conn_in_files_too() {
    let place = Place::new().c("a.cfg", "kv: {connect: {port: 7}}");
    assert_eq!(place.config().kv.conn.port, 7);
    let place = place.c("b.cfg", "kv: {conn: {host: h}}");
    assert_eq!(place.config().kv.conn.port, 7);
    assert_eq!(place.config().kv.conn.host, "h");
    let place = Place::new().c("a.cfg", "kv:\n  conn: {}\n  connect: {}\n");
    assert_eq!(
        place.error(),
        "a.cfg:3:3: connect is conn, which is there too"
    );
}

#[test]
fn the_target_decides_how_a_value_is_read() {
    let config = Place::new()
        .set("conn.name=123")
        .set("conn.port=4*4")
        .set("conn.ssl=true")
        .set("conn.init_timeout=0.5")
        .set("conn.host='quoted'")
        .set("server.backend=mqtt")
        .set("server.root=:1:2")
        .set("server.watch.buffer=1 MiB")
        .set("server.frame=2**20")
        .set("server.bind=[{'port': 1}, {'port': 2}]")
        .set("server.bind.1.host=::1")
        .set("hostmap.there=('h', 5)")
        .set("domain=True")
        .set("paranoia=True")
        .config();
    assert_eq!(config.kv.conn.name.as_deref(), Some("123"));
    assert_eq!(config.kv.conn.port, 16);
    assert!(matches!(config.kv.conn.ssl, Ssl::On { cert: None, .. }));
    assert_eq!(config.kv.conn.init_timeout.get().as_millis(), 500);
    assert_eq!(config.kv.conn.host, "quoted");
    assert_eq!(config.kv.server.backend, Backend::Mqtt);
    assert_eq!(config.kv.server.root.0, ":1:2".parse().unwrap());
    assert_eq!(config.kv.server.watch.buffer.get(), 1 << 20);
    assert_eq!(config.kv.server.frame.get(), 1 << 20);
    assert_eq!(config.kv.server.bind[0].port, Some(1));
    assert_eq!(config.kv.server.bind[1].host.as_deref(), Some("::1"));
    assert_eq!(config.kv.hostmap["there"], config::Place("h".to_owned(), 5));
    assert_eq!(config.kv.domain.as_deref(), Some("True"));
    assert!(config.kv.paranoia);
}

#[test]
fn the_other_options_set_items_too() {
    let mut place = Place::new();
    let s = str::to_owned;
    place.sources.settings = vec![
        Setting::Var(s("conn.name"), s("1+1")),
        Setting::Var(s("conn.port"), s("5")),
        Setting::Eval(s("server.buffer"), s("1+1")),
        Setting::Eval(s("conn.init_timeout"), s("1e1")),
        Setting::Path(s("server.root"), s("a.b")),
    ];
    let config = place.config();
    assert_eq!(config.kv.conn.name.as_deref(), Some("1+1"));
    assert_eq!(config.kv.conn.port, 5);
    assert_eq!(config.kv.server.buffer, 2);
    assert_eq!(config.kv.conn.init_timeout.get().as_secs(), 10);
    assert_eq!(config.kv.server.root.0, "a.b".parse().unwrap());
    place.sources.settings = vec![Setting::Eval(s("server.buffer"), s("1+"))];
    assert!(
        place.error().starts_with("-e server.buffer: "),
        "{}",
        place.error()
    );
}

#[test]
fn a_key_without_value_removes_the_item() {
    let place = Place::new().c(
        "a.cfg",
        "kv: {conn: {host: h, port: 1, auth: a}, hostmap: {x: [y, 1], z: [z, 1]}, \
         server: {bind: [{port: 1}, {port: 2}]}}",
    );
    let config = place
        .set("conn.host")
        .set("connect.auth")
        .set("hostmap.x")
        .set("server.bind.0")
        .set("conn.name")
        .config();
    assert_eq!(config.kv.conn.host, "localhost");
    assert_eq!(config.kv.conn.port, 1);
    assert_eq!(config.kv.conn.auth, None);
    assert_eq!(config.kv.hostmap.keys().collect::<Vec<_>>(), ["z"]);
    assert_eq!(config.kv.server.bind.len(), 1);
    assert_eq!(config.kv.server.bind[0].port, Some(2));
    let place = Place::new().c("a.cfg", "kv: {conn: {auth: a}}");
    assert_eq!(place.set("conn.auth=").config().kv.conn.auth, None);
}

#[test]
fn tags_are_read() {
    let place = Place::new()
        .variable("SECRET", "_test name=joe")
        .variable("PORT", "77")
        .c(
            "a.cfg",
            "kv:\n  conn: {auth: !env SECRET, port: !env PORT}\n  server: {root: !P 'x:1'}\n  \
             codes: {prefix: :.moat.old}\nother: {b: !bin abc, h: !hex 'aa:0f', x: !!binary YWJj}\n",
        );
    let config = place.config();
    assert_eq!(spec(&config), Some("_test name=joe"));
    assert_eq!(config.kv.conn.port, 77);
    assert_eq!(config.kv.server.root.0, "x:1".parse().unwrap());
    assert_eq!(config.kv.codes.prefix.0, ":.moat.old".parse().unwrap());
}

/// A file's text, and the error that names its place.
const REFUSED: &[(&str, &str)] = &[
    (
        "kv:\n  conn:\n    hots: x\n",
        "f:3:5: kv.conn: unknown key hots; did you mean host?",
    ),
    (
        "kv:\n  server:\n    bind:\n    - {prot: 1}\n",
        "f:4:8: kv.server.bind.0: unknown key prot; did you mean port?",
    ),
    (
        "kv: {server: {mqtt: {url: x}}}",
        "f:1:22: kv.server.mqtt: unknown key url; did you mean uri?",
    ),
    (
        "kv: {server: {ping: {cycles: 1}}}",
        "f:1:22: kv.server.ping: unknown key cycles; did you mean cycle?",
    ),
    (
        "kv: {conn: {port: many}}",
        "f:1:19: kv.conn.port: 'many' is not a number from 0 to 65535",
    ),
    (
        "kv: {conn: {port: 65536}}",
        "f:1:19: kv.conn.port: 65536 is not a number from 0 to 65535",
    ),
    (
        "kv: {conn: {port: \"1\"}}",
        "f:1:19: kv.conn.port: '1' is not a number from 0 to 65535",
    ),
    (
        "kv: {conn: {port: 1e99}}",
        "f:1:19: kv.conn.port: 1e+99 is not a number from 0 to 65535",
    ),
    (
        "kv: {conn: {host: [a]}}",
        "f:1:19: kv.conn.host: a list is not a text",
    ),
    (
        "kv: {conn: 5}",
        "f:1:12: kv.conn: '5' is not a section of keys",
    ),
    (
        "kv: {conn: {init_timeout: -1}}",
        "f:1:27: kv.conn.init_timeout: -1.0 is not a number of seconds, not negative",
    ),
    (
        "kv: {conn: {auth: [1]}}",
        "f:1:19: kv.conn.auth: a list is not \"METHOD name=value…\" or a map of type and parameters",
    ),
    (
        "kv: {server: {backend: redis}}",
        "f:1:24: kv.server.backend: redis is not one of none, mqtt, serf",
    ),
    (
        "kv: {server: {mqtt: {uri: 'http://u:pw@h'}}}",
        "f:1:27: kv.server.mqtt.uri: a broker is mqtt://HOST:PORT (or mqtts, ws, wss)",
    ),
    (
        "kv: {server: {root: a..b}}",
        "f:1:21: kv.server.root: no element at 2: write :e for an empty text, :. for a dot",
    ),
    (
        "kv: {server: {log: {on_error: stop}}}",
        "f:1:31: kv.server.log.on_error: stop is not one of continue, refuse",
    ),
    (
        "logging: {root: {level: LOUD}}",
        "f:1:25: logging.root.level: LOUD is not one of ERROR, WARNING, INFO, DEBUG, TRACE, OFF",
    ),
    (
        "env: {timezones: UTC}",
        "f:1:7: env: unknown key timezones; did you mean timezone?",
    ),
    (
        "kv: {conn: {host: a, host: b}}",
        "f:1:22: host is there twice",
    ),
    (
        "kv: {conn: {host: !foo a}}",
        "f:1:19: unknown tag !foo; !P, !bin, !hex and !env are known",
    ),
    (
        "kv: {conn: {host: !env NO_SUCH}}",
        "f:1:19: the environment variable NO_SUCH is not set",
    ),
    ("kv: {x: !hex 0g}", "f:1:9: these are no hex digits"),
    ("{[1]: 2}", "f:1:2: a key must be a text"),
    (
        "a: 1\n---\nb: 2\n",
        "f:3:1: a configuration is one document",
    ),
    ("- 1\n", "f:1:1: a list is not a section of keys"),
    ("a: &x {b: *x}", "f:1:11: an alias within what it names"),
];

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, error) in REFUSED {
        assert_eq!(Place::new().c("f", text).error(), *error, "{text}");
    }
    let error = Place::new().c("f", "kv: {conn: [\n").error();
    assert!(error.starts_with("f:2:1: this is no YAML: "), "{error}");
}

#[test]
fn a_mistake_is_told_even_if_a_later_file_hides_it() {
    let place = Place::new()
        .c("a", "kv: {conn: {port: many}}")
        .c("b", "kv: {conn: {port: 1}}");
    assert!(place.error().starts_with("a:1:19: "));
}

#[test]
fn sections_of_other_products_are_accepted_and_told() {
    let place = Place::new().c("f", "mqtt: {broker: {a: 1}}\nkv:\n  inv: {x: !P a.b}\n");
    let notes = place.loaded().unwrap().notes;
    let told = |what: &str| notes.iter().any(|note| note.ends_with(what));
    assert!(told("f:1:1: section mqtt is not used"), "{notes:?}");
    assert!(told("f:3:3: section inv is not used"), "{notes:?}");
    assert_eq!(place.item("mqtt.broker.a").unwrap(), 1);
    assert_eq!(place.item("kv.inv.x").unwrap(), "a.b");
    assert_eq!(place.item("kv.inv.y"), None);
}

#[test]
fn options_must_name_what_there_is() {
    let cases = [
        (
            "conn.prot=1",
            "-C conn.prot: kv.conn: unknown key prot; did you mean port?",
        ),
        (
            "conn.prot",
            "-C conn.prot: kv.conn: unknown key prot; did you mean port?",
        ),
        ("inv.x=1", "-C inv.x: kv: unknown key inv"),
        ("kv.inv.x=1", "-C kv.inv.x: kv: unknown key inv"),
        (
            "conn.port=x",
            "-C conn.port: kv.conn.port: 'x' is not a number from 0 to 65535",
        ),
        (
            "server.bind.7.port=1",
            "-C server.bind.7.port: there is no item 7 in a list",
        ),
        (
            "a..b=1",
            "-C a..b: no element at 2: write :e for an empty text, :. for a dot",
        ),
        (
            ":1:.5=1",
            "-C :1:.5: no item can be there: write names and numbers",
        ),
        ("=1", "-C : the empty text is no path: write : for the root"),
        // A password in a value stays out of the message.
        (
            "conn.auth.password.x=sesame",
            "-C conn.auth.password.x: kv.conn.auth.password: a map is not a text",
        ),
    ];
    for (option, error) in cases {
        assert_eq!(Place::new().set(option).error(), error, "{option}");
    }
}

#[test]
fn variables_are_named_in_errors() {
    let place = Place::new().variable("MOAT_PORT", "many");
    assert!(place.error().starts_with("MOAT_PORT: kv.conn.port: "));
}

#[test]
fn a_login_is_not_shown_by_debug() {
    let place = Place::new().c(
        "f",
        "kv: {conn: {auth: {type: password, name: joe, password: 12345}}, \
         server: {mqtt: {uri: 'mqtt://u:sesame@h'}}}",
    );
    let config = place.config();
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("12345") && !shown.contains("sesame"),
        "{shown}"
    );
    let Some(Auth::Map(parameters)) = &config.kv.conn.auth else {
        panic!("the login is a map");
    };
    assert_eq!(parameters[2], ("password".to_owned(), "12345".to_owned()));
}

#[test]
fn files_are_bounded() {
    let error = Place::new().c("f", &"#\n".repeat(1 << 20)).error();
    assert!(error.ends_with("larger than 1048576 bytes"), "{error}");
    let deep = format!("{}x", "- ".repeat(1000));
    let error = Place::new().c("f", &deep).error();
    assert!(error.ends_with("nested deeper than 32"), "{error}");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let error = Place::new().c("f", &deep).error();
    assert!(error.contains("recursion limit"), "{error}");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let alias = format!("*a{}", n - 1);
        let aliases = [alias.as_str(); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    assert!(
        Place::new()
            .c("f", &bomb)
            .error()
            .ends_with("more than 100000 items")
    );
    let long = Place::new().set(&format!("{}=1", vec!["x"; 100].join(".")));
    assert!(long.error().contains("no item can be there"));
}

/// Text made of what configurations are made of.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,4}",
        "[ \n:{}\\[\\],'\"&*!|>~-]{1,3}",
        Just("kv".to_owned()),
        Just("conn: ".to_owned()),
        Just("server:\n  ".to_owned()),
        Just("bind: [".to_owned()),
        Just("port: 1".to_owned()),
        Just("!P a.b".to_owned()),
        Just("!hex aa".to_owned()),
        Just("&a [*a]".to_owned()),
        Just("\n  - ".to_owned()),
        "-?[0-9]{1,20}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a file and options say, the answer is a configuration or an
    /// error of one line.
    #[test]
    fn any_text_is_read_or_refused(
        file in yaml_like(),
        key in prop_oneof![
            Just("conn.port".to_owned()), Just("server.bind.0".to_owned()),
            Just("server.mqtt.uri".to_owned()), Just("hostmap".to_owned()), "\\PC{0,12}",
        ],
        value in prop::option::of(prop_oneof!["\\PC{0,20}", "[0-9'\"\\[\\]{}:,*+-]{0,12}"]),
    ) {
        let option = value.map_or_else(|| key.clone(), |value| format!("{key}={value}"));
        for place in [Place::new().c("f", &file), Place::new().set(&option)] {
            match place.loaded() {
                Ok(loaded) => {
                    prop_assert!(loaded.get(&":".parse().unwrap()).unwrap().is_some());
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
