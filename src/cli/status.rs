//! `moat kv status`: how a server is, for people and scripts.
//!
//! The exit status is 0 if it serves and misses nothing.

use clap::Args;

use crate::event::{NodeName, StateWanted, TickSet};
use crate::value::Value;

use super::context::Context;
use super::exit::{CliError, Exit};
use super::log::described;
use super::show::map;

/// Show how a server is; fails if it misses events
#[derive(Args)]
#[command(
    override_usage = "moat kv status",
    after_help = "Examples:\n  \
        moat kv status\n  \
        moat kv --json status | jq .nodes"
)]
pub(super) struct StatusArgs {}

pub(super) async fn run(ctx: &Context, _args: &StatusArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let state = client
        .state(StateWanted {
            nodes: true,
            missing: true,
            remote_missing: true,
            ..StateWanted::default()
        })
        .await?;
    let ticks = state.info.ticks.unwrap_or_default();
    let ticks = ticks.into_iter().map(|(node, tick)| {
        let tick = tick.map_or(Value::Nil, |tick| tick.0.into());
        (node.as_str().into(), tick)
    });
    let missing = counts(state.info.missing.as_deref());
    let complete = missing.is_empty();
    let remote = counts(state.info.remote_missing.as_deref());
    let mut shown = vec![
        ("node", state.node.as_str().into()),
        ("server", ctx.server()?.address().into()),
        ("complete", complete.into()),
        ("tock", state.tock.0.into()),
        ("nodes", Value::Map(ticks.collect())),
        ("missing", Value::Map(missing)),
        ("remote_missing", Value::Map(remote)),
    ];
    if let Some(info) = client.log_info().await?
        && info.path.is_some()
    {
        shown.push(("log", described(&info)));
    }
    ctx.show(&map(shown))?;
    Ok(if complete {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// How many events of each node.
fn counts(sets: Option<&[(NodeName, TickSet)]>) -> Vec<(Value, Value)> {
    let sets = sets.unwrap_or_default().iter();
    sets.filter(|(_, set)| !set.is_empty())
        .map(|(node, set)| {
            let ticks = set.ranges().fold(0_u64, |sum, range| {
                let more = range.end().saturating_sub(*range.start());
                sum.saturating_add(more.saturating_add(1))
            });
            (node.as_str().into(), ticks.into())
        })
        .collect()
}
