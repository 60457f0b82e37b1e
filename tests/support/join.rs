//! A joining node that only listens: everything that a peer's client port
//! tells it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use moat::event::{Event, Fetched, NodeInfo, NodeName, StateWanted, Tock};
use moat::node::merge::Replica;
use moat::path::Path;
use moat::wire::fetch::Joiner;

use super::PATIENCE;

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Download {
    pub(crate) events: Vec<Event>,
    pub(crate) state: Option<(NodeInfo, Tock)>,
    pub(crate) done: bool,
}

impl Download {
    /// Keeps an item.
    pub(crate) fn take(&mut self, item: &Fetched<'_>) {
        assert!(!self.done, "nothing comes after the end");
        match item {
            Fetched::Entry(event) => {
                assert!(self.state.is_none(), "the state comes last");
                self.events.push((*event).clone());
            }
            Fetched::State(info, tock) => self.state = Some(((*info).clone(), *tock)),
            Fetched::Done => self.done = true,
            Fetched::Failed(why) => panic!("failed: {why}"),
        }
    }

    /// The entries' paths, as text, in the order in which they came.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.events.iter().map(path).collect()
    }

    /// What a node that has taken all of it holds.
    pub(crate) fn replica(&self) -> Replica {
        let mut replica = Replica::new(&NodeName::new("joiner"), 1, 1);
        for event in &self.events {
            replica.apply(event).expect("a path");
        }
        let (info, tock) = self.state.as_ref().expect("the state came");
        replica.saw_tock(*tock);
        replica.inform(info);
        replica
    }
}

/// All of a node's bookkeeping.
pub(crate) fn books(replica: &Replica) -> NodeInfo {
    replica.state(StateWanted {
        nodes: true,
        known: true,
        present: true,
        deleted: true,
        missing: true,
        ..StateWanted::default()
    })
}

/// An event's path as text.
pub(crate) fn path(event: &Event) -> String {
    let path = Path::decode(event.path.as_ref()).expect("a sound path");
    path.to_string()
}

/// Fetches all that node `peer` has.
///
/// # Errors
/// If that cannot be had.
pub(crate) fn download(port: u16, peer: &str) -> Result<Download, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .map_err(|e| e.to_string())?;
    let mut joiner = Joiner::new(&NodeName::new("joiner"), &NodeName::new(peer), 100 << 20);
    let (mut got, mut held) = (Download::default(), Vec::new());
    let mut piece = vec![0; 64 << 10];
    while !got.done {
        let n = stream.read(&mut piece).map_err(|e| e.to_string())?;
        if n == 0 {
            return Err(format!("closed after {} entries", got.events.len()));
        }
        held.extend_from_slice(&piece[..n]);
        let mut used = 0;
        loop {
            let (n, item) = joiner.next(&held[used..]).map_err(|e| e.to_string())?;
            used += n;
            match item {
                Some(item) => got.take(&item),
                None => break,
            }
        }
        held.drain(..used);
        stream
            .write_all(joiner.output())
            .map_err(|e| e.to_string())?;
        joiner.sent();
    }
    Ok(got)
}
