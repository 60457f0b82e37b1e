//! The types of single items: each checks what it is given.
//!
//! What may hold a secret ([`Auth`], [`BrokerUri`]) shows none in `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{
    Deserializer, Error as DeError, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::path::Path;

/// A path, in files written as `!P text` or as text.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigPath(pub Path);

impl ConfigPath {
    pub(super) fn known(text: &str) -> Self {
        Self(text.parse().expect("invariant: a default is a path"))
    }
}

impl<'de> Deserialize<'de> for ConfigPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// As in the JSON form of values: `{"$path": "a.b"}`.
impl Serialize for ConfigPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("$path", self.0.to_string())])
    }
}

/// A time span, in files a number of seconds that isn't negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(Duration);

/// A hundred years: nothing we wait for takes longer, and sums can't overflow.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

impl Seconds {
    pub(super) const fn whole(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(super) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// As a time span.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|span| *span <= LONGEST)
            .map(Self)
            .ok_or_else(|| {
                D::Error::invalid_value(
                    Unexpected::Float(seconds),
                    &"a number of seconds, not negative",
                )
            })
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

/// A number of bytes, in files a number or as in `16 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(usize);

impl Size {
    pub(super) const fn kib(n: usize) -> Self {
        Self(n << 10)
    }

    pub(super) const fn mib(n: usize) -> Self {
        Self(n << 20)
    }

    /// In bytes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text.get(digits.len()..)?.trim() {
            "" | "B" => 1,
            "KiB" | "K" => 1_usize << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            _ => return None,
        };
        digits.parse::<usize>().ok()?.checked_mul(unit).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, such as 1000000 or 16 MiB")
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Size, E> {
                usize::try_from(n)
                    .map(Size)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(n), &self))
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Size, E> {
                usize::try_from(n)
                    .map(Size)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(n), &self))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Bytes)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// TLS: `false`, `true` (what the system trusts) or `{cert: …, key: …}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ssl {
    /// No TLS
    #[default]
    Off,
    /// TLS
    On {
        /// File with our certificate chain
        cert: Option<PathBuf>,
        /// File with its private key
        key: Option<PathBuf>,
    },
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct SslFiles {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for Ssl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoolOrFiles;
        impl<'de> Visitor<'de> for BoolOrFiles {
            type Value = Ssl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a map of cert and key")
            }

            fn visit_bool<E>(self, on: bool) -> Result<Ssl, E> {
                let (cert, key) = (None, None);
                Ok(if on { Ssl::On { cert, key } } else { Ssl::Off })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Ssl, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                let SslFiles { cert, key } = SslFiles::deserialize(map)?;
                Ok(Ssl::On { cert, key })
            }
        }
        deserializer.deserialize_any(BoolOrFiles)
    }
}

impl Serialize for Ssl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.clone() {
            Self::Off => serializer.serialize_bool(false),
            Self::On {
                cert: None,
                key: None,
            } => serializer.serialize_bool(true),
            Self::On { cert, key } => SslFiles { cert, key }.serialize(serializer),
        }
    }
}

/// Where a server is reached: `[HOST, PORT]`, `HOST:PORT` or `HOST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place(pub String, pub u16);

impl Place {
    fn parse(text: &str) -> Option<Self> {
        // of an address with colons of its own the port is told by brackets
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
            None if text.matches(':').count() == 1 => {
                let (host, port) = text.split_once(':')?;
                (host, Some(port))
            }
            None => (text, None),
        };
        let port = match port {
            Some(port) => port.parse().ok()?,
            None => super::DEFAULT_PORT,
        };
        (!host.is_empty()).then(|| Self(host.to_owned(), port))
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrPair;
        impl<'de> Visitor<'de> for TextOrPair {
            type Value = Place;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[HOST, PORT] or HOST:PORT")
            }

            fn visit_str<E: DeError>(self, text: &str) -> Result<Place, E> {
                Place::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Place, A::Error> {
                let host = pair.next_element()?;
                let port = pair.next_element()?;
                match (host, port, pair.next_element::<IgnoredAny>()?) {
                    (Some(host), Some(port), None) => Ok(Place(host, port)),
                    _ => Err(A::Error::invalid_length(2, &self)),
                }
            }
        }
        deserializer.deserialize_any(TextOrPair)
    }
}

/// How to log in: a text as after `-a`, or a map of `type` and parameters.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// `METHOD name=value…`, or `=FILE`
    Spec(String),
    /// `type` and the method's parameters
    Map(Vec<(String, String)>),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(…)")
    }
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpecOrMap;
        impl<'de> Visitor<'de> for SpecOrMap {
            type Value = Auth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"METHOD name=value…\" or a map of type and parameters")
            }

            fn visit_str<E>(self, spec: &str) -> Result<Auth, E> {
                Ok(Auth::Spec(spec.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Auth, A::Error> {
                let mut parameters = Vec::new();
                while let Some(parameter) = map.next_entry()? {
                    parameters.push(parameter);
                }
                Ok(Auth::Map(parameters))
            }
        }
        // As text, so that an error can't repeat what may be a password.
        deserializer.deserialize_str(SpecOrMap)
    }
}

impl Serialize for Auth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Spec(spec) => serializer.serialize_str(spec),
            Self::Map(parameters) => {
                serializer.collect_map(parameters.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

/// Where an MQTT broker is: `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUri {
    text: String,
    scheme: Scheme,
    login: Option<(String, String)>,
    host: String,
    port: u16,
    path: String,
    is_default: bool,
}

/// How a broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `mqtt://`, `tcp://`
    Tcp,
    /// `mqtts://`, `ssl://`
    Tls,
    /// `ws://`
    WebSocket,
    /// `wss://`
    WebSocketTls,
}

impl BrokerUri {
    pub(super) fn local() -> Self {
        let uri = Self::parse("mqtt://localhost:1883");
        Self {
            is_default: true,
            ..uri.expect("invariant: the default is a URI")
        }
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => (Scheme::Tcp, 1883),
            "mqtts" | "ssl" => (Scheme::Tls, 8883),
            "ws" => (Scheme::WebSocket, 80),
            "wss" => (Scheme::WebSocketTls, 443),
            _ => return Err(UriError::Scheme),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_web = matches!(scheme, Scheme::WebSocket | Scheme::WebSocketTls);
        if !is_web && !path.is_empty() {
            return Err(UriError::Path);
        }
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let login = unescape(user).zip(unescape(password));
                (Some(login.ok_or(UriError::Login)?), place)
            }
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or(UriError::Host)?;
                let port = after.strip_prefix(':');
                (host, if after.is_empty() { Some("") } else { port })
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, Some("")),
            },
        };
        let port = match port.ok_or(UriError::Port)? {
            "" => default_port,
            port => port.parse().map_err(|_| UriError::Port)?,
        };
        if port == 0 {
            return Err(UriError::Port);
        }
        if host.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UriError::Host);
        }
        Ok(Self {
            text: text.to_owned(),
            scheme,
            login,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            is_default: false,
        })
    }

    /// Whether this is the built-in default, which nobody has configured.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.is_default
    }

    /// User and password; the password is empty if none is given.
    #[must_use]
    pub fn login(&self) -> Option<(&str, &str)> {
        let (user, password) = self.login.as_ref()?;
        Some((user, password))
    }

    /// What is behind host and port, for websockets; without the first `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole text, with the password if it holds one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the broker is spoken to.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// The text that `%XX` in a URI stands for.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = Vec::from(parts.next()?);
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        let is_hex = code.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(code, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// `kv.server.mqtt.version`: how a broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5 with a broker that speaks it, else 3.1.1
    Auto,
    /// MQTT 3.1.1, which all brokers know
    V311,
    /// MQTT 5
    V5,
}

impl<'de> Deserialize<'de> for MqttVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `3.1.1` is no number, `3` and `5` are
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "3" | "3.1.1" | "4" => Ok(Self::V311),
            "5" | "5.0" => Ok(Self::V5),
            "auto" => Ok(Self::Auto),
            _ => Err(D::Error::invalid_value(
                Unexpected::Str(&text),
                &"a version of MQTT: 3.1.1, 5 or auto",
            )),
        }
    }
}

impl Serialize for MqttVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Auto => "auto",
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

/// `kv.server.log.sync`: when what was written outlives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSync {
    /// When the system likes
    Never,
    /// After this time at the latest
    Within(Seconds),
    /// Before it is acknowledged
    Always,
}

impl<'de> Deserialize<'de> for LogSync {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // numbers are texts as well, where they come from files
        let text = String::deserialize(deserializer)?;
        let seconds = |text: &str| {
            let span = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
            (!span.is_zero() && span <= LONGEST).then_some(Seconds(span))
        };
        match text.as_str() {
            "never" => Ok(Self::Never),
            "always" => Ok(Self::Always),
            text => seconds(text).map(Self::Within).ok_or_else(|| {
                D::Error::invalid_value(
                    Unexpected::Str(text),
                    &"never, always or a number of seconds",
                )
            }),
        }
    }
}

impl Serialize for LogSync {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_str("never"),
            Self::Always => serializer.serialize_str("always"),
            Self::Within(seconds) => seconds.serialize(serializer),
        }
    }
}

/// Why a text isn't the URI of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// None of the known schemes
    #[error("a broker is mqtt://HOST:PORT (or mqtts, ws, wss)")]
    Scheme,
    /// No host
    #[error("the broker's URI names no host")]
    Host,
    /// No TCP port
    #[error("the broker's URI has no valid port")]
    Port,
    /// A path where none may be
    #[error("the broker's URI has a path")]
    Path,
    /// User or password are not text
    #[error("user or password in the broker's URI has a wrong escape: a percent sign is %25")]
    Login,
}

impl fmt::Debug for BrokerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}://{}:{}", self.scheme, self.host(), self.port)
    }
}

impl<'de> Deserialize<'de> for BrokerUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl Serialize for BrokerUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing
    Off,
    /// `ERROR`, `CRITICAL`
    Error,
    /// `WARNING`
    Warning,
    /// `INFO`
    Info,
    /// `DEBUG`
    Debug,
    /// Everything
    Trace,
}

impl Level {
    /// Reads a level by its name or the original's number; case is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<u8>() {
            return Some(match number {
                0..=9 => Self::Trace,
                10..=19 => Self::Debug,
                20..=29 => Self::Info,
                30..=39 => Self::Warning,
                40.. => Self::Error,
            });
        }
        Some(match text.to_ascii_uppercase().as_str() {
            "OFF" | "NONE" => Self::Off,
            "ERROR" | "CRITICAL" | "FATAL" => Self::Error,
            "WARNING" | "WARN" => Self::Warning,
            "INFO" => Self::Info,
            "DEBUG" => Self::Debug,
            "TRACE" | "NOTSET" => Self::Trace,
            _ => return None,
        })
    }

    /// The names of the levels.
    pub const NAMES: &'static str = "ERROR, WARNING, INFO, DEBUG, TRACE, OFF";
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("{text} is not one of {}", Self::NAMES)))
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{self:?}").to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_scheme_host_and_port() {
        let cases = [
            ("mqtt://localhost:1883", Scheme::Tcp, "localhost", 1883),
            ("mqtt://your-server", Scheme::Tcp, "your-server", 1883),
            ("MQTTS://h", Scheme::Tls, "h", 8883),
            ("mqtt://[::1]:9", Scheme::Tcp, "::1", 9),
            ("mqtt://[::1]", Scheme::Tcp, "::1", 1883),
            ("mqtt://u:p@ss@h:7/", Scheme::Tcp, "h", 7),
            ("ws://h/mqtt", Scheme::WebSocket, "h", 80),
            ("wss://h:444/a/b", Scheme::WebSocketTls, "h", 444),
        ];
        for (text, scheme, host, port) in cases {
            let uri = BrokerUri::parse(text).unwrap();
            assert_eq!(
                (uri.scheme(), uri.host(), uri.port()),
                (scheme, host, port),
                "{text}"
            );
            assert_eq!(uri.as_str(), text);
        }
    }

    #[test]
    fn what_is_no_broker_is_refused() {
        let cases = [
            ("localhost:1883", UriError::Scheme),
            ("http://h", UriError::Scheme),
            ("mqtt://", UriError::Host),
            ("mqtt://:1", UriError::Host),
            ("mqtt://[::1", UriError::Host),
            ("mqtt://a b", UriError::Host),
            ("mqtt://h:0", UriError::Port),
            ("mqtt://h:x", UriError::Port),
            ("mqtt://h:70000", UriError::Port),
            ("mqtt://[::1]1", UriError::Port),
            ("mqtt://h/topic", UriError::Path),
            ("mqtt://u:100%@h", UriError::Login),
            ("mqtt://u%+1@h", UriError::Login),
            ("mqtt://u%ff@h", UriError::Login),
            ("mqtt://u%1€@h", UriError::Login),
        ];
        for (text, error) in cases {
            assert_eq!(BrokerUri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_broker_may_want_a_login() {
        for (text, login) in [
            ("mqtt://h", None),
            ("mqtt://joe@h", Some(("joe", ""))),
            ("mqtt://joe:@h", Some(("joe", ""))),
            ("mqtt://joe:a:b@c@h", Some(("joe", "a:b@c"))),
            ("ws://j%40e:%2f%25%c3%a4@h:1/mqtt", Some(("j@e", "/%ä"))),
        ] {
            assert_eq!(BrokerUri::parse(text).unwrap().login(), login, "{text}");
        }
        assert_eq!(BrokerUri::parse("ws://h/a/b").unwrap().path(), "a/b");
    }

    #[test]
    fn only_the_built_in_uri_is_the_default() {
        assert!(BrokerUri::local().is_default());
        let same = BrokerUri::local();
        assert!(!BrokerUri::parse(same.as_str()).unwrap().is_default());
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let uri = BrokerUri::parse("mqtt://joe:sesame@h").unwrap();
        let spec = Auth::Spec("password name=joe password=sesame".to_owned());
        let map = Auth::Map(vec![("password".to_owned(), "sesame".to_owned())]);
        let shown = format!("{uri:?} {spec:?} {map:?}");
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("2 KiB", 2048),
            ("1M", 1 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5M",
            "1 TB",
            "99999999999999999999",
            "99999999999G",
        ] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    #[test]
    fn levels_are_names_or_the_originals_numbers() {
        assert_eq!(Level::parse("debug"), Some(Level::Debug));
        assert_eq!(Level::parse("WARN"), Some(Level::Warning));
        assert_eq!(Level::parse("20"), Some(Level::Info));
        assert_eq!(Level::parse("LOUD"), None);
    }

    #[test]
    fn a_place_is_a_host_and_perhaps_a_port() {
        let place = |host: &str, port| Some(Place(host.to_owned(), port));
        assert_eq!(Place::parse("a.b:12"), place("a.b", 12));
        assert_eq!(Place::parse("a"), place("a", 27586));
        assert_eq!(Place::parse("[::1]:12"), place("::1", 12));
        assert_eq!(Place::parse("::1"), place("::1", 27586));
        for wrong in ["", ":1", "a:b", "a:70000", "[a]1", "[]:1"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
