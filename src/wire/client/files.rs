//! The answer to `get_log`.

use crate::event::LogInfo;
use crate::msgpack::write;

/// How many items [`write_items`] writes.
pub(super) const ITEMS: usize = 11;

/// Writes the items of the answer's map.
pub(super) fn write_items(out: &mut Vec<u8>, info: &LogInfo) {
    let LogInfo {
        path,
        full,
        since,
        changes,
        bytes,
        synced,
        next,
        waiting,
        failed,
        unsaved,
    } = info;
    let text = |out: &mut Vec<u8>, key, text: Option<&str>| {
        write::str(out, key);
        match text {
            Some(text) => write::str(out, text),
            None => write::nil(out),
        }
    };
    let uint = |out: &mut Vec<u8>, key, n| {
        write::str(out, key);
        write::uint(out, n);
    };
    text(out, "path", path.as_deref());
    write::str(out, "full");
    write::bool(out, *full);
    write::str(out, "since");
    write::float(out, since.as_secs_f64());
    uint(out, "changes", *changes);
    uint(out, "bytes", *bytes);
    uint(out, "synced", *synced);
    text(out, "next", next.as_deref());
    uint(out, "waiting", *waiting);
    let (why, failed_since) = match failed {
        Some((why, since)) => (Some(why.as_str()), Some(since.as_secs_f64())),
        None => (None, None),
    };
    text(out, "failed", why);
    write::str(out, "failed_since");
    match failed_since {
        Some(seconds) => write::float(out, seconds),
        None => write::nil(out),
    }
    uint(out, "unsaved", *unsaved);
}
