//! `data PATH monitor`: changes as they happen, each flushed at once.
//!
//! It outlives the connection: it connects again and goes on behind the last
//! change it has shown. If the server cannot tell what happened meanwhile, a
//! note says so; what was missed is then shown as state, if the state was
//! asked for.

use clap::Args;

use crate::cli::connect;
use crate::cli::context::{Context, Verbosity};
use crate::cli::exit::{CliError, Exit};
use crate::cli::show::{decode, map, plain};
use crate::cli::until_interrupt;
use crate::client::{Entry, Resuming, UpToDate, WatchEvent};
use crate::event::Depths;
use crate::path::Path;
use crate::value::Value;

use super::dates::Dates;
use super::get::links;

/// Show changes as they happen
#[derive(Args)]
#[command(
    override_usage = "moat kv data PATH monitor [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv data house monitor\n  \
        moat kv data house monitor -s -i cellar\n  \
        moat kv data house.temperature monitor -o\n  \
        moat kv --json data house monitor | jq .value"
)]
pub(super) struct MonitorArgs {
    /// Show the present state first
    #[arg(short, long)]
    state: bool,

    /// Only this entry, only its value; with -s, only the present one
    #[arg(short, long)]
    only: bool,

    /// Only paths and values, one line each
    #[arg(short, long)]
    path_only: bool,

    /// Show times as date, too
    #[arg(short = 'D', long = "add-date")]
    dates: bool,

    /// Skip this subtree of PATH (repeatable)
    #[arg(short, long, value_name = "PATH")]
    ignore: Vec<Path>,
}

pub(super) async fn run(ctx: &Context, path: &Path, args: &MonitorArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let mut watch = client.watch(path).links(links(ctx));
    if args.only {
        watch = watch.depths(Depths { min: 0, max: 0 });
    }
    if args.state {
        watch = watch.fetch();
    }
    let watch = watch.resuming();
    drop(client);
    let monitor = Monitor {
        ctx,
        base: path,
        args,
        dates: args.dates.then(Dates::now),
        live: !args.state,
        skip_state: false,
    };
    until_interrupt(async {
        tokio::select! {
            ended = monitor.run(watch) => ended,
            () = ctx.out.closed() => Ok(Exit::Success),
        }
    })
    .await
}

struct Monitor<'a> {
    ctx: &'a Context,
    base: &'a Path,
    args: &'a MonitorArgs,
    dates: Option<Dates>,
    /// Whether what comes happens now
    live: bool,
    /// Whether entries come that nobody has asked for
    skip_state: bool,
}

impl Monitor<'_> {
    async fn run(mut self, mut watch: Resuming) -> Result<Exit, CliError> {
        watch.begin().await?;
        if self.ctx.verbosity > Verbosity::Normal {
            self.ctx.out.note(&format!("watching {}", self.base));
        }
        while let Some(event) = watch.next().await {
            match event? {
                WatchEvent::State(_) if self.skip_state => {}
                WatchEvent::State(entry) | WatchEvent::Changed(entry) => self.entry(entry)?,
                WatchEvent::UpToDate(state) => {
                    if self.args.only && self.args.state {
                        break;
                    }
                    self.up_to_date(&state)?;
                }
                WatchEvent::Lost(error) => {
                    let line = connect::line(&error);
                    self.note(&format!("{line}; connecting again"));
                }
                WatchEvent::Restarted => {
                    self.skip_state = !self.args.state;
                    self.note("changes may have been missed");
                }
            }
            self.ctx.out.flush()?;
        }
        Ok(Exit::Success)
    }

    fn note(&self, text: &str) {
        if self.ctx.verbosity > Verbosity::Quiet {
            self.ctx.out.note(text);
        }
    }

    fn up_to_date(&mut self, state: &UpToDate) -> Result<(), CliError> {
        self.skip_state = false;
        // after a new connection this is nothing new
        let first = !std::mem::replace(&mut self.live, true);
        if !first || state.resumed == Some(true) || self.args.path_only {
            return Ok(());
        }
        let Value::Map(mut fields) = decode(state.message.bytes())? else {
            return Ok(());
        };
        // from where to resume concerns nobody here
        let known = |key: &Value| matches!(key.as_str(), Some("state" | "seq" | "tock"));
        fields.retain(|(key, _)| known(key));
        self.record(fields)
    }

    fn entry(&self, entry: Entry) -> Result<(), CliError> {
        let skipped = |ignored: &Path| entry.path.starts_with(ignored);
        if self.args.ignore.iter().any(skipped) {
            return Ok(());
        }
        let mut value = entry.value()?;
        if let (Some(value), Some(dates)) = (&mut value, &self.dates) {
            dates.add(value);
        }
        if self.args.path_only {
            return value.map_or(Ok(()), |value| self.line(Some(entry.path), value));
        }
        if self.args.only {
            return value.map_or(Ok(()), |value| self.line(None, value));
        }
        let mut fields: Vec<(Value, Value)> = Vec::new();
        let path = self.base.join(&entry.path);
        fields.push(("path".into(), self.ctx.path_field(path)));
        if let Some(value) = value {
            fields.push(("value".into(), value));
        }
        if let Some(chain) = &entry.chain {
            fields.push(("chain".into(), chain.to_value()));
        }
        fields.push(("tock".into(), entry.tock.0.into()));
        self.record(fields)
    }

    /// Prints a value on one line, perhaps behind its path.
    fn line(&self, path: Option<Path>, value: Value) -> Result<(), CliError> {
        match (self.ctx.json, path) {
            (true, None) => self.ctx.show(&value),
            (true, Some(path)) => {
                let path = self.ctx.path_field(path);
                self.ctx.show(&map([("path", path), ("value", value)]))
            }
            (false, None) => self.ctx.out.line(&plain(&value)),
            (false, Some(path)) => self.ctx.out.line(&format!("{path} {}", plain(&value))),
        }
    }

    /// Prints a record, with the time if it is about something that happens
    /// now.
    fn record(&self, mut fields: Vec<(Value, Value)>) -> Result<(), CliError> {
        if self.live {
            let (time, date) = Dates::stamp();
            fields.push(("time".into(), time.into()));
            fields.push(("_time".into(), date.into()));
        }
        self.ctx.show_record(&Value::Map(fields))
    }
}
