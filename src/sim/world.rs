//! A simulated network: its nodes, what is under way between them, and the
//! one loop that lets happen what is due next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::event::{NodeName, PeerMessage, SessionId};
use crate::node::cluster::Fault;
use crate::node::habits::Habits;
use crate::node::time::Timestamp;
use crate::sim::check::{self, Broken};
use crate::sim::client::Client;
use crate::sim::disk::File;
use crate::sim::download::Download;
use crate::sim::faults::Mend;
use crate::sim::host::{Birth, Host, Want};
use crate::sim::ledger::{Ledger, LifeIx};
use crate::sim::net::{Broker, Link, Queued};
use crate::sim::plan::{Plan, Weather, deleters_path};
use crate::sim::plant::{Plant, Plants};
use crate::sim::rng::Rng;
use crate::sim::trace::{self, Trace};
use crate::sim::{Counts, Settings};

/// What is going to happen.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// A client does something.
    Act(usize),
    /// A client's streams go on, and it reads.
    Read(usize),
    /// Something goes wrong.
    Trouble,
    /// Something is as it should be again.
    Mend(Mend),
    /// A machine's time-out, at the node's present timer.
    Wake(usize),
    /// A message reaches a broker: which, whose, over which connection
    Arrive(usize, usize, u32, Rc<PeerMessage>),
    /// A message reaches a broker over the bridge.
    Cross(usize, Rc<PeerMessage>),
    /// A message reaches a node over a connection.
    Deliver(usize, u32, Rc<PeerMessage>),
    /// A node says what it should have said before.
    Late(usize, LifeIx, Rc<PeerMessage>),
    /// A node connects to its broker.
    Connect(usize, u32),
    /// A process starts.
    Start(usize),
    /// The next piece of a download.
    Piece(u64),
    /// A process writes all that it has to a new file.
    Dump(usize, LifeIx),
    /// Clients of a mixed network write one entry at once.
    Race,
    /// Time to look whether all nodes agree.
    Look,
}

#[derive(Debug)]
struct Due {
    at: Timestamp,
    number: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A clock that goes at its own pace, from its own beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) since: u64,
    pub(super) shows: u64,
    /// Parts of a thousand of the true pace
    pub(super) pace: u64,
}

impl Clock {
    pub(super) const fn local(self, now: Timestamp) -> Timestamp {
        Timestamp(self.shows + (now.0 - self.since) * self.pace / 1000)
    }

    /// The first true time at which the clock shows `local`.
    fn truly(self, local: Timestamp) -> Timestamp {
        let shown = local.0.saturating_sub(self.shows);
        Timestamp(self.since + (shown * 1000).div_ceil(self.pace))
    }

    pub(super) fn jump(&mut self, now: Timestamp, by: Duration) {
        self.shows = self.local(now).after(by).0;
        self.since = now.0;
    }
}

/// A process.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) host: Host,
    pub(super) life: LifeIx,
    /// Clients are accepted.
    pub(super) serving: bool,
    /// It began with a file.
    pub(super) loaded: bool,
    /// What it has is being read from there.
    loading: bool,
    /// It has been connected.
    pub(super) met: bool,
    /// It has founded the network.
    pub(super) founded: bool,
    pub(super) plants: Plants,
}

/// A node: its process, if it runs, and its connection.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    /// What it does otherwise than this program
    pub(super) habits: Habits,
    pub(super) broker: usize,
    pub(super) link: Link,
    pub(super) clock: Clock,
    pub(super) running: Option<Running>,
    /// The process does nothing.
    pub(super) stopped: bool,
    /// It has run before.
    started: bool,
    /// It is not going to start again.
    pub(super) gone: bool,
    /// What its disk holds
    pub(super) file: Option<File>,
    /// So many changes of its file it starts with next; `None`: with nothing
    pub(super) kept: Option<usize>,
    /// What waits for a stopped process
    pub(super) backlog: VecDeque<Queued>,
    /// When the machine's time-out is due
    wake: Option<Timestamp>,
}

impl Node {
    /// One that does not run yet.
    pub(super) fn new(name: NodeName, broker: usize, clock: Clock) -> Self {
        Self {
            name,
            habits: Habits::NONE,
            broker,
            link: Link::default(),
            clock,
            running: None,
            stopped: false,
            started: false,
            gone: false,
            file: None,
            kept: None,
            backlog: VecDeque::new(),
            wake: None,
        }
    }

    /// Whether it answers clients now.
    pub(super) fn answers(&self) -> bool {
        !self.stopped && self.running.as_ref().is_some_and(|r| r.serving)
    }

    /// Which life of the node this is.
    pub(super) fn life(&self) -> Option<LifeIx> {
        self.running.as_ref().map(|r| r.life)
    }
}

/// Where a history stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Clients write, and things go wrong.
    Storm,
    /// All is mended, and nothing of the storm is under way after this
    /// time; the nodes agree before long.
    Calm(Timestamp),
    /// The nodes agreed at this time; nothing may change any more.
    Agreed(Timestamp),
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) settings: Settings,
    pub(super) weather: Weather,
    pub(super) rng: Rng,
    pub(super) now: Timestamp,
    pub(super) phase: Phase,
    pub(super) nodes: Vec<Node>,
    pub(super) brokers: Vec<Broker>,
    /// Whether what the first broker hears reaches the second, and the other
    /// way round
    pub(super) bridge: [bool; 2],
    pub(super) clients: Vec<Client>,
    pub(super) downloads: BTreeMap<u64, Download>,
    pub(super) ledger: Ledger,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    pub(super) next_value: u64,
    /// When the last message that is under way arrives
    pub(super) last_arrival: Timestamp,
    /// Since when all is mended and nothing of the storm is under way
    calm_since: Timestamp,
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
}

/// The ping cycle that nodes are started with.
pub(super) const CYCLE: Duration = Duration::from_secs(10);

/// Cycles within which nodes must agree once all is mended. Nearly always
/// three are enough; but what nobody has is only given up after six without
/// an answer, if its node is away, and each time something of it turns up
/// they begin anew.
const PATIENCE: u32 = 20;

/// The same where nodes of the original take part: they ask and answer when
/// it is their turn, and that may take a while.
const MIXED_PATIENCE: Duration = Duration::from_secs(3600);

/// Inputs of a history and outputs of one input, at most: far more than
/// happen unless something goes round in circles.
const INPUTS: u64 = 200_000;
const OUTPUTS: u32 = 10_000;

/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(500);

/// Time in which nothing may change after they agreed.
const AFTERWARDS: Duration = Duration::from_secs(25);

impl World {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut rng = Rng::new(settings.seed);
        let (size, events) = (settings.nodes, settings.events);
        let plan = if settings.mixed {
            Plan::mixed(&mut rng, size, events, settings.habits)
        } else {
            Plan::new(&mut rng, size, events, settings.twins)
        };
        let mut paths = plan.keys.clone();
        paths.push(deleters_path());
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let nodes = (0..usize::from(plan.nodes)).map(|n| {
            let name = NodeName::new(names.get(n).unwrap_or(&"x"));
            let clock = Clock {
                since: 0,
                shows: rng.below(3_600_000_000),
                pace: 1000 + rng.below(plan.skew + 1) - rng.below(plan.skew + 1),
            };
            Node {
                habits: plan.habits_of(n),
                ..Node::new(name, n % usize::from(plan.brokers), clock)
            }
        });
        let nodes = nodes.collect();
        let clients = (0..plan.clients).map(|_| Client::new(rng.chance(300)));
        let clients = clients.collect();
        Self {
            settings: settings.clone(),
            weather: plan.weather.clone(),
            now: Timestamp(0),
            phase: Phase::Storm,
            nodes,
            brokers: vec![Broker::default(); usize::from(plan.brokers)],
            bridge: [true; 2],
            clients,
            downloads: BTreeMap::new(),
            ledger: Ledger::new(paths),
            trace: Trace::new(settings.trace),
            counts: Counts::default(),
            next_value: 0,
            last_arrival: Timestamp(0),
            calm_since: Timestamp(0),
            due: BinaryHeap::new(),
            number: 0,
            plan,
            rng,
        }
    }

    /// Has something happen after a while.
    pub(super) fn after(&mut self, wait: Duration, what: Happening) {
        self.at(self.now.after(wait), what);
    }

    /// Has something happen at a time.
    pub(super) fn at(&mut self, at: Timestamp, what: Happening) {
        self.number += 1;
        let number = self.number;
        self.due.push(Reverse(Due { at, number, what }));
    }

    /// Lets everything happen, until the nodes agree or something is wrong.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        self.begin();
        while let Some(Reverse(Due { at, what, .. })) = self.due.pop() {
            self.now = at;
            match self.phase {
                Phase::Storm
                    if self.counts.inputs + self.counts.acts >= self.plan.events.into() =>
                {
                    self.heal()?;
                }
                Phase::Agreed(since) if at.since(since) > self.afterwards() => {
                    match check::all(self) {
                        Err(_) if self.may_change_still() => {}
                        result => return result,
                    }
                }
                _ => {}
            }
            self.happen(what)?;
        }
        Err(Broken::NothingHappens)
    }

    /// Nodes of the original may send again, long after, what nobody asked
    /// for: then ours have to agree once more.
    fn may_change_still(&mut self) -> bool {
        let patient = self.plan.is_mixed() && self.now.since(self.calm_since) <= MIXED_PATIENCE;
        if patient {
            self.phase = Phase::Calm(self.calm_since);
            self.after(LOOK, Happening::Look);
        }
        patient
    }

    fn afterwards(&self) -> Duration {
        let delete = &self.plan.delete;
        if self.plan.purge {
            // a deleter's fifth turn is enough, but some begin anew
            AFTERWARDS + (delete.cycle + delete.gap) * 8 * u32::from(self.plan.nodes)
        } else {
            AFTERWARDS
        }
    }

    fn begin(&mut self) {
        if self.plan.is_mixed() {
            self.trace.line(self.now, |out| {
                let originals = self.nodes.iter().filter(|n| n.habits.is_original());
                let names: Vec<&str> = originals.map(|n| n.name.as_str()).collect();
                let habits: Vec<&str> = self.plan.habits.names().collect();
                let (names, habits) = (names.join(", "), habits.join(", "));
                out.push_str(&format!("of the original: {names}; habits: {habits}"));
            });
        }
        self.at(self.now, Happening::Start(0));
        for n in 1..self.nodes.len() {
            // some are there at once, others come later
            let early = n < usize::from(self.plan.early);
            let wait = match early {
                true => self.rng.millis(1, 2000),
                false => self.rng.millis(5_000, 120_000),
            };
            self.after(wait, Happening::Start(n));
        }
        for client in 0..self.clients.len() {
            let wait = self.rng.millis(500, 8000);
            self.after(wait, Happening::Act(client));
        }
        let wait = self.plan.fault_every;
        self.after(wait, Happening::Trouble);
    }

    fn happen(&mut self, what: Happening) -> Result<(), Broken> {
        match what {
            Happening::Act(client) => self.act(client),
            Happening::Read(client) => self.read(client),
            Happening::Trouble => self.trouble(),
            Happening::Mend(mend) => self.mend(mend),
            Happening::Wake(node) => self.wake(node),
            Happening::Arrive(broker, from, epoch, message) => {
                self.arrive(broker, from, epoch, &message);
                Ok(())
            }
            Happening::Cross(broker, message) => {
                self.spread(broker, &message);
                Ok(())
            }
            Happening::Deliver(to, epoch, message) => self.deliver(to, epoch, message),
            Happening::Late(node, life, message) => {
                self.said_late(node, life, &message);
                Ok(())
            }
            Happening::Connect(node, epoch) => self.connect(node, epoch),
            Happening::Start(node) => self.start(node),
            Happening::Piece(number) => self.piece(number),
            Happening::Dump(node, life) => {
                self.dump(node, life);
                Ok(())
            }
            Happening::Race => self.last_race(),
            Happening::Look => self.look(),
        }
    }

    /// Looks whether the nodes agree, once all is mended.
    fn look(&mut self) -> Result<(), Broken> {
        let Phase::Calm(since) = self.phase else {
            return Ok(());
        };
        if self.now < since {
            self.at(since.after(LOOK), Happening::Look);
            return Ok(());
        }
        let passed = self.now.since(since);
        self.calm_since = since;
        let patience = if self.plan.is_mixed() {
            MIXED_PATIENCE
        } else {
            CYCLE * PATIENCE
        };
        match check::agreed(self) {
            Ok(()) => {
                self.phase = Phase::Agreed(self.now);
                self.counts.healed_after = Some(passed);
                self.after(self.afterwards() + LOOK, Happening::Look);
            }
            Err(broken) if passed > patience => return Err(broken),
            Err(_) => self.after(LOOK, Happening::Look),
        }
        Ok(())
    }

    // ---- processes ----

    /// Starts a process, with what there is of its file, or with nothing.
    fn start(&mut self, n: usize) -> Result<(), Broken> {
        if self.nodes[n].running.is_some() || self.nodes[n].gone {
            return Ok(());
        }
        let life = self.ledger.born(self.nodes[n].habits);
        let again = self.nodes[n].started;
        self.nodes[n].started = true;
        let plant = self.settings.plant;
        let reuses = again && plant == Some(Plant::ReusedTick);
        let file = self.open_file(n, life);
        let loaded = file.is_some();
        let founds = (n == 0 && !again) || (reuses && !loaded);
        self.counts.originals_loaded |= loaded && self.nodes[n].habits.is_original();
        self.counts.starts += 1;
        let birth = Birth {
            name: self.nodes[n].name.clone(),
            hash: self.settings.hash,
            run: self.rng.next(),
            boot: self.counts.starts,
            delete: self.plan.delete.clone(),
            habits: self.nodes[n].habits,
            found: founds.then(|| b"\xa4Root".to_vec()),
            file,
            force: reuses,
            plant,
            watch_buffer: self.plan.watch_buffer,
        };
        self.trace.line(self.now, |out| {
            out.push_str(&format!("{} starts", birth.name));
            if let Some(file) = &birth.file {
                let (old, new) = (file.entries.len(), file.changes.len());
                out.push_str(&format!(" with {old} entries and {new} changes"));
            }
        });
        let node = &mut self.nodes[n];
        node.running = Some(Running {
            host: Host::new(node.clock.local(self.now), &birth),
            life,
            serving: false,
            loaded,
            loading: true,
            met: false,
            founded: founds && !loaded,
            plants: Plants::new(plant.filter(|_| !self.plan.habits_of(n).is_original())),
        });
        node.wake = None;
        self.settle(n)?;
        if let Some(running) = &mut self.nodes[n].running {
            running.loading = false;
        }
        let wait = self.rng.millis(1, 200);
        let epoch = self.nodes[n].link.epoch;
        self.after(wait, Happening::Connect(n, epoch));
        Ok(())
    }

    /// A process ends, and what it knew is gone.
    pub(super) fn end(&mut self, n: usize, why: &str) {
        let Some(running) = self.nodes[n].running.take() else {
            return;
        };
        self.trace.line(self.now, |out| {
            out.push_str(&format!("{} ends: {why}", self.nodes[n].name));
        });
        self.ledger.died(running.life);
        let node = &mut self.nodes[n];
        node.stopped = false;
        node.backlog.clear();
        node.wake = None;
        let was_up = node.link.drop();
        if was_up && let Some(will) = running.host.will() {
            let broker = node.broker;
            self.spread(broker, &Rc::new(will));
        }
    }

    /// Gives a process an input, and does what it wants then.
    pub(super) fn feed<T>(
        &mut self,
        n: usize,
        input: impl FnOnce(&mut Host, Timestamp) -> T,
    ) -> Result<Option<T>, Broken> {
        self.counts.inputs += 1;
        let node = &mut self.nodes[n];
        let now = node.clock.local(self.now);
        let Some(running) = &mut node.running else {
            return Ok(None);
        };
        let result = input(&mut running.host, now);
        self.settle(n)?;
        Ok(Some(result))
    }

    /// Does what a process wants.
    fn settle(&mut self, n: usize) -> Result<(), Broken> {
        for wants in 0.. {
            let node = &mut self.nodes[n];
            if wants > OUTPUTS || self.counts.inputs > INPUTS + u64::from(self.plan.events) {
                return Err(Broken::Restless(node.name.clone()));
            }
            let now = node.clock.local(self.now);
            let Some(running) = &mut node.running else {
                return Ok(());
            };
            let Some(want) = running.host.want() else {
                break;
            };
            match want {
                Want::Tell(message) => {
                    self.trace.line(self.now, |out| {
                        out.push_str(&format!("{} -> {}", node.name, trace::message(&message)));
                    });
                    let confirms = matches!(&*message, PeerMessage::Del(_));
                    let message = running.plants.tells(&mut running.host, now, message);
                    if confirms {
                        self.sync(n);
                    }
                    if let Some(message) = message {
                        self.say(n, message);
                    }
                }
                Want::Persist(event) => {
                    let life = running.life;
                    self.trace.line(self.now, |out| {
                        out.push_str(&format!("{} has {}", node.name, trace::event(&event)));
                    });
                    self.ledger.applied(life, &node.name, &event)?;
                    if !running.loading
                        && let Some(file) = &mut node.file
                    {
                        file.changes.push(event.clone());
                    }
                    self.pass_on(n, &event);
                }
                Want::Serve => {
                    running.serving = true;
                    let life = running.life;
                    self.trace.line(self.now, |out| {
                        out.push_str(&format!("{} serves", node.name));
                    });
                    self.dump_later(n, life);
                }
                Want::Ready(session) => self.ready(n, session),
                Want::Note(note) => self.trace.line(self.now, |out| {
                    out.push_str(&format!("{} notes: {note}", node.name));
                }),
                Want::Fetch(fetch) => self.begin_download(n, &fetch),
                Want::Fault(why) => {
                    self.counts.faults += 1;
                    self.end(n, &why.to_string());
                    let name = &self.nodes[n].name;
                    let mut others = self.nodes.iter().filter(|o| o.running.is_some());
                    if matches!(why, Fault::NameTaken(_)) && others.any(|o| o.name == *name) {
                        // somebody sees that it was a mistake
                        self.nodes[n].gone = true;
                        return Ok(());
                    }
                    // as a supervisor does
                    let file = self.nodes[n].file.as_ref();
                    self.nodes[n].kept = file.map(|file| file.changes.len());
                    let wait = self.rng.millis(1000, 10_000);
                    self.after(wait, Happening::Start(n));
                }
            }
        }
        self.arm(n);
        Ok(())
    }

    fn ready(&mut self, n: usize, session: SessionId) {
        let life = self.nodes[n].life();
        let client = self.clients.iter().position(|c| c.is_at(n, life, session));
        if let Some(client) = client {
            self.schedule_read(client);
        }
    }

    /// Sets a node's timer to what its machine waits for.
    fn arm(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let Some(running) = &node.running else {
            return;
        };
        let Some(timeout) = running.host.timeout() else {
            return;
        };
        let at = node.clock.truly(timeout).max(Timestamp(now.0 + 1));
        if node.wake.is_none_or(|wake| at < wake) {
            node.wake = Some(at);
            self.at(at, Happening::Wake(n));
        }
    }

    fn wake(&mut self, n: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[n];
        if node.wake != Some(self.now) || node.running.is_none() {
            return Ok(());
        }
        node.wake = None;
        if node.stopped {
            return Ok(());
        }
        self.wake_now(n)
    }

    /// Lets a machine's time-out happen if it is due.
    pub(super) fn wake_now(&mut self, n: usize) -> Result<(), Broken> {
        let node = &self.nodes[n];
        let local = node.clock.local(self.now);
        let timeout = node.running.as_ref().and_then(|r| r.host.timeout());
        if timeout.is_some_and(|t| t <= local) {
            self.feed(n, Host::handle_timeout)?;
        } else {
            self.arm(n);
        }
        Ok(())
    }
}
