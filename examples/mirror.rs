//! Keeps a copy of a subtree in memory and prints what changes in it, beyond
//! restarts of the server.
//!
//! ```text
//! cargo run --example mirror -- localhost:27586 house
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints"
)]

use std::collections::BTreeMap;
use std::error::Error;

use moat::client::{Client, Entry, WatchEvent};
use moat::path::Path;
use moat::text::json;
use moat::value::Value;

/// What an event did to the copy.
enum Change {
    /// An entry is new here.
    Appeared(Path),
    /// An entry has another value.
    Changed(Path),
    /// An entry is gone.
    Gone(Path),
}

/// A subtree's entries, by their paths below it.
#[derive(Default)]
struct Mirror {
    entries: BTreeMap<Path, Value>,
    /// What was there before the server began anew
    stale: Option<BTreeMap<Path, Value>>,
}

impl Mirror {
    /// Brings the copy up to date with an event.
    fn handle(&mut self, event: WatchEvent) -> Result<Vec<Change>, Box<dyn Error>> {
        match event {
            WatchEvent::State(entry) | WatchEvent::Changed(entry) => self.put(entry),
            WatchEvent::Restarted => {
                let entries = std::mem::take(&mut self.entries);
                self.stale.get_or_insert_default().extend(entries);
                Ok(Vec::new())
            }
            WatchEvent::UpToDate(_) => {
                let gone = self.stale.take().unwrap_or_default();
                Ok(gone.into_keys().map(Change::Gone).collect())
            }
            WatchEvent::Lost(error) => {
                eprintln!("connecting again: {error}");
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn put(&mut self, entry: Entry) -> Result<Vec<Change>, Box<dyn Error>> {
        let path = entry.path.clone();
        let stale = self.stale.as_mut().and_then(|stale| stale.remove(&path));
        let Some(value) = entry.value()? else {
            let was = self.entries.remove(&path).or(stale);
            return Ok(was.map(|_| Change::Gone(path)).into_iter().collect());
        };
        let was = self.entries.insert(path.clone(), value.clone()).or(stale);
        Ok(match was {
            None => vec![Change::Appeared(path)],
            Some(was) if was != value => vec![Change::Changed(path)],
            Some(_) => Vec::new(),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(path), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: mirror HOST:PORT PATH".into());
    };
    let (host, port) = address.rsplit_once(':').ok_or("HOST:PORT is needed")?;
    let path: Path = path.parse()?;

    let client = Client::connect((host, port.parse()?)).await?;
    println!("connected to {}", client.server().await?.node);
    let mut watch = client.watch(&path).fetch().resuming();
    let mut mirror = Mirror::default();
    while let Some(event) = watch.next().await {
        for change in mirror.handle(event?)? {
            match change {
                Change::Appeared(at) => println!("+ {at} = {}", json::line(&mirror.entries[&at])),
                Change::Changed(at) => println!("~ {at} = {}", json::line(&mirror.entries[&at])),
                Change::Gone(at) => println!("- {at}"),
            }
        }
    }
    Ok(())
}
