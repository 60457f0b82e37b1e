//! The machine as one node of a network: what others say goes in here, and
//! what is to be said, fetched or reported becomes an output.

use crate::event::{
    Effect, Fetched, Info, Link, MemberInfo, MemberKind, Members, NodeInfo, NodeName, PeerMessage,
    Sink, Tick,
};
use crate::node::Machine;
use crate::node::cluster::{Act, Begin, Cluster, Kind, Member, Options};
use crate::node::habits::Habit;
use crate::node::machine::{Origin, Output};
use crate::node::merge::Applied;
use crate::node::time::Timestamp;
use crate::node::tree::Ix;
use crate::value::Value;

impl<K: Sink> Machine<K> {
    /// Makes this node one of a network. With [`Begin::First`] it has been
    /// [founded](Machine::found) before, with [`Begin::Again`] it has
    /// [loaded](Machine::handle_loaded) its data.
    pub fn set_network(&mut self, now: Timestamp, options: Options, begin: Begin) {
        let name = self.replica.name().clone();
        let begin_first = begin == Begin::First;
        let mut cluster = Cluster::new(now, name, options, begin);
        cluster.set_habits(self.replica.habits());
        if begin_first && let Some(tick) = self.replica.tick() {
            cluster.keep(tick);
        }
        self.now = now;
        self.cluster = Some(Box::new(cluster));
        // what was loaded: who the deleters are, and what they have to agree on
        let mut at = Some(Ix::ROOT);
        while let Some(ix) = at {
            self.note_change(ix);
            at = self.replica.tree().following(Ix::ROOT, ix, true);
        }
        self.settle_acts();
    }

    /// This node's part in its network, if it is in one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_deref()
    }

    /// What this node has heard of its network: itself first, then those that
    /// have said what they run, then the others.
    pub(super) fn look_around(&self) -> Members {
        let me = self.replica.name();
        let cluster = self.cluster.as_deref();
        let own = MemberInfo {
            name: me.clone(),
            kind: MemberKind::Ours,
            own: true,
            ready: Some(cluster.map_or_else(|| self.replica.tick().is_some(), Cluster::is_ready)),
            here: true,
            ..MemberInfo::default()
        };
        let Some(cluster) = cluster else {
            return Members {
                node: me.clone(),
                nodes: vec![own],
                ..Members::default()
            };
        };
        let mut nodes = vec![MemberInfo {
            addr: cluster.addr().to_vec(),
            ..own
        }];
        let others = cluster.members().iter().filter(|(name, _)| *name != me);
        nodes.extend(others.map(|(name, member)| self.member(cluster, name, member)));
        nodes.sort_by_key(|m| (!m.own, m.kind == MemberKind::Unknown));
        Members {
            node: me.clone(),
            nodes,
            up: cluster.is_up(),
            outbox: cluster.outbox().len(),
            history: cluster.history().to_vec(),
            split: cluster.is_split(),
            ..Members::default()
        }
    }

    fn member(&self, cluster: &Cluster, name: &NodeName, member: &Member) -> MemberInfo {
        let is_same = |sum| member.same || sum == self.replica.sum();
        let silent = self.now.since(member.heard);
        MemberInfo {
            name: name.clone(),
            kind: match member.kind {
                Kind::Unknown => MemberKind::Unknown,
                Kind::Ours => MemberKind::Ours,
                Kind::Original => MemberKind::Original,
            },
            // a node that was heard without data may have some since
            ready: (member.data || member.newcomer).then_some(member.data),
            heard: Some(silent),
            here: !member.gone && silent <= cluster.patience(),
            gone: member.gone,
            addr: member.addr.clone(),
            same: member.sum.map(is_same),
            ..MemberInfo::default()
        }
    }

    /// Says of each node that agrees on deletions whether it is there, and
    /// what waits for them.
    pub(super) fn note_deleters(&self, members: &mut Members) {
        let deleters = &mut members.deleters;
        for (name, here) in &mut deleters.group {
            let is_heard = |cluster: &Cluster| {
                let lately = cluster.patience();
                cluster.members().is_here(name, self.now, lately)
            };
            *here = name == self.replica.name() || self.cluster.as_deref().is_some_and(is_heard);
        }
        let Some(cluster) = self.cluster.as_deref() else {
            return;
        };
        let waiting = u64::try_from(cluster.deleter().marks());
        deleters.marks = Some(waiting.unwrap_or(u64::MAX));
        deleters.oldest = cluster.deleter().oldest();
    }

    /// The network's topics are subscribed: what is said is heard.
    pub fn handle_up(&mut self, now: Timestamp) {
        self.now = now;
        if let Some(cluster) = &mut self.cluster {
            cluster.handle_up(now, &self.replica);
            self.settle_acts();
        }
    }

    /// What is said is not heard any more, and what was sent may be lost.
    pub fn handle_down(&mut self, now: Timestamp) {
        self.now = now;
        if let Some(cluster) = &mut self.cluster {
            cluster.handle_down(now);
            self.settle_acts();
        }
    }

    /// Something that others said was not heard here.
    pub fn handle_gap(&mut self, now: Timestamp) {
        self.now = now;
        if let Some(cluster) = &mut self.cluster {
            cluster.handle_gap(now, &self.replica);
            self.settle_acts();
        }
    }

    /// A node of the network said this, possibly this one.
    pub fn handle_peer(&mut self, now: Timestamp, message: &PeerMessage) {
        self.now = now;
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        match message {
            PeerMessage::Update(update) => {
                if cluster.hear_update(now, &self.replica, update) {
                    self.handle_event(&update.event);
                }
            }
            PeerMessage::Info(info) => {
                if cluster.hear_info(now, &self.replica, info) {
                    let foreign = cluster.is_foreign(&info.node);
                    self.handle_info(&info.info, info.tock);
                    if foreign {
                        self.learn_from_foreign(info);
                    }
                }
            }
            PeerMessage::Ping(turn) => cluster.hear_turn(now, &mut self.replica, turn),
            PeerMessage::Del(turn) => cluster.hear_deleter(now, &self.replica, turn),
        }
        self.mind_own_tick();
        self.settle_acts();
    }

    /// What a node that may be one of the original knows, beyond what it says
    /// of it: it does not tell its ticks unasked, and waits for ever for what
    /// nobody has, if nobody else knows that it exists.
    fn learn_from_foreign(&mut self, info: &Info) {
        self.replica.saw_node(info.node.as_str(), info.tick);
        for (name, ticks) in info.info.missing.iter().flatten() {
            let last = ticks.ranges().last().map(|range| Tick(*range.end()));
            self.replica.saw_node(name.as_str(), last);
        }
    }

    /// Something has come of a fetch.
    pub fn handle_fetched(&mut self, now: Timestamp, id: u64, fetched: &Fetched<'_>) {
        self.now = now;
        if let Some(cluster) = &mut self.cluster {
            // many come, most of them one entry each
            let mut changed = std::mem::take(&mut self.fetched);
            cluster.handle_fetched(now, &mut self.replica, id, fetched, &mut changed);
            for ix in changed.drain(..) {
                self.changed(ix, Origin::Elsewhere);
            }
            self.fetched = changed;
            self.mind_own_tick();
            self.settle_acts();
            self.cut_as_original();
        }
    }

    /// Time has passed for the network.
    pub(super) fn network_timeout(&mut self, now: Timestamp) {
        self.now = now;
        if let Some(cluster) = &mut self.cluster
            && cluster.next_timeout().is_some_and(|at| at <= now)
        {
            cluster.handle_timeout(now, &mut self.replica);
            if let Some(info) = cluster.take_given_up() {
                self.replica.inform(&info);
            }
            self.settle_acts();
        }
    }

    /// A change that another node made, whatever way it came.
    ///
    /// Its path is refused if it cannot be one; peers do not send such.
    pub fn handle_event(&mut self, event: &crate::event::Event) {
        let applied = self.replica.apply(event);
        if let (Ok(Applied::Changed(ix) | Applied::Lost(ix)), true) =
            (&applied, self.replica.was_contested())
            && let Some(cluster) = &mut self.cluster
        {
            cluster.contested(&self.replica, *ix);
        }
        if let Ok(Applied::Changed(ix)) = applied {
            self.changed(ix, Origin::Elsewhere);
            self.tell_own_again(ix);
        }
    }

    /// A client of this node has changed an entry: the others are told.
    #[inline]
    pub(super) fn publish(&mut self, ix: Ix) {
        if let Some(cluster) = &mut self.cluster {
            cluster.wrote(self.now, &self.replica, ix);
            self.settle_acts();
        }
    }

    /// Tells the others something about ticks.
    pub(super) fn inform(&mut self, info: NodeInfo) {
        if let Some(cluster) = &mut self.cluster {
            cluster.tell(&self.replica, info);
            self.settle_acts();
        }
    }

    fn mind_own_tick(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.mind_own_tick(&mut self.replica);
        }
    }

    /// Turns what the cluster wants into outputs.
    fn settle_acts(&mut self) {
        while let Some(act) = self.cluster.as_mut().and_then(|c| c.poll_act()) {
            let output = match act {
                Act::Tell(message) => Output::Carry(Effect::Tell(message)),
                Act::Fetch(fetch) => Output::Fetch(fetch),
                Act::Serve => Output::Serve,
                Act::Synced => Output::Synced,
                Act::Fault(fault) => Output::Fault(fault),
                Act::Report(report) => Output::Report(report),
                Act::Rewrite(ix) => {
                    self.rewrite(ix);
                    continue;
                }
                Act::Purge(ix, head) => {
                    self.purge_deletion(ix, head);
                    continue;
                }
                Act::Drop(ix) => {
                    if self.replica.empty(ix) {
                        self.changed(ix, Origin::Elsewhere);
                    }
                    if let Some(head) = self.replica.tree().get(ix).head() {
                        self.purge(ix, head);
                    }
                    continue;
                }
            };
            self.push_output(output);
        }
    }

    /// What a change means for the network, whoever made it: deletions are
    /// to be agreed upon, and by whom may have changed.
    #[inline]
    pub(super) fn note_change(&mut self, ix: Ix) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let entry = self.replica.tree().get(ix);
        if let (None, Some(head)) = (entry.value(), entry.head()) {
            cluster.deleted(ix, head);
            if cluster.habits().has(Habit::PurgeKills) {
                for link in self.replica.tree().chain(ix).0.iter().skip(1) {
                    cluster.deleted(ix, *link);
                }
            }
        }
        // `:null actor del`
        if entry.key() == b"\xa3del"
            && let Some(actor) = entry.parent().map(|ix| self.replica.tree().get(ix))
            && actor.key() == b"\xa5actor"
            && actor.parent() == Some(self.replica.internal())
        {
            cluster.set_deleters(deleters(entry.value()));
        }
    }

    /// Forgets a deletion. Its entry goes, and those above it that are there
    /// for nothing else, unless somebody looks at them.
    pub(super) fn purge(&mut self, ix: Ix, head: Link) {
        if !self.replica.purge(ix, head) {
            return;
        }
        let mut at = ix;
        while self.replica.tree().is_bare(at) && !self.is_looked_at(at) {
            let Some(parent) = self.replica.tree().get(at).parent() else {
                return;
            };
            self.streams.before_removal(self.replica.tree(), at);
            if let Some(dump) = &mut self.dump {
                dump.before_removal(self.replica.tree(), at);
            }
            self.replica.remove(at);
            if self.replica.tree().get(at).parent().is_some() {
                // the top of the internal data stays
                return;
            }
            at = parent;
        }
    }

    /// Whether a session or a stream has this entry as its top.
    fn is_looked_at(&self, ix: Ix) -> bool {
        self.streams.is_top(ix) || self.sessions().any(|session| session.view.is_root(ix))
    }

    /// Purges all marks of deletions, whoever has confirmed them: a bug, for
    /// simulations to find.
    #[cfg(feature = "sim")]
    pub fn purge_early(&mut self) {
        let tree = self.replica.tree();
        let mut marks = Vec::new();
        let mut at = Some(Ix::ROOT);
        while let Some(ix) = at {
            let entry = tree.get(ix);
            if let (None, Some(head)) = (entry.value(), entry.head()) {
                marks.push((ix, head));
            }
            at = tree.following(Ix::ROOT, ix, true);
        }
        // children first: an entry that has some stays
        for (ix, head) in marks.into_iter().rev() {
            self.purge(ix, head);
        }
    }

    /// Writes an entry's present value once more.
    fn rewrite(&mut self, ix: Ix) {
        let value = self.replica.tree().get(ix).value().map(<[u8]>::to_vec);
        // without a tick to be had there is nothing to repair with
        if self.replica.write(ix, value.as_deref()).is_ok() {
            self.changed(ix, Origin::Here);
        }
    }
}

/// The names in the value of `:null actor del`.
fn deleters(value: Option<&[u8]>) -> Vec<NodeName> {
    let Some(value) = value.and_then(|v| Value::decode(v).ok()) else {
        return Vec::new();
    };
    let Some(Value::List(names)) = value.field("nodes") else {
        return Vec::new();
    };
    let mut group: Vec<NodeName> = Vec::new();
    for name in names.iter().filter_map(Value::as_str).map(NodeName::new) {
        if !group.contains(&name) && group.len() < DELETERS {
            group.push(name);
        }
    }
    group
}

/// Deleters that are listened to.
const DELETERS: usize = 256;
