//! Coming into a network: who is there, whose data to fetch, from which tick
//! to go on, and whether this node's name and claim are its own.
//!
//! A node of this program says hello; others answer at once, with their
//! ticks and where their clients connect, so that a joiner need not wait for
//! the original's cycle of pings. It listens to these as well, because among
//! the original's nodes nobody answers a hello.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::{Fetch, Fetched, Hail, Info, NodeInfo, NodeName, Say, Tick};
use crate::node::habits::Habit;
use crate::node::merge::{Applied, Replica};
use crate::node::rng::Rng;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;
use crate::path::RawPath;
use crate::value::Value;

use super::members::Kind;
use super::{Begin, Cluster, Fault, Report, Way};

/// How long to listen for answers before anything is published.
pub(super) const HAIL: Duration = Duration::from_millis(500);
/// How long the first node waits for a broker before it serves without.
const ALONE: Duration = Duration::from_secs(1);
/// Ticks that are left out where a clean end cannot be proved: nothing that
/// the last run may have written beyond what anybody knows is used again.
const SKIPPED: u64 = 1 << 20;

/// How many ticks are left out then: by chance, so that two parts of a network
/// in which one name starts again do not go on from the same one.
pub fn skipped(rng: &mut Rng) -> u64 {
    SKIPPED + rng.below(SKIPPED << 8)
}

/// Candidates that are remembered.
const CANDIDATES: usize = 64;

/// How far a node has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// It has data, and makes sure that nobody else founds the network, or
    /// has its name
    Founding {
        /// It serves then if there is no broker
        until: Timestamp,
        /// Where it has them from
        from: Source,
    },
    /// It has none
    Joining(Joining),
    /// It has its data.
    Ready,
}

/// Where a node has its data from that begins with some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// They are new.
    New,
    /// An earlier run, which may have written more
    Earlier,
    /// An earlier run that has written no more
    Last,
}

#[derive(Debug)]
pub(super) struct Joining {
    /// Whose data the operator wants
    wanted: Vec<NodeName>,
    /// Nodes that have data, and have not been tried since they said so
    candidates: VecDeque<NodeName>,
    /// Who is being fetched from
    current: Option<(u64, NodeName)>,
    /// When to ask again who is there
    again_at: Timestamp,
}

impl Phase {
    pub(super) fn new(now: Timestamp, begin: Begin, cycle: Duration) -> Self {
        let founding = |from| Self::Founding {
            until: now.after(ALONE),
            from,
        };
        match begin {
            Begin::First => founding(Source::New),
            Begin::Again => founding(Source::Earlier),
            Begin::Resumed => founding(Source::Last),
            Begin::Join(wanted) => Self::Joining(Joining {
                candidates: wanted.iter().cloned().collect(),
                wanted,
                current: None,
                again_at: now.after(cycle),
            }),
        }
    }

    /// Whether a new network is being founded.
    const fn is_founding(&self) -> bool {
        matches!(
            self,
            Self::Founding {
                from: Source::New,
                ..
            }
        )
    }

    pub(super) const fn is_new(&self) -> bool {
        !matches!(self, Self::Ready)
    }

    pub(super) const fn next_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Founding { until, .. } => Some(*until),
            Self::Joining(joining) => Some(joining.again_at),
            Self::Ready => None,
        }
    }
}

impl Cluster {
    /// What happens without anybody saying anything.
    pub(super) fn grow_up(&mut self, replica: &mut Replica) {
        if let Way::Hailing(until) = self.way
            && until <= self.now
        {
            self.way = Way::Up;
            if matches!(self.phase, Phase::Founding { .. }) {
                self.become_ready(replica);
            }
            self.pump(replica);
        }
        match &mut self.phase {
            Phase::Founding { until, .. } if *until <= self.now => {
                if self.way == Way::Down || self.habits.is_original() {
                    self.become_ready(replica);
                } else {
                    // the answers are being waited for
                    *until = self.now.after(HAIL);
                }
            }
            Phase::Joining(joining) if joining.again_at <= self.now => {
                joining.again_at = self.now.after(self.options.ping.cycle);
                if joining.current.is_none() {
                    if joining.candidates.is_empty() {
                        joining.candidates = joining.wanted.iter().cloned().collect();
                    }
                    self.report(Report::Waiting);
                    if self.is_up() && self.now.since(self.said) >= self.options.ping.gap {
                        self.hail(replica, Say::Hello);
                    }
                    self.fetch_next(replica);
                }
            }
            _ => {}
        }
    }

    pub(super) fn begin_to_join(&mut self, now: Timestamp, replica: &Replica) {
        if let Phase::Joining(joining) = &mut self.phase {
            joining.again_at = now.after(self.options.ping.cycle);
            self.fetch_next(replica);
        }
    }

    // ---- hello ----

    /// A node of this program announces itself.
    pub(super) fn hear_hail(&mut self, replica: &Replica, info: &Info, hail: &Hail) {
        if info.node == self.me {
            if hail.boot != self.options.boot && hail.say != Say::Gone {
                let data = info.tick.is_some();
                self.second_of_my_name(replica, hail.boot, data, hail.say);
            }
            return;
        }
        let now = self.now;
        let member = self.members.heard(now, &info.node);
        // the word of a run that is over
        if hail.say == Say::Gone && member.boot.is_some_and(|boot| boot != hail.boot) {
            return;
        }
        member.kind = Kind::Ours;
        member.boot = Some(hail.boot);
        member.addr.clone_from(&hail.addr);
        member.data = info.tick.is_some();
        member.gone = hail.say == Say::Gone;
        if info.tick.is_none() {
            member.newcomer = true;
        }
        if info.tick.is_some() {
            self.has_data(replica, &info.node, std::slice::from_ref(&info.node));
        }
        match hail.say {
            Say::Hello => {
                // all at once would be many: one after the other, the few
                // of a small network quickly
                let others = u32::try_from(self.members.iter().count()).unwrap_or(u32::MAX);
                let most = Duration::from_millis(20).saturating_mul(others.min(15));
                let at = self.now.after(self.rng.part(most));
                self.here_at = Some(self.here_at.map_or(at, |here| here.min(at)));
            }
            Say::Here => self.compare(replica, &info.node, hail.sum),
            Say::Gone => {}
        }
    }

    /// Another server says that it is this node. The older one stays, but
    /// for one that has no data: those of the other may be the only ones.
    fn second_of_my_name(&mut self, replica: &Replica, boot: u64, data: bool, say: Say) {
        let stays = if self.is_ready() == data {
            self.options.boot < boot
        } else {
            self.is_ready()
        };
        match say {
            Say::Hello if self.is_ready() || stays => self.hail(replica, Say::Here),
            // it will be told, and tell this one
            Say::Hello | Say::Gone => {}
            Say::Here if stays && self.is_ready() => {
                // the other one has to go: it is told, and told again
                self.report_clash();
                self.say_here_soon();
            }
            Say::Here if stays => {}
            // this node has data, and that may have been a late word of its
            // own earlier run: who is there will say so again when asked
            Say::Here if self.is_ready() && !self.is_sure_of(boot) => {
                self.say_here_soon();
            }
            Say::Here => {
                let fault = Fault::NameTaken(self.me.clone());
                self.fail(fault);
            }
        }
    }

    /// Another server may have this node's name: if it is there, it answers.
    fn say_here_soon(&mut self) {
        let at = self.now.after(self.options.ping.gap);
        self.here_at.get_or_insert(at);
    }

    /// Whether an older run of this name was heard before, long enough ago.
    fn is_sure_of(&mut self, boot: u64) -> bool {
        match self.doubted {
            Some((heard, at)) if heard == boot => self.now.since(at) >= self.options.ping.gap,
            _ => {
                self.doubted = Some((boot, self.now));
                false
            }
        }
    }

    /// A member of a group has this node's name: its own word come back, or
    /// another's.
    pub(super) fn name_clash(&mut self, replica: &Replica, boot: Option<u64>, data: bool) {
        match boot {
            Some(boot) if boot == self.options.boot => {}
            Some(boot) => self.second_of_my_name(replica, boot, data, Say::Here),
            // a node of the original; it came first if this one is new
            None if !self.is_ready() || self.now.since(self.started) < self.cycle() => {
                let fault = Fault::NameTaken(self.me.clone());
                self.fail(fault);
            }
            None => self.report_clash(),
        }
    }

    pub(super) fn report_clash(&mut self) {
        const OFTEN: Duration = Duration::from_secs(60);
        if self.clashed.is_none_or(|at| self.now.since(at) >= OFTEN) {
            self.clashed = Some(self.now);
            self.report(Report::Clash);
        }
    }

    /// A node is known to have data; others of its history may as well.
    pub(super) fn has_data(&mut self, replica: &Replica, node: &NodeName, history: &[NodeName]) {
        self.refuse_to_found(node);
        let Phase::Joining(joining) = &mut self.phase else {
            return;
        };
        for name in std::iter::once(node).chain(history) {
            let known = name == node || self.members.get(name).is_some_and(|m| m.data);
            if known
                && *name != self.me
                && joining.candidates.len() < CANDIDATES
                && !joining.candidates.contains(name)
                && joining.current.as_ref().is_none_or(|(_, n)| n != name)
            {
                joining.candidates.push_back(name.clone());
            }
        }
        self.fetch_next(replica);
    }

    /// The first node of a network ends if there is one already: some node
    /// has data that it cannot have from this one.
    fn refuse_to_found(&mut self, node: &NodeName) {
        let founded = self.founded || self.phase.is_founding();
        let early = self
            .first_up
            .is_none_or(|at| self.now.since(at) <= self.patience());
        // who started later than this node has found this network
        let foreign = self
            .members
            .get(node)
            .is_none_or(|m| !m.newcomer && m.boot.is_none_or(|boot| boot < self.options.boot));
        if founded && early && foreign && !self.options.force && !self.is_original() {
            let fault = Fault::NetworkExists(node.clone());
            self.fail(fault);
        }
    }

    // ---- data ----

    /// Fetches from the next candidate, unless one is being fetched from.
    fn fetch_next(&mut self, replica: &Replica) {
        let Phase::Joining(joining) = &mut self.phase else {
            return;
        };
        if joining.current.is_some() {
            return;
        }
        let Some(peer) = joining.candidates.pop_front() else {
            return;
        };
        self.next_fetch += 1;
        joining.current = Some((self.next_fetch, peer.clone()));
        self.report(Report::Fetching(peer.clone()));
        self.fetch(replica, self.next_fetch, peer);
    }

    pub(super) fn fetch(&mut self, replica: &Replica, id: u64, peer: NodeName) {
        let mut addr: Vec<(String, u16)> = address_in_tree(replica, &peer).into_iter().collect();
        if let Some(member) = self.members.get(&peer) {
            addr.extend(member.addr.iter().cloned());
        }
        self.acts
            .push_back(super::Act::Fetch(Fetch { id, peer, addr }));
    }

    /// Something has come of a fetch. The entries that changed are appended
    /// to `changed`.
    pub fn handle_fetched(
        &mut self,
        now: Timestamp,
        replica: &mut Replica,
        id: u64,
        fetched: &Fetched<'_>,
        changed: &mut Vec<Ix>,
    ) {
        self.now = now;
        let comparing = self.diverged.is_fetching(id);
        let joining = match &self.phase {
            Phase::Joining(Joining {
                current: Some((current, _)),
                ..
            }) => *current == id,
            _ => false,
        };
        if !comparing && !joining {
            return;
        }
        match fetched {
            Fetched::Entry(event) => {
                // its path has been checked by whoever read it
                let applied = replica.apply(event);
                if comparing {
                    self.note_fetched(replica, event);
                }
                if let Ok(Applied::Changed(ix)) = applied {
                    changed.push(ix);
                }
            }
            Fetched::State(info, tock) => {
                replica.saw_tock(*tock);
                if comparing {
                    self.note_known(info);
                }
                changed.extend(replica.inform_of_all(info));
            }
            Fetched::Done if comparing => self.compared(replica),
            Fetched::Done if self.has_to_wait(replica) => {}
            Fetched::Done => self.become_ready(replica),
            Fetched::Failed(_) if comparing => self.diverged.failed(now),
            Fetched::Failed(why) => {
                if let Phase::Joining(joining) = &mut self.phase
                    && let Some((_, peer)) = joining.current.take()
                {
                    self.report(Report::FetchFailed(peer, (*why).to_owned()));
                    self.fetch_next(replica);
                }
            }
        }
    }

    pub(super) fn become_ready(&mut self, replica: &mut Replica) {
        let founded = self.phase.is_founding();
        match self.phase {
            _ if self.habits.has(Habit::ReusedTick) => {
                self.begun_after = replica.tick().unwrap_or_default();
            }
            Phase::Founding {
                from: Source::New, ..
            } => {}
            Phase::Founding {
                from: Source::Last, ..
            } => self.go_on_behind(replica, 0),
            // this name may have been here before, and what it wrote last may
            // be known to nobody who could be asked
            _ => self.skip_ticks(replica),
        }
        self.phase = Phase::Ready;
        let tick = replica.tick().unwrap_or_default();
        self.own_tick = tick;
        self.founded |= founded;
        self.report(Report::Ready(tick));
        self.acts.push_back(super::Act::Serve);
        if self.is_up() {
            self.announce_skipped(replica);
            self.hail(replica, Say::Here);
        }
    }

    /// Goes on far behind the last tick of this name that is known.
    fn skip_ticks(&mut self, replica: &mut Replica) {
        let behind = skipped(&mut self.rng);
        self.go_on_behind(replica, behind);
    }

    /// Goes on so many ticks behind the last one of this name that is known.
    fn go_on_behind(&mut self, replica: &mut Replica, behind: u64) {
        let Tick(tick) = replica.tick().unwrap_or_default();
        let last = tick + behind;
        replica.begin_after(Tick(last));
        if self.own_tick > self.begun_after {
            let own = self.begun_after.0 + 1..=self.own_tick.0;
            self.own_before.insert_range(own);
        }
        self.begun_after = Tick(last);
        self.own_tick = Tick(last);
        if behind > 0 {
            let skipped = self.skipped.get_or_insert_default();
            skipped.insert_range(tick + 1..=last);
        }
    }

    /// If somebody knows of a later tick of this name than this run has used,
    /// an earlier run went further than could be known at the start.
    pub fn mind_own_tick(&mut self, replica: &mut Replica) {
        if self.habits.has(Habit::ReusedTick) {
            self.own_tick = self.own_tick.max(replica.tick().unwrap_or_default());
            return;
        }
        if self.is_ready() && replica.tick().unwrap_or_default() > self.own_tick {
            self.skip_ticks(replica);
            if self.is_up() {
                self.announce_skipped(replica);
                self.say_here_soon();
            }
        }
    }

    /// Says which ticks will never be: before the first write.
    pub(super) fn announce_skipped(&mut self, replica: &Replica) {
        if let Some(known) = self.skipped.clone() {
            let info = NodeInfo {
                known: Some(vec![(self.me.clone(), known)]),
                ..NodeInfo::default()
            };
            self.tell(replica, info);
        }
    }
}

/// Where the network's own table (`:null hostmap NAME`) says a node is.
fn address_in_tree(replica: &Replica, peer: &NodeName) -> Option<(String, u16)> {
    let mut path = RawPath::new();
    path.push_str("hostmap");
    path.push_str(peer.as_str());
    let ix = replica
        .tree()
        .resolve(replica.internal(), path.as_ref())
        .ok()??;
    match Value::decode(replica.tree().get(ix).value()?).ok()? {
        Value::List(pair) => match pair.as_slice() {
            [Value::Str(host), port] => Some((host.clone(), u16::try_from(port.as_u64()?).ok()?)),
            _ => None,
        },
        _ => None,
    }
}
