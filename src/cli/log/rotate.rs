//! `moat kv log rotate`: the next of a server's state files, in a directory
//! that this machine shares with it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::cli::context::{Context, Verbosity};
use crate::cli::exit::CliError;
use crate::cli::keep::DateArgs;
use crate::cli::show::map;
use crate::client::Client;
use crate::event::LogInfo;
use crate::store;
use crate::value::Value;

/// Go on in the next file of a directory of rotated ones
#[derive(Args)]
#[command(
    override_usage = "moat kv log rotate [OPTIONS]",
    after_help = "\
DIR gets a directory for each date, in which 0.dkv has everything and 1.dkv,\n\
2.dkv … what changes from then on; one of them has everything as well if the\n\
server has not been writing to the one before it. After a file with everything\n\
what is too old is removed, but never the newest that can be loaded.\n\
\"moat kv dump newest\" joins what a server would load.\n\n\
Examples:\n  \
        moat kv log rotate --dir /var/lib/moat/kv\n  \
        moat kv log rotate --dir /var/lib/moat/kv --date %Y-%m-%d --keep-hourly 3"
)]
pub(super) struct RotateArgs {
    /// The directory; that of the server's log, if it is a rotated one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    date: DateArgs,
    /// For how many days all of them stay [default: 10]
    #[arg(long, value_name = "DAYS")]
    keep_hourly: Option<u32>,
    /// For how many days the first of each day stays [default: 45]
    #[arg(long, value_name = "DAYS")]
    keep_daily: Option<u32>,
    /// For how many days the first of each month stays [default: 400]
    #[arg(long, value_name = "DAYS")]
    keep_monthly: Option<u32>,
}

pub(super) async fn run(ctx: &Context, client: &Client, args: &RotateArgs) -> Result<(), CliError> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => dir_of(client.log_info().await?.as_ref())
            .context("the server writes no rotated files: choose a directory by --dir")?,
    };
    // the server may run in another one
    let absolute = std::path::absolute(&dir).with_context(|| dir.display().to_string())?;
    let mut keep = args.date.keep(absolute, &ctx.config.kv.server.keep)?;
    let ages = &mut keep.ages;
    ages.hourly = args.keep_hourly.unwrap_or(ages.hourly);
    ages.daily = args.keep_daily.unwrap_or(ages.daily);
    ages.monthly = args.keep_monthly.unwrap_or(ages.monthly);

    let _lock = keep.lock()?;
    let now = store::keep::now();
    let info = client.log_info().await?;
    let log = info.as_ref().and_then(written);
    let (next, path) = keep.next(now, log)?;
    let (name, number) = (&next.name, next.number);
    if next.is_behind {
        ctx.out.note(&format!(
            "the clock is behind {name}, in which the log goes on"
        ));
    }
    let text = path.to_str().context("the directory's name is no text")?;
    if let Err(why) = client.log(text, !next.is_full).await {
        // if it is empty it was made for this
        let _ = path.parent().map(std::fs::remove_dir);
        return Err(why.into());
    }
    if !path.exists() {
        return Err(anyhow::anyhow!(
            "the server has written {text}, but not on this machine: nothing was removed"
        )
        .into());
    }
    let gone = if next.is_full {
        keep.prune(now)?
    } else {
        Vec::new()
    };
    if ctx.json {
        ctx.show(&map([
            ("path", text.into()),
            ("full", next.is_full.into()),
            ("number", u64::from(number).into()),
            (
                "removed",
                Value::List(gone.into_iter().map(Value::from).collect()),
            ),
        ]))?;
    } else if ctx.verbosity > Verbosity::Normal {
        let what = if next.is_full {
            "everything"
        } else {
            "changes"
        };
        ctx.out.note(&format!("{text}: {what}"));
        for name in gone {
            ctx.out.note(&format!("{name}: removed"));
        }
    }
    Ok(())
}

/// The file that has all that the server knows, if there is one.
fn written(info: &LogInfo) -> Option<&Path> {
    let is_changing = info.failed.is_some() || info.next.is_some() || info.waiting > 0;
    info.path.as_deref().filter(|_| !is_changing).map(Path::new)
}

/// DIR of DIR/DATE/N.dkv
fn dir_of(info: Option<&LogInfo>) -> Option<PathBuf> {
    let path = Path::new(info?.path.as_deref()?);
    let is_rotated = path.extension().is_some_and(|e| e == "dkv");
    path.parent()?
        .parent()
        .filter(|_| is_rotated)
        .map(Path::to_owned)
}
