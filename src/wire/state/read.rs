//! Reading a file, or several one behind the other, in pieces of any size.
//!
//! Nothing in a file says where it ends, so a file that ends torn and is
//! followed by another one looks like damage: what is missing of its last
//! record is taken from the next file, and what comes out may even be a
//! record, a wrong one. Every file begins with bookkeeping, though. So a
//! record is believed only when the next one is sound; if that is not, a
//! whole record of bookkeeping is looked for in the bytes of both, and where
//! one is found, a file had ended before it. Whatever is left unreadable at
//! the very end is a torn end, too. All else is damage, after which records
//! are looked for again, one byte after the other.

use std::ops::Range;

use crate::event::Event;
use crate::msgpack::{Fault, Walker};
use crate::path::RawPath;
use crate::wire::state::MAX_RECORD;
use crate::wire::state::record::{Books, Fields, Flaw, Kind, blank};
use crate::wire::state::usual::{self, Usual};

/// What has been found in a file.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Found<'a> {
    /// An entry or a change. Its tock is 0 if it has none.
    Event(&'a Event),
    /// Bookkeeping
    Books(&'a Books),
    /// A record that says nothing known
    Strange(Range<u64>),
    /// A file ends there in the middle of a record. Nothing that was written
    /// before it is lost.
    Torn(Range<u64>),
    /// These bytes cannot be read, but something behind them can.
    Damaged(Range<u64>, Flaw),
}

/// Reads records. Offsets count from the first byte that was given.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Where in the file the buffer begins
    offset: u64,
    /// Where in the buffer the next thing to be told begins
    at: usize,
    /// Bytes of the record there, which is believed if a sound one follows
    held: usize,
    /// What was found in it, if it is a usual one
    usual: Option<Usual>,
    /// Nothing comes behind the buffer.
    ended: bool,
    walker: Walker,
    state: State,
    /// The last record's path
    base: RawPath,
    /// It is not known.
    is_lost: bool,
    event: Event,
    books: Books,
}

#[derive(Debug)]
enum State {
    /// Record after record
    Reading,
    /// From this offset on nothing can be read, because of that; records are
    /// looked for at `at`.
    Searching(u64, Flaw),
    Over,
}

/// What is to be done next.
enum Step {
    Again,
    /// Tell of the record that is held; then this one is, which is behind it.
    Tell(usize, Option<Usual>),
    Torn(Range<u64>),
    Damaged(Range<u64>, Flaw),
}

/// What bytes begin with.
enum Look {
    /// A sound record of this length, and what has been found in it
    Record(usize, Option<Usual>),
    /// The beginning of one, perhaps
    More,
    /// None: why, and how many bytes it would have
    None(Flaw, usize),
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            offset: 0,
            at: 0,
            held: 0,
            usual: None,
            ended: false,
            walker: Walker::new(),
            state: State::Reading,
            base: RawPath::new(),
            is_lost: false,
            event: blank(),
            books: Books::default(),
        }
    }
}

impl Reader {
    /// A reader at the beginning of a file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.offset += self.at as u64;
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// There are no more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Where in the file the next thing begins, in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// What comes next; `None` if more bytes are needed, or if there is
    /// nothing behind the last ones.
    pub fn poll(&mut self) -> Option<Found<'_>> {
        if self.tell_usual() {
            return Some(Found::Event(&self.event));
        }
        loop {
            return match self.step()? {
                Step::Again => continue,
                Step::Tell(next, usual) => Some(self.tell(next, usual)),
                Step::Torn(span) => Some(Found::Torn(span)),
                Step::Damaged(span, why) => Some(Found::Damaged(span, why)),
            };
        }
    }

    /// The short way where one usual record follows another: returns whether
    /// the event of the one that is held has been read.
    #[inline]
    fn tell_usual(&mut self) -> bool {
        let Some(usual) = &self.usual else {
            return false;
        };
        // as in `look_ahead`; a record is held only while records are read
        if self.walker.is_inside() || (self.is_lost && usual.goes_on()) {
            return false;
        }
        let end = self.at + self.held;
        let (Some(record), Some(rest)) = (self.buffer.get(self.at..end), self.buffer.get(end..))
        else {
            return false;
        };
        let Some(next) = usual::read(rest) else {
            return false;
        };
        let read = usual.event(record, &mut self.base, &mut self.event);
        if read.is_err() {
            // the general way does the same again, and tells why
            return false;
        }
        self.at = end;
        self.held = next.size();
        self.usual = Some(next);
        self.is_lost = false;
        true
    }

    /// `None` if more bytes are needed, or if it is over.
    fn step(&mut self) -> Option<Step> {
        match self.state {
            State::Over => return None,
            State::Searching(..) => return self.search(),
            State::Reading => {}
        }
        match self.look_ahead() {
            Look::More if !self.ended => None,
            Look::More => match self.rest(self.held).len() {
                0 if self.held == 0 => {
                    self.state = State::Over;
                    None
                }
                0 => Some(Step::Tell(0, None)),
                span => self.fail(Flaw::CutOff, span),
            },
            Look::Record(len, usual) if self.held > 0 => Some(Step::Tell(len, usual)),
            Look::Record(len, usual) => {
                self.held = len;
                self.usual = usual;
                Some(Step::Again)
            }
            Look::None(why, span) => self.fail(why, span),
        }
    }

    /// The bytes behind the first `skip` that have not been told of.
    fn rest(&self, skip: usize) -> &[u8] {
        self.buffer.get(self.at + skip..).unwrap_or(&[])
    }

    /// What follows the record that is held.
    fn look_ahead(&mut self) -> Look {
        let rest = self.buffer.get(self.at + self.held..).unwrap_or(&[]);
        // tried once: a long record must not be read from its start again and
        // again while it comes
        if !self.walker.is_inside()
            && let Some(usual) = usual::read(rest)
        {
            return Look::Record(usual.size(), Some(usual));
        }
        let len = match self.walker.advance(rest) {
            Ok(Some(len)) => len,
            Ok(None) if rest.len() > MAX_RECORD => {
                self.walker = Walker::new();
                return Look::None(Flaw::TooLong, MAX_RECORD);
            }
            Ok(None) => return Look::More,
            Err(fault) => {
                self.walker = Walker::new();
                // the others say nothing of where they are
                let span = match fault {
                    Fault::Reserved(at) => at + 1,
                    _ => rest.len().min(MAX_RECORD),
                };
                return Look::None(fault.into(), span);
            }
        };
        match Fields::find(rest.get(..len).unwrap_or(rest)) {
            Ok(_) => Look::Record(len, None),
            Err(why) => Look::None(why, len),
        }
    }

    /// Tells of the record that is held; the one behind it has `next` bytes.
    fn tell(&mut self, next: usize, next_usual: Option<Usual>) -> Found<'_> {
        let begin = self.position();
        let span = begin..begin + self.held as u64;
        let end = self.at + self.held;
        let record = self.buffer.get(self.at..end).unwrap_or(&[]);
        self.at = end;
        self.held = next;
        if let Some(usual) = std::mem::replace(&mut self.usual, next_usual) {
            if self.is_lost && usual.goes_on() {
                return Found::Damaged(span, Flaw::Unplaced);
            }
            let read = usual.event(record, &mut self.base, &mut self.event);
            return self.event(span, read);
        }
        let fields = match Fields::find(record) {
            Ok(fields) => fields,
            Err(why) => return Found::Damaged(span, why),
        };
        match fields.kind() {
            Kind::Strange => Found::Strange(span),
            Kind::Books => match fields.books() {
                Ok(books) => {
                    self.books = books;
                    Found::Books(&self.books)
                }
                Err(why) => Found::Damaged(span, why),
            },
            Kind::Event => {
                let goes_on = fields.goes_on();
                if self.is_lost && goes_on {
                    return Found::Damaged(span, Flaw::Unplaced);
                }
                let read = fields.event(&mut self.base, &mut self.event);
                self.event(span, read)
            }
        }
    }

    /// An event has been read, or not.
    fn event(&mut self, span: Range<u64>, read: Result<(), Flaw>) -> Found<'_> {
        self.is_lost = read.is_err();
        match read {
            Ok(()) => Found::Event(&self.event),
            Err(why) => Found::Damaged(span, why),
        }
    }

    /// What follows the record that is held cannot be read: `span` bytes.
    fn fail(&mut self, why: Flaw, span: usize) -> Option<Step> {
        let before = self.at + usize::from(self.held > 0);
        let end = (self.at + self.held + span).min(self.buffer.len());
        let begin = self.find_beginning(before..end)?;
        if self.held > 0 && begin.is_none_or(|begin| begin >= self.at + self.held) {
            return Some(Step::Tell(0, None));
        }
        self.walker = Walker::new();
        let from = self.position();
        let Some(begin) = begin else {
            self.state = State::Searching(from, why);
            self.usual = None;
            self.at += 1;
            return Some(Step::Again);
        };
        self.at = begin;
        self.held = 0;
        self.usual = None;
        self.base.clear();
        self.is_lost = false;
        Some(Step::Torn(from..self.position()))
    }

    /// Where among these places of the buffer a file begins. The outer
    /// `None`: more bytes are needed.
    #[allow(clippy::option_option)] // whether it is known, and whether there is one
    fn find_beginning(&self, places: Range<usize>) -> Option<Option<usize>> {
        for at in places {
            let rest = self.buffer.get(at..).unwrap_or(&[]);
            if !matches!(rest, [0x81..=0x8f, 0xa5, b'n', b'o', b'd', b'e', b's', ..]) {
                // perhaps only its first bytes are here
                if !self.ended && rest.len() < 7 && matches!(rest, [] | [0x81..=0x8f, ..]) {
                    return None;
                }
                continue;
            }
            match sound(rest) {
                Look::Record(len, _) => {
                    let fields = Fields::find(rest.get(..len).unwrap_or(rest));
                    if fields.is_ok_and(|f| f.begins_a_file() && f.books().is_ok()) {
                        return Some(Some(at));
                    }
                }
                Look::More if !self.ended => return None,
                Look::More | Look::None(..) => {}
            }
        }
        Some(None)
    }

    /// Looks for the next record after damage. `None` if more bytes are
    /// needed.
    fn search(&mut self) -> Option<Step> {
        loop {
            let candidate = self.rest(0).iter().position(|b| matches!(b, 0x81..=0x8f));
            let Some(skip) = candidate else {
                self.at = self.buffer.len();
                return if self.ended { self.give_up() } else { None };
            };
            self.at += skip;
            let rest = self.rest(0);
            match sound(rest) {
                Look::More if !self.ended => return None,
                Look::Record(len, _) if is_plain(rest.get(..len).unwrap_or(rest)) => {
                    self.held = len;
                    self.is_lost = true;
                    return match std::mem::replace(&mut self.state, State::Reading) {
                        State::Searching(from, why) => {
                            Some(Step::Damaged(from..self.position(), why))
                        }
                        State::Reading | State::Over => Some(Step::Again),
                    };
                }
                Look::More | Look::Record(..) | Look::None(..) => self.at += 1,
            }
        }
    }

    /// Nothing can be read to the end.
    fn give_up(&mut self) -> Option<Step> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Searching(from, _) => Some(Step::Torn(from..self.position())),
            State::Reading | State::Over => None,
        }
    }
}

/// Whether a sound record is certainly one.
fn is_plain(record: &[u8]) -> bool {
    Fields::find(record).is_ok_and(|fields| match fields.kind() {
        Kind::Event => true,
        Kind::Books => fields.begins_a_file(),
        Kind::Strange => false,
    })
}

/// What bytes begin with, which may be no record at all.
fn sound(bytes: &[u8]) -> Look {
    match crate::msgpack::skip(bytes) {
        Ok(len) if len > MAX_RECORD => Look::None(Flaw::TooLong, len),
        Ok(len) => match Fields::find(bytes.get(..len).unwrap_or(bytes)) {
            Ok(_) => Look::Record(len, None),
            Err(why) => Look::None(why, len),
        },
        Err(Fault::Incomplete) if bytes.len() <= MAX_RECORD => Look::More,
        Err(fault) => Look::None(fault.into(), bytes.len()),
    }
}
