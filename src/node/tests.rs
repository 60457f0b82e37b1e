//! Whole machines, without runtime, socket or clock.

mod members;
mod surveys;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;

use super::journal::{Change, Journal};
use super::machine::{Effects, Machine, Output, Seed};
use super::suspend::{Guard, PATIENCE, Question, Token, Verdict};
use super::time::Timestamp;
use super::*;
use crate::event::Settings;
use crate::event::{
    Books, Depths, Effect, Event, Expect, Handle, Links, Message, NodeName, PeerMessage, Refused,
    Request, SessionId, Sink, Space, State, Target, Tick, To, Tock, Update, Write,
};
use crate::path::{PathRef, RawPath};

/// One message, as far as these tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Value(Option<Vec<u8>>),
    Changed {
        changed: bool,
        prev: Option<Vec<u8>>,
    },
    Node {
        path: RawPath,
        value: Option<Vec<u8>>,
    },
    State(&'static str),
    Count(u64),
    Truth(bool),
    Books(Box<Books>),
    Ticks(usize, Vec<u8>),
    Error(Refused),
    Other,
}

/// Keeps what it is sent, with full paths; `blocked` streams have no room.
#[derive(Debug, Default)]
struct Ear {
    heard: Vec<(Handle, Heard)>,
    last: BTreeMap<Handle, Vec<Vec<u8>>>,
    blocked: bool,
    waiting: usize,
}

impl Sink for Ear {
    fn send(&mut self, to: To<'_>, message: &Message<'_>, _tock: Tock) {
        let (To::Request(handle) | To::Stream(handle)) = to;
        let owned = |v: Option<&[u8]>| v.map(<[u8]>::to_vec);
        let heard = match message {
            Message::Greeting { .. } => return,
            Message::Entry { value, .. } => Heard::Value(owned(*value)),
            Message::Changed { changed, prev, .. } => Heard::Changed {
                changed: *changed,
                prev: owned(*prev),
            },
            Message::Node {
                value, depth, path, ..
            } => {
                let last = self.last.entry(handle.clone()).or_default();
                last.truncate(*depth as usize);
                last.extend(path.elements().map(|e| e.unwrap().to_vec()));
                let mut path = RawPath::new();
                last.iter().for_each(|e| path.push(e));
                Heard::Node {
                    path,
                    value: owned(*value),
                }
            }
            Message::Count(n) => Heard::Count(*n),
            Message::Truth(truth) => Heard::Truth(*truth),
            Message::Info { books, .. } => Heard::Books(Box::new((*books).clone())),
            Message::Ticks { count, ticks } => Heard::Ticks(*count, ticks.to_vec()),
            Message::State(State::Start { .. }) => Heard::State("start"),
            Message::State(State::End) => Heard::State("end"),
            Message::State(State::UpToDate { resumed, .. }) => Heard::State(match resumed {
                None => "uptodate",
                Some(true) => "resumed",
                Some(false) => "not resumed",
            }),
            Message::Error { why, .. } => Heard::Error((*why).clone()),
            _ => Heard::Other,
        };
        self.heard.push((handle.clone(), heard));
    }

    fn open(&mut self, _stream: &Handle, _window: Option<u32>) {}

    fn close(&mut self, _stream: &Handle) {}

    fn room(&self, _stream: &Handle) -> bool {
        !self.blocked
    }

    fn waiting(&self) -> usize {
        self.waiting
    }
}

/// A machine with its sessions, and the outputs it made.
struct Node {
    machine: Machine<Ear>,
    outputs: Vec<Output>,
    next: u8,
}

fn path(elements: &[&str]) -> RawPath {
    let mut path = RawPath::new();
    elements.iter().for_each(|e| path.push_str(e));
    path
}

fn set<'a>(path: &'a RawPath, value: &'a [u8]) -> Write<'a> {
    Write {
        space: Space::User,
        path: path.as_ref(),
        value: Some(value),
        links: Links::None,
        expect: None,
        prev: None,
        idem: false,
    }
}

fn watch(path: PathRef<'_>, resume: Option<(u64, u64)>) -> Request<'_> {
    Request::Watch {
        path,
        links: Links::None,
        depths: Depths::ALL,
        fetch: true,
        empty: false,
        resume,
        numbered: false,
        window: None,
    }
}

impl Node {
    fn new(name: &str) -> Self {
        let seed = Seed { hash: 5, run: 9 };
        let root = vec!["moat".to_owned(), "kv".to_owned()];
        let mut machine = Machine::new(&NodeName::new(name), root, Limits::default(), seed);
        machine.set_effects(Effects { persist: true });
        // the first of a network, which hears nobody for long enough
        let options = cluster::Options {
            ping: Settings::PING,
            delete: Settings::DELETE,
            links: 5,
            addr: Vec::new(),
            boot: 1,
            seed: 2,
            force: false,
        };
        machine.set_network(Timestamp(0), options, cluster::Begin::First);
        machine.handle_up(Timestamp(0));
        machine.handle_timeout(Timestamp(0).after(std::time::Duration::from_secs(1)));
        while machine.poll_output().is_some() {}
        Self {
            machine,
            outputs: Vec::new(),
            next: 0,
        }
    }

    fn session(&mut self) -> SessionId {
        self.machine.handle_connected(Ear::default())
    }

    fn ask(&mut self, session: SessionId, request: Request<'_>) -> Handle {
        self.ask_at(0, session, request)
    }

    fn ask_at(&mut self, now: u64, session: SessionId, request: Request<'_>) -> Handle {
        self.next = self.next.wrapping_add(1);
        let handle = Handle::new(&[self.next]);
        self.machine
            .handle_client(Timestamp(now), session, &handle, request);
        self.settle();
        handle
    }

    fn settle(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.outputs.push(output);
        }
    }

    fn run(&mut self, session: SessionId) {
        while self.machine.advance(session, 3) {}
        self.settle();
    }

    fn heard(&mut self, session: SessionId) -> Vec<(Handle, Heard)> {
        std::mem::take(&mut self.machine.sink(session).unwrap().heard)
    }

    fn heard_nothing(&mut self, session: SessionId) -> bool {
        self.machine.sink(session).unwrap().heard.is_empty()
    }

    /// The changes to tell the others.
    fn published(&mut self) -> Vec<Event> {
        let outputs = std::mem::take(&mut self.outputs);
        let event = |o| {
            if let Output::Carry(Effect::Tell(message)) = o
                && let PeerMessage::Update(update) = *message
            {
                Some(update.event)
            } else {
                None
            }
        };
        outputs.into_iter().filter_map(event).collect()
    }

    fn get(&mut self, session: SessionId, path: &RawPath) -> Option<Vec<u8>> {
        let target = Target::Path(path.as_ref());
        let handle = self.ask(
            session,
            Request::Get {
                space: Space::User,
                target,
                links: Links::None,
            },
        );
        let heard = self.heard(session);
        match heard.into_iter().find(|(h, _)| *h == handle) {
            Some((_, Heard::Value(value))) => value,
            other => panic!("{other:?}"),
        }
    }
}

fn node(elements: &[&str], value: &[u8]) -> Heard {
    Heard::Node {
        path: path(elements),
        value: Some(value.to_vec()),
    }
}

#[test]
fn two_machines_through_a_set_a_watch_and_a_conflict() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let (client_a, client_b) = (a.session(), b.session());
    let x = path(&["x", "y"]);

    // a set on one is heard by a watch on the other
    let top = path(&["x"]);
    let watching = b.ask(client_b, watch(top.as_ref(), None));
    b.run(client_b);
    let started = b.heard(client_b);
    assert_eq!(started[0], (watching.clone(), Heard::State("start")));
    assert_eq!(started[1], (watching.clone(), Heard::State("uptodate")));
    a.ask(client_a, Request::Write(set(&x, b"\x01")));
    for event in a.published() {
        b.machine.handle_event(&event);
    }
    b.settle();
    assert!(
        b.outputs.contains(&Output::Ready(client_b)),
        "the shell is told"
    );
    assert_eq!(
        b.heard(client_b),
        [(watching.clone(), node(&["y"], b"\x01"))]
    );
    assert_eq!(
        b.published(),
        [],
        "what came from a peer is not published again"
    );

    // both write at once: both end with the same, and the watch says so
    a.heard(client_a);
    a.ask(client_a, Request::Write(set(&x, b"\x0a")));
    b.ask(client_b, Request::Write(set(&x, b"\x0b")));
    let (from_a, from_b) = (a.published(), b.published());
    b.heard(client_b);
    from_b.iter().for_each(|e| a.machine.handle_event(e));
    from_a.iter().for_each(|e| b.machine.handle_event(e));
    assert_eq!(b.heard(client_b), [(watching, node(&["y"], b"\x0a"))]);
    let (in_a, in_b) = (a.get(client_a, &x), b.get(client_b, &x));
    assert_eq!(in_a, in_b);
    assert_eq!(
        in_a,
        Some(b"\x0a".to_vec()),
        "a has used more tocks: its event is the later one"
    );
}

#[test]
fn a_change_is_logged_before_it_is_told() {
    let mut a = Node::new("a");
    let client = a.session();
    let watching = a.ask(client, watch(PathRef::default(), None));
    a.run(client);
    a.outputs.clear();
    a.machine.attend(client);
    a.ask(client, Request::Write(set(&path(&["x"]), b"\x01")));
    let mut journal = Journal::default();
    a.machine.swap_journal(&mut journal);
    let event = a.machine.replica().event(tree::Ix::from_number(2));
    let logged: Vec<_> = journal.changes().collect();
    assert_eq!(logged, [Change::of(&event)]);
    assert_eq!(logged[0].to_event(), event);
    let kinds: Vec<_> = a.outputs.iter().map(std::mem::discriminant).collect();
    let want = [
        Output::Carry(Effect::Tell(Box::new(PeerMessage::Update(Update {
            event,
            again: None,
        })))),
        Output::Ready(client),
    ];
    assert_eq!(
        kinds,
        want.iter().map(std::mem::discriminant).collect::<Vec<_>>()
    );
    assert!(a.heard(client).iter().any(|(h, _)| *h == watching));
}

#[test]
fn internal_data_are_told_only_to_those_who_ask() {
    let mut a = Node::new("a");
    let (all, internal, writer) = (a.session(), a.session(), a.session());
    a.ask(all, watch(PathRef::default(), None));
    let mut null = RawPath::new();
    null.push_nil();
    a.ask(internal, watch(null.as_ref(), None));
    a.run(all);
    a.run(internal);
    a.heard(all);
    a.heard(internal);
    let below = path(&["z"]);
    let write = Write {
        space: Space::Internal,
        ..set(&below, b"\x01")
    };
    a.ask(writer, Request::Write(write));
    assert_eq!(a.heard(all), []);
    assert_eq!(a.heard(internal).len(), 1);
}

#[test]
fn a_tree_with_empty_entries_shows_internal_ones_at_their_depth() {
    let mut a = Node::new("a");
    let client = a.session();
    let below = path(&["x", "y"]);
    let internal = Write {
        space: Space::Internal,
        ..set(&below, b"\x01")
    };
    a.ask(client, Request::Write(internal));
    a.ask(client, Request::Write(set(&path(&["z"]), b"\x02")));
    a.heard(client);
    for (max, shown) in [(1, 3), (2, 4), (3, 5)] {
        let request = Request::GetTree {
            space: Space::User,
            path: PathRef::default(),
            links: Links::None,
            depths: Depths { min: 0, max },
            empty: true,
            markers: false,
            window: None,
        };
        a.ask(client, request);
        a.run(client);
        let heard = a.heard(client);
        let node = |h: &&(Handle, Heard)| matches!(h.1, Heard::Node { .. });
        assert_eq!(
            heard.iter().filter(node).count(),
            shown,
            "to depth {max}: {heard:?}"
        );
    }
}

#[test]
fn a_watch_resumes_with_what_it_missed() {
    let mut a = Node::new("a");
    let (client, writer) = (a.session(), a.session());
    a.ask(writer, Request::Write(set(&path(&["x"]), b"\x01")));
    a.ask(writer, Request::Write(set(&path(&["gone"]), b"\x01")));
    let at = a.machine.replica().at();
    a.ask(writer, Request::Write(set(&path(&["y"]), b"\x02")));
    a.ask(
        writer,
        Request::Write(Write {
            value: None,
            ..set(&path(&["gone"]), b"")
        }),
    );
    a.ask(client, watch(PathRef::default(), Some(at)));
    a.run(client);
    let heard: Vec<Heard> = a.heard(client).into_iter().map(|(_, h)| h).collect();
    let deleted = Heard::Node {
        path: path(&["gone"]),
        value: None,
    };
    assert_eq!(
        heard,
        [
            Heard::State("start"),
            node(&["y"], b"\x02"),
            deleted,
            Heard::State("resumed")
        ]
    );
    // another run of the server: everything is sent
    a.ask(client, watch(PathRef::default(), Some((at.0 + 1, at.1))));
    a.run(client);
    let heard: Vec<Heard> = a.heard(client).into_iter().map(|(_, h)| h).collect();
    assert_eq!(heard.first(), Some(&Heard::State("start")));
    assert_eq!(heard.last(), Some(&Heard::State("not resumed")));
    assert!(heard.contains(&node(&["x"], b"\x01")));
}

#[test]
fn a_watch_that_does_not_keep_up_ends() {
    let mut a = Node::new("a");
    let (slow, writer) = (a.session(), a.session());
    let watching = a.ask(slow, watch(PathRef::default(), None));
    a.run(slow);
    a.heard(slow);
    a.machine.sink(slow).unwrap().waiting = Limits::default().watch_buffer + 1;
    for n in 0..3 {
        a.ask(writer, Request::Write(set(&path(&["x"]), &[n])));
    }
    let heard: Vec<Heard> = a.heard(slow).into_iter().map(|(_, h)| h).collect();
    assert_eq!(
        heard,
        [
            node(&["x"], b"\x00"),
            Heard::Error(Refused::Overflow),
            Heard::State("end")
        ]
    );
    let stop = a.ask(slow, Request::Stop(watching));
    assert_eq!(a.heard(slow), [(stop, Heard::Truth(false))]);
}

#[test]
fn a_recursive_deletion_spares_what_is_written_meanwhile() {
    let mut a = Node::new("a");
    let (client, writer) = (a.session(), a.session());
    for n in 0..200u8 {
        let mut p = path(&["t"]);
        p.push(&[0xcc, n]);
        a.ask(writer, Request::Write(set(&p, b"\x01")));
    }
    let top = path(&["t"]);
    let deleting = a.ask(
        client,
        Request::DeleteTree {
            path: top.as_ref(),
            links: Links::None,
        },
    );
    // it has begun, and is not over
    assert_eq!(a.heard(client), []);
    let mut last = path(&["t"]);
    last.push(&[0xcc, 199]);
    a.ask(writer, Request::Write(set(&last, b"\x02")));
    let mut new = path(&["t"]);
    new.push_str("new");
    a.ask(writer, Request::Write(set(&new, b"\x03")));
    a.run(client);
    assert_eq!(a.heard(client), [(deleting, Heard::Count(199))]);
    assert_eq!(a.get(client, &last), Some(b"\x02".to_vec()));
    assert_eq!(a.get(client, &new), Some(b"\x03".to_vec()));
}

#[test]
fn a_stopped_deletion_says_so() {
    let mut a = Node::new("a");
    let (client, writer) = (a.session(), a.session());
    for n in 0..200u8 {
        let mut p = path(&["t"]);
        p.push(&[0xcc, n]);
        a.ask(writer, Request::Write(set(&p, b"\x01")));
    }
    let top = path(&["t"]);
    let deleting = a.ask(
        client,
        Request::DeleteTree {
            path: top.as_ref(),
            links: Links::None,
        },
    );
    let stop = a.ask(client, Request::Stop(deleting.clone()));
    let heard = a.heard(client);
    assert_eq!(heard[0], (stop, Heard::Truth(true)));
    assert!(
        matches!(&heard[1..], [(h, Heard::Error(_))] if *h == deleting),
        "{heard:?}"
    );
    a.run(client);
    assert_eq!(a.heard(client), []);
}

#[test]
fn a_refused_write_takes_no_tick_and_makes_no_entry() {
    let mut a = Node::new("a");
    let client = a.session();
    let p = path(&["not", "there"]);
    let expect = Some(Expect::Link("b", Tick(7)));
    let refused = a.ask(
        client,
        Request::Write(Write {
            expect,
            ..set(&p, b"\x01")
        }),
    );
    assert_eq!(
        a.heard(client),
        [(refused, Heard::Error(Refused::IsNew(p.clone())))]
    );
    assert_eq!(a.machine.node().1, None);
    assert_eq!(a.machine.replica().tree().count(), 2);
    assert!(a.machine.replica().nodes().find("b").is_none());
}

/// Wants a check for every value that is 0x7f, or below `ask`.
#[derive(Debug)]
struct Suspicious(Rc<RefCell<u64>>);

impl Guard for Suspicious {
    fn version(&self) -> u64 {
        *self.0.borrow()
    }

    fn question(&self, _path: PathRef<'_>, value: &[u8]) -> Option<Question> {
        (value == [0x7f]).then_some(Question(1))
    }
}

fn suspicious() -> (Node, Rc<RefCell<u64>>) {
    let mut a = Node::new("a");
    let version = Rc::new(RefCell::new(1));
    a.machine
        .set_guard(Box::new(Suspicious(Rc::clone(&version))));
    (a, version)
}

fn tokens(a: &mut Node) -> Vec<Token> {
    let outputs = std::mem::take(&mut a.outputs);
    let token = |o| {
        if let Output::Check { token, .. } = o {
            Some(token)
        } else {
            None
        }
    };
    outputs.into_iter().filter_map(token).collect()
}

#[test]
fn a_write_waits_for_its_check_and_others_overtake() {
    let (mut a, _) = suspicious();
    let client = a.session();
    let (x, y) = (path(&["x"]), path(&["y"]));
    let first = a.ask(client, Request::Write(set(&x, b"\x7f")));
    let second = a.ask(client, Request::Write(set(&x, b"\x02")));
    let other = a.ask(client, Request::Write(set(&y, b"\x03")));
    let [token] = tokens(&mut a)[..] else {
        panic!("one check")
    };
    let done = |prev: Option<&[u8]>| {
        let prev = prev.map(<[u8]>::to_vec);
        Heard::Changed {
            changed: true,
            prev,
        }
    };
    assert_eq!(
        a.heard(client),
        [(other, done(None))],
        "another path overtakes"
    );
    assert_eq!(
        a.get(client, &x),
        None,
        "so do reads, which see nothing yet"
    );
    a.machine.handle_verdict(Timestamp(1), token, Verdict::Pass);
    assert_eq!(
        a.heard(client),
        [(first, done(None)), (second, done(Some(b"\x7f")))]
    );
    // a verdict counts once
    a.machine.handle_verdict(Timestamp(1), token, Verdict::Pass);
    assert_eq!(a.heard(client), []);
}

#[test]
fn a_verdict_counts_only_for_what_was_checked() {
    let (mut a, version) = suspicious();
    let (client, other) = (a.session(), a.session());
    let x = path(&["x"]);
    let write = a.ask(client, Request::Write(set(&x, b"\x7f")));
    for attempt in 0..3 {
        let [token] = tokens(&mut a)[..] else {
            panic!("attempt {attempt}")
        };
        // either the entry or the rules change meanwhile
        if attempt == 1 {
            *version.borrow_mut() += 1;
        } else {
            a.ask(other, Request::Write(set(&x, &[attempt])));
        }
        a.machine.handle_verdict(Timestamp(1), token, Verdict::Pass);
        a.settle();
    }
    assert_eq!(tokens(&mut a), []);
    let heard = a.heard(client);
    assert!(
        matches!(&heard[..], [(h, Heard::Error(Refused::CheckFailed(_)))] if *h == write),
        "{heard:?}"
    );
}

#[test]
fn a_refusing_check_and_a_silent_one_leave_everything_as_it_was() {
    let (mut a, _) = suspicious();
    let client = a.session();
    let x = path(&["x"]);
    let bad = a.ask(client, Request::Write(set(&x, b"\x7f")));
    let [token] = tokens(&mut a)[..] else {
        panic!("one check")
    };
    a.machine
        .handle_verdict(Timestamp(1), token, Verdict::Fail("no".into()));
    assert_eq!(
        a.heard(client),
        [(bad, Heard::Error(Refused::Check("no".into())))]
    );

    let late = a.ask_at(5, client, Request::Write(set(&x, b"\x7f")));
    let due = a.machine.poll_timeout().unwrap();
    assert_eq!(due, Timestamp(5).after(PATIENCE));
    a.machine.handle_timeout(Timestamp(due.0 - 1));
    assert_eq!(a.heard(client), []);
    a.machine.handle_timeout(due);
    assert!(matches!(&a.heard(client)[..], [(h, Heard::Error(_))] if *h == late));
    assert_eq!(a.machine.node().1, None);
    assert!(a.machine.suspended.next_timeout().is_none());
}

#[test]
fn waiting_writes_end_with_stop_and_with_their_session() {
    let (mut a, _) = suspicious();
    let (client, other) = (a.session(), a.session());
    let x = path(&["x"]);
    let write = a.ask(client, Request::Write(set(&x, b"\x7f")));
    let stop = a.ask(client, Request::Stop(write.clone()));
    let heard = a.heard(client);
    assert!(
        matches!(&heard[0], (h, Heard::Error(_)) if *h == write),
        "{heard:?}"
    );
    assert_eq!(heard[1], (stop, Heard::Truth(true)));
    a.ask(client, Request::Write(set(&x, b"\x7f")));
    a.machine.handle_disconnected(client);
    let tokens = tokens(&mut a);
    assert_eq!(tokens.len(), 2);
    for token in tokens {
        a.machine.handle_verdict(Timestamp(1), token, Verdict::Pass);
    }
    assert_eq!(a.get(other, &x), None);
}

#[test]
fn a_session_may_have_so_many_waiting_writes_and_no_more() {
    let (mut a, _) = suspicious();
    let client = a.session();
    for n in 0..65 {
        a.ask(
            client,
            Request::Write(set(&path(&[&n.to_string()]), b"\x7f")),
        );
    }
    let heard = a.heard(client);
    assert!(
        matches!(&heard[..], [(_, Heard::Error(Refused::TooMany(_)))]),
        "{heard:?}"
    );
}

/// What one client does, in a test of walks.
#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8, u8),
    Delete(u8, u8),
    Walk(u8),
    Block(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6, 0u8..6, any::<u8>()).prop_map(|(a, b, v)| Step::Set(a, b, v)),
        2 => (0u8..6, 0u8..6).prop_map(|(a, b)| Step::Delete(a, b)),
        4 => (1u8..5).prop_map(Step::Walk),
        1 => any::<bool>().prop_map(Step::Block),
    ]
}

fn place(a: u8, b: u8) -> RawPath {
    let mut p = path(&["t"]);
    p.push(&[a]);
    if b > 0 {
        p.push(&[b]);
    }
    p
}

proptest! {
    /// However writes and slices of the walk alternate: what was received is
    /// the tree when the walk ends, and after every later change.
    #[test]
    fn a_receivers_copy_equals_the_tree(
        before in prop::collection::vec((0u8..6, 0u8..6), 0..20),
        steps in prop::collection::vec(step(), 0..60),
        live in any::<bool>(),
        markers in any::<bool>(),
    ) {
        let mut a = Node::new("a");
        let (client, writer) = (a.session(), a.session());
        let top = path(&["t"]);
        a.ask(writer, Request::Write(set(&top, b"\x00")));
        for (x, y) in before {
            a.ask(writer, Request::Write(set(&place(x, y), b"\x01")));
            if x == y {
                let place = place(x, y);
                a.ask(writer, Request::Write(Write { value: None, ..set(&place, b"") }));
            }
        }
        let request = if live {
            watch(top.as_ref(), None)
        } else {
            Request::GetTree {
                space: Space::User, path: top.as_ref(), links: Links::None,
                depths: Depths::ALL, empty: false, markers, window: None,
            }
        };
        a.ask(client, request);
        let (mut copy, mut gone, mut complete) = (BTreeMap::new(), BTreeSet::new(), false);
        let mut steps = steps.into_iter();
        loop {
            match steps.next() {
                None => {
                    a.machine.sink(client).unwrap().blocked = false;
                    a.run(client);
                }
                Some(Step::Set(x, y, v)) => {
                    a.ask(writer, Request::Write(set(&place(x, y), &[v & 0x7f])));
                }
                Some(Step::Delete(x, y)) => {
                    let place = place(x, y);
                    a.ask(writer, Request::Write(Write { value: None, ..set(&place, b"") }));
                }
                Some(Step::Walk(n)) => {
                    a.machine.advance(client, usize::from(n));
                }
                Some(Step::Block(blocked)) => a.machine.sink(client).unwrap().blocked = blocked,
            }
            for (_, heard) in a.heard(client) {
                match heard {
                    Heard::Node { path, value } => {
                        prop_assert!(live || !complete, "nothing comes after the end");
                        if let Some(value) = value {
                            gone.remove(&path);
                            copy.insert(path, value);
                        } else {
                            copy.remove(&path);
                            gone.insert(path);
                        }
                    }
                    Heard::State("uptodate" | "end") => complete = true,
                    _ => {}
                }
            }
            if complete {
                let ix = a.machine.replica().tree().resolve(tree::Ix::ROOT, top.as_ref());
                let ix = ix.unwrap().unwrap();
                let tree = a.machine.replica().tree();
                let (mut all, mut deleted, mut at) = (BTreeMap::new(), BTreeSet::new(), Some(ix));
                while let Some(here) = at {
                    let entry = tree.get(here);
                    if let Some(value) = entry.value() {
                        all.insert(tree.path(ix, here), value.to_vec());
                    } else if entry.head().is_some() {
                        deleted.insert(tree.path(ix, here));
                    }
                    at = tree.following(ix, here, true);
                }
                prop_assert_eq!(&copy, &all);
                if markers && !live {
                    prop_assert_eq!(&gone, &deleted);
                }
                if !live || steps.len() == 0 {
                    break;
                }
            }
        }
    }

    /// The order in which entries, children and nodes are told does not
    /// depend on the key for hashing.
    #[test]
    fn no_order_depends_on_the_hash_key(
        steps in prop::collection::vec((0u8..6, 0u8..6), 1..40),
        keys in (any::<u64>(), any::<u64>()),
    ) {
        let trace = |hash| {
            let mut a = Node::new("a");
            a.machine = Machine::new(
                &NodeName::new("a"), vec![], Limits::default(), Seed { hash, run: 1 },
            );
            let client = a.session();
            a.ask(client, watch(PathRef::default(), None));
            for (x, y) in &steps {
                a.ask(client, Request::Write(set(&place(*x, *y), b"\x01")));
            }
            a.ask(client, watch(PathRef::default(), None));
            a.run(client);
            a.heard(client)
        };
        prop_assert_eq!(trace(keys.0), trace(keys.1));
    }
}

#[test]
fn sessions_that_go_leave_nothing() {
    let mut a = Node::new("a");
    let mut ids = BTreeSet::new();
    for _ in 0..100 {
        let client = a.session();
        ids.insert(client);
        a.ask(client, watch(PathRef::default(), None));
        a.machine.handle_disconnected(client);
        a.outputs.clear();
    }
    assert_eq!(ids.len(), 1, "places are used again");
    assert!(a.machine.streams.nobody_watches());
}
