//! A server's data from files, before it is connected to anybody.

use std::fmt::Display;
use std::fs::{self, Metadata};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::event::{NodeInfo, NodeName, Sink};
use crate::node::Machine;
use crate::store::{Record, StoreError, records};

/// How often a long load says how far it has come.
const OFTEN: Duration = Duration::from_secs(2);

/// What is to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The files, in this order; `-` is standard input
    pub files: Vec<PathBuf>,
    /// Whether they are complete: what they lack has never been, or was
    /// deleted
    pub authoritative: bool,
    /// Whether what can be read is taken although something cannot
    pub force: bool,
}

/// What has been loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Records that told of an entry
    pub events: u64,
    /// Whose files they were, the last one last
    pub writers: Vec<NodeName>,
}

/// Loads files into a machine that has not begun yet; a long load says every
/// other second to `far` how far it is.
///
/// # Errors
/// If one of them cannot be read, or is no state file, or is damaged while
/// force is not allowed. What is missing at the end of a file is no error.
pub fn load<K: Sink>(
    load: &Load,
    machine: &mut Machine<K>,
    mut far: impl FnMut(&dyn Display),
) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    machine.expect_loaded(expected(&load.files));
    for path in &load.files {
        let name = path.display();
        #[allow(clippy::disallowed_methods)] // the shell's clock
        let now = Instant::now;
        let begin = now();
        let (mut count, mut told) = (0u64, begin);
        let tell = |problem| tracing::warn!("{problem}");
        let count = records(path, load.force, tell, |read, record| {
            match record {
                Record::Event(event) => {
                    loaded.events += 1;
                    machine.handle_loaded(event);
                }
                Record::Books(books) => {
                    machine.handle_info(&books.info, books.tock.unwrap_or_default());
                    if let Some(node) = &books.node
                        && loaded.writers.last() != Some(node)
                    {
                        loaded.writers.retain(|name| name != node);
                        loaded.writers.push(node.clone());
                    }
                }
            }
            count += 1;
            // a clock is slow beside a record
            if count.is_multiple_of(4096) && told.elapsed() >= OFTEN {
                told = now();
                let text = format_args!("{name}: {count} records, {} MiB read", read >> 20);
                tracing::info!("{text}");
                far(&text);
            }
            Ok::<_, StoreError>(())
        })?;
        let took = begin.elapsed().as_secs_f64();
        tracing::info!("{name}: {count} records read in {took:.4} s");
    }
    if load.authoritative {
        let holes = machine.replica().holes();
        let known = holes.map(|(name, set)| (name.clone(), set.clone()));
        let info = NodeInfo {
            known: Some(known.collect()),
            ..NodeInfo::default()
        };
        let tock = machine.replica().tock();
        machine.handle_info(&info, tock);
    }
    Ok(loaded)
}

/// About how many entries files have, as far as their sizes tell. Where it
/// is too many, as in a log of many changes of few entries, each of them
/// costs a byte.
fn expected(files: &[PathBuf]) -> usize {
    /// Bytes of a record.
    const RECORD: u64 = 100;
    const MOST: u64 = 16 << 20;
    let sizes = files.iter().filter_map(|file| fs::metadata(file).ok());
    let bytes: u64 = sizes.filter(Metadata::is_file).map(|file| file.len()).sum();
    usize::try_from((bytes / RECORD).min(MOST)).unwrap_or(0)
}
