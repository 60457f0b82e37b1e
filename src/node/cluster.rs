//! One node among others: how it finds them, tells them of its changes,
//! learns of theirs, and mends what was lost between.
//!
//! Four rules carry everything. Each event has a number (its node's tick),
//! so whoever hears a later one knows which it lacks and asks until somebody
//! answers. What this node wrote stays in its [`Outbox`] until it has come
//! back from the broker. Nodes that take turns say their last tick and a sum
//! over what they hold, so that a difference which no number shows is found
//! as well; then one fetches the other's state and both merge. And merging
//! (`node::merge`) does not care for order or repetition.
//!
//! Messages and waits are the original's where it listens (cluster protocol,
//! 6–11), with its faults mended; `docs/replication.md` tells why it works.

pub mod actor;
mod counts;
mod delete;
mod join;
mod members;
mod original;
mod outbox;
mod recovery;
mod repair;
mod report;
mod say;
mod ties;

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::{
    Fetch, Info, Link, NodeInfo, NodeName, PeerMessage, Say, Settings, Tick, TickSet, Turn, Update,
};
use crate::node::habits::{Habit, Habits};
use crate::node::merge::Replica;
use crate::node::rng::Rng;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;

use actor::{Acted, Actor, Heard};
use join::Phase;
use recovery::{Diverged, Recovery};
use repair::{Asking, Resending};
use ties::Tie;

pub use counts::Counts;
pub use delete::Deleter;
pub use join::skipped;
pub use members::{Kind, Member, Members};
pub use outbox::Outbox;
pub use report::{Fault, Report};

/// How this node is to be a part of its network.
#[derive(Debug, Clone)]
pub struct Options {
    /// Topic `ping`
    pub ping: Settings,
    /// Topic `del`
    pub delete: Settings,
    /// Most links that an update carries
    pub links: usize,
    /// Where clients reach this node, as the others are to know it
    pub addr: Vec<(String, u16)>,
    /// Tells this run of the node from others: a later one has a greater one
    pub boot: u64,
    /// For waits that are spread by chance
    pub seed: u64,
    /// Whether to go on beside a network that exists already
    pub force: bool,
}

/// How a node begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// With data: the first of a network
    First,
    /// With data that it had before: perhaps not with all that there are by
    /// now, nor with all that it wrote itself
    Again,
    /// With data that are certainly all it had when it ended
    Resumed,
    /// Without: it fetches them, from these nodes if they can be reached
    Join(Vec<NodeName>),
}

/// What is to be done for the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Tell all nodes
    Tell(Box<PeerMessage>),
    /// Fetch a peer's state
    Fetch(Fetch),
    /// Write the entry's value once more
    Rewrite(Ix),
    /// Forget that the entry was deleted by this event
    Purge(Ix, Link),
    /// Forget the entry, which was deleted while this node was away
    Drop(Ix),
    /// Clients may be accepted.
    Serve,
    /// Nothing is missing (any more).
    Synced,
    /// The node must stop.
    Fault(Fault),
    /// Tell the operator
    Report(Report),
}

/// How the way to the others is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Down,
    /// The first time: the others are asked who they are, until then nothing
    /// is published
    Hailing(Timestamp),
    Up,
}

/// How many cycles without a word make a node one that is away.
const AWAY: u32 = 3;

/// This node's part in its network.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    me: NodeName,
    rng: Rng,
    now: Timestamp,
    started: Timestamp,
    way: Way,
    phase: Phase,
    ping: Actor,
    deleter: Deleter,
    members: Members,
    outbox: Outbox,
    asking: Asking,
    resending: Resending,
    recovery: Option<Recovery>,
    diverged: Diverged,
    ties: VecDeque<Tie>,
    /// When to say that this node is here
    here_at: Option<Timestamp>,
    /// When to tell the ticks that somebody else seems to lack
    ticks_at: Option<Timestamp>,
    /// When somebody told all ticks, and nobody seemed to lack one
    ticks_told: Timestamp,
    /// When to look after what has no time of its own
    check_at: Option<Timestamp>,
    /// When this node last said anything of itself
    said: Timestamp,
    /// A clash of names has been reported then
    clashed: Option<Timestamp>,
    /// An older run of this node's name was heard: which, and when first
    doubted: Option<(u64, Timestamp)>,
    synced: bool,
    /// This node began the network.
    founded: bool,
    /// When there was a way to the others for the first time
    first_up: Option<Timestamp>,
    /// This run's events have later ticks, since it last left some out
    begun_after: Tick,
    /// This run's last tick
    own_tick: Tick,
    /// Ticks of this run before that
    own_before: TickSet,
    /// Own ticks that will never be: the others are told before a write
    skipped: Option<TickSet>,
    /// What has been given up, and is not in this node's own books yet
    given_up: Option<NodeInfo>,
    /// If this node is to do as the original does
    habits: Habits,
    /// What it asks before it serves, if it waits for what is missing
    waits: Option<original::Wait>,
    next_fetch: u64,
    acts: VecDeque<Act>,
}

impl Cluster {
    /// A node that has no way to the others yet.
    #[must_use]
    pub fn new(now: Timestamp, me: NodeName, options: Options, begin: Begin) -> Self {
        let ping = Actor::new(me.clone(), options.ping.clone());
        let deleter = Deleter::new(me.clone(), options.delete.clone());
        Self {
            rng: Rng::new(options.seed),
            me,
            now,
            started: now,
            way: Way::Down,
            phase: Phase::new(now, begin, options.ping.cycle),
            ping,
            deleter,
            members: Members::default(),
            outbox: Outbox::default(),
            asking: Asking::default(),
            resending: Resending::default(),
            recovery: None,
            diverged: Diverged::default(),
            ties: VecDeque::new(),
            here_at: None,
            ticks_at: None,
            ticks_told: now,
            check_at: Some(now),
            said: now,
            clashed: None,
            doubted: None,
            synced: false,
            founded: false,
            first_up: None,
            begun_after: Tick(0),
            own_tick: Tick(0),
            own_before: TickSet::new(),
            skipped: None,
            given_up: None,
            habits: Habits::NONE,
            waits: None,
            next_fetch: 0,
            acts: VecDeque::new(),
            options,
        }
    }

    /// What is to be done next.
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// When [`Cluster::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let hailing = match self.way {
            Way::Hailing(until) => Some(until),
            Way::Down | Way::Up => None,
        };
        [
            hailing,
            self.phase.next_timeout(),
            self.ping.next_timeout(),
            self.deleter.next_timeout(),
            self.asking.next_timeout(),
            self.resending.next_timeout(),
            self.recovery.as_ref().map(Recovery::next_timeout),
            self.diverged.next_timeout(),
            self.outbox.next_timeout(),
            self.ties.iter().map(|tie| tie.due).min(),
            self.here_at,
            self.ticks_at,
            self.check_at,
            self.waits.as_ref().map(original::Wait::next_timeout),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether this node has its data.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether what is said is heard.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        !matches!(self.way, Way::Down)
    }

    /// The agreement on deletions.
    #[must_use]
    pub const fn deleter(&self) -> &Deleter {
        &self.deleter
    }

    /// What waits to reach the others.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The nodes that were heard, by name.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Where clients reach this node, as the others are told.
    #[must_use]
    pub fn addr(&self) -> &[(String, u16)] {
        &self.options.addr
    }

    /// Whether another node has not said that it runs this program.
    pub(in crate::node) fn is_foreign(&self, name: &NodeName) -> bool {
        let ours = *name == self.me || self.members.kind(name) == Kind::Ours;
        !ours && !self.is_original() && !name.as_str().is_empty()
    }

    /// Whose turn it was, newest first.
    #[must_use]
    pub fn history(&self) -> &[NodeName] {
        self.ping.history()
    }

    /// Whether two parts of the network have met, and are being joined.
    #[must_use]
    pub const fn is_split(&self) -> bool {
        self.recovery.is_some()
    }

    /// How long a member may be silent before it counts as away.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.options.ping.cycle * AWAY
    }

    const fn gap(&self) -> Duration {
        self.options.ping.gap
    }

    const fn cycle(&self) -> Duration {
        self.options.ping.cycle
    }

    /// The node must stop.
    fn fail(&mut self, fault: Fault) {
        self.acts.push_back(Act::Fault(fault));
    }

    fn report(&mut self, report: Report) {
        self.acts.push_back(Act::Report(report));
    }

    // ---- inputs ----

    /// The network's topics are subscribed.
    pub fn handle_up(&mut self, now: Timestamp, replica: &Replica) {
        self.now = now;
        let first = self.phase.is_new();
        self.first_up.get_or_insert(now);
        self.way = if first && !self.is_original() {
            Way::Hailing(now.after(join::HAIL))
        } else {
            Way::Up
        };
        self.ping.start(now, true, &mut self.rng);
        self.deleter.start(now, &mut self.rng);
        self.introduce();
        self.hail(replica, Say::Hello);
        self.begin_to_join(now, replica);
        // what others lack may have been on its way
        let mut nodes = replica.nodes().iter();
        if nodes.any(|(_, _, known)| !known.reported().is_empty()) {
            self.resend_within(self.gap());
        }
        self.pump(replica);
    }

    /// What is said is not heard, and what was sent may be lost.
    pub fn handle_down(&mut self, now: Timestamp) {
        self.now = now;
        self.way = Way::Down;
        self.ping.stop();
        self.deleter.stop();
        self.outbox.lost();
        self.recovery = None;
        self.here_at = None;
        self.ticks_at = None;
    }

    /// Something that was said has not been heard here.
    pub fn handle_gap(&mut self, now: Timestamp, replica: &Replica) {
        self.now = now;
        if self.is_original() {
            return;
        }
        // the answers say what there is
        if now.since(self.said) > self.gap() {
            self.hail(replica, Say::Hello);
        } else {
            let later = now.after(self.gap());
            self.here_at.get_or_insert(later);
        }
    }

    /// A change has come. Returns whether it is to be applied: this node's
    /// own, come back from the broker, is not.
    pub fn hear_update(&mut self, now: Timestamp, replica: &Replica, update: &Update) -> bool {
        self.now = now;
        let Some(head) = update.event.chain.first() else {
            return false;
        };
        if update.again.is_none() && head.node == self.me {
            let known = self.is_own(head.tick) && !self.habits.has(Habit::Echo);
            self.outbox.came_back(head.tick.0);
            if self.outbox.has_kept() {
                self.pump(replica);
            }
            return !known;
        }
        let sender = update.again.as_ref().map_or(&head.node, |(node, _)| node);
        if *sender != self.me {
            self.members.heard(now, sender);
        }
        true
    }

    /// Whether this run has made the event of this tick of its name. What an
    /// earlier run said, or another server of the name, is news.
    fn is_own(&self, tick: Tick) -> bool {
        (tick > self.begun_after && tick <= self.own_tick) || self.own_before.contains(tick.0)
    }

    /// Something was said about ticks. Returns whether it concerns this
    /// node's bookkeeping.
    pub fn hear_info(&mut self, now: Timestamp, replica: &Replica, info: &Info) -> bool {
        self.now = now;
        // first, for a node that says it goes is not here by having said so
        if info.node != self.me && !info.node.as_str().is_empty() {
            self.members.heard(now, &info.node);
        }
        if let Some(hail) = &info.hail
            && !self.is_original()
        {
            self.hear_hail(replica, info, hail);
        }
        if info.node == self.me {
            return false;
        }
        if let Some(ticks) = &info.info.ticks {
            self.hear_ticks(replica, &info.node, ticks);
        }
        if let Some(missing) = &info.info.missing {
            if info.tick.is_none() && self.is_foreign(&info.node) && !missing.is_empty() {
                self.hear_waiting(&info.node, missing);
            }
            self.hear_missing(&info.node, missing);
        }
        if let Some(known) = &info.info.known {
            self.hear_known(replica, known);
        }
        true
    }

    /// A member of the group that keeps in touch says something.
    pub fn hear_turn(&mut self, now: Timestamp, replica: &mut Replica, turn: &Turn) {
        self.now = now;
        let original = self.is_original();
        let (value, history, is_hist) = match turn {
            Turn::Init(_) if original => return,
            Turn::Init(node) => {
                if *node == self.me && self.is_ready() {
                    // the other one is the newcomer
                    self.report_clash();
                } else if *node == self.me {
                    self.name_clash(replica, None, false);
                } else {
                    self.members.heard(now, node).newcomer = true;
                }
                return;
            }
            // settings other than this node's own are the others' affair
            Turn::Vers(..) => return,
            Turn::Ping {
                node,
                value,
                history,
                mark,
            } => {
                if *node == self.me && original {
                    return;
                }
                if *node == self.me {
                    let boot = mark.as_ref().map(|m| m.boot);
                    self.name_clash(replica, boot, value.is_some());
                    return;
                }
                let member = self.members.heard(now, node);
                member.kind = match mark {
                    Some(_) => Kind::Ours,
                    None => Kind::Original,
                };
                match value {
                    None => member.newcomer = true,
                    Some(_) => member.data = true,
                }
                if let Some(mark) = mark
                    && !original
                {
                    member.boot = Some(mark.boot);
                    self.compare(replica, node, mark.sum);
                }
                self.note_mixture(replica);
                (*value, history, false)
            }
            Turn::Hist { value, history } => (*value, history, true),
        };
        let Some(sender) = history.first() else {
            return;
        };
        if *sender != self.me
            && let Some((tock, tick)) = value
        {
            replica.saw_tock(crate::event::Tock(tock));
            replica.saw_node(sender.as_str(), Some(Tick(tick)));
            self.has_data(replica, sender, history);
        }
        let ready = self.is_ready();
        let heard = Heard {
            value,
            history,
            is_hist,
        };
        self.ping.hear(now, heard, ready, &mut self.rng);
        self.follow_up(replica);
    }

    /// What nodes of the original could not bear depends on whether some are
    /// here.
    fn note_mixture(&self, replica: &mut Replica) {
        let lately = self.patience() * 2;
        replica.set_mixed(self.members.has_original(self.now, lately));
    }

    /// A deleter says something.
    pub fn hear_deleter(&mut self, now: Timestamp, replica: &Replica, turn: &Turn) {
        self.now = now;
        self.deleter.hear(now, turn, &mut self.rng);
        self.delete(replica);
    }

    /// Does what is due in the agreement on deletions.
    fn delete(&mut self, replica: &Replica) {
        let blind = self.habits.has(Habit::PurgeKills);
        let complete =
            blind || self.is_ready() && self.outbox.is_empty() && replica.holes().next().is_none();
        let said = self
            .deleter
            .handle_timeout(self.now, replica.tock(), complete, &mut self.rng);
        for turn in said {
            self.push(PeerMessage::Del(turn));
        }
        for (ix, head) in self.deleter.purge() {
            self.acts.push_back(Act::Purge(ix, head));
        }
        if self.deleter.is_behind() {
            self.compare_with_anybody(replica);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, replica: &mut Replica) {
        self.now = now;
        self.grow_up(replica);
        self.ping.handle_timeout(now);
        self.follow_up(replica);
        if self.here_at.is_some_and(|at| at <= now) {
            self.here_at = None;
            self.ticks_at = None;
            self.hail(replica, Say::Here);
        }
        if self.ticks_at.is_some_and(|at| at <= now) {
            self.ticks_at = None;
            let ticks = self.ticks(replica);
            self.tell(replica, ticks);
        }
        if self.deleter.next_timeout().is_some_and(|at| at <= now) {
            self.delete(replica);
        }
        self.recover(replica);
        self.wait_for_all(replica);
        self.resend(replica);
        self.ask(replica);
        self.settle_differences(replica);
        self.settle_ties(replica);
        if self.outbox.next_timeout().is_some_and(|at| at <= now) {
            let cycle = self.cycle();
            self.outbox.expire(now, cycle);
            self.pump(replica);
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.check_at = Some(now.after(self.gap()));
            self.look_for_holes(replica);
            self.keep_in_touch(replica);
            self.note_mixture(replica);
        }
    }

    /// Does what taking turns asks for.
    fn follow_up(&mut self, replica: &mut Replica) {
        while let Some(acted) = self.ping.poll() {
            match acted {
                Acted::Due => {
                    let tick = replica.tick().unwrap_or_default();
                    let value = self.is_ready().then(|| (replica.tock().0, tick.0));
                    let mark = (!self.is_original()).then(|| self.mark(replica));
                    let turn = self.ping.ping(self.now, value, mark, &mut self.rng);
                    self.said = self.now;
                    self.push(PeerMessage::Ping(turn));
                }
                Acted::Say(turn) => self.push(PeerMessage::Ping(turn)),
                Acted::Tagged if self.is_original() => self.take_originals_turn(replica),
                Acted::Tagged => {
                    self.ask_now(replica);
                    self.tell_ticks_sometimes(replica);
                }
                Acted::Accepted { .. } => {}
                Acted::Split {
                    place,
                    local,
                    remote,
                } => self.found_split(place, local, remote),
                Acted::Met => {
                    if self.is_ready() && !self.is_original() {
                        let wait = self.rng.part(self.gap());
                        let at = self.now.after(wait);
                        self.ticks_at.get_or_insert(at);
                    }
                }
            }
        }
    }

    /// A node that is never on the list says now and then that it is there.
    fn keep_in_touch(&mut self, replica: &Replica) {
        let often = self.cycle() * 6;
        if self.way == Way::Up && self.now.since(self.said) > often {
            self.hail(replica, Say::Here);
        }
    }
}
