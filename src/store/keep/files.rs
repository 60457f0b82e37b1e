//! The directory itself: looking at it, and doing what was decided.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::{Ages, Dates, KeepError, Next, Set, kind, next, outdated};
use crate::store::{StoreError, records};

/// A directory of rotated files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The directory
    pub dir: PathBuf,
    /// How its sets are named
    pub dates: Dates,
    /// How long they are kept
    pub ages: Ages,
}

/// Nobody else rotates while this is there.
#[derive(Debug)]
pub struct Lock {
    _dir: File,
}

/// What is to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The set
    pub name: String,
    /// The files, in their order
    pub files: Vec<PathBuf>,
    /// Whether one of them is damaged: what can be read of it is wanted
    pub is_damaged: bool,
}

/// What the clock on the wall shows, by which directories are named.
#[must_use]
pub fn now() -> DateTime {
    TimeZone::system().to_datetime(Timestamp::now())
}

fn access(path: &Path) -> impl FnOnce(io::Error) -> KeepError {
    move |why| KeepError::Access {
        path: path.to_owned(),
        why,
    }
}

impl Keep {
    /// A directory with the usual names and ages.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            dates: Dates::default(),
            ages: Ages::default(),
        }
    }

    /// Waits until nobody else rotates here. Two that did would choose the
    /// same next file, and the later one would overwrite the other's.
    ///
    /// # Errors
    /// If the directory cannot be opened.
    pub fn lock(&self) -> Result<Lock, KeepError> {
        let dir = File::open(&self.dir).map_err(access(&self.dir))?;
        dir.lock().map_err(access(&self.dir))?;
        Ok(Lock { _dir: dir })
    }

    /// All sets, the newest last.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn sets(&self) -> Result<Vec<Set>, KeepError> {
        let mut sets = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(access(&self.dir))? {
            let entry = entry.map_err(access(&self.dir))?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|n| self.dates.read(n).is_some()) else {
                continue;
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Some(set) = self.look(&entry.path(), name)?
            {
                sets.push(set);
            }
        }
        sets.sort_by(|a, b| a.key().cmp(&b.key()));
        Ok(sets)
    }

    fn look(&self, path: &Path, name: &str) -> Result<Option<Set>, KeepError> {
        let entries = match fs::read_dir(path) {
            // somebody may have removed it meanwhile
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(access(path))?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(access(path))?;
            // of the link itself, if it is one
            if let Ok(found) = entry.metadata()
                && found.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                files.push((name, found.len()));
            }
        }
        let files = files.iter().map(|(name, size)| (name.as_str(), *size));
        Ok(Set::new(&self.dates, name, files))
    }

    /// Where the next file goes, if `log` is what the server writes now; its
    /// directory is there then, and belongs to whom DIR belongs. To be called,
    /// and the file to be begun, under [`Keep::lock`].
    ///
    /// # Errors
    /// If the directory cannot be read, or that for the file not be made.
    pub fn next(&self, now: DateTime, log: Option<&Path>) -> Result<(Next, PathBuf), KeepError> {
        let is_log = |set: &Set, number| {
            let last = self.dir.join(&set.name).join(format!("{number}.dkv"));
            // there may be several ways to it
            let file = |path: &Path| Some(fs::metadata(path).ok()?).map(|m| (m.dev(), m.ino()));
            log.is_some_and(|log| file(log).is_some_and(|log| Some(log) == file(&last)))
        };
        let next = next(&self.sets()?, &self.dates, now, is_log);
        let path = self.dir.join(&next.name);
        match fs::create_dir(&path) {
            Ok(()) => self.give(&path).map_err(access(&path))?,
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            Err(why) => return Err(access(&path)(why)),
        }
        let file = path.join(next.file());
        Ok((next, file))
    }

    /// A directory that the superuser made is the server's, which is to
    /// write there.
    fn give(&self, path: &Path) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let owner = fs::metadata(&self.dir)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::open(path, flags, Mode::empty())?;
        fchown(made, Some(owner.uid()), Some(owner.gid()))
    }

    /// The newest set whose full file can be read, and what else there is
    /// after it; what is passed over is told. Nothing if there is none.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn newest(&self, mut tell: impl FnMut(String)) -> Result<Option<Newest>, KeepError> {
        let sets = self.sets()?;
        // what follows a full file that is lost is still good behind an older one
        let mut behind: Vec<PathBuf> = Vec::new();
        for set in sets.iter().rev() {
            let file = |number: &u32| self.dir.join(&set.name).join(format!("{number}.dkv"));
            let (mut whole, mut damaged) = (Vec::new(), Vec::new());
            for number in set.files.keys().filter(|number| **number > 0) {
                match check(&file(number), false) {
                    Ok(()) => whole.push(file(number)),
                    // it was opened, and nothing has changed since
                    Err(StoreError::Empty { .. }) => {}
                    Err(why @ (StoreError::Damaged { .. } | StoreError::Mismatch { .. }))
                        if check(&file(number), true).is_ok() =>
                    {
                        damaged.push((file(number), why));
                    }
                    Err(why) => tell(format!("left out: {why}")),
                }
            }
            let full = match set.is_full().then(|| check(&file(&0), false)) {
                Some(Ok(())) => Some(file(&0)),
                Some(Err(why)) => {
                    tell(format!("passed over, an older set is taken: {why}"));
                    None
                }
                None => None,
            };
            if let Some(full) = full {
                let is_damaged = !damaged.is_empty();
                let mut files = vec![full];
                for (part, why) in damaged {
                    tell(format!("what can be read is taken: {why}"));
                    whole.push(part);
                }
                // their order does not matter, but who reads of it will wonder
                whole.sort_by_key(|part| number(part));
                files.extend(whole);
                files.extend(behind);
                return Ok(Some(Newest {
                    name: set.name.clone(),
                    files,
                    is_damaged,
                }));
            }
            for (_, why) in damaged {
                tell(format!("left out: {why}"));
            }
            whole.extend(behind);
            behind = whole;
        }
        Ok(None)
    }

    /// Removes what is too old, if there is a good set; returns the names of
    /// the sets that are gone. To be called under [`Keep::lock`].
    ///
    /// # Errors
    /// If a directory cannot be read, or a file not be removed.
    pub fn prune(&self, now: DateTime) -> Result<Vec<String>, KeepError> {
        let sets = self.sets()?;
        let is_good = |set: &&Set| {
            let full = self.dir.join(&set.name).join("0.dkv");
            set.is_full() && check(&full, false).is_ok()
        };
        let Some(good) = sets.iter().rev().find(is_good) else {
            return Ok(Vec::new());
        };
        let mut gone = Vec::new();
        for set in outdated(&sets, &good.name, self.ages, now) {
            let path = self.dir.join(&set.name);
            if self
                .remove(&set.name)
                .map_err(|why| access(&path)(why.into()))?
            {
                gone.push(set.name.clone());
            }
        }
        Ok(gone)
    }

    /// Removes a set, not through links. Says whether its directory went too,
    /// or has something else in it.
    fn remove(&self, name: &str) -> Result<bool, rustix::io::Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(&self.dir, flags, Mode::empty())?;
        let set = rustix::fs::openat(&top, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        // the full file last: without it the rest is of no use
        let mut names = Vec::new();
        for entry in Dir::read_from(&set)? {
            let entry = entry?;
            let is_file = matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown);
            if is_file && entry.file_name().to_str().ok().and_then(kind).is_some() {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_by_key(|name| name.as_bytes() == b"0.dkv");
        for file in names {
            rustix::fs::unlinkat(&set, file, AtFlags::empty())?;
        }
        match rustix::fs::unlinkat(&top, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) => Ok(false),
            Err(why) => Err(why),
        }
    }
}

/// The number in a part's name.
fn number(part: &Path) -> Option<u32> {
    part.file_stem()?.to_str()?.parse().ok()
}

/// Reads a file to see whether it can be, or with `force` whether anything of
/// it can.
fn check(path: &Path, force: bool) -> Result<(), StoreError> {
    records(path, force, |_| {}, |_, _| Ok::<_, StoreError>(())).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::event::{NodeInfo, NodeName, Tock};
    use crate::wire::state::{Books, Writer};

    fn state() -> Vec<u8> {
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        let books = Books {
            info: NodeInfo::default(),
            tock: Some(Tock(1)),
            node: Some(NodeName::new("a")),
            time: None,
        };
        writer.books(&mut out, &books);
        out
    }

    struct Dump {
        dir: TempDir,
        keep: Keep,
    }

    impl Dump {
        fn new(files: &[(&str, &[u8])]) -> Self {
            let dir = TempDir::new().unwrap();
            for (name, bytes) in files {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            let keep = Keep::new(dir.path().to_owned());
            Self { dir, keep }
        }

        /// What is to be loaded, and what was told.
        fn newest(&self) -> (Vec<String>, Vec<String>) {
            let mut told = Vec::new();
            let newest = self.keep.newest(|text| told.push(text)).unwrap();
            let files = newest.into_iter().flat_map(|newest| newest.files);
            let name = |path: PathBuf| {
                let name = path.strip_prefix(self.dir.path()).unwrap();
                name.to_str().unwrap().to_owned()
            };
            (files.map(name).collect(), told)
        }

        fn has(&self, name: &str) -> bool {
            self.dir.path().join(name).symlink_metadata().is_ok()
        }
    }

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    #[test]
    fn the_newest_set_is_taken_in_the_order_of_its_numbers() {
        let good = &state()[..];
        let dump = Dump::new(&[
            ("2026-03-01-06/0.dkv", good),
            ("2026-03-01-07/0.dkv", good),
            ("2026-03-01-07/2.dkv", good),
            ("2026-03-01-07/10.dkv", good),
            ("2026-03-01-07/1.dkv", good),
            ("2026-03-01-07/11.dkv", b""),
            ("2026-03-01-07/12.dkv.tmp", good),
            ("2026-03-01-07/1.dkv.sum", b"x"),
            ("2026-03-01-08/0.dkv", b""),
            ("2026-03-01-09/x", good),
            ("other/0.dkv", good),
        ]);
        let files = [0, 1, 2, 10].map(|n| format!("2026-03-01-07/{n}.dkv"));
        assert_eq!(dump.newest(), (files.to_vec(), Vec::new()));
        assert_eq!(Dump::new(&[]).newest(), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_full_file_that_is_lost_costs_only_what_it_had() {
        let good = &state()[..];
        let damaged: Vec<u8> = [&good[..good.len() - 3], b"\xc1\xc1\xc1", good, good].concat();
        let dump = Dump::new(&[
            ("2026-03-01-06/0.dkv", good),
            ("2026-03-01-06/1.dkv", good),
            ("2026-03-01-07/0.dkv", b"no state"),
            ("2026-03-01-07/1.dkv", good),
            ("2026-03-01-07/2.dkv", &damaged),
            ("2026-03-01-08/0.dkv", &damaged),
            ("2026-03-01-08/1.dkv", good),
        ]);
        let (files, told) = dump.newest();
        assert_eq!(
            files,
            [
                "2026-03-01-06/0.dkv",
                "2026-03-01-06/1.dkv",
                "2026-03-01-07/1.dkv",
                "2026-03-01-08/1.dkv"
            ]
        );
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].contains("2026-03-01-08/0.dkv"), "{told:#?}");
    }

    #[test]
    fn what_can_be_read_of_a_damaged_part_is_wanted() {
        let good = &state()[..];
        let damaged: Vec<u8> = [good, b"\xc1\xc1", good].concat();
        let dump = Dump::new(&[
            ("2026-03-01-07/0.dkv", good),
            ("2026-03-01-07/1.dkv", &damaged),
            ("2026-03-01-07/2.dkv", good),
        ]);
        let mut told = Vec::new();
        let newest = dump.keep.newest(|text| told.push(text)).unwrap().unwrap();
        assert!(newest.is_damaged);
        assert_eq!((newest.files.len(), told.len()), (3, 1));
        let numbers: Vec<_> = newest.files.iter().map(|file| number(file)).collect();
        assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    }

    /// Of one that was changed behind its checksums as well.
    #[test]
    fn a_part_that_does_not_match_its_checksums_is_damaged() {
        let good = &state()[..];
        let (part, sum) = ("2026-03-01-07/1.dkv", "2026-03-01-07/1.dkv.sum");
        let dump = Dump::new(&[("2026-03-01-07/0.dkv", good), (part, good)]);
        let line = format!("0 {} 00000000 ", good.len());
        let text = format!(
            "moat-sum 1 crc32\n{line}{:08x}\n",
            crc32fast::hash(line.as_bytes())
        );
        fs::write(dump.dir.path().join(sum), text).unwrap();
        let mut told = Vec::new();
        let newest = dump.keep.newest(|text| told.push(text)).unwrap().unwrap();
        assert!(newest.is_damaged, "{told:?}");
        assert_eq!((newest.files.len(), told.len()), (2, 1));
        // and where nothing is left nothing is wanted
        fs::write(dump.dir.path().join(part), b"").unwrap();
        let newest = dump.keep.newest(|text| told.push(text)).unwrap().unwrap();
        assert!(!newest.is_damaged, "{told:?}");
        assert_eq!((newest.files.len(), told.len()), (1, 2));
    }

    #[test]
    fn a_directory_is_made_for_the_next_file() {
        let dump = Dump::new(&[("2026-03-01-07/0.dkv", &state())]);
        let _lock = dump.keep.lock().unwrap();
        let (now, later) = (at("2026-03-01T07:30"), at("2026-03-01T08:00"));
        let inside = |name: &str| dump.dir.path().join(name);
        symlink(inside("2026-03-01-07"), inside("link")).unwrap();
        let log = inside("link/0.dkv");
        let (next, path) = dump.keep.next(now, Some(&log)).unwrap();
        assert!(!next.is_full);
        assert_eq!(path, inside("2026-03-01-07/1.dkv"));
        // the log is another file, or none
        assert!(dump.keep.next(now, Some(&inside("x"))).unwrap().0.is_full);
        assert!(dump.keep.next(now, None).unwrap().0.is_full);
        let (next, path) = dump.keep.next(later, Some(&log)).unwrap();
        assert!(next.is_full && path.parent().unwrap().is_dir());
        let gone = Keep::new(inside("none"));
        assert!(gone.next(now, None).is_err());
    }

    #[test]
    fn one_rotates_at_a_time() {
        let dump = Dump::new(&[]);
        let lock = dump.keep.lock().unwrap();
        let other = File::open(dump.dir.path()).unwrap();
        assert!(other.try_lock().is_err());
        drop(lock);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn only_what_fits_goes_and_never_through_links() {
        let good = &state()[..];
        let dump = Dump::new(&[
            ("2025-03-01-06/0.dkv", good),
            ("2025-03-01-07/0.dkv", good),
            ("2025-03-01-07/0.dkv.sum", b"x"),
            ("2025-03-01-07/1.dkv", good),
            ("2025-03-01-07/2.dkv.tmp", good),
            ("2025-03-01-08/0.dkv", good),
            ("2025-03-01-08/notes", b"mine"),
            ("2026-03-01-07/0.dkv", good),
            ("old/0.dkv", good),
            ("elsewhere/0.dkv", good),
        ]);
        let inside = |name: &str| dump.dir.path().join(name);
        symlink(inside("elsewhere"), inside("2025-03-01-09")).unwrap();
        symlink(inside("old/0.dkv"), inside("2025-03-01-08/1.dkv")).unwrap();
        let gone = dump.keep.prune(at("2026-03-01T08:00")).unwrap();
        assert_eq!(gone, ["2025-03-01-07"]);
        for stays in [
            "2025-03-01-06/0.dkv",
            "2025-03-01-08/notes",
            "2025-03-01-08/1.dkv",
            "2025-03-01-09",
            "2026-03-01-07/0.dkv",
            "old/0.dkv",
            "elsewhere/0.dkv",
        ] {
            assert!(dump.has(stays), "{stays}");
        }
        assert!(!dump.has("2025-03-01-07"));
        assert!(!dump.has("2025-03-01-08/0.dkv"));
    }

    #[test]
    fn nothing_goes_while_nothing_else_is_good() {
        let dump = Dump::new(&[
            ("2025-03-01-06/0.dkv", b"no state"),
            ("2025-03-01-07/0.dkv", b"no state"),
            ("2026-03-01-07/0.dkv", b""),
        ]);
        let now = at("2026-03-01T08:00");
        assert_eq!(dump.keep.prune(now).unwrap(), Vec::<String>::new());
        assert!(dump.has("2025-03-01-06/0.dkv"));
        // an old one that is good is what there is
        fs::write(dump.dir.path().join("2025-03-01-06/0.dkv"), state()).unwrap();
        assert_eq!(dump.keep.prune(now).unwrap(), ["2025-03-01-07"]);
        assert!(dump.has("2025-03-01-06/0.dkv"));
    }
}
