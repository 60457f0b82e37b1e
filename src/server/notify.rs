//! What the service manager is told, as sd_notify(3) has it: that clients are
//! accepted, how the server is, and that its thread still turns.
//!
//! Nothing is said, and no signal taken, unless `NOTIFY_SOCKET` names who
//! listens.

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use sd_notify::NotifyState as Say;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::node::Node;

/// How often it is looked whether there is something new to say.
const OFTEN: Duration = Duration::from_secs(5);
/// How long the next word may take while a start makes progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether anybody listens.
fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

fn say(words: &[Say<'_>]) {
    if let Err(why) = sd_notify::notify(words) {
        tracing::debug!("the service manager does not listen: {why}");
    }
}

fn more_time() -> Say<'static> {
    Say::ExtendTimeoutUsec(u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX))
}

/// A long load has come so far.
pub(super) fn loading(text: &dyn Display) {
    if is_heard() {
        say(&[more_time(), Say::Status(&format!("loading {text}"))]);
    }
}

/// Clients are accepted.
pub(super) fn ready(node: &Node) {
    if is_heard() {
        say(&[Say::Ready, Say::Status(&node.status())]);
    }
}

/// The server ends.
pub(super) fn stopping() {
    if is_heard() {
        say(&[Say::Stopping]);
    }
}

/// Why it does not run.
pub(super) fn failed(why: &dyn Display) {
    if is_heard() {
        say(&[Say::Status(&why.to_string())]);
    }
}

/// Says how the server is, and feeds the watchdog, from the node's own
/// thread: when that stands still, so does this.
pub(super) async fn keep_saying(node: Rc<Node>) {
    if !is_heard() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let period = watchdog.map_or(OFTEN, |limit| (limit / 2).min(OFTEN));
    let mut turns = tokio::time::interval(period.max(Duration::from_millis(1)));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut fetched) = (String::new(), 0);
    loop {
        turns.tick().await;
        let status = node.status();
        let entries = node.entries();
        let mut words = Vec::new();
        if watchdog.is_some() {
            words.push(Say::Watchdog);
        }
        if status != told {
            words.push(Say::Status(&status));
        }
        if entries > fetched && !node.serves() {
            words.push(more_time());
        }
        if !words.is_empty() {
            say(&words);
        }
        fetched = entries;
        told = status;
    }
}

/// The signal by which a service manager asks to reload. A server in a
/// terminal ends with that, as any program does.
pub(super) fn hangups() -> std::io::Result<Option<Signal>> {
    is_heard().then(|| signal(SignalKind::hangup())).transpose()
}

/// Reloads whenever that is asked for.
pub(super) async fn reload(
    mut hangups: Signal,
    node: Rc<Node>,
    mut again: impl FnMut() -> Result<(), String>,
) {
    while hangups.recv().await.is_some() {
        // the time tells this reload from the ones before
        let mut words = vec![Say::Reloading];
        words.extend(Say::monotonic_usec_now().ok());
        say(&words);
        match again() {
            Ok(()) => tracing::info!("reloaded"),
            Err(why) => tracing::warn!("not reloaded: {why}"),
        }
        ready(&node);
    }
}
