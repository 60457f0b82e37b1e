//! The file that is loaded, and C5: bytes of an entry beside the original's
//! own file of the same data.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Result, ensure};
use moat::event::{ChainEnd, Event, NamedLink, NodeInfo, NodeName, Tick, Tock};
use moat::msgpack::write;
use moat::path::RawPath;
use moat::wire::state::{Books, Writer};

use crate::Plan;
use crate::lane::Lane;
use crate::loading::original;
use crate::report::{Report, Target, progress};
use crate::saving::save_request;
use crate::server::Tools;
use crate::stats::Spread;
use crate::wire::{self, Peer};

/// Entries of the file that is loaded.
pub(crate) const ENTRIES: u32 = 100_000;

/// The node whose file it is.
pub(crate) const NODE: &str = "bench";

/// Writes what a server has that was asked to set each of `0..entries` once.
pub(crate) fn write(path: &Path, entries: u32) -> Result<()> {
    let node = NodeName::new(NODE);
    let last = u64::from(entries);
    let books = Books {
        info: NodeInfo {
            ticks: Some(vec![(node.clone(), Some(Tick(last)))]),
            known: Some(Vec::new()),
            deleted: Some(Vec::new()),
            ..NodeInfo::default()
        },
        tock: Some(Tock(last)),
        node: Some(node.clone()),
        time: None,
    };
    let mut file = BufWriter::new(File::create(path)?);
    let (mut writer, mut out) = (Writer::new(), Vec::new());
    writer.books(&mut out, &books);
    for key in 0..entries {
        let mut place = RawPath::new();
        for element in wire::elements(key) {
            place.push_str(&element);
        }
        let mut value = Vec::new();
        write::str(&mut value, &wire::value_text(key));
        let tick = u64::from(key) + 1;
        let event = Event {
            path: place,
            chain: vec![NamedLink {
                node: node.clone(),
                tick: Tick(tick),
            }],
            end: ChainEnd::Start,
            tock: Tock(tick),
            value: Some(value.into()),
        };
        writer.entry(&mut out, &event);
        file.write_all(&out)?;
        out.clear();
    }
    Ok(file.flush()?)
}

/// Measures C5: the original loads our file and saves it as its own.
#[allow(clippy::cast_precision_loss)] // some megabytes
pub(crate) fn size(tools: &Tools, _: &Plan, report: &mut Report) -> Result<()> {
    progress("C5: the original's file");
    let (mine, theirs) = (tools.file("mine.state"), tools.file("theirs.state"));
    write(&mine, ENTRIES)?;
    let broker = tools.start_mosquitto()?;
    let (server, _) = original(tools, &broker, &mine)?;
    let mut lane = Lane::connect(Peer::Moat, server.addr)?;
    let path = theirs.to_str().expect("a directory of ours");
    let saved = lane.ask(&save_request(path, 1))?;
    ensure!(
        wire::field(&saved, "error")?.is_none(),
        "the original does not save: {:?}",
        String::from_utf8_lossy(&saved)
    );
    let sizes = [fs::metadata(&mine)?.len(), fs::metadata(&theirs)?.len()];
    let [a, b] = sizes.map(|n| n as f64 / f64::from(ENTRIES));
    report.raw(format!("C5: moat {a:.1}, original {b:.1} bytes each"));
    report.ratio(
        "C5",
        format!("{ENTRIES} entries, bytes each / original"),
        Target::AtMost(1.0),
        Spread::of([a / b]),
    );
    Ok(())
}
