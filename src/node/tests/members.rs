//! What a node tells an operator of its network.

use std::time::Duration;

use super::*;
use crate::event::{Hail, Info, MOST_MEMBERS, Mark, MemberKind, Members, NodeInfo, Say, Turn};

/// Keeps the last list of nodes.
#[derive(Debug, Default)]
struct Eye(Option<Members>);

impl Sink for Eye {
    fn send(&mut self, _to: To<'_>, message: &Message<'_>, _tock: Tock) {
        if let Message::Members(members) = message {
            self.0 = Some((*members).clone());
        }
    }

    fn open(&mut self, _stream: &Handle, _window: Option<u32>) {}

    fn close(&mut self, _stream: &Handle) {}

    fn room(&self, _stream: &Handle) -> bool {
        true
    }

    fn waiting(&self) -> usize {
        0
    }
}

struct Watched {
    machine: Machine<Eye>,
    session: SessionId,
    now: Timestamp,
}

impl Watched {
    /// A node of a network that is up, and ready.
    fn new() -> Self {
        let mut node = Self::alone();
        let options = cluster::Options {
            ping: Settings::PING,
            delete: Settings::DELETE,
            links: 5,
            addr: vec![("here".to_owned(), 1)],
            boot: 1,
            seed: 2,
            force: false,
        };
        node.machine
            .set_network(Timestamp(0), options, cluster::Begin::First);
        node.machine.handle_up(Timestamp(0));
        node.wait(Duration::from_secs(1));
        node
    }

    fn alone() -> Self {
        let seed = Seed { hash: 5, run: 9 };
        let name = NodeName::new("me");
        let mut machine = Machine::new(&name, Vec::new(), Limits::default(), seed);
        machine.found(b"\x01").unwrap();
        let session = machine.handle_connected(Eye::default());
        Self {
            machine,
            session,
            now: Timestamp(0),
        }
    }

    /// Time passes; what this node says comes back to it.
    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.machine.handle_timeout(self.now);
        while let Some(output) = self.machine.poll_output() {
            if let Output::Carry(Effect::Tell(message)) = output {
                self.machine.handle_peer(self.now, &message);
            }
        }
    }

    fn hear(&mut self, message: PeerMessage) {
        self.machine.handle_peer(self.now, &message);
    }

    /// A node of ours says something of itself.
    fn hail(&mut self, name: &str, say: Say, tick: Option<Tick>, sum: Option<u64>) {
        self.hear(PeerMessage::Info(Info {
            node: NodeName::new(name),
            tick,
            tock: Tock(1),
            info: NodeInfo::default(),
            hail: Some(Hail {
                say,
                boot: 7,
                addr: vec![("there".to_owned(), 2)],
                sum,
            }),
        }));
    }

    fn ask(&mut self, request: Request<'_>) {
        let handle = Handle::new(&[1]);
        self.machine
            .handle_client(self.now, self.session, &handle, request);
        while self.machine.poll_output().is_some() {}
    }

    fn members(&mut self) -> Members {
        self.ask(Request::Members);
        self.machine.sink(self.session).unwrap().0.take().unwrap()
    }
}

#[test]
fn a_node_alone_lists_itself() {
    let members = Watched::alone().members();
    let [me] = members.nodes.as_slice() else {
        panic!("{members:?}")
    };
    assert_eq!(
        (me.own, me.ready, me.tick),
        (true, Some(true), Some(Tick(1)))
    );
    assert_eq!((members.up, members.outbox), (false, 0));
    assert_eq!(members.deleters.marks, None);
}

#[test]
fn others_are_listed_as_they_were_heard() {
    let mut node = Watched::new();
    let sum = node.machine.replica().sum();
    node.hail("same", Say::Here, Some(Tick(5)), Some(sum));
    node.hail("other", Say::Here, Some(Tick(9)), Some(sum ^ 1));
    node.hail("new", Say::Hello, None, None);
    node.hear(PeerMessage::Ping(Turn::Ping {
        node: NodeName::new("old"),
        value: Some((3, 4)),
        history: vec![NodeName::new("old")],
        mark: None,
    }));
    node.wait(Duration::from_secs(2));
    node.hail("other", Say::Gone, None, None);
    let members = node.members();
    let names: Vec<&str> = members.nodes.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["me", "new", "old", "other", "same"]);
    let [me, new, old, other, same] = members.nodes.as_slice() else {
        panic!("{members:?}")
    };
    assert!(members.up && me.own && !new.own);
    assert_eq!(me.addr, [("here".to_owned(), 1)]);
    assert_eq!(same.addr, [("there".to_owned(), 2)]);
    assert_eq!((new.kind, new.ready), (MemberKind::Ours, Some(false)));
    assert_eq!((old.kind, old.ready), (MemberKind::Original, Some(true)));
    assert_eq!((old.tick, old.missing), (Some(Tick(4)), 4));
    assert_eq!(old.heard, Some(Duration::from_secs(2)));
    assert_eq!(
        (other.same, other.gone, other.here),
        (Some(false), true, false)
    );
    assert_eq!((same.same, same.gone, same.here), (Some(true), false, true));

    node.wait(Duration::from_secs(60));
    assert!(node.members().nodes.iter().all(|m| m.own || !m.here));
}

#[test]
fn what_waits_for_a_way_is_counted() {
    let mut node = Watched::new();
    assert_eq!(node.members().outbox, 0, "all has come back");
    node.machine.handle_down(node.now);
    node.ask(Request::Write(set(&path(&["a"]), b"\x01")));
    let members = node.members();
    assert_eq!((members.up, members.outbox), (false, 1));
}

#[test]
fn deleters_that_are_away_are_told_apart() {
    let mut node = Watched::new();
    node.hail("here", Say::Here, Some(Tick(5)), None);
    let deleters = path(&["actor", "del"]);
    node.ask(Request::Write(Write {
        space: Space::Internal,
        ..set(&deleters, b"\x81\xa5nodes\x93\xa2me\xa4here\xa4away")
    }));
    let entry = path(&["a"]);
    node.ask(Request::Write(set(&entry, b"\x01")));
    node.ask(Request::Write(Write {
        value: None,
        ..set(&entry, b"")
    }));
    let members = node.members();
    let group: Vec<(&str, bool)> = members
        .deleters
        .group
        .iter()
        .map(|(name, here)| (name.as_str(), *here))
        .collect();
    assert_eq!(group, [("me", true), ("here", true), ("away", false)]);
    assert_eq!(members.deleters.marks, Some(1));
}

#[test]
fn invented_names_are_counted_not_listed() {
    let mut node = Watched::new();
    node.hail("zz", Say::Here, Some(Tick(5)), None);
    let names = (0..MOST_MEMBERS).map(|n| (NodeName::new(&format!("n{n}")), Some(Tick(1))));
    let ticks = Some(names.collect());
    node.hear(PeerMessage::Info(Info {
        node: NodeName::new("liar"),
        tick: None,
        tock: Tock(1),
        info: NodeInfo {
            ticks,
            ..NodeInfo::default()
        },
        hail: None,
    }));
    let members = node.members();
    assert_eq!(members.nodes.len(), MOST_MEMBERS);
    assert_eq!(members.more, 3);
    assert!(members.nodes[0].own);
    let last = &members.nodes[MOST_MEMBERS - 1];
    assert_eq!(last.name.as_str(), "zz", "who has spoken comes first");
}

#[test]
fn a_turn_says_what_a_node_runs() {
    let mut node = Watched::new();
    let mark = Some(Mark { boot: 3, sum: None });
    node.hear(PeerMessage::Ping(Turn::Ping {
        node: NodeName::new("two"),
        value: None,
        history: vec![NodeName::new("two")],
        mark,
    }));
    let members = node.members();
    assert_eq!(members.nodes[1].kind, MemberKind::Ours);
    assert_eq!(members.nodes[1].same, None);
    assert_eq!(members.history, [NodeName::new("two")]);
}
