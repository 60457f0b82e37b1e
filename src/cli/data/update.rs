//! `data PATH update`: many entries from a file, whatever its form.
//!
//! The first byte tells msgpack records, as state files have them, from text;
//! of a text, `-d KEY` says that it is one nested map (YAML or JSON), as `get
//! -rd KEY` prints it, else it is JSON lines, as `export` prints them. Writes
//! are under way while the file is still being read.

mod source;

use std::collections::VecDeque;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::context::{Context, Verbosity};
use crate::cli::exit::{CliError, Exit};
use crate::client::{Client, Sent};
use crate::path::{Path, PathElem};

use source::{Change, Source};

/// Writes under way at once.
const PIPELINE: usize = 512;

/// Write many entries from a file
#[derive(Args)]
#[command(
    override_usage = "moat kv data PATH update [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv data one update -i one.jsonl\n  \
        moat kv data one update -d _ -i tree.yaml\n  \
        moat kv data : update -i backup.state"
)]
pub(super) struct UpdateArgs {
    /// The file: records (msgpack), JSON lines, or with -d a nested map;
    /// "-": standard input
    #[arg(short, long = "infile", value_name = "FILE", default_value = "-")]
    infile: String,

    /// The file is a nested map, with values at this key
    #[arg(short = 'd', long = "as-dict", value_name = "KEY")]
    own: Option<String>,
}

pub(super) async fn run(ctx: &Context, path: &Path, args: &UpdateArgs) -> Result<Exit, CliError> {
    let mut source = Source::open(&args.infile, args.own.as_deref())?;
    let client = ctx.connect().await?;
    let mut update = Update {
        client,
        base: path,
        under_way: VecDeque::new(),
        sent: 0,
        skipped: 0,
        progress: progress(ctx, &source),
    };
    let result = update.all(&mut source).await;
    // whatever went wrong, what stood before it is done
    let rest = update.settle_all().await;
    update.progress.finish_and_clear();
    result.and(rest)?;
    if update.skipped > 0 && ctx.verbosity > Verbosity::Quiet {
        let skipped = update.skipped;
        ctx.out.note(&format!(
            "{skipped} internal entries left out: they belong to the root"
        ));
    }
    if ctx.verbosity > Verbosity::Normal {
        ctx.out.note(&format!("{} entries written", update.sent));
    }
    Ok(Exit::Success)
}

/// A bar if the size is known, on a terminal only.
fn progress(ctx: &Context, source: &Source) -> ProgressBar {
    if !ctx.out.notes_to_terminal() || ctx.verbosity == Verbosity::Quiet {
        return ProgressBar::hidden();
    }
    let target = ProgressDrawTarget::stderr_with_hz(10);
    let bar = ProgressBar::with_draw_target(source.size(), target);
    let form = match source.size() {
        Some(_) => "{bar:40} {bytes}/{total_bytes} {eta}",
        None => "{spinner} {bytes} {bytes_per_sec}",
    };
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

struct Update<'a> {
    client: Client,
    base: &'a Path,
    under_way: VecDeque<Sent>,
    sent: u64,
    skipped: u64,
    progress: ProgressBar,
}

impl Update<'_> {
    async fn all(&mut self, source: &mut Source) -> Result<(), CliError> {
        while let Some(change) = source.next()? {
            self.send(change).await?;
            self.progress.set_position(source.position());
        }
        Ok(())
    }

    async fn send(&mut self, change: Change) -> Result<(), CliError> {
        if !self.base.is_empty() && change.path.first() == Some(&PathElem::Nil) {
            self.skipped += 1;
            return Ok(());
        }
        if self.under_way.len() >= PIPELINE {
            self.settle().await?;
        } else if self.sent.is_multiple_of(64) {
            // reading the file may block: let go out what is ready
            tokio::task::yield_now().await;
        }
        let path = self.base.join(&change.path);
        let write = match &change.value {
            Some(value) => self.client.set_raw(&path, value),
            None => self.client.delete(&path),
        };
        let sent = write.send().await?;
        self.under_way.push_back(sent);
        self.sent += 1;
        Ok(())
    }

    /// Waits for all writes; returns the first refusal.
    async fn settle_all(&mut self) -> Result<(), CliError> {
        let mut result = Ok(());
        while !self.under_way.is_empty() {
            result = result.and(self.settle().await);
        }
        result
    }

    /// Waits for the oldest write.
    async fn settle(&mut self) -> Result<(), CliError> {
        if let Some(oldest) = self.under_way.pop_front() {
            oldest.reply().await?;
        }
        Ok(())
    }
}
