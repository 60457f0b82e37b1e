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

/// What came of a file that was to be begun: whether it is a full one.
pub(super) type Begun = Result<bool, String>;

/// Begins the next file after each period; what came of the first is known.
pub(super) async fn keep_on(node: Rc<Node>, rotation: Rotation, mut begun: Begun) {
    let Rotation { keep, period } = rotation;
    loop {
        let pause = match prune(&keep, begun).await {
            Ok(()) => period,
            Err(why) => {
                tracing::warn!("rotation of state files: {why}");
                period.min(AGAIN)
            }
        };
        tokio::time::sleep(pause).await;
        begun = begin(&node, &keep).await;
    }
}

/// Begins the next file.
pub(super) async fn begin(node: &Node, keep: &Keep) -> Begun {
    let log = written(node.log_info());
    let keep = keep.clone();
    let choose = move || {
        let lock = keep.lock()?;
        let (next, path) = keep.next(now(), log.as_deref())?;
        Ok::<_, KeepError>((lock, next, path))
    };
    let (_lock, next, path) = beside(choose).await?;
    if next.is_behind {
        tracing::warn!("the clock is behind {}, where the log goes on", next.name);
    }
    let is_there = node.log_to(path, next.is_full).await;
    // if it is not, the log has said why
    Ok(is_there && next.is_full)
}

/// Removes what is too old, once there is a new full file.
async fn prune(keep: &Keep, begun: Begun) -> Result<(), String> {
    if !begun? {
        return Ok(());
    }
    let keep = keep.clone();
    let prune = move || {
        let _lock = keep.lock()?;
        keep.prune(now())
    };
    for name in beside(prune).await? {
        tracing::info!("{name}: removed, it is too old");
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
