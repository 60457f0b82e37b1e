//! `-D`: numbers that look like a time of this or the next year are also
//! shown as date, by a key of the same name after an underscore.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::cli::show::plain;
use crate::value::Value;

/// Seconds around now that count: a leap year.
const WINDOW: f64 = 366.0 * 24.0 * 3600.0;

/// What a date is seen from.
pub(in crate::cli) struct Dates {
    now: Timestamp,
    zone: TimeZone,
}

impl Dates {
    /// Seen from now and here.
    pub(super) fn now() -> Self {
        Self {
            now: Timestamp::now(),
            zone: TimeZone::system(),
        }
    }

    /// Adds dates to all maps within a value. Keys that begin with an
    /// underscore are left alone.
    pub(super) fn add(&self, value: &mut Value) {
        match value {
            Value::List(items) => items.iter_mut().for_each(|item| self.add(item)),
            Value::Map(pairs) => {
                let mut dates = Vec::new();
                for (key, value) in pairs.iter_mut() {
                    if key.as_str().is_some_and(|key| key.starts_with('_')) {
                        continue;
                    }
                    match self.date(value) {
                        Some(date) => {
                            dates.push((format!("_{}", plain(key)).into(), date.into()));
                        }
                        None => self.add(value),
                    }
                }
                for (key, date) in dates {
                    pairs.retain(|(k, _)| *k != key);
                    pairs.push((key, date));
                }
            }
            _ => {}
        }
    }

    /// The date, if the value is a number that looks like one.
    fn date(&self, value: &Value) -> Option<String> {
        #[allow(clippy::cast_precision_loss)] // whole seconds of this century are exact
        let seconds = match value {
            Value::Int(n) => *n as f64,
            Value::Float(x) => *x,
            _ => return None,
        };
        let now = self.now.as_duration().as_secs_f64();
        if !((now - WINDOW)..=(now + WINDOW)).contains(&seconds) {
            return None;
        }
        let time = SignedDuration::try_from_secs_f64(seconds).ok()?;
        self.show(Timestamp::from_duration(time).ok()?)
    }

    fn show(&self, time: Timestamp) -> Option<String> {
        // microseconds as Python rounds them, of which it then shows three
        let time = time.round(jiff::Unit::Microsecond).ok()?;
        let local = time.to_zoned_datetime(self.zone.clone());
        Some(local.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string())
    }

    /// Now, as seconds and as date.
    pub(in crate::cli) fn stamp() -> (f64, String) {
        let here = Self::now();
        let date = here.show(here.now).unwrap_or_default();
        (here.now.as_duration().as_secs_f64(), date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::json;

    fn dated(text: &str) -> String {
        let dates = Dates {
            now: "2024-06-01T12:00:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        };
        let mut value = json::parse(text).unwrap();
        dates.add(&mut value);
        json::line(&value)
    }

    #[test]
    fn numbers_near_now_are_dated() {
        assert_eq!(
            dated(r#"{"a": 1717243200, "b": 5, "c": [{"d": 1717243200.1239}]}"#),
            concat!(
                r#"{"a":1717243200,"b":5,"#,
                r#""c":[{"d":1717243200.1239,"_d":"2024-06-01 12:00:00.123"}],"#,
                r#""_a":"2024-06-01 12:00:00.000"}"#
            )
        );
    }

    #[test]
    fn names_with_an_underscore_and_lone_numbers_are_not() {
        let plain = r#"{"_a":1717243200,"_m":{"x":1717243200},"t":true,"s":"1717243200"}"#;
        assert_eq!(dated(plain), plain);
        assert_eq!(dated("1717243200"), "1717243200");
    }
}
