//! The node as its tasks share it: the machine, the way to the others, and
//! whom to wake.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backend::{Backend, Input, NoBackend};
use crate::event::{Fetch, LogInfo, SessionId};
use crate::node::cluster::{self, Fault, Report};
use crate::node::machine::Seed;
use crate::node::suspend::Verdict;
use crate::node::time::Timestamp;
use crate::node::{Effects, Machine, Output};
use crate::server::fetch::{self, Ways};
use crate::server::files::{Holds, Writing};
use crate::server::{Begin, Load, Options, ServeError, notify};
use crate::store;
use crate::wire::client::{Outbox, Windows};

/// Bytes that may wait for all clients together; beyond it the one with the
/// most is let go.
const ALL_WAITING: usize = 256 << 20;
/// Bytes that one read takes at most.
const READ: usize = 64 << 10;
/// What others said that is taken in before clients have their turn.
const INPUTS: usize = 256;

/// What all tasks share. Lent by [`Node::with`] only.
#[derive(Debug)]
pub(super) struct Node {
    inner: RefCell<Inner>,
    /// Where reads go first: most messages come whole, and are never copied
    pub(super) scratch: RefCell<Box<[u8]>>,
    started: Instant,
    pub(super) frame: usize,
    /// How peers are reached
    ways: Ways,
}

/// What [`Node::with`] lends.
pub(super) struct Inner {
    pub(super) machine: Machine<Outbox>,
    backend: Box<dyn Backend>,
    files: Writing,
    /// Whose requests are being handled
    pub(super) asking: Option<SessionId>,
    clients: Vec<Option<Client>>,
    /// How many there are
    count: usize,
    waiting: usize,
    ending: bool,
    /// Nothing more is heard.
    ended: bool,
    /// The driver goes on with what is to be told when others have had their
    /// turn.
    telling: bool,
    progress: Progress,
    /// States that are to be fetched
    fetches: VecDeque<Fetch>,
    /// Wakes the task that drives the backend and the timer.
    driver: Waker,
    /// What the timer is set to
    armed: Option<Timestamp>,
    /// Wakes who waits for the last client to go.
    last: Waker,
    /// Wakes who waits for the node to get somewhere.
    watcher: Waker,
    pub(super) windows: Windows,
}

/// How far the node has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// It has its data.
    pub(super) serving: bool,
    /// Nothing is missing.
    pub(super) synced: bool,
    /// Changes go to the file that they are to go to, or cannot.
    pub(super) logged: bool,
    /// It must stop.
    pub(super) fault: Option<Fault>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("clients", &self.count)
            .finish_non_exhaustive()
    }
}

/// What is known of a client's connection.
#[derive(Debug)]
struct Client {
    waker: Waker,
    waiting: usize,
    /// Bytes that wait for the disk
    holds: Holds,
    /// It holds too much and must go.
    condemned: bool,
}

impl Node {
    /// A node with its way to the others; `addr` is where they reach it.
    pub(super) fn start(
        options: &Options,
        backend: Option<Box<dyn Backend>>,
        addr: Vec<(String, u16)>,
    ) -> Result<Self, ServeError> {
        // the key of this process's hash maps is the system's random number
        let random = || {
            use std::hash::{BuildHasher, Hasher};
            std::hash::RandomState::new().build_hasher().finish()
        };
        let seed = Seed {
            hash: random(),
            run: random() >> 2,
        };
        let root = options.root_topic.clone();
        let mut machine = Machine::new(&options.name, root, options.limits.clone(), seed);
        machine.set_effects(Effects { persist: false });
        let begin = match &options.begin {
            Begin::First(value) => {
                machine.found(value).map_err(|why| {
                    // its text is the one that a client would see
                    ServeError::Root(super::refused(&why))
                })?;
                cluster::Begin::First
            }
            Begin::Load(load) => load_files(options, load, &mut machine, random())?,
            Begin::Join(peers) => cluster::Begin::Join(peers.clone()),
        };
        let mut progress = Progress::default();
        match &options.network {
            Some(network) => {
                let options = cluster::Options {
                    ping: network.ping.clone(),
                    delete: network.delete.clone(),
                    links: network.links,
                    addr,
                    boot: network.boot,
                    seed: random(),
                    force: options.force,
                };
                machine.set_network(Timestamp(0), options, begin);
            }
            // it is all there is
            None => {
                progress.serving = true;
                progress.synced = true;
            }
        }
        let mut inner = Inner {
            machine,
            backend: backend.unwrap_or_else(|| Box::new(NoBackend::default())),
            files: Writing::new(&options.files),
            asking: None,
            clients: Vec::new(),
            count: 0,
            waiting: 0,
            ending: false,
            ended: false,
            telling: false,
            progress,
            fetches: VecDeque::new(),
            driver: Waker::noop().clone(),
            armed: None,
            last: Waker::noop().clone(),
            watcher: Waker::noop().clone(),
            windows: Windows {
                most: options.buffer,
            },
        };
        inner.files.begin(&mut inner.machine, &options.files);
        inner.settle(Timestamp(0));
        #[allow(clippy::disallowed_methods)] // the shell's clock
        let started = Instant::now();
        Ok(Self {
            inner: RefCell::new(inner),
            scratch: RefCell::new(vec![0; READ].into()),
            started,
            frame: options.frame,
            ways: options.ways.clone(),
        })
    }

    /// Waits until the node has come so far, or must stop.
    pub(super) async fn until(&self, far: impl Fn(&Progress) -> bool) -> Result<(), Fault> {
        poll_fn(|cx| {
            self.peek(|inner| {
                if let Some(fault) = &inner.progress.fault {
                    return Poll::Ready(Err(fault.clone()));
                }
                if far(&inner.progress) {
                    return Poll::Ready(Ok(()));
                }
                inner.watcher.clone_from(cx.waker());
                Poll::Pending
            })
        })
        .await
    }

    /// Lends the machine for one input or batch of inputs, and sees to what
    /// follows from it.
    pub(super) fn with<R>(&self, f: impl FnOnce(Timestamp, &mut Inner) -> R) -> R {
        let now = self.now();
        let mut inner = self.inner.borrow_mut();
        let result = f(now, &mut inner);
        inner.settle(now);
        result
    }

    /// Lends what is not an input.
    pub(super) fn peek<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        f(&mut self.inner.borrow_mut())
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Number of entries.
    pub(super) fn entries(&self) -> usize {
        self.peek(|inner| inner.machine.replica().tree().count())
    }

    /// Whether it has its data.
    pub(super) fn serves(&self) -> bool {
        self.peek(|inner| inner.progress.serving)
    }

    /// What is written to files.
    pub(super) fn log_info(&self) -> LogInfo {
        let now = self.now();
        self.peek(|inner| inner.files.info(now))
    }

    /// Has changes written to a file, and waits until they are, or cannot be.
    pub(super) async fn log_to(&self, path: PathBuf, full: bool) -> bool {
        self.with(|now, inner| {
            inner
                .files
                .open(now, &mut inner.machine, path.clone(), full);
        });
        poll_fn(|cx| {
            let now = self.now();
            self.peek(|inner| inner.files.poll_open(now, &path, cx))
        })
        .await
    }

    /// How it is, in a line for an operator.
    pub(super) fn status(&self) -> String {
        let now = self.now();
        self.peek(|inner| inner.status(now))
    }

    /// Number of clients.
    pub(super) fn count(&self) -> usize {
        self.peek(|inner| inner.count)
    }

    /// Tells all connections that the server ends.
    pub(super) fn end(&self) {
        self.peek(|inner| {
            inner.ending = true;
            for client in inner.clients.iter().flatten() {
                client.waker.wake_by_ref();
            }
        });
    }

    /// Ends the files that are written.
    pub(super) async fn end_files(&self) {
        self.with(|_, inner| {
            // nothing may happen any more that would have to be written
            inner.ended = true;
            inner.files.end();
        });
        poll_fn(|cx| {
            loop {
                let more = self.with(|now, inner| {
                    inner.files.flush();
                    inner.driver.clone_from(cx.waker());
                    inner.files.tell_some(now, &mut inner.machine)
                });
                if self.with(|_, inner| inner.files.is_idle()) {
                    return Poll::Ready(());
                }
                if !more {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Waits for the last client to go.
    pub(super) async fn all_gone(&self) {
        poll_fn(|cx| {
            self.peek(|inner| {
                if inner.count == 0 {
                    return Poll::Ready(());
                }
                inner.last.clone_from(cx.waker());
                Poll::Pending
            })
        })
        .await;
    }
}

/// Loads a server's files; says how it then begins.
fn load_files(
    options: &Options,
    load: &Load,
    machine: &mut Machine<Outbox>,
    chance: u64,
) -> Result<cluster::Begin, ServeError> {
    let loaded = store::load(load, machine, |text| notify::loading(text))?;
    let is_mine = machine.node().1.is_some();
    // the last run has ended in order with this file: it wrote nothing else
    let is_last = is_mine && loaded.writers.last() == Some(&options.name);
    let is_closed = is_last
        && load
            .files
            .last()
            .is_some_and(|path| store::take_closed(path).unwrap_or(false));
    let theirs = || {
        let names = loaded.writers.iter().map(|name| format!("'{name}'"));
        match names.collect::<Vec<_>>() {
            names if names.is_empty() => "another node".to_owned(),
            names => names.join(", "),
        }
    };
    if options.network.is_none() {
        if !is_mine && !load.authoritative {
            return Err(ServeError::NotMine {
                me: options.name.clone(),
                theirs: theirs(),
            });
        }
        if !is_closed {
            machine.begin_again(chance);
        }
    } else if !is_mine && !load.authoritative {
        tracing::warn!(
            "the files are of {}: waiting for a node to fetch the rest from (-a: there is none)",
            theirs()
        );
        return Ok(cluster::Begin::Join(Vec::new()));
    }
    Ok(if is_closed {
        cluster::Begin::Resumed
    } else {
        cluster::Begin::Again
    })
}

impl Inner {
    /// A client has come; `is_local` if from this machine.
    pub(super) fn connect(&mut self, is_local: bool) -> SessionId {
        let id = self.machine.handle_connected(Outbox::new(self.windows));
        if is_local {
            self.machine.set_local(id);
        }
        let at = id.0 as usize;
        if self.clients.len() <= at {
            self.clients.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.clients.get_mut(at) {
            *slot = Some(Client {
                waker: Waker::noop().clone(),
                waiting: 0,
                holds: Holds::default(),
                condemned: false,
            });
        }
        self.count += 1;
        id
    }

    /// A client is gone.
    pub(super) fn disconnect(&mut self, id: SessionId) {
        self.machine.handle_disconnected(id);
        if let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::take) {
            self.waiting = self.waiting.saturating_sub(client.waiting);
            self.count -= 1;
        }
        if self.count == 0 {
            self.last.wake_by_ref();
        }
    }

    fn status(&self, now: Timestamp) -> String {
        let entries = self.machine.replica().tree().count();
        let log = self.files.info(now);
        let log = match (&log.path, &log.failed) {
            (None, _) => String::new(),
            (Some(path), None) => format!(", log {path}"),
            (Some(_), Some((why, since))) => format!(
                ", log not written for {} s, {} changes: {why}",
                since.as_secs(),
                log.unsaved
            ),
        };
        let Some(cluster) = self.machine.cluster() else {
            return format!("serving {entries} entries, alone{log}");
        };
        let patience = cluster.patience();
        let members = cluster.members();
        let me = self.machine.node().0;
        let others = members.iter().map(|(name, _)| name);
        let others = others.filter(|name| *name != me && members.is_here(name, now, patience));
        let others = match others.count() {
            1 => "1 other node".to_owned(),
            n => format!("{n} other nodes"),
        };
        let way = if cluster.is_up() { "" } else { ", no broker" };
        match self.progress.serving {
            false => format!("waiting for data, {others}{way}"),
            true => format!("serving {entries} entries, {others}{way}{log}"),
        }
    }

    /// Whether the server ends.
    pub(super) const fn is_ending(&self) -> bool {
        self.ending
    }

    /// A connection's task goes to sleep: whom to wake for it, and how much
    /// waits. Returns whether it must go instead.
    pub(super) fn rest(&mut self, id: SessionId, cx: &Context<'_>) -> bool {
        let waiting = self
            .machine
            .sink(id)
            .map_or(0, |sink| crate::event::Sink::waiting(sink));
        let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return true;
        };
        if !client.waker.will_wake(cx.waker()) {
            client.waker = cx.waker().clone();
        }
        let condemned = client.condemned;
        self.waiting = self.waiting + waiting - client.waiting;
        client.waiting = waiting;
        if self.waiting > ALL_WAITING {
            let clients = self.clients.iter_mut().flatten().filter(|c| !c.condemned);
            if let Some(largest) = clients.max_by_key(|c| c.waiting) {
                largest.condemned = true;
                largest.waker.wake_by_ref();
            }
        }
        condemned
    }

    /// Does what the machine says is to be done, and takes in what others
    /// said, until nothing is left or clients should have their turn.
    fn settle(&mut self, now: Timestamp) {
        self.files.begin_turn(self.count);
        self.take_turns(now);
        // what is written may be answered, and what is answered may be
        // written
        loop {
            let mut cx = Context::from_waker(&self.driver);
            let mut is_told = self.files.settle(now, &mut self.machine, &mut cx);
            while let Some(effect) = self.files.let_go() {
                self.backend.take(effect);
            }
            is_told |= self.drain(now);
            if !is_told {
                break;
            }
        }
        if !self.progress.logged && self.files.is_begun() {
            self.progress.logged = true;
            self.watcher.wake_by_ref();
        }
        if let Some(asking) = self.asking.take()
            && self.files.changed
        {
            self.wait_for_disk(asking);
        }
        let clients = &self.clients;
        self.files.wake(|id, safe| {
            let client = clients.get(id.0 as usize).and_then(Option::as_ref);
            let is_ready = client.is_none_or(|client| client.holds.is_due(safe));
            if let (true, Some(client)) = (is_ready, client) {
                client.waker.wake_by_ref();
            }
            is_ready
        });
        // the disk may have made room in anybody's turn, and only the driver
        // tells files what there is
        if self.files.is_to_flush() || (!self.telling && self.files.is_to_tell()) {
            self.driver.wake_by_ref();
        }
        // whatever came may have set a deadline, whether or not it also had
        // something done
        if let Some(due) = self.next_timeout()
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.driver.wake_by_ref();
        }
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let both = [self.machine.poll_timeout(), self.files.next_timeout()];
        both.into_iter().flatten().min()
    }

    /// A session's messages since the last time wait for the last change.
    fn wait_for_disk(&mut self, id: SessionId) {
        if let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut) {
            self.files.need(&mut client.holds);
        }
    }

    /// How many of a client's bytes may leave.
    pub(super) fn allowed(&mut self, id: SessionId) -> usize {
        let all = self.machine.sink(id).map_or(0, |sink| sink.bytes().len());
        let is_late = self.files.is_behind() && self.machine.is_told(id);
        let client = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut);
        client.map_or(all, |client| {
            self.files.allow(id, &mut client.holds, all, is_late)
        })
    }

    /// A client's bytes have left.
    pub(super) fn sent(&mut self, id: SessionId, bytes: usize) {
        if let Some(client) = self.clients.get_mut(id.0 as usize).and_then(Option::as_mut) {
            client.holds.sent(bytes);
        }
    }

    fn take_turns(&mut self, now: Timestamp) {
        for _ in 0..INPUTS {
            self.drain(now);
            if self.ended {
                return;
            }
            match self.backend.poll(&mut Context::from_waker(&self.driver)) {
                Poll::Pending => return,
                Poll::Ready(Input::Peer(message)) => self.machine.handle_peer(now, &message),
                Poll::Ready(Input::Message { topic, payload }) => {
                    self.machine.handle_message(&topic, &payload);
                }
                Poll::Ready(Input::Up) => self.machine.handle_up(now),
                Poll::Ready(Input::Down) => self.machine.handle_down(now),
                Poll::Ready(Input::Gap) => self.machine.handle_gap(now),
            }
        }
        self.drain(now);
        self.driver.wake_by_ref();
    }

    /// Logs what has changed, and does what the machine says is to be done.
    /// Returns whether anything was.
    fn drain(&mut self, now: Timestamp) -> bool {
        self.files.take_changes(&mut self.machine);
        let mut any = false;
        while let Some(output) = self.machine.poll_output() {
            self.carry_out(now, output);
            any = true;
        }
        any
    }

    fn carry_out(&mut self, now: Timestamp, output: Output) {
        match output {
            Output::Ready(id) => {
                if let Some(client) = self.clients.get(id.0 as usize).and_then(Option::as_ref) {
                    client.waker.wake_by_ref();
                }
                if self.files.changed {
                    self.wait_for_disk(id);
                }
            }
            Output::Carry(effect) => {
                if let Some(effect) = self.files.hold_back(now, effect) {
                    self.backend.take(effect);
                }
            }
            Output::Check { token, .. } => {
                // nobody has set a guard, so this is the answer to nothing
                let no = Verdict::Fail("no script engine".to_owned());
                self.machine.handle_verdict(now, token, no);
            }
            Output::File { token, job } => self.files.job(now, &mut self.machine, token, job),
            Output::Fetch(fetch) => {
                self.fetches.push_back(fetch);
                self.driver.wake_by_ref();
            }
            Output::Serve => {
                self.progress.serving = true;
                self.watcher.wake_by_ref();
            }
            Output::Synced => {
                self.progress.synced = true;
                self.watcher.wake_by_ref();
            }
            Output::Fault(fault) => {
                self.progress.fault.get_or_insert(fault);
                self.watcher.wake_by_ref();
            }
            Output::Report(report) => tell(&report),
        }
    }
}

/// What the operator may want to know goes to the log.
fn tell(report: &Report) {
    match report {
        Report::Fetching(_) | Report::Ready(_) | Report::Complete => tracing::info!("{report}"),
        Report::Differs(_) => tracing::info!("{report}"),
        _ => tracing::warn!("{report}"),
    }
}

/// Fetches a peer's state into the machine.
async fn fetch(node: Rc<Node>, wanted: Fetch) {
    let me = node.peek(|inner| inner.machine.node().0.clone());
    let id = wanted.id;
    fetch::fetch(&wanted, &node.ways, &me, |batch| {
        node.with(|now, inner| {
            while let Some(item) = batch.take() {
                inner.machine.handle_fetched(now, id, &item);
            }
        });
    })
    .await;
}

/// Lets time pass for the machine, and brings what comes from the others.
pub(super) async fn drive(node: Rc<Node>) {
    let mut timer = None;
    let mut again: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
    let mut fetching = JoinSet::new();
    poll_fn(|cx| {
        loop {
            // settling asks the backend, which wakes this task for more
            node.with(|now, inner| {
                inner.driver.clone_from(cx.waker());
                inner.files.flush();
                inner.machine.handle_timeout(now);
                inner.files.handle_timeout(now, &inner.machine);
            });
            // a file is told in slices, between which clients have their turn
            if again
                .as_mut()
                .is_some_and(|next| next.as_mut().poll(cx).is_ready())
            {
                again = None;
            }
            if again.is_none() {
                let more = node.with(|now, inner| {
                    inner.telling = inner.files.tell_some(now, &mut inner.machine);
                    inner.telling
                });
                if more {
                    // also those whom the system has something for
                    let mut next = Box::pin(tokio::task::yield_now());
                    let _ = next.as_mut().poll(cx);
                    again = Some(next);
                }
            }
            // and what came may have set another deadline
            let due = node.peek(|inner| {
                inner.armed = inner.next_timeout();
                inner.armed
            });
            while let Some(wanted) = node.peek(|inner| inner.fetches.pop_front()) {
                fetching.spawn_local(fetch(Rc::clone(&node), wanted));
            }
            while let Poll::Ready(Some(_)) = fetching.poll_join_next(cx) {}
            let Some(due) = due else { return Poll::Pending };
            let due = node.started + std::time::Duration::from_micros(due.0);
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            timer.as_mut().reset(due);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::<()>::Pending;
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;
    use crate::event::{Effect, Hail, Info, NodeName, PeerMessage, Say, Settings};
    use crate::server::{Files, Limits, Network};

    /// A way on which comes what the test says.
    #[derive(Clone, Default)]
    struct Heard(Rc<RefCell<VecDeque<Input>>>);

    impl Heard {
        fn hello(&self, name: &str) {
            let info = Info {
                node: NodeName::new(name),
                hail: Some(Hail {
                    say: Say::Hello,
                    boot: 7,
                    addr: Vec::new(),
                    sum: None,
                }),
                ..Info::default()
            };
            let message = Box::new(PeerMessage::Info(info));
            self.0.borrow_mut().push_back(Input::Peer(message));
        }
    }

    impl Backend for Heard {
        fn take(&mut self, _: Effect) {}

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<Input> {
            let next = self.0.borrow_mut().pop_front();
            next.map_or(Poll::Pending, Poll::Ready)
        }
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn start(heard: &Heard) -> Rc<Node> {
        let options = Options {
            name: NodeName::new("a"),
            begin: Begin::Join(Vec::new()),
            force: false,
            wait_sync: None,
            give_up: None,
            files: Files::default(),
            listen: Vec::new(),
            root_topic: Vec::new(),
            network: Some(Network {
                mqtt: crate::config::Mqtt::default(),
                ping: Settings::PING,
                delete: Settings::DELETE,
                links: 5,
                boot: 1,
            }),
            ways: Ways {
                auth: None,
                hostmap: std::collections::BTreeMap::new(),
                domain: None,
                port: 1,
                init_timeout: Duration::from_secs(1),
                frame: 1 << 20,
            },
            buffer: 10,
            frame: 1 << 20,
            limits: Limits::default(),
        };
        let node = Node::start(&options, Some(Box::new(heard.clone())), Vec::new());
        Rc::new(node.expect("it can start"))
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap()
    }

    /// Files are told what there is by whoever keeps the time. Once only the
    /// disk woke it, and if the disk's answer was taken in somebody else's
    /// turn the file was never told anything, and its client never answered.
    #[test]
    fn a_file_that_is_to_be_told_something_wakes_who_tells_it() {
        let runtime = runtime();
        let _context = runtime.enter();
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        let node = start(&Heard::default());
        let mut driver = pin!(drive(Rc::clone(&node)));
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        // its file cannot be there so soon, but has to be told all the same
        flag.0.store(false, Ordering::Relaxed);
        node.with(|now, inner| {
            inner
                .files
                .open(now, &mut inner.machine, path.clone(), true);
        });
        assert!(flag.0.load(Ordering::Relaxed), "nobody would tell it");
        assert!(node.peek(|inner| inner.files.is_to_tell()));
        // which is not done over and over: all is told soon
        while node.peek(|inner| inner.files.is_to_tell()) {
            assert!(driver.as_mut().poll(&mut cx).is_pending());
        }
    }

    /// An answer to a hello is due after a moment, and until then nothing is
    /// to be done: once the timer was left as it was, and joining nodes
    /// waited for up to two seconds.
    #[test]
    fn a_deadline_that_a_message_sets_counts_at_once() {
        let runtime = runtime();
        let _context = runtime.enter();
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        let deadlines = |node: &Node| node.peek(|i| (i.armed, i.machine.poll_timeout()));

        // heard by whoever keeps the time
        let heard = Heard::default();
        let node = start(&heard);
        let mut driver = pin!(drive(Rc::clone(&node)));
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        let (before, due) = deadlines(&node);
        assert_eq!(before, due);
        heard.hello("b");
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        let (armed, due) = deadlines(&node);
        assert!(due < before, "the answer is due before all else");
        assert_eq!(armed, due);

        // heard in somebody else's turn
        let heard = Heard::default();
        let node = start(&heard);
        let mut driver = pin!(drive(Rc::clone(&node)));
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        flag.0.store(false, Ordering::Relaxed);
        node.with(|_, _| ());
        assert!(!flag.0.load(Ordering::Relaxed), "nothing has happened");
        heard.hello("b");
        node.with(|_, _| ());
        assert!(flag.0.load(Ordering::Relaxed), "the timer is set anew");
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        let (armed, due) = deadlines(&node);
        assert_eq!(armed, due);
    }
}
