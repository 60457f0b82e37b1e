//! The side file `FILE.sum`: checksums of what has been written to a state
//! file, since its own form has none and a bit that flips in a value makes
//! another value.
//!
//! It is text: a line that names the form and its version, then a line for
//! each block of the file, `BEGIN END SUM OWN`: bytes from and to, their
//! CRC-32, and that of the line itself up to there. `closed LENGTH OWN` says
//! that the file was closed in order.
//!
//! A line tells of bytes only that were on the disk before it was written. So
//! a block that does not match, or is not there, is damage and no torn end;
//! what stands behind the last line is not covered; and an end of the side
//! file itself that cannot be read is one that was torn.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

/// The side file's first line.
const HEADER: &str = "moat-sum 1 crc32";

/// Bytes of the file that one line covers at most: so near is damage placed.
const BLOCK: u64 = 64 << 10;

/// Where the checksums of a file are.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sum");
    name.into()
}

/// Sums up a file as it is written, from its first byte on.
#[derive(Debug, Clone)]
pub struct Sums {
    begin: u64,
    end: u64,
    hash: Hasher,
    out: String,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            begin: 0,
            end: 0,
            hash: Hasher::new(),
            out: format!("{HEADER}\n"),
        }
    }
}

impl Sums {
    /// Of a file without a byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK - (self.end - self.begin);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hash.update(now);
            self.end += now.len() as u64;
            if self.end - self.begin == BLOCK {
                self.finish_block();
            }
            bytes = later;
        }
    }

    /// What is to be appended to the side file for the bytes since the last
    /// mark. Ask for it when a sync of the file begins, and write it when
    /// that has succeeded: if it fails, these bytes are not covered, and
    /// nothing else changes.
    #[must_use]
    pub fn mark(&mut self) -> Vec<u8> {
        if self.end > self.begin {
            self.finish_block();
        }
        std::mem::take(&mut self.out).into_bytes()
    }

    /// The last mark, which says that the file was closed in order. It, too,
    /// may be written only when all of the file is on the disk.
    #[must_use]
    pub fn close(mut self) -> Vec<u8> {
        let mut out = self.mark();
        out.extend_from_slice(line(&format!("closed {} ", self.end)).as_bytes());
        out
    }

    fn finish_block(&mut self) {
        let hash = std::mem::take(&mut self.hash).finalize();
        let text = format!("{} {} {hash:08x} ", self.begin, self.end);
        self.out.push_str(&line(&text));
        self.begin = self.end;
    }

    /// Reads the side file of a file, if it has one. Pipes have none.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn read(path: &Path) -> io::Result<Option<Checks>> {
        match fs::read(beside(path)) {
            Ok(bytes) => Ok(Some(Checks::parse(&bytes))),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }
}

/// A line of the side file: `text`, and its own checksum.
fn line(text: &str) -> String {
    format!("{text}{:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// What a side file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checks {
    blocks: Vec<Block>,
    closed: Option<Closed>,
    /// Where in the side file lines begin that cannot be read, but for those
    /// at the very end: what they told of is not covered
    pub unreadable: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    span: Range<u64>,
    sum: u32,
}

/// The file was closed in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closed {
    /// Bytes of the file
    length: u64,
    /// Where in the side file this is said
    at: u64,
}

/// What a line says.
enum Line {
    Block(Block),
    Closed(u64),
}

impl Checks {
    /// What the bytes of a side file say.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut checks = Self::default();
        let mut at = 0u64;
        let mut unreadable = Vec::new();
        for bytes in bytes.split_inclusive(|b| *b == b'\n') {
            let begin = at;
            at += bytes.len() as u64;
            // whatever follows, this was not the end
            checks.closed = None;
            let whole = bytes.strip_suffix(b"\n");
            if let (0, Some(first)) = (begin, whole) {
                if first != HEADER.as_bytes() {
                    // another version: nothing is understood
                    checks.unreadable.push(0);
                    return checks;
                }
                continue;
            }
            let end = checks.end();
            let text = whole.and_then(|text| std::str::from_utf8(text).ok());
            match text.and_then(parse_line) {
                Some(Line::Block(block)) if block.span.start >= end => checks.blocks.push(block),
                Some(Line::Closed(length)) if length >= end => {
                    checks.closed = Some(Closed { length, at: begin });
                }
                _ => {
                    unreadable.push(begin);
                    continue;
                }
            }
            checks.unreadable.append(&mut unreadable);
        }
        checks
    }

    /// How far the blocks reach, in bytes.
    fn end(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.span.end)
    }
}

fn parse_line(text: &str) -> Option<Line> {
    let (said, own) = text.split_at_checked(text.rfind(' ')? + 1)?;
    if sum(own)? != crc32fast::hash(said.as_bytes()) {
        return None;
    }
    let mut words = said.split_terminator(' ');
    let line = match words.next()? {
        "closed" => Line::Closed(words.next()?.parse().ok()?),
        begin => {
            let span = begin.parse().ok()?..words.next()?.parse().ok()?;
            let sum = sum(words.next()?)?;
            if span.is_empty() {
                return None;
            }
            Line::Block(Block { span, sum })
        }
    };
    words.next().is_none().then_some(line)
}

fn sum(text: &str) -> Option<u32> {
    let is_ours = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u32::from_str_radix(text, 16).ok())?
}

/// What does not agree with a side file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// These bytes are not those that were written.
    Changed(Range<u64>),
    /// These bytes were written, and are not there.
    Missing(Range<u64>),
}

impl Mismatch {
    /// Where in the file they are.
    #[must_use]
    pub const fn span(&self) -> &Range<u64> {
        match self {
            Self::Changed(span) | Self::Missing(span) => span,
        }
    }

    /// What is said of them.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Changed(_) => "do not match",
            Self::Missing(_) => "are missing, says",
        }
    }

    /// Puts another one to it that begins where it ends; or gives it back.
    pub(super) fn join(&mut self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Changed(span), Self::Changed(next)) if span.end == next.start => {
                span.end = next.end;
                None
            }
            (_, other) => Some(other),
        }
    }
}

/// Checks a file as it is read, from its first byte on.
#[derive(Debug)]
pub struct Checker {
    checks: Checks,
    /// The block that is being read, or comes next
    next: usize,
    /// Bytes read
    at: u64,
    hash: Hasher,
}

impl Checker {
    /// Of a file that has these checksums.
    #[must_use]
    pub fn new(checks: Checks) -> Self {
        Self {
            checks,
            next: 0,
            at: 0,
            hash: Hasher::new(),
        }
    }

    /// The next bytes of the file. Each block that ends among them and does
    /// not match goes to `tell`.
    ///
    /// # Errors
    /// What `tell` returns; the rest has not been looked at then.
    pub fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        mut tell: impl FnMut(Mismatch) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(Block { span, sum }) = self.checks.blocks.get(self.next) {
            let skipped = split(&mut bytes, span.start.saturating_sub(self.at));
            let covered = split(&mut bytes, span.end - span.start.max(self.at));
            self.hash.update(covered);
            self.at += (skipped.len() + covered.len()) as u64;
            if self.at < span.end {
                return Ok(());
            }
            let is_same = std::mem::take(&mut self.hash).finalize() == *sum;
            let span = span.clone();
            self.next += 1;
            if !is_same {
                tell(Mismatch::Changed(span))?;
            }
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// How far the checksums reach, in bytes: what is wrong behind that had
    /// not reached the disk.
    #[must_use]
    pub fn covers(&self) -> u64 {
        self.checks.end()
    }

    /// There are no more: what should have come.
    #[must_use]
    pub fn end(&self) -> Option<Mismatch> {
        let end = self.covers();
        (self.at < end).then_some(Mismatch::Missing(self.at..end))
    }
}

/// Takes the first bytes, as many as there are.
fn split<'a>(bytes: &mut &'a [u8], n: u64) -> &'a [u8] {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let (first, rest) = bytes.split_at(n.min(bytes.len()));
    *bytes = rest;
    first
}

/// Whether a file was closed in order at the length it has now. If so, that
/// is no longer said when this returns, on the disk as well: it proves one
/// start, not two.
///
/// # Errors
/// If the file or its side file cannot be read, or the latter not be changed.
pub fn take_closed(path: &Path) -> io::Result<bool> {
    let Some(closed) = Sums::read(path)?.and_then(|checks| checks.closed) else {
        return Ok(false);
    };
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() != closed.length {
        return Ok(false);
    }
    let side = OpenOptions::new().write(true).open(beside(path))?;
    side.set_len(closed.at)?;
    side.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file, and its side file, of pieces with a mark behind each.
    fn written(pieces: &[&[u8]], is_closed: bool) -> (Vec<u8>, Vec<u8>) {
        let (mut sums, mut side) = (Sums::new(), Vec::new());
        for piece in pieces {
            // a turn at a time
            for bytes in piece.chunks(1000) {
                sums.update(bytes);
            }
            side.extend(sums.mark());
        }
        if is_closed {
            side.extend(sums.close());
        }
        (pieces.concat(), side)
    }

    fn checked(file: &[u8], side: &[u8], piece: usize) -> Vec<Mismatch> {
        let mut checker = Checker::new(Checks::parse(side));
        let mut told = Vec::new();
        for bytes in file.chunks(piece) {
            let tell = |mismatch| {
                told.push(mismatch);
                Ok::<_, ()>(())
            };
            checker.feed(bytes, tell).unwrap();
        }
        told.extend(checker.end());
        told
    }

    #[test]
    fn it_looks_like_this() {
        let (_, side) = written(&[b"123456789", b"x"], true);
        assert_eq!(
            String::from_utf8(side).unwrap(),
            "moat-sum 1 crc32\n0 9 cbf43926 72d4d5e1\n9 10 8cdc1683 1996ac6a\nclosed 10 e27ea4d2\n"
        );
    }

    #[test]
    fn what_was_written_matches_in_pieces_of_any_size() {
        let long = vec![7; 200_000];
        let (file, side) = written(&[b"abc", &long, b"", b"d"], false);
        assert_eq!(Checks::parse(&side).blocks.len(), 1 + 4 + 1);
        for piece in [1, 10, 4096, 1 << 20] {
            assert_eq!(checked(&file, &side, piece), [], "by {piece}");
        }
    }

    #[test]
    fn each_flipped_bit_is_placed_in_its_block() {
        let (file, side) = written(&[&[1; 30], &[2; 50], b"abc"], false);
        for bit in 0..file.len() * 8 {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            let block = match bit / 8 {
                0..30 => 0..30,
                30..80 => 30..80,
                _ => 80..83,
            };
            for piece in [1, 7, 1000] {
                let told = checked(&file, &side, piece);
                assert_eq!(told, [Mismatch::Changed(block.clone())], "bit {bit}");
            }
        }
    }

    #[test]
    fn what_is_behind_the_last_mark_is_not_covered_what_is_cut_is_missing() {
        let (mut file, side) = written(&[&[1; 30], &[2; 50]], false);
        file.extend_from_slice(b"more");
        assert_eq!(checked(&file, &side, 16), []);
        for cut in 0..80 {
            let told = checked(&file[..cut], &side, 16);
            assert_eq!(told, [Mismatch::Missing(cut as u64..80)]);
        }
    }

    /// A sync has failed in between.
    #[test]
    fn a_block_without_a_mark_is_left_out() {
        let mut sums = Sums::new();
        let mut side = Vec::new();
        for (piece, is_synced) in [(b"aaa", true), (b"bbb", false), (b"ccc", true)] {
            sums.update(piece);
            let mark = sums.mark();
            if is_synced {
                side.extend(mark);
            }
        }
        assert!(Checks::parse(&side).unreadable.is_empty());
        assert_eq!(checked(b"aaaXbbccc", &side, 2), []);
        let told = checked(b"aaabbbccX", &side, 2);
        assert_eq!(told, [Mismatch::Changed(6..9)]);
    }

    #[test]
    fn a_torn_side_file_covers_less() {
        let (file, side) = written(&[&[1; 30], &[2; 50]], true);
        let whole = Checks::parse(&side);
        for cut in 0..side.len() {
            let checks = Checks::parse(&side[..cut]);
            assert_eq!((checks.unreadable.len(), checks.closed), (0, None));
            assert!(whole.blocks.starts_with(&checks.blocks));
            assert_eq!(checked(&file, &side[..cut], 16), []);
        }
        let zeros = [&side[..], &[0; 100]].concat();
        assert!(Checks::parse(&zeros).unreadable.is_empty());
    }

    /// A bit that flips in the side file accuses nothing, and proves nothing.
    #[test]
    fn a_flipped_bit_in_the_side_file_is_told_or_harmless() {
        let (file, side) = written(&[&[1; 30], &[2; 50], &[3; 9]], true);
        for bit in 0..side.len() * 8 {
            let mut flipped = side.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let checks = Checks::parse(&flipped);
            let is_at_the_end = bit / 8 >= side.len() - "\nclosed 89 00000000\n".len();
            assert_eq!(checks.unreadable.is_empty(), is_at_the_end, "bit {bit}");
            assert_eq!(checks.closed.is_none(), is_at_the_end || bit / 8 < 17);
            assert_eq!(checked(&file, &flipped, 16), [], "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_not_understood() {
        let (file, side) = written(&[b"abc"], true);
        let text = String::from_utf8(side).unwrap();
        let side = text
            .replace("moat-sum 1", "moat-sum 2")
            .replace("0 3", "0 9");
        assert_eq!(Checks::parse(side.as_bytes()).unreadable, [0]);
        assert_eq!(checked(&file, side.as_bytes(), 16), []);
    }

    #[test]
    fn an_end_in_order_is_proved_once_and_at_its_length_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("0.dkv");
        assert!(!take_closed(&file).unwrap(), "there is nothing");
        let (bytes, side) = written(&[b"abc", b"defg"], true);
        fs::write(&file, &bytes).unwrap();
        assert!(!take_closed(&file).unwrap(), "nothing is said");
        fs::write(beside(&file), &side).unwrap();
        for other in [&b"abcdef"[..], b"abcdefgh"] {
            fs::write(&file, other).unwrap();
            assert!(!take_closed(&file).unwrap());
        }
        fs::write(&file, &bytes).unwrap();
        assert!(take_closed(&file).unwrap());
        assert!(!take_closed(&file).unwrap());
        // all else is said as before
        let (_, open) = written(&[b"abc", b"defg"], false);
        assert_eq!(fs::read(beside(&file)).unwrap(), open);
        fs::write(beside(&file), [&side[..], b"0"].concat()).unwrap();
        assert!(!take_closed(&file).unwrap(), "something follows");
    }
}
