//! A server's data from files, before it is connected to anybody.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::event::{NodeInfo, NodeName, Sink};
use crate::node::Machine;
use crate::store::{StoreError, read};
use crate::wire::state::Found;

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

/// Loads files into a machine that has not begun yet.
///
/// # Errors
/// If one of them cannot be read, or is no state file, or is damaged while
/// force is not allowed. What is missing at the end of a file is no error.
pub fn load<K: Sink>(load: &Load, machine: &mut Machine<K>) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    for path in &load.files {
        let name = path.display();
        let mut records = 0;
        #[allow(clippy::disallowed_methods)] // the shell's clock
        let now = Instant::now;
        let mut told = now();
        let size = read(path, |at, found| {
            match found {
                Found::Event(event) => {
                    records += 1;
                    loaded.events += 1;
                    machine.handle_loaded(event);
                }
                Found::Books(books) => {
                    records += 1;
                    machine.handle_info(&books.info, books.tock.unwrap_or_default());
                    if let Some(node) = &books.node
                        && !loaded.writers.contains(node)
                    {
                        loaded.writers.push(node.clone());
                    }
                }
                Found::Strange(span) => {
                    tracing::warn!(
                        "{name}: the record at byte {} says nothing known",
                        span.start
                    );
                }
                Found::Torn(span) => tracing::warn!(
                    "{name}: it ends in the middle of a record: {} bytes from byte {} on are left out",
                    span.end - span.start,
                    span.start
                ),
                Found::Damaged(span, why) if load.force => tracing::warn!(
                    "{name}: damaged from byte {} to {} ({why}): left out",
                    span.start,
                    span.end
                ),
                Found::Damaged(span, why) => {
                    return Err(StoreError::Damaged {
                        path: path.clone(),
                        from: span.start,
                        to: span.end,
                        why,
                    });
                }
            }
            // a clock is slow beside a record
            if records % 4096 == 0 && told.elapsed() >= OFTEN {
                told = now();
                tracing::info!("{name}: {records} records, {} MiB read", at >> 20);
            }
            Ok(())
        })?;
        if size == 0 {
            return Err(StoreError::Empty { path: path.clone() });
        }
        if records == 0 {
            return Err(StoreError::NotAState { path: path.clone() });
        }
        tracing::info!("{name}: {records} records read");
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
