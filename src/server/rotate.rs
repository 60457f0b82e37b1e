//! `--keep DIR`: the next state file each period, and a start from the newest
//! ones if nobody else has the data.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::node::Node;
use super::{Begin, Load, Options, notify};
use crate::event::LogInfo;
use crate::store::keep::{Keep, KeepError, now};

/// How long others are asked before what is on the disk is loaded.
pub(super) const ASK: Duration = Duration::from_secs(10);
/// When what failed is tried again, if not earlier.
const AGAIN: Duration = Duration::from_secs(60);

/// A directory that a server writes its files to.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The directory
    pub keep: Keep,
    /// Time after which the next file is begun
    pub period: Duration,
}

/// Takes what is on the disk as the server's data. Returns whether there is
/// something.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn take_newest(options: &mut Options) -> Result<bool, KeepError> {
    let Some(rotation) = &options.files.keep else {
        return Ok(false);
    };
    let keep = &rotation.keep;
    notify::loading(&keep.dir.display());
    let newest = keep.newest(|text| tracing::warn!("{text}"))?;
    let Some(newest) = newest else {
        return Ok(false);
    };
    tracing::info!("loading {}", keep.dir.join(&newest.name).display());
    options.begin = Begin::Load(Load {
        files: newest.files,
        authoritative: options.files.authoritative,
        force: newest.is_damaged,
    });
    Ok(true)
}

/// Begins the next file now and after each period.
pub(super) async fn keep_on(node: Rc<Node>, rotation: Option<Rotation>) {
    let Some(Rotation { keep, period }) = rotation else {
        return;
    };
    loop {
        let pause = match turn(&node, &keep).await {
            Ok(()) => period,
            Err(why) => {
                tracing::warn!("the next file cannot be written: {why}");
                period.min(AGAIN)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn turn(node: &Node, keep: &Keep) -> Result<(), String> {
    let log = written(node.log_info());
    let own = keep.clone();
    let begin = move || {
        let lock = own.lock()?;
        let (next, path) = own.next(now(), log.as_deref())?;
        Ok::<_, KeepError>((lock, next, path))
    };
    let (_lock, next, path) = beside(begin).await?;
    if next.is_behind {
        tracing::warn!("the clock is behind {}, where the log goes on", next.name);
    }
    if !node.log_to(path, next.is_full).await {
        // the log has said why
        return Ok(());
    }
    if next.is_full {
        let own = keep.clone();
        for name in beside(move || own.prune(now())).await? {
            tracing::info!("{name}: removed, it is too old");
        }
    }
    Ok(())
}

/// The file that has all that the server knows, if there is one.
fn written(info: LogInfo) -> Option<PathBuf> {
    let is_changing = info.failed.is_some() || info.next.is_some() || info.waiting > 0;
    info.path.filter(|_| !is_changing).map(PathBuf::from)
}

/// Does what may take long, while the node goes on.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeepError> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|why| why.to_string()),
        Err(why) => Err(why.to_string()),
    }
}
