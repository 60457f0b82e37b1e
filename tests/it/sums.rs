//! Checksums beside a state file: damage that its own form cannot show.

use std::fs;
use std::path::{Path, PathBuf};

use moat::node::journal::Change;
use moat::store::{Mismatch, Problem, Record, StoreError, Sums, beside, records};
use moat::wire::state::{Reader, Writer};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::moat::{Options, Server, bare};
use crate::support::process::{Output, run};

/// A folder with one file.
struct Folder {
    directory: TempDir,
    file: PathBuf,
}

impl Folder {
    /// A recorded file without its last `bare` bytes has marks behind each
    /// 100 bytes; then come those.
    fn of(name: &str, bare: usize) -> (Self, Vec<u8>) {
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("0.dkv");
        let bytes = fs::read(recorded(name)).expect("a recording");
        let (mut sums, mut side) = (Sums::new(), Vec::new());
        for synced in bytes[..bytes.len() - bare].chunks(100) {
            sums.update(synced);
            side.extend(sums.mark());
        }
        fs::write(&file, &bytes).unwrap();
        fs::write(beside(&file), side).unwrap();
        (Self { directory, file }, bytes)
    }

    fn text(&self) -> &str {
        text(&self.file)
    }

    fn new_file(&self) -> PathBuf {
        self.directory.path().join("new")
    }
}

fn recorded(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("tests/vectors/state/{name}.msgpack"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a text")
}

/// The records of a file, as they would be written, and what was told.
type Told = (Vec<Vec<u8>>, Vec<Problem>);

fn read(file: &Path, force: bool) -> Result<Told, StoreError> {
    let (mut told, mut problems) = (Vec::new(), Vec::new());
    let tell = |problem| problems.push(problem);
    records(file, force, tell, |_, record| {
        let mut out = Vec::new();
        match record {
            Record::Event(event) => Writer::new().change(&mut out, &Change::of(event)),
            Record::Books(books) => Writer::new().books(&mut out, books),
        }
        told.push(out);
        Ok::<_, StoreError>(())
    })?;
    Ok((told, problems))
}

fn kv(args: &[&str]) -> Output {
    let mut command = bare(None);
    command.arg("kv").args(args);
    run("moat kv", &mut command, None, PATIENCE).unwrap()
}

/// The next of numbers that look like any.
fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 1).expect("63 bits")
}

/// Each of 1,000 bits: in what is covered it is always told, with its place,
/// and needs force; behind that it harms nothing that stands before it.
#[test]
fn a_flipped_bit_is_told_or_harmless() {
    let bare = 300;
    let (folder, bytes) = Folder::of("dest", bare);
    let (whole, problems) = read(&folder.file, false).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let covered = bytes.len() - bare;
    // records that end before the part without checksums, but for the last one
    let mut reader = Reader::new();
    reader.feed(&bytes[..covered]);
    let before = std::iter::from_fn(|| reader.poll().map(drop)).count();
    let (mut seed, mut tails) = (1, 0);
    for _ in 0..1000 {
        let bit = next(&mut seed) % (bytes.len() * 8);
        let at = bit / 8;
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (bit % 8);
        fs::write(&folder.file, &flipped).unwrap();
        if at >= covered {
            tails += 1;
            let (told, _) = read(&folder.file, true).unwrap();
            assert_eq!(told[..before], whole[..before], "bit {bit}");
            continue;
        }
        let begin = at as u64 / 100 * 100;
        let block = begin..(begin + 100).min(covered as u64);
        match read(&folder.file, false) {
            Err(StoreError::Mismatch { what, .. }) => {
                assert_eq!(what, Mismatch::Changed(block.clone()), "bit {bit}");
            }
            other => panic!("bit {bit}: {other:?}"),
        }
        let (_, problems) = read(&folder.file, true).unwrap();
        let told = problems.iter().find(|p| p.what.contains("do not match"));
        let told = told.unwrap_or_else(|| panic!("bit {bit}: {problems:?}"));
        assert_eq!((told.at, &told.path), (block.start, &folder.file));
    }
    assert!(tails > 50 && before > 10, "{tails} {before}");
}

/// The power fails: what was synced is there, and of the last 200 bytes any
/// part. Then the next file comes.
#[test]
fn a_torn_end_behind_the_checksums_needs_no_force() {
    let bare = 200;
    let (folder, bytes) = Folder::of("log-a-65s", bare);
    let next = fs::read(recorded("full")).unwrap();
    let (whole, _) = read(&folder.file, false).unwrap();
    let (follows, _) = read(&recorded("full"), false).unwrap();
    for cut in bytes.len() - bare..bytes.len() {
        fs::write(&folder.file, &bytes[..cut]).unwrap();
        let (alone, problems) = read(&folder.file, false).unwrap();
        assert!(whole.starts_with(&alone), "cut at {cut}");
        assert!(problems.len() <= 1, "cut at {cut}: {problems:?}");
        fs::write(&folder.file, [&bytes[..cut], &next].concat()).unwrap();
        let (both, _) = read(&folder.file, false).unwrap();
        assert_eq!(both, [&alone[..], &follows].concat(), "cut at {cut}");
    }
}

/// And of what was not synced, a block may be missing before others.
#[test]
fn a_hole_behind_the_checksums_needs_no_force() {
    let bare = 900;
    let (folder, mut bytes) = Folder::of("dest", bare);
    let (whole, _) = read(&folder.file, false).unwrap();
    let begin = bytes.len() - bare;
    bytes[begin..begin + 100].fill(0);
    fs::write(&folder.file, &bytes).unwrap();
    let (told, problems) = read(&folder.file, false).unwrap();
    assert!(told.len() > 10 && told.len() < whole.len());
    assert!(!problems.is_empty());
    let is_behind = |p: &Problem| p.what.starts_with("behind what was synced");
    assert!(problems.iter().all(is_behind), "{problems:?}");
    // without checksums nobody can know that
    fs::remove_file(beside(&folder.file)).unwrap();
    let refused = read(&folder.file, false);
    assert!(
        matches!(refused, Err(StoreError::Damaged { .. })),
        "{refused:?}"
    );
}

/// Where bytes are gone that were on the disk, it is no torn end.
#[test]
fn a_cut_before_the_end_of_the_checksums_is_damage() {
    let (folder, bytes) = Folder::of("log-a-65s", 0);
    let (whole, _) = read(&folder.file, false).unwrap();
    let length = bytes.len() as u64;
    for cut in bytes.len() - 200..bytes.len() {
        fs::write(&folder.file, &bytes[..cut]).unwrap();
        match read(&folder.file, false) {
            Err(StoreError::Mismatch { what, .. }) => {
                assert_eq!(what, Mismatch::Missing(cut as u64..length));
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
        let (told, problems) = read(&folder.file, true).unwrap();
        assert!(whole.starts_with(&told), "cut at {cut}");
        assert!(told.len() + 8 > whole.len(), "cut at {cut}: {}", told.len());
        let missing = problems.last().unwrap();
        assert_eq!(missing.at, cut as u64, "{problems:?}");
        assert!(missing.what.contains("missing"), "{missing}");
    }
}

#[test]
fn what_is_wrong_with_the_side_file_is_told_and_no_error() {
    let (folder, bytes) = Folder::of("full", 0);
    let (whole, _) = read(&folder.file, false).unwrap();
    let side = fs::read(beside(&folder.file)).unwrap();
    let mut flipped = side.clone();
    flipped[40] ^= 1;
    let mut changed = bytes.clone();
    // covered by what is left
    *changed.last_mut().unwrap() ^= 1;
    for (side, why) in [
        (&b"anything\nelse\n"[..], "0.dkv.sum is not understood"),
        (&flipped, "not all is checked: 1 bad lines in 0.dkv.sum"),
    ] {
        fs::write(&folder.file, &bytes).unwrap();
        fs::write(beside(&folder.file), side).unwrap();
        let (told, problems) = read(&folder.file, false).unwrap();
        assert_eq!(told, whole);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].what.contains(why), "{problems:?}");
        fs::write(&folder.file, &changed).unwrap();
        let is_checked = side.starts_with(b"moat-sum");
        assert_eq!(read(&folder.file, false).is_err(), is_checked);
    }
}

/// A value that has become another one, which no form can show.
#[test]
fn a_changed_value_stops_a_load_until_it_is_forced() {
    let (folder, mut bytes) = Folder::of("full", 0);
    let at = bytes.windows(9).position(|w| w == b"ann again").unwrap();
    bytes[at] = b'X';
    fs::write(&folder.file, &bytes).unwrap();
    let (begin, file) = (at / 100 * 100, folder.text());
    let why = format!(
        "{file}: bytes {begin} to {} do not match 0.dkv.sum: --force takes what can be read; \
         delete 0.dkv.sum if the file was changed on purpose",
        begin + 100
    );
    let refused = kv(&["-C", "server.backend=none", "server", "-l", file, "ann"]);
    assert_eq!(refused.code(), 1);
    let last = refused.stderr.lines().last().unwrap_or_default();
    assert_eq!(last, format!("cannot load {why}"));
    for args in [&["dump", "show"][..], &["dump", "diff", file]] {
        let refused = kv(&[args, &[file]].concat());
        assert_eq!(refused.code(), 1);
        assert!(refused.stderr.contains(&why), "{}", refused.stderr);
    }
    let shown = kv(&["dump", "show", "-e", "--force", file]);
    assert!(shown.stdout.contains("Xnn again"), "{}", shown.stdout);
    let told = format!("{file}: byte {begin}: 100 bytes do not match 0.dkv.sum\n");
    assert_eq!((shown.code(), shown.stderr), (0, told.clone()));

    let server = Server::with(&Options::begun("ann", &["-f", "-l", file]));
    let got = server.kv(&["data", ":", "get", "-r"], None).unwrap();
    assert!(got.ok().unwrap().contains("Xnn again"));
    assert!(server.process.stderr().contains(told.trim_end()));

    let new = folder.new_file();
    let checked = kv(&["--json", "dump", "check", "--repair", text(&new), file]);
    assert_eq!(checked.code(), 1);
    let checked: Json = serde_json::from_str(&checked.stdout).unwrap();
    let what = "100 bytes do not match 0.dkv.sum";
    let problem = json!({"file": file, "at": begin, "what": what});
    assert_eq!(checked["problems"], json!([problem]));
    // the new file has its own checksums, which are no proof of a clean stop
    let side = fs::read_to_string(beside(&new)).unwrap();
    let length = fs::metadata(&new).unwrap().len();
    assert!(side.contains(&format!("\n0 {length} ")) && !side.contains("closed"));
    assert_eq!(kv(&["dump", "check", text(&new)]).code(), 0);
    // where a file is written anew, the old checksums go
    kv(&["dump", "merge", text(&new), file]).ok().unwrap();
    assert!(!beside(&folder.file).exists());
    assert_eq!(kv(&["dump", "check", file]).code(), 0);
}
