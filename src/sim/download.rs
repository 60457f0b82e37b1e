//! A joining node reads another's state through its client port.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::event::{Event, Fetch, Fetched, NodeInfo, Tock};
use crate::node::time::Timestamp;
use crate::sim::check::Broken;
use crate::sim::host::Host;
use crate::sim::ledger::LifeIx;
use crate::sim::trace;
use crate::sim::world::{Happening, Phase, World};

/// A download under way.
#[derive(Debug)]
pub(super) struct Download {
    /// The joiner's number of it
    id: u64,
    to: (usize, LifeIx),
    from: Option<(usize, LifeIx)>,
    /// What has not been taken in yet; changes meanwhile are added
    entries: VecDeque<Event>,
    begun: bool,
    /// A node of the original tells or asks: no deletions, and no changes
    bare: bool,
    state: Option<(NodeInfo, Tock)>,
}

impl World {
    pub(super) fn begin_download(&mut self, to: usize, fetch: &Fetch) {
        let Some(life) = self.nodes[to].life() else {
            return;
        };
        self.trace.line(self.now, |out| {
            let (name, peer) = (&self.nodes[to].name, &fetch.peer);
            out.push_str(&format!("{name} fetches from {peer}"));
        });
        let mut nodes = self.nodes.iter();
        let from = nodes.position(|n| n.name == fetch.peer && n.running.is_some());
        let from = from.and_then(|n| Some((n, self.nodes[n].life()?)));
        let download = Download {
            id: fetch.id,
            to: (to, life),
            from,
            entries: VecDeque::new(),
            begun: false,
            bare: self.nodes[to].habits.is_original()
                || from.is_some_and(|(n, _)| self.nodes[n].habits.is_original()),
            state: None,
        };
        let number = self.counts.downloads;
        self.counts.downloads += 1;
        self.downloads.insert(number, download);
        let wait = self.rng.millis(1, 1000);
        self.after(wait, Happening::Piece(number));
    }

    /// Whether a client at one node can talk to another node.
    fn reaches(&self, from: usize, to: (usize, LifeIx)) -> bool {
        let peer = &self.nodes[to.0];
        let near = self.nodes[from].broker == peer.broker || self.bridge == [true; 2];
        near && peer.answers() && peer.life() == Some(to.1)
    }

    /// A node has changed: those who read it are told.
    pub(super) fn pass_on(&mut self, n: usize, event: &Event) {
        let life = self.nodes[n].life();
        for download in self.downloads.values_mut() {
            let reads = download
                .from
                .is_some_and(|(from, l)| from == n && Some(l) == life);
            if reads && download.begun && download.state.is_none() && !download.bare {
                download.entries.push_back(event.clone());
            }
        }
    }

    /// The joiner takes in some more.
    pub(super) fn piece(&mut self, number: u64) -> Result<(), Broken> {
        let Some(mut download) = self.downloads.remove(&number) else {
            return Ok(());
        };
        let (to, life) = download.to;
        if self.nodes[to].life() != Some(life) {
            return Ok(());
        }
        let wait = self.rng.millis(1, 500);
        if self.nodes[to].stopped {
            self.downloads.insert(number, download);
            self.after(wait, Happening::Piece(number));
            return Ok(());
        }
        let id = download.id;
        let breaks = self.phase == Phase::Storm && self.rng.chance(30);
        let Some(from) = download
            .from
            .filter(|from| !breaks && self.reaches(to, *from))
        else {
            return self.fetched(to, id, &Fetched::Failed("no connection"));
        };
        if !download.begun {
            download.begun = true;
            let running = self.nodes[from.0].running.as_ref();
            download.entries = running.map_or_else(VecDeque::new, |r| r.host.events().into());
            let bare = download.bare;
            download.entries.retain(|e| e.value.is_some() || !bare);
        }
        if let Some((state, tock)) = &download.state {
            self.fetched(to, id, &Fetched::State(state, *tock))?;
            return self.fetched(to, id, &Fetched::Done);
        }
        for _ in 0..=self.rng.place(16) {
            let Some(event) = download.entries.pop_front() else {
                let running = self.nodes[from.0].running.as_ref();
                download.state = running.map(|r| r.host.state());
                if let Some((state, _)) = &download.state
                    && self.nodes[from.0].habits.is_original()
                {
                    self.ledger.called_deleted(state);
                }
                break;
            };
            self.fetched(to, id, &Fetched::Entry(&event))?;
        }
        self.downloads.insert(number, download);
        self.after(wait, Happening::Piece(number));
        Ok(())
    }

    fn fetched(&mut self, to: usize, id: u64, piece: &Fetched<'_>) -> Result<(), Broken> {
        self.trace.line(self.now, |out| {
            let name = &self.nodes[to].name;
            out.push_str(&format!("{name} {}", trace::fetched(piece)));
        });
        if let (Fetched::State(state, tock), Some(running)) = (piece, &self.nodes[to].running)
            && let Some(altered) =
                running
                    .plants
                    .books(&running.host, state, &self.ledger, running.life)
        {
            self.feed(to, |host: &mut Host, now: Timestamp| {
                host.handle_fetched(now, id, &Fetched::State(&altered, *tock));
            })?;
            return Ok(());
        }
        let altered = match (piece, &self.nodes[to].running) {
            (Fetched::Entry(event), Some(running)) => {
                let (ledger, life) = (&self.ledger, running.life);
                match running.plants.fetches(&running.host, event, ledger, life) {
                    None => return Ok(()),
                    Some(Cow::Borrowed(_)) => None,
                    Some(Cow::Owned(event)) => Some(event),
                }
            }
            _ => None,
        };
        self.feed(to, |host: &mut Host, now: Timestamp| match &altered {
            Some(event) => host.handle_fetched(now, id, &Fetched::Entry(event)),
            None => host.handle_fetched(now, id, piece),
        })?;
        Ok(())
    }
}
