//! What the simulator found: each bug as the shortest history that shows it.

use std::time::Duration;

use crate::event::{
    ChainEnd, Effect, Event, Fetched, Hail, Handle, Info, Links, Mark, Message, NamedLink,
    NodeInfo, NodeName, PeerMessage, Request, Say, SessionId, Settings, Sink, Space, StateWanted,
    Tick, TickSet, To, Tock, Turn, Update, Write,
};
use crate::node::Limits;
use crate::node::cluster::{Begin, Options, Report};
use crate::node::journal::Journal;
use crate::node::machine::{Effects, Machine, Output, Seed};
use crate::node::time::Timestamp;
use crate::node::tree::Ix;
use crate::path::RawPath;

/// A client that does not listen.
#[derive(Debug)]
struct Deaf;

impl Sink for Deaf {
    fn send(&mut self, _to: To<'_>, _message: &Message<'_>, _tock: Tock) {}

    fn open(&mut self, _stream: &Handle, _window: Option<u32>) {}

    fn close(&mut self, _stream: &Handle) {}

    fn room(&self, _stream: &Handle) -> bool {
        true
    }

    fn waiting(&self) -> usize {
        0
    }
}

/// A change that this node has made in an earlier run.
fn event(path: RawPath, tick: u64, value: Option<&[u8]>) -> Event {
    Event {
        path,
        chain: vec![NamedLink {
            node: NodeName::new("me"),
            tick: Tick(tick),
        }],
        end: ChainEnd::Start,
        tock: Tock(tick * 10),
        value: value.map(Into::into),
    }
}

/// Node `me`, which is connected and has its data.
struct Node {
    machine: Machine<Deaf>,
    client: SessionId,
    now: Timestamp,
}

impl Node {
    /// A node that has not been connected yet.
    fn new(begin: Begin) -> Self {
        Self::with(begin, &[])
    }

    /// As [`Node::new`], with what a file holds.
    fn with(begin: Begin, loaded: &[Event]) -> Self {
        let me = NodeName::new("me");
        let seed = Seed { hash: 1, run: 2 };
        let mut machine = Machine::new(&me, Vec::new(), Limits::default(), seed);
        machine.set_effects(Effects { persist: true });
        if begin == Begin::First {
            machine.found(b"\x01").unwrap();
        }
        for event in loaded {
            machine.handle_loaded(event);
        }
        let options = Options {
            ping: Settings::PING,
            delete: Settings::DELETE,
            links: 5,
            addr: Vec::new(),
            boot: 1,
            seed: 3,
            force: false,
        };
        machine.set_network(Timestamp(0), options, begin);
        let client = machine.handle_connected(Deaf);
        Self {
            machine,
            client,
            now: Timestamp(0),
        }
    }

    /// The first node of a network, some minutes later.
    fn settled() -> Self {
        let mut node = Self::new(Begin::First);
        node.machine.handle_up(node.now);
        node.wait(300);
        node
    }

    /// Lets time pass; what was said and wanted meanwhile.
    fn wait(&mut self, seconds: u64) -> Vec<Output> {
        self.pass(Duration::from_secs(seconds))
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now.after(time);
        let mut outputs = self.outputs();
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now);
            outputs.extend(self.outputs());
            assert!(outputs.len() < 10_000, "it does not come to rest");
        }
        self.now = end;
        outputs
    }

    /// What is to be done; what is said comes back at once.
    fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            if let Output::Carry(Effect::Tell(message)) = &output {
                self.machine.handle_peer(self.now, message);
            }
            outputs.push(output);
        }
        outputs
    }

    /// Whether an entry has changed since this was asked last.
    fn has_logged(&mut self) -> bool {
        let mut journal = Journal::default();
        self.machine.swap_journal(&mut journal);
        !journal.is_empty()
    }

    fn write(&mut self, name: &str) {
        self.set(&path(name), Some(b"\x05"));
    }

    fn set(&mut self, path: &RawPath, value: Option<&[u8]>) {
        let write = Write {
            space: Space::User,
            path: path.as_ref(),
            value,
            links: Links::None,
            expect: None,
            prev: None,
            idem: false,
        };
        let handle = Handle::new(b"\x01");
        self.machine
            .handle_client(self.now, self.client, &handle, Request::Write(write));
    }

    fn hear(&mut self, message: &PeerMessage) {
        self.machine.handle_peer(self.now, message);
    }

    /// `from` says something about ticks of `me`.
    fn hear_info(&mut self, from: &str, info: NodeInfo) {
        self.hear(&PeerMessage::Info(Info {
            node: NodeName::new(from),
            tick: Some(Tick(0)),
            tock: Tock(1),
            info,
            hail: None,
        }));
    }
}

fn path(name: &str) -> RawPath {
    let mut path = RawPath::new();
    path.push_str(name);
    path
}

fn mine(tick: u64) -> Option<Vec<(NodeName, TickSet)>> {
    Some(vec![(
        NodeName::new("me"),
        TickSet::from_iter([tick..=tick]),
    )])
}

/// The events that were sent again.
fn sent_again(outputs: &[Output]) -> Vec<&Event> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Carry(Effect::Tell(message)) => match &**message {
                PeerMessage::Update(Update {
                    event,
                    again: Some(_),
                }) => Some(event),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Two nodes that hold the same were told apart by their names, so that a
/// node that hears them in turn never found that it differs.
#[test]
fn a_difference_is_seen_whoever_tells_of_it() {
    let mut node = Node::settled();
    let mut fetched = false;
    for turn in 0..20 {
        let name = NodeName::new(["x", "y", "z"][turn % 3]);
        let mark = Some(Mark {
            boot: 7,
            sum: Some(12345),
        });
        node.hear(&PeerMessage::Ping(Turn::Ping {
            node: name.clone(),
            value: Some((1, 0)),
            history: vec![name],
            mark,
        }));
        let outputs = node.wait(12);
        fetched |= outputs.iter().any(|o| matches!(o, Output::Fetch(_)));
    }
    assert!(fetched);
}

/// A node that had been deaf for some time gave up what the others had, and
/// told them; who had not heard of it either believed that.
#[test]
fn a_node_objects_if_what_it_holds_is_given_up() {
    let mut node = Node::settled();
    node.write("x");
    node.wait(60);
    let (_, tick) = node.machine.node();
    let tick = tick.unwrap().0;
    node.hear_info(
        "other",
        NodeInfo {
            known: mine(tick),
            ..NodeInfo::default()
        },
    );
    let outputs = node.wait(5);
    let events = sent_again(&outputs);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].path, path("x"));
    // once is enough
    let outputs = node.wait(60);
    assert_eq!(sent_again(&outputs).len(), 0);
}

/// What others lack was not sent if the connection broke just then.
#[test]
fn what_others_lack_is_sent_after_the_connection_is_back() {
    let mut node = Node::settled();
    node.write("x");
    node.wait(60);
    let (_, tick) = node.machine.node();
    let tick = tick.unwrap().0;
    node.hear_info(
        "other",
        NodeInfo {
            missing: mine(tick),
            ..NodeInfo::default()
        },
    );
    node.machine.handle_down(node.now);
    node.wait(60);
    node.machine.handle_up(node.now);
    let outputs = node.wait(20);
    assert!(sent_again(&outputs).iter().any(|e| e.path == path("x")));
}

/// A node that has fetched a state in which its name is not known.
fn joined() -> Node {
    let (mut node, fetch) = joining();
    node.fetched(fetch);
    node
}

/// A node that fetches the state of `other`, and what names its fetch.
fn joining() -> (Node, u64) {
    let mut node = Node::new(Begin::Join(Vec::new()));
    node.machine.handle_up(node.now);
    let hail = Info {
        node: NodeName::new("other"),
        tick: Some(Tick(3)),
        tock: Tock(5),
        info: NodeInfo::default(),
        hail: Some(Hail {
            say: Say::Here,
            boot: 9,
            addr: Vec::new(),
            sum: Some(1),
        }),
    };
    node.hear(&PeerMessage::Info(hail));
    let outputs = node.wait(1);
    let fetch = outputs.iter().find_map(|o| match o {
        Output::Fetch(fetch) => Some(fetch.id),
        _ => None,
    });
    (node, fetch.unwrap())
}

impl Node {
    /// The state of `other`, of whose three events it holds none, has come.
    fn fetched(&mut self, id: u64) {
        let info = NodeInfo {
            ticks: Some(vec![(NodeName::new("other"), Some(Tick(3)))]),
            ..NodeInfo::default()
        };
        let state = Fetched::State(&info, Tock(5));
        self.machine.handle_fetched(self.now, id, &state);
        self.machine.handle_fetched(self.now, id, &Fetched::Done);
    }
}

fn asks_for_something(output: &Output) -> bool {
    match output {
        Output::Carry(Effect::Tell(message)) => match &**message {
            PeerMessage::Info(info) => info.info.missing.is_some(),
            _ => false,
        },
        _ => false,
    }
}

/// A joiner asked for all that it was about to fetch, and its peer was so busy
/// with sending a hundred thousand events that it could not be fetched from.
#[test]
fn who_fetches_asks_for_nothing_until_it_has_fetched() {
    let (mut node, fetch) = joining();
    let heard = NodeInfo {
        ticks: Some(vec![(NodeName::new("other"), Some(Tick(3)))]),
        ..NodeInfo::default()
    };
    node.hear_info("other", heard);
    assert!(!node.wait(25).iter().any(asks_for_something));
    node.fetched(fetch);
    assert!(node.wait(25).iter().any(asks_for_something));
}

/// Each name that a stranger invented had a line of the log when what it was
/// to have written was given up.
#[test]
fn what_is_missing_of_many_nodes_is_said_in_a_line() {
    let mut node = Node::settled();
    let names = (0..1000).map(|n| NodeName::new(&format!("bogus {n}")));
    let heard = NodeInfo {
        ticks: Some(names.map(|name| (name, Some(Tick(3)))).collect()),
        ..NodeInfo::default()
    };
    node.hear_info("other", heard);
    let reports = |outputs: Vec<Output>| -> Vec<String> {
        let reports = outputs.into_iter().filter_map(|output| match output {
            Output::Report(report) => Some(report.to_string()),
            _ => None,
        });
        reports.collect()
    };
    let said = reports(node.wait(300));
    let [missing, lost, complete] = said.as_slice() else {
        panic!("{said:?}");
    };
    let all = "3 change(s) of 'bogus 0', 3 of 'bogus 1', 3 of 'bogus 2' \
               and 2991 of 997 more node(s) are";
    assert_eq!(*missing, format!("{all} missing"));
    assert!(lost.starts_with(&format!("{all} lost")), "{lost}");
    assert_eq!(complete, "nothing is missing any more");
}

/// The peer that was read from had not heard of this node's earlier run yet,
/// so its ticks were used a second time.
#[test]
fn a_joiner_leaves_out_ticks_although_nobody_knows_its_name() {
    let mut node = joined();
    node.write("x");
    let (_, tick) = node.machine.node();
    assert!(tick.unwrap().0 > 1 << 20);
}

/// What an earlier run had said reached the others after the node had
/// started again, and itself as well; it took that for its own word.
#[test]
fn a_node_takes_in_what_its_earlier_run_said() {
    let mut node = joined();
    node.wait(60);
    node.hear(&PeerMessage::Update(Update {
        event: Event {
            path: path("x"),
            chain: vec![NamedLink {
                node: NodeName::new("me"),
                tick: Tick(7),
            }],
            end: ChainEnd::Start,
            tock: Tock(9),
            value: Some(Box::new([1])),
        },
        again: None,
    }));
    node.outputs();
    assert!(node.has_logged());
}

/// A hello got lost, so that the first to join was taken for a node of
/// another network, and the founder ended.
#[test]
fn a_founder_does_not_give_way_to_a_node_that_started_later() {
    let ended = |boot| {
        let mut node = Node::new(Begin::First);
        node.machine.handle_up(node.now);
        node.wait(2);
        node.hear(&PeerMessage::Info(Info {
            node: NodeName::new("other"),
            tick: Some(Tick(3)),
            tock: Tock(5),
            info: NodeInfo::default(),
            hail: Some(Hail {
                say: Say::Here,
                boot,
                addr: Vec::new(),
                sum: Some(1),
            }),
        }));
        let outputs = node.outputs();
        outputs.iter().any(|o| matches!(o, Output::Fault(_)))
    };
    assert!(!ended(2), "it has its data from this one");
    assert!(ended(0), "it was there before");
}

/// Ticks that others lacked and nobody here had ever heard of stayed in the
/// list of what is to be sent to them.
#[test]
fn what_was_never_heard_of_is_not_kept_for_others() {
    let mut node = Node::settled();
    let missing = Some(vec![(NodeName::new("x"), TickSet::from_iter([5..=9]))]);
    let info = NodeInfo {
        missing,
        ..NodeInfo::default()
    };
    node.hear_info("other", info);
    let wanted = StateWanted {
        remote_missing: true,
        ..StateWanted::default()
    };
    let state = node.machine.replica().state(wanted);
    assert_eq!(state.remote_missing, Some(Vec::new()));
}

/// In a network where nobody writes, no logical time passes between two
/// turns, and nothing was ever older than a turn.
#[test]
fn deletions_are_forgotten_although_nobody_writes() {
    let mut node = Node::settled();
    let mut deleters = RawPath::new();
    deleters.push_nil();
    deleters.push_str("actor");
    deleters.push_str("del");
    // {"nodes": ["me"]}
    node.set(&deleters, Some(b"\x81\xa5nodes\x91\xa2me"));
    node.write("x");
    node.wait(60);
    node.set(&path("x"), None);
    node.wait(3000);
    let tree = node.machine.replica().tree();
    assert_eq!(tree.resolve(Ix::ROOT, path("x").as_ref()), Ok(None));
}

/// What was loaded from a file, deletions and deleters, was unknown to those
/// who agree on what may be forgotten.
#[test]
fn deletions_that_a_file_holds_are_forgotten() {
    let mut deleters = RawPath::new();
    deleters.push_nil();
    deleters.push_str("actor");
    deleters.push_str("del");
    let loaded = [
        event(RawPath::new(), 1, Some(b"\x01")),
        event(deleters, 2, Some(b"\x81\xa5nodes\x91\xa2me")),
        event(path("x"), 3, None),
    ];
    let mut node = Node::with(Begin::Again, &loaded);
    node.machine.handle_up(node.now);
    node.wait(3000);
    let tree = node.machine.replica().tree();
    assert_eq!(tree.resolve(Ix::ROOT, path("x").as_ref()), Ok(None));
}

/// Where a clean end is proved no tick is left out, and nothing has to be said
/// of any.
#[test]
fn a_node_that_ended_in_order_goes_on_behind_its_last_tick() {
    for (begin, most) in [(Begin::Resumed, 8), (Begin::Again, u64::MAX)] {
        let mut node = Node::with(begin.clone(), &[event(path("x"), 1, Some(b"\x01"))]);
        node.machine.handle_up(node.now);
        let outputs = node.wait(3000);
        node.write("y");
        let Tick(tick) = node.machine.node().1.expect("it has data");
        let far = tick > 1 << 20;
        assert_eq!((tick <= most, far), (true, begin == Begin::Again), "{tick}");
        let says = |output: &Output| match output {
            Output::Carry(Effect::Tell(message)) => {
                matches!(&**message, PeerMessage::Info(info) if info.info.known.is_some())
            }
            _ => false,
        };
        assert_eq!(outputs.iter().any(says), begin == Begin::Again);
    }
}

/// A node whose turn came just when it had heard of something new gave that
/// up at once, or asked for it without a pause, for ever.
#[test]
fn what_is_missing_is_asked_for_and_waited_for() {
    // at any moment of a cycle
    for step in 0..300 {
        let mut node = Node::settled();
        node.pass(Duration::from_millis(50) * step);
        let ticks = Some(vec![(NodeName::new("x"), Some(Tick(5)))]);
        let info = NodeInfo {
            ticks,
            ..NodeInfo::default()
        };
        node.hear_info("other", info);
        let outputs = node.wait(2);
        let asks = outputs.iter().filter(|output| asks_for_something(output));
        assert!(asks.count() <= 1);
        let given_up = |o: &Output| matches!(o, Output::Report(Report::GivenUp(..)));
        assert!(!outputs.iter().any(given_up), "given up at {step}");
    }
}

/// A late word of a node's earlier run made it stop, although it had data
/// again that nobody else had.
#[test]
fn one_word_of_an_older_server_is_not_enough_to_stop() {
    let mut node = joined();
    let mut ended_after = |seconds| {
        node.wait(seconds);
        node.hear(&PeerMessage::Info(Info {
            node: NodeName::new("me"),
            tick: Some(Tick(3)),
            tock: Tock(5),
            info: NodeInfo::default(),
            hail: Some(Hail {
                say: Say::Here,
                boot: 0,
                addr: Vec::new(),
                sum: Some(1),
            }),
        }));
        let outputs = node.outputs();
        outputs.iter().any(|o| matches!(o, Output::Fault(_)))
    };
    assert!(!ended_after(60));
    assert!(ended_after(10), "it is there");
}

/// A node of the original that starts under a name that is in use says so
/// once. It is the newcomer: the one that was there stays.
#[test]
fn whoever_starts_under_a_name_in_use_does_not_end_who_has_it() {
    let mut node = Node::new(Begin::First);
    node.machine.handle_up(node.now);
    node.wait(2);
    node.hear(&PeerMessage::Ping(Turn::Init(NodeName::new("me"))));
    let outputs = node.outputs();
    assert!(!outputs.iter().any(|o| matches!(o, Output::Fault(_))));
    assert!(outputs.iter().any(|o| matches!(o, Output::Report(_))));
}

/// An earlier run's last known tick was heard of after the node had begun
/// elsewhere; it went on right behind that one, where the earlier run had
/// gone on as well.
#[test]
fn a_later_tick_of_an_earlier_run_is_kept_clear_of() {
    let mut node = joined();
    let (_, tick) = node.machine.node();
    let earlier = tick.unwrap().0 + 1000;
    let info = NodeInfo {
        ticks: Some(vec![(NodeName::new("me"), Some(Tick(earlier)))]),
        ..NodeInfo::default()
    };
    node.hear_info("other", info);
    node.write("x");
    let (_, tick) = node.machine.node();
    assert!(tick.unwrap().0 > earlier + (1 << 20));
}

/// An event of another server of this node's name that came after this node
/// had heard of a later tick, and had left some out, was taken for this node's
/// own.
#[test]
fn a_node_tells_its_events_from_those_of_another_server_of_its_name() {
    let mut node = joined();
    let persisted = |node: &mut Node, tick: u64| {
        node.hear(&PeerMessage::Update(Update {
            event: Event {
                path: path("x"),
                chain: vec![NamedLink {
                    node: NodeName::new("me"),
                    tick: Tick(tick),
                }],
                end: ChainEnd::Start,
                tock: Tock(1000 + tick),
                value: Some(Box::new([1])),
            },
            again: None,
        }));
        node.outputs();
        node.has_logged()
    };
    node.wait(60);
    node.write("y");
    let own = node.machine.node().1.unwrap().0;
    assert!(persisted(&mut node, own + 1000), "it is beyond");
    node.write("y");
    let later = node.machine.node().1.unwrap().0;
    assert!(later > own + 1000, "{later}");
    assert!(persisted(&mut node, own + 1001), "it is between");
    assert!(!persisted(&mut node, own), "it is this node's");
    assert!(!persisted(&mut node, later), "it is this node's as well");
}

/// One node had heard of the last ticks of a node that did not come back, and
/// the others had not. Nobody ever told them.
#[test]
fn the_ticks_of_a_node_that_is_gone_are_told() {
    // how often, and whether somebody else does as well
    let told = |others: bool| {
        let mut node = Node::settled();
        let gone = |tick| NodeInfo {
            ticks: Some(vec![
                (NodeName::new("me"), Some(Tick(1))),
                (NodeName::new("gone"), Some(Tick(tick))),
            ]),
            ..NodeInfo::default()
        };
        node.hear_info("x", gone(5));
        node.wait(60);
        let mut told = 0;
        for _ in 0..10 {
            node.hear(&PeerMessage::Ping(Turn::Ping {
                node: NodeName::new("x"),
                value: Some((1, 0)),
                history: vec![NodeName::new("x"), NodeName::new("me")],
                mark: None,
            }));
            if others {
                node.hear_info("x", gone(5));
            }
            let ticks = |output: &Output| match output {
                Output::Carry(Effect::Tell(message)) => match &**message {
                    PeerMessage::Info(info) => {
                        let mut ticks = info.info.ticks.iter().flatten();
                        ticks.any(|t| *t == (NodeName::new("gone"), Some(Tick(5))))
                    }
                    _ => false,
                },
                _ => false,
            };
            told += node.wait(24).iter().filter(|o| ticks(o)).count();
        }
        told
    };
    assert!((4..=8).contains(&told(false)), "{}", told(false));
    assert_eq!(told(true), 0);
}

/// Two servers of one name wrote beside each other for as long as neither had
/// a turn: they heard each other's events, and did not say who they are.
#[test]
fn a_node_that_hears_of_ticks_it_has_not_used_says_that_it_is_there() {
    let mut node = joined();
    node.wait(60);
    let own = node.machine.node().1.unwrap().0;
    let ticks = Some(vec![(NodeName::new("me"), Some(Tick(own + 1000)))]);
    let info = NodeInfo {
        ticks,
        ..NodeInfo::default()
    };
    node.hear_info("other", info);
    let outputs = node.wait(3);
    let here = outputs.iter().filter(|output| match output {
        Output::Carry(Effect::Tell(message)) => match &**message {
            PeerMessage::Info(info) => info.hail.as_ref().is_some_and(|h| h.say == Say::Here),
            _ => false,
        },
        _ => false,
    });
    assert_eq!(here.count(), 1);
}

/// A node that had the only data of its network ended for an older server of
/// its name that had none.
#[test]
fn a_node_with_data_does_not_end_for_one_without() {
    let mut node = joined();
    let mut ended = |tick| {
        node.wait(10);
        node.hear(&PeerMessage::Info(Info {
            node: NodeName::new("me"),
            tick,
            tock: Tock(5),
            info: NodeInfo::default(),
            hail: Some(Hail {
                say: Say::Here,
                boot: 0,
                addr: Vec::new(),
                sum: None,
            }),
        }));
        let outputs = node.outputs();
        outputs.iter().any(|o| matches!(o, Output::Fault(_)))
    };
    assert!((0..4).all(|_| !ended(None)));
    assert!((0..4).any(|_| ended(Some(Tick(3)))), "it has some now");
}

/// What a node said of ticks.
fn told(outputs: &[Output]) -> impl Iterator<Item = &NodeInfo> {
    outputs.iter().filter_map(|output| match output {
        Output::Carry(Effect::Tell(message)) => match &**message {
            PeerMessage::Info(info) => Some(&info.info),
            _ => None,
        },
        _ => None,
    })
}

fn names(sets: Option<&Vec<(NodeName, TickSet)>>, name: &str, tick: u64) -> bool {
    let mut sets = sets.into_iter().flatten();
    sets.any(|(node, ticks)| node.as_str() == name && ticks.contains(tick))
}

/// A node of the original tells a joiner its entries without the marks of
/// deletions, and of these only that they are deleted. The joiner took that
/// for known; when the deletion's node was gone, nobody asked for it any more,
/// and the value came back from who had missed the deletion.
#[test]
fn marks_that_the_original_does_not_tell_are_asked_for() {
    let (mut node, fetch) = joining();
    let sets = |ticks: &[u64]| {
        let ticks = ticks.iter().map(|tick| *tick..=*tick).collect();
        Some(vec![(NodeName::new("other"), ticks)])
    };
    let info = NodeInfo {
        ticks: Some(vec![(NodeName::new("other"), Some(Tick(3)))]),
        known: sets(&[1]),
        deleted: sets(&[1, 3]),
        ..NodeInfo::default()
    };
    let state = Fetched::State(&info, Tock(5));
    node.machine.handle_fetched(node.now, fetch, &state);
    node.machine.handle_fetched(node.now, fetch, &Fetched::Done);
    let outputs = node.wait(25);
    let asked = |tick| told(&outputs).any(|info| names(info.missing.as_ref(), "other", tick));
    assert!(asked(3), "the mark of a deletion");
    assert!(!asked(1), "what nobody needs any more");
}

/// A node of the original that is not among those that take turns says its
/// last tick in nothing but the head of its words, and when that event got
/// lost, nobody knew of it.
#[test]
fn the_tick_in_the_head_of_an_originals_word_is_heeded() {
    let mut node = Node::settled();
    node.hear(&PeerMessage::Info(Info {
        node: NodeName::new("original"),
        tick: Some(Tick(7)),
        tock: Tock(9),
        ..Info::default()
    }));
    let outputs = node.wait(25);
    let asked = |info: &NodeInfo| names(info.missing.as_ref(), "original", 7);
    assert!(told(&outputs).any(asked));
}

/// A node of the original that starts waits until nothing is missing. What it
/// asked for, and nobody else had ever heard of, it waited for for ever.
#[test]
fn what_only_an_original_has_heard_of_is_given_up_for_it() {
    let mut node = Node::settled();
    let missing = Some(vec![(NodeName::new("x"), TickSet::from_iter([5..=5]))]);
    let info = NodeInfo {
        missing,
        ..NodeInfo::default()
    };
    node.hear_info("original", info);
    let outputs = node.wait(300);
    assert!(told(&outputs).any(|info| names(info.known.as_ref(), "x", 5)));
}

/// A node of the original that starts may hold something later than what it
/// lacks, which no other node has. It does not heed what it is sent then, and
/// waited for ever.
#[test]
fn an_original_that_asks_in_vain_is_told_not_to_wait() {
    let mut node = Node::settled();
    let missing = mine(1);
    let ask = PeerMessage::Info(Info {
        node: NodeName::new("original"),
        tick: None,
        tock: Tock(1),
        info: NodeInfo {
            missing,
            ..NodeInfo::default()
        },
        hail: None,
    });
    let mut sent = 0;
    for time in 0.. {
        node.hear(&ask);
        let outputs = node.wait(20);
        sent += sent_again(&outputs).len();
        if told(&outputs).any(|info| names(info.known.as_ref(), "me", 1)) {
            assert!(time >= 3, "the event may have got lost");
            break;
        }
        assert!(time < 10, "it waits for ever");
    }
    assert!(sent >= 4);
}

/// A node of the original that had no turn for some cycles was taken to be
/// gone, and kept another value than ours after a tie.
#[test]
fn ties_are_settled_beside_an_original_that_is_silent() {
    let mut node = Node::settled();
    node.hear(&PeerMessage::Ping(Turn::Ping {
        node: NodeName::new("original"),
        value: Some((1, 1)),
        history: vec![NodeName::new("original")],
        mark: None,
    }));
    node.wait(600);
    node.write("x");
    node.wait(1);
    let (_, tick) = node.machine.node();
    let tock = node.machine.replica().tock();
    node.hear(&PeerMessage::Update(Update {
        event: Event {
            path: path("x"),
            chain: vec![NamedLink {
                node: NodeName::new("another"),
                tick: Tick(1),
            }],
            end: ChainEnd::Start,
            // a write takes one before its event's, and one after
            tock: Tock(tock.0 - 1),
            value: Some(Box::new(*b"\x06")),
        },
        again: None,
    }));
    node.wait(10);
    let (_, after) = node.machine.node();
    assert_eq!(
        after,
        tick.map(|tick| Tick(tick.0 + 1)),
        "written once more"
    );
}
