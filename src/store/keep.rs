//! Rotated state files: DIR/DATE/N.dkv, as the original's scripts lay them
//! out.
//!
//! A directory DATE is a *set*: the full file `0.dkv`, then `1.dkv`, `2.dkv`
//! …, each of which goes on where the one before it ends, or is full as well
//! where nothing was logged in between. All that is decided here is decided
//! over a listing and a time that are handed in; [`Keep`] looks and acts.
//! Beside a file there may be `N.dkv.tmp` and `N.dkv.sum`, which go when it
//! goes. Nothing else is touched, and no symbolic link is followed below DIR.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};

pub use files::{Keep, Lock, Newest, now};

/// The names of the sets' directories if nothing else is asked for.
pub const DATES: &str = "%Y-%m-%d-%H";

/// A full file with less has no record.
const SOMETHING: u64 = 2;

/// Why rotated files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The names would not tell which is newer.
    #[error("'{format}' cannot name directories: it must tell at least the day, as {DATES} does")]
    Format {
        /// The format, as it was given
        format: String,
    },
    /// A directory or file cannot be used.
    #[error("{}: {why}", .path.display())]
    Access {
        /// Which one
        path: PathBuf,
        /// The cause
        why: io::Error,
    },
}

/// How a time becomes the name of a directory, and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dates {
    format: String,
}

impl Default for Dates {
    fn default() -> Self {
        Self {
            format: DATES.to_owned(),
        }
    }
}

impl Dates {
    /// A format of strftime.
    ///
    /// # Errors
    /// If the names would not tell the day, or be none of a directory.
    pub fn new(format: &str) -> Result<Self, KeepError> {
        let dates = Self {
            format: format.to_owned(),
        };
        // the last hour of a day that is like no other
        let sample = DateTime::constant(2034, 11, 25, 23, 0, 0, 0);
        let read = dates.print(sample).and_then(|name| dates.read(&name));
        match read {
            Some(read) if read.date() == sample.date() => Ok(dates),
            _ => Err(KeepError::Format {
                format: dates.format,
            }),
        }
    }

    fn print(&self, at: DateTime) -> Option<String> {
        let name = strtime::format(&self.format, at).ok()?;
        let is_name = !name.starts_with('.') && !name.contains(['/', '\0']);
        is_name.then_some(name)
    }

    /// The directory for what is written then.
    #[must_use]
    pub fn name(&self, at: DateTime) -> String {
        self.print(at)
            .expect("invariant: a format that prints one time prints any")
    }

    /// The time that a name tells; midnight if it tells the day only.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<DateTime> {
        let read = BrokenDownTime::parse(&self.format, name).ok()?;
        let date = read.to_date().ok()?;
        let at = |part: Option<i8>| part.unwrap_or(0);
        let (hour, minute, second) = (at(read.hour()), at(read.minute()), at(read.second()));
        let read = DateTime::new(
            date.year(),
            date.month(),
            date.day(),
            hour,
            minute,
            second.min(59),
            0,
        );
        // "2026-1-2" is no name of ours
        read.ok()
            .filter(|at| self.print(*at).as_deref() == Some(name))
    }
}

/// How long sets are kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// All of them
    pub hourly: u32,
    /// The first one of each day
    pub daily: u32,
    /// The first one of each month
    pub monthly: u32,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            hourly: 10,
            daily: 45,
            monthly: 400,
        }
    }
}

/// What a file in a set's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `N.dkv`
    State(u32),
    /// `N.dkv.tmp`, `N.dkv.sum`
    Companion,
}

/// What the name of a file says; nothing if it is none of ours.
fn kind(name: &str) -> Option<Kind> {
    let (number, rest) = name.split_once('.')?;
    let is_plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: u32 = number.parse().ok().filter(|_| is_plain)?;
    // two spellings would be two files of one number
    if name.starts_with('0') && !name.starts_with("0.") {
        return None;
    }
    match rest {
        "dkv" => Some(Kind::State(number)),
        "dkv.tmp" | "dkv.sum" => Some(Kind::Companion),
        _ => None,
    }
}

/// One directory that fits the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its time
    pub at: DateTime,
    /// Its name
    pub name: String,
    /// The numbers of its files, and their sizes in bytes
    pub files: BTreeMap<u32, u64>,
}

impl Set {
    /// A directory of that name, with these files and their sizes; nothing if
    /// the name does not fit.
    fn new<'a>(
        dates: &Dates,
        name: &str,
        files: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Option<Self> {
        let numbered = |(name, size): (&str, u64)| match kind(name)? {
            Kind::State(number) => Some((number, size)),
            Kind::Companion => None,
        };
        Some(Self {
            at: dates.read(name)?,
            name: name.to_owned(),
            files: files.into_iter().filter_map(numbered).collect(),
        })
    }

    /// Whether it has a full file that says something.
    fn is_full(&self) -> bool {
        self.files.get(&0).is_some_and(|size| *size >= SOMETHING)
    }

    fn key(&self) -> (DateTime, &str) {
        (self.at, &self.name)
    }
}

/// Where the next file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The set
    pub name: String,
    /// The file's number in it
    pub number: u32,
    /// Whether it is to have everything, not only what changes from now on
    pub is_full: bool,
    /// Whether there is a set that is younger than it could be: the clock has
    /// been set back. What is written goes there, so that it stays the newest.
    pub is_behind: bool,
}

impl Next {
    /// Its name in the set.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.dkv", self.number)
    }
}

/// The next file to write. `sets` is sorted, the newest last; `is_last` says of
/// a set and a number whether that file is the one now being written. What it
/// is not, a server has not written down since: it may have learned much from
/// others, and the next file has to be a full one.
fn next(
    sets: &[Set],
    dates: &Dates,
    now: DateTime,
    is_last: impl FnOnce(&Set, u32) -> bool,
) -> Next {
    let name = dates.name(now);
    let newest = sets.iter().rfind(|set| set.is_full());
    let later = newest.filter(|set| dates.read(&name).is_some_and(|at| set.at > at));
    let set = later.or_else(|| sets.iter().find(|set| set.name == name));
    let begun = set.filter(|set| set.is_full());
    let last = begun.and_then(|set| Some((set, *set.files.last_key_value()?.0)));
    Next {
        number: last.map_or(0, |(_, number)| number.saturating_add(1)),
        is_full: !last.is_some_and(|(set, number)| is_last(set, number)),
        is_behind: later.is_some(),
        name: set.map_or(name, |set| set.name.clone()),
    }
}

/// The sets that may go, `good` never among them. `sets` is sorted, the
/// newest last.
fn outdated<'a>(sets: &'a [Set], good: &str, ages: Ages, now: DateTime) -> Vec<&'a Set> {
    let (mut days, mut months) = (BTreeSet::new(), BTreeSet::new());
    let mut out = Vec::new();
    for set in sets {
        // one without a full file stands for no day
        let is_first = set.is_full() && days.insert(set.at.date());
        let month = (set.at.year(), set.at.month());
        let is_first_of_month = is_first && months.insert(month);
        let age = now.duration_since(set.at);
        let over = |days: u32| age > SignedDuration::from_hours(24 * i64::from(days));
        let goes = (over(ages.hourly) && !is_first)
            || (over(ages.daily) && !is_first_of_month)
            || over(ages.monthly);
        let is_newest = sets.last() == Some(set);
        if goes && set.name != good && !is_newest {
            out.push(set);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 100;

    fn set(name: &str, files: &[(&str, u64)]) -> Set {
        Set::new(&Dates::default(), name, files.iter().copied()).expect("a name that fits")
    }

    fn full(name: &str) -> Set {
        set(name, &[("0.dkv", SIZE)])
    }

    fn at(text: &str) -> DateTime {
        text.parse().expect("a time")
    }

    #[test]
    fn names_and_times_are_inverse() {
        let dates = Dates::default();
        let time = at("2026-03-01T07:45:10");
        assert_eq!(dates.name(time), "2026-03-01-07");
        assert_eq!(dates.read("2026-03-01-07"), Some(at("2026-03-01T07:00")));
        for strange in [
            "2026-3-1-7",
            "2026-03-01",
            "2026-13-01-07",
            "x",
            "2026-03-01-07 ",
        ] {
            assert_eq!(dates.read(strange), None, "{strange}");
        }
        let days = Dates::new("state %d.%m.%Y").unwrap();
        assert_eq!(days.name(time), "state 01.03.2026");
        assert_eq!(days.read("state 01.03.2026"), Some(at("2026-03-01T00:00")));
    }

    #[test]
    fn a_format_must_tell_the_day_and_be_a_name() {
        for format in [
            "",
            "%H",
            "%Y-%m",
            "x",
            "%Y/%m/%d",
            ".%Y-%m-%d",
            "%Y-%m-%d-%",
            "%d.%m",
        ] {
            assert!(Dates::new(format).is_err(), "{format}");
        }
        for format in [DATES, "%Y-%m-%d", "%F", "%Y%j"] {
            assert!(Dates::new(format).is_ok(), "{format}");
        }
    }

    #[test]
    fn files_are_known_by_their_names() {
        assert_eq!(kind("0.dkv"), Some(Kind::State(0)));
        assert_eq!(kind("10.dkv"), Some(Kind::State(10)));
        assert_eq!(kind("10.dkv.tmp"), Some(Kind::Companion));
        assert_eq!(kind("0.dkv.sum"), Some(Kind::Companion));
        for strange in [
            "01.dkv",
            "+1.dkv",
            "-1.dkv",
            ".dkv",
            "x.dkv",
            "1.dkv~",
            "1.state",
            "1",
            "1.dkv.bak",
            "4294967296.dkv",
        ] {
            assert_eq!(kind(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_directory_begins_with_a_full_file() {
        let dates = Dates::default();
        let now = at("2026-03-01T07:45");
        let next = |sets: &[Set]| {
            let next = next(sets, &dates, now, |_, _| true);
            assert_eq!(next.is_full, next.number == 0);
            (format!("{}/{}", next.name, next.file()), next.is_behind)
        };
        let fine = |path: &str| (path.to_owned(), false);
        assert_eq!(next(&[]), fine("2026-03-01-07/0.dkv"));
        let old = full("2026-03-01-06");
        assert_eq!(
            next(std::slice::from_ref(&old)),
            fine("2026-03-01-07/0.dkv")
        );
        let begun = set(
            "2026-03-01-07",
            &[("0.dkv", SIZE), ("9.dkv", 0), ("10.dkv", 5)],
        );
        assert_eq!(next(&[old.clone(), begun]), fine("2026-03-01-07/11.dkv"));
        // where the full one is missing, or was lost, there has to be one first
        for broken in [
            &[("0.dkv", 1), ("1.dkv", SIZE)][..],
            &[("1.dkv", SIZE)],
            &[("0.dkv.tmp", SIZE)],
        ] {
            let broken = set("2026-03-01-07", broken);
            assert_eq!(next(&[old.clone(), broken]), fine("2026-03-01-07/0.dkv"));
        }
    }

    #[test]
    fn what_was_not_logged_is_in_the_next_file() {
        let dates = Dates::default();
        let sets = [set("2026-03-01-07", &[("0.dkv", SIZE), ("1.dkv", SIZE)])];
        let now = at("2026-03-01T07:45");
        let next = next(&sets, &dates, now, |set, number| {
            assert_eq!((set.name.as_str(), number), ("2026-03-01-07", 1));
            false
        });
        assert_eq!((next.number, next.is_full), (2, true));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_hide_what_is_written() {
        let dates = Dates::default();
        let sets = [full("2026-03-01-06"), full("2026-03-01-08")];
        let next = next(&sets, &dates, at("1970-01-01T00:10"), |_, _| true);
        let expected = Next {
            name: "2026-03-01-08".to_owned(),
            number: 1,
            is_full: false,
            is_behind: true,
        };
        assert_eq!(next, expected);
    }

    /// Names of what goes of these.
    fn gone(sets: &[Set], good: &str, now: &str) -> Vec<String> {
        let out = outdated(sets, good, Ages::default(), at(now));
        out.into_iter().map(|set| set.name.clone()).collect()
    }

    #[test]
    fn hours_then_days_then_months_are_kept() {
        let mut sets: Vec<Set> = Vec::new();
        let mut time = at("2025-01-01T00:00");
        let now = "2026-03-01T07:45";
        while time <= at(now) {
            sets.push(full(&Dates::default().name(time)));
            time = time.saturating_add(SignedDuration::from_hours(1));
        }
        let gone: BTreeSet<String> = gone(&sets, "2026-03-01-07", now).into_iter().collect();
        for set in &sets {
            // the original's rule, as it stands
            let (hour, day) = (set.at.hour(), set.at.day());
            let days = |n: i64| at(now).duration_since(set.at) > SignedDuration::from_hours(24 * n);
            let goes = (days(10) && hour != 0) || (days(45) && day != 1) || days(400);
            assert_eq!(gone.contains(&set.name), goes, "{}", set.name);
        }
        assert!(gone.len() > 9_000 && sets.len() - gone.len() > 240);
    }

    #[test]
    fn a_machine_that_sleeps_at_midnight_keeps_its_days() {
        let sets = [
            full("2026-01-03-06"),
            full("2026-01-03-09"),
            full("2026-02-01-09"),
            // not the first of its day that can be used
            set("2026-02-12-05", &[("0.dkv", 0)]),
            full("2026-02-12-08"),
            full("2026-02-12-09"),
            full("2026-03-01-07"),
        ];
        let gone = gone(&sets, "2026-03-01-07", "2026-03-01T07:45");
        assert_eq!(gone, ["2026-01-03-09", "2026-02-12-05", "2026-02-12-09"]);
    }

    #[test]
    fn the_newest_good_set_stays_whatever_the_clock_says() {
        let sets = [
            full("2026-01-01-00"),
            full("2026-01-02-05"),
            set("2026-01-02-06", &[("0.dkv", 0)]),
            set("2026-01-02-07", &[("0.dkv", 0)]),
        ];
        let gone = gone(&sets, "2026-01-02-05", "2099-01-01T00:00");
        assert_eq!(gone, ["2026-01-01-00", "2026-01-02-06"]);
        assert!(self::gone(&sets, "2026-01-02-05", "1970-01-01T00:00").is_empty());
    }
}
