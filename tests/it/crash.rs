//! The power fails while a log is written: the log's rules over a disk that
//! keeps apart what was written and what is durable.
//!
//! Of bytes that were not synced, any block may be there or not when the
//! machine comes up again, whatever their order was, and the file may end
//! anywhere behind what was. Names change with all that they stand for.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use moat::event::{ChainEnd, Event, NamedLink, NodeName, Tick, Tock};
use moat::node::journal::Journal;
use moat::node::machine::{Machine, Seed};
use moat::node::time::Timestamp;
use moat::node::tree::Ix;
use moat::node::{Effects, Limits};
use moat::path::RawPath;
use moat::store::log::{FileId, Log, Op, Options, Stamp, Sync};
use moat::store::{Load, beside, load};
use moat::wire::client::Outbox;

/// What survives as a whole, or not.
const BLOCK: usize = 64;
const CHANGES: u64 = 1000;
/// Changes of one file; of three files one begins without what was before.
const FILE: u64 = 110;
const ENTRIES: usize = 50;

/// Numbers that look like any, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).expect("63 bits") % n
    }
}

/// Bytes of which the first ones are durable.
#[derive(Debug, Clone, Default)]
struct Bytes {
    written: Vec<u8>,
    durable: usize,
}

impl Bytes {
    /// What may be there when the power comes back.
    fn survivors(&self, chance: &mut Chance) -> Vec<u8> {
        let rest = self.written.len() - self.durable;
        let (end, torn) = match chance.below(4) {
            0 => (self.written.len(), false),
            1 => (self.durable, false),
            2 => (self.durable + chance.below(rest + 1), false),
            _ => (self.durable + chance.below(rest + 1), true),
        };
        let mut bytes = self.written[..end].to_vec();
        // blocks are those of the file, not of what was written
        let mut at = self.durable;
        while torn && at < end {
            let next = ((at / BLOCK + 1) * BLOCK).min(end);
            if chance.below(2) == 0 {
                bytes[at..next].fill(0);
            }
            at = next;
        }
        bytes
    }
}

#[derive(Debug, Default)]
struct File {
    path: PathBuf,
    bytes: Bytes,
    side: Bytes,
    is_named: bool,
    is_closed: bool,
    is_full: bool,
}

/// A disk, and what is still to be done to it, with how many bytes of its
/// file there were when that was said.
#[derive(Default)]
struct Disk {
    files: BTreeMap<FileId, File>,
    ops: VecDeque<(Op, usize)>,
}

impl Disk {
    fn file(&mut self, id: FileId) -> &mut File {
        self.files.get_mut(&id).expect("a file that was created")
    }

    fn submit(&mut self, op: Op) {
        let id = op.file();
        let file = self.files.get(&id);
        let before = self.ops.iter().filter(|(op, _)| op.file() == id);
        let bytes = before.map(|(op, _)| match op {
            Op::Append { bytes, .. } => bytes.len(),
            _ => 0,
        });
        let len = file.map_or(0, |file| file.bytes.written.len()) + bytes.sum::<usize>();
        self.ops.push_back((op, len));
    }

    /// Does what is to be done next.
    fn perform(&mut self) -> Option<Op> {
        let (op, len) = self.ops.pop_front()?;
        match &op {
            Op::Create { file, path } => {
                let new = File {
                    path: path.clone(),
                    is_full: path.to_string_lossy().starts_with("full"),
                    ..File::default()
                };
                self.files.insert(*file, new);
            }
            Op::Append { file, bytes } => self.file(*file).bytes.written.extend(bytes),
            Op::Sync { file, mark } => {
                let file = self.file(*file);
                // no more than was there when it was asked for
                file.bytes.durable = file.bytes.durable.max(len);
                file.side.written.extend(mark);
            }
            Op::Finish { file, mark } => {
                let file = self.file(*file);
                file.bytes.durable = file.bytes.written.len();
                file.side.written.extend(mark);
                file.side.durable = file.side.written.len();
                file.is_named = true;
            }
            Op::Close { file, mark } => {
                let file = self.file(*file);
                file.bytes.durable = file.bytes.written.len();
                file.side.written.extend(mark);
                file.side.durable = file.side.written.len();
                file.is_closed = true;
                self.tidy();
            }
            Op::Abandon { .. } | Op::Remove { .. } => panic!("nothing fails here: {op:?}"),
        }
        Some(op)
    }

    /// What is before the last full file is not needed any more, once that
    /// is closed.
    fn tidy(&mut self) {
        let full = |file: &File| file.is_full && file.is_named;
        let Some((last, _)) = self.files.iter().rev().find(|(_, file)| full(file)) else {
            return;
        };
        let last = *last;
        self.files.retain(|id, file| *id >= last || !file.is_closed);
    }

    /// The power fails: the files that are there then, in `directory`.
    fn crash(&self, chance: &mut Chance, directory: &Path) -> Vec<PathBuf> {
        let named = self.files.values().filter(|file| file.is_named);
        let write = |file: &File| {
            let path = directory.join(&file.path);
            fs::write(&path, file.bytes.survivors(chance)).unwrap();
            fs::write(beside(&path), file.side.survivors(chance)).unwrap();
            path
        };
        named.map(write).collect()
    }
}

/// A change of the script: which entry, and what it holds then.
#[derive(Clone)]
struct Change {
    entry: RawPath,
    value: Option<Vec<u8>>,
    at: Timestamp,
}

struct Run {
    machine: Machine<Outbox>,
    log: Log,
    disk: Disk,
    now: Timestamp,
    script: Vec<Change>,
    /// Changes that were there before the log
    before: u64,
    chance: Chance,
    directory: tempfile::TempDir,
    /// Places in which the power failed
    crashes: u64,
    /// Of what was loaded after all of them, changes that were not promised
    more: u64,
}

fn machine() -> Machine<Outbox> {
    let seed = Seed { hash: 1, run: 1 };
    Machine::new(&NodeName::new("ann"), Vec::new(), Limits::default(), seed)
}

impl Run {
    fn new(sync: Sync, seed: u64) -> Self {
        let options = Options {
            sync,
            ..Options::default()
        };
        Self {
            machine: machine(),
            log: Log::new(options),
            disk: Disk::default(),
            now: Timestamp(0),
            script: Vec::new(),
            before: 0,
            chance: Chance(seed),
            directory: tempfile::tempdir().expect("a directory"),
            crashes: 0,
            more: 0,
        }
    }

    /// Lets the log do something.
    fn log<T>(&mut self, f: impl FnOnce(&mut Log, Timestamp, Stamp<'_>) -> T) -> T {
        let (node, tick) = self.machine.node();
        #[allow(clippy::cast_precision_loss)] // some seconds
        let stamp = Stamp {
            node,
            tick,
            tock: self.machine.replica().tock(),
            wall: self.now.0 as f64 / 1e6,
        };
        f(&mut self.log, self.now, stamp)
    }

    fn open(&mut self, n: u64) -> String {
        let full = !n.is_multiple_of(3);
        let kind = if full { "full" } else { "more" };
        let name = format!("{kind}-{n}.dkv");
        let path = PathBuf::from(&name);
        self.log(|log, now, stamp| log.open(now, None, path, full, stamp));
        name
    }

    /// The next change of the script.
    fn change(&mut self) {
        let tick = self.script.len() as u64 + 1;
        let mut path = RawPath::new();
        path.push_str("room");
        path.push_str(&format!("{:02}", self.chance.below(ENTRIES)));
        let mut value = Vec::new();
        let text = "x".repeat(self.chance.below(30));
        moat::msgpack::write::str(&mut value, &format!("{tick}{text}"));
        let value = (self.chance.below(10) > 0).then_some(value);
        let event = Event {
            path: path.clone(),
            chain: vec![NamedLink {
                node: NodeName::new("ann"),
                tick: Tick(tick),
            }],
            end: ChainEnd::Cut,
            tock: Tock(tick),
            value: value.clone().map(Into::into),
        };
        self.script.push(Change {
            entry: path,
            value,
            at: self.now,
        });
        let persist = self.log.takes_changes();
        self.machine.set_effects(Effects { persist });
        self.machine.handle_loaded(&event);
        let mut journal = Journal::default();
        self.machine.swap_journal(&mut journal);
        for change in journal.changes() {
            self.log(|log, _, stamp| log.change(&change, stamp));
        }
    }

    /// What a node does in each of its turns.
    fn turn(&mut self) {
        if let Some(scope) = self.log.wants() {
            self.machine.begin_dump(scope);
        }
        if self.log.may_tell() {
            let mut machine = std::mem::replace(&mut self.machine, machine());
            let (name, tick) = machine.node();
            let name = name.clone();
            #[allow(clippy::cast_precision_loss)] // some seconds
            let stamp = Stamp {
                node: &name,
                tick,
                tock: machine.replica().tock(),
                wall: self.now.0 as f64 / 1e6,
            };
            if !machine.dump(16, &mut |told| self.log.tell(&told, stamp)) {
                self.log.told(self.now);
            }
            self.machine = machine;
        }
        if let Some((file, bytes)) = self.log.to_write() {
            // more than one write may be needed
            let cut = self.chance.below(bytes.len() + 1);
            let (first, rest) = bytes.split_at(cut);
            let (first, rest) = (first.to_vec(), rest.to_vec());
            for bytes in [first, rest] {
                self.disk.file(file).bytes.written.extend(bytes);
                self.crash();
            }
            self.log.wrote(self.now, Duration::ZERO, Ok(()));
        }
        self.log.turn(self.now);
        while let Some(op) = self.log.poll_op() {
            self.disk.submit(op);
        }
        self.crash();
    }

    /// The helper does one thing.
    fn perform(&mut self) {
        if let Some(op) = self.disk.perform() {
            self.crash();
            self.log(|log, now, stamp| log.handle_done(now, &op, Ok(()), stamp));
            while let Some(op) = self.log.poll_op() {
                self.disk.submit(op);
            }
            self.crash();
        }
    }

    /// What a reader would find if the power failed now.
    fn crash(&mut self) {
        // before that nothing is promised
        if !self.disk.files.values().any(|file| file.is_named) {
            return;
        }
        // those of an earlier crash are not there any more
        for file in fs::read_dir(self.directory.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        let files = self.disk.crash(&mut self.chance, self.directory.path());
        let mut found = machine();
        let wanted = Load {
            files,
            authoritative: false,
            force: false,
        };
        load(&wanted, &mut found, |_| {}).unwrap_or_else(|why| panic!("at {:?}: {why}", self.now));
        self.crashes += 1;
        let promised = self.promised();
        let mut last = BTreeMap::new();
        for (change, tick) in self.script.iter().zip(1..=promised) {
            last.insert(change.entry.as_ref().bytes(), (change, tick));
        }
        for (change, tick) in last.into_values() {
            let path = change.entry.as_ref();
            let replica = found.replica();
            let ix = replica.tree().resolve(Ix::ROOT, path).unwrap();
            let ix = ix.unwrap_or_else(|| panic!("change {tick} of {promised} is lost"));
            let entry = replica.tree().get(ix);
            let head = entry.head().map_or(0, |link| link.tick().0);
            assert!(head >= tick, "change {tick} of {promised} is lost: {head}");
            if head == tick {
                assert_eq!(entry.value(), change.value.as_deref(), "change {tick}");
            } else {
                self.more += 1;
            }
        }
    }

    /// Up to which change all must be there.
    fn promised(&self) -> u64 {
        // a change that comes while a sync is under way waits for the next
        // window, and for two turns of the helper
        const WINDOW: Duration = Duration::from_millis(1000 + 2 * 100);
        let old = |change: &&Change| self.now.since(change.at) > WINDOW;
        let old = self.script.iter().take_while(old).count() as u64;
        // `safe` is what clients are told of, `durable` what deleters are
        old.max(self.before + self.log.durable())
    }
}

fn run(sync: Sync, seed: u64) {
    let mut run = Run::new(sync, seed);
    for _ in 0..20 {
        run.change();
    }
    run.before = run.script.len() as u64;
    let mut last = run.open(1);
    while !run.log.is_begun() || run.log.info(run.now).path.is_none() {
        run.turn();
        run.perform();
    }
    let mut files = 1;
    let mut idle = 0;
    while (run.script.len() as u64) < CHANGES {
        run.now = run.now.after(Duration::from_millis(5));
        if run.log.next_timeout().is_some_and(|at| at <= run.now) {
            run.log(|log, now, stamp| log.handle_timeout(now, stamp));
        }
        if run.script.len() as u64 / FILE == files {
            files += 1;
            last = run.open(files);
        }
        for _ in 0..run.chance.below(4) {
            run.change();
        }
        run.turn();
        assert!(sync != Sync::Always || run.log.safe() <= run.log.durable());
        // it may be slow, by not more than a tenth of a second
        idle += 1;
        if run.chance.below(3) > 0 || idle > 10 {
            while !run.disk.ops.is_empty() {
                run.perform();
            }
            idle = 0;
        }
    }
    while run.log.info(run.now).next.is_some() {
        run.turn();
        run.perform();
    }
    run.log.stop(None);
    for _ in 0..1000 {
        if run.log.is_idle() {
            break;
        }
        run.turn();
        run.perform();
    }
    assert!(run.log.is_idle(), "the log does not end");
    // in the end all is there, and the last file says so
    assert_eq!(run.promised(), CHANGES.max(run.script.len() as u64));
    let before = run.more;
    run.crash();
    assert_eq!(run.more, before);
    let last = run.directory.path().join(last);
    assert!(moat::store::take_closed(&last).unwrap());
    assert_eq!(files, CHANGES / FILE + 1, "files have followed each other");
    assert!(run.crashes > 1000, "{}", run.crashes);
    assert!(run.more > 0, "nothing but what was promised was ever found");
}

#[test]
fn nothing_acknowledged_is_lost_where_each_change_is_synced() {
    run(Sync::Always, 1);
}

#[test]
fn nothing_older_than_the_window_is_lost() {
    run(Sync::Within(Duration::from_secs(1)), 2);
}
