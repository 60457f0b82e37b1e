//! `moat kv internal nodes`: the network as one server sees it.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::show::map;
use crate::cli::until_interrupt;
use crate::client::Client;
use crate::event::{Deleters, MemberInfo, Members};
use crate::text::json;
use crate::value::Value;

/// How often `--watch` asks.
const PAUSE: Duration = Duration::from_secs(1);
/// Goes to the first line, and clears what is below.
const REDRAW: &str = "\x1b[H\x1b[J";

/// Show the nodes of the network as the server sees them
#[derive(Args)]
#[command(
    override_usage = "moat kv internal nodes [OPTIONS]",
    after_help = "\
The columns: the node that answers is marked by *; TICK is the last change\n\
that is known of a node, MISSING how many of its changes the server lacks, LAG\n\
how many of them others lack, HEARD how long ago it said something, SAME\n\
whether it held the same data when that was compared last.\n\n\
Examples:\n  \
        moat kv internal nodes\n  \
        moat kv internal nodes --watch\n  \
        moat kv --json internal nodes | jq -r '.nodes[].name'"
)]
pub(super) struct NodesArgs {
    /// Show it live; into a pipe, one line of JSON a change
    #[arg(short, long)]
    watch: bool,
}

pub(super) async fn run(ctx: &Context, args: &NodesArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    if !args.watch {
        let members = members(&client).await?;
        if ctx.json {
            ctx.show(&record(&members))?;
        } else {
            ctx.out.text(&table(&members))?;
        }
        return Ok(Exit::Success);
    }
    until_interrupt(async {
        tokio::select! {
            ended = watch(ctx, &client) => ended,
            () = ctx.out.closed() => Ok(Exit::Success),
        }
    })
    .await
}

/// What the server sees.
pub(super) async fn members(client: &Client) -> Result<Members, CliError> {
    client.members().await?.ok_or_else(|| {
        anyhow::anyhow!("the server has no list of nodes: the original's servers have none").into()
    })
}

async fn watch(ctx: &Context, client: &Client) -> Result<Exit, CliError> {
    let live = ctx.out.is_terminal() && !ctx.json;
    let mut pause = tokio::time::interval(PAUSE);
    let mut last = None;
    loop {
        pause.tick().await;
        let members = members(client).await?;
        if live {
            ctx.out.text(REDRAW)?;
            ctx.out.text(&table(&members))?;
            ctx.out.flush()?;
            continue;
        }
        // time passes for all of them
        let mut timeless = members.clone();
        for node in &mut timeless.nodes {
            node.heard = None;
        }
        if last.as_ref() != Some(&timeless) {
            ctx.out.line(&json::line(&record(&members)))?;
            ctx.out.flush()?;
            last = Some(timeless);
        }
    }
}

// ---- for programs ----

/// As the server tells it; `docs/formats.md` explains each item.
fn record(members: &Members) -> Value {
    let names = |names: &[crate::event::NodeName]| -> Value {
        Value::List(names.iter().map(|name| name.as_str().into()).collect())
    };
    let group = members.deleters.group.iter();
    let group = group.map(|(name, here)| (name.as_str().into(), (*here).into()));
    map([
        ("node", members.node.as_str().into()),
        (
            "nodes",
            Value::List(members.nodes.iter().map(node).collect()),
        ),
        ("more", members.more.into()),
        ("up", members.up.into()),
        ("outbox", members.outbox.into()),
        ("history", names(&members.history)),
        ("split", members.split.into()),
        (
            "deleters",
            map([
                ("nodes", Value::Map(group.collect())),
                ("marks", maybe(members.deleters.marks)),
                ("oldest", maybe(members.deleters.oldest.map(|tock| tock.0))),
            ]),
        ),
    ])
}

fn node(node: &MemberInfo) -> Value {
    let addr = node.addr.iter().map(|(host, port)| {
        let port = u64::from(*port);
        Value::List(vec![host.as_str().into(), port.into()])
    });
    map([
        ("name", node.name.as_str().into()),
        ("kind", node.kind.word().into()),
        ("self", node.own.into()),
        ("ready", maybe(node.ready)),
        ("tick", maybe(node.tick.map(|tick| tick.0))),
        ("missing", node.missing.into()),
        ("reported", node.reported.into()),
        ("heard", maybe(node.heard.map(|time| time.as_secs_f64()))),
        ("here", node.here.into()),
        ("gone", node.gone.into()),
        ("addr", Value::List(addr.collect())),
        ("same", maybe(node.same)),
    ])
}

fn maybe<T: Into<Value>>(item: Option<T>) -> Value {
    item.map_or(Value::Nil, Into::into)
}

// ---- for people ----

const HEAD: [&str; 9] = [
    "", "NODE", "KIND", "TICK", "MISSING", "LAG", "HEARD", "SAME", "ADDRESS",
];
/// Columns of numbers, which end at the same place.
const NUMBERS: [bool; 9] = [false, false, false, true, true, true, true, false, false];

fn table(members: &Members) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(members.nodes.iter().map(|node| row(members, node)));
    let widths: [usize; 9] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), number) in row.iter().zip(widths).zip(NUMBERS) {
            // writing to a text never fails
            let _ = match number {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for line in remarks(members) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn row(members: &Members, node: &MemberInfo) -> [String; 9] {
    // what waits here is what all others lack
    let lag = match node.own {
        true => node.reported.max(members.outbox),
        false => node.reported,
    };
    let heard = match (node.heard, node.gone) {
        _ if node.own => "-".to_owned(),
        (_, true) => "gone".to_owned(),
        (Some(heard), false) if node.here => ago(heard),
        (Some(heard), false) => format!("{}!", ago(heard)),
        (None, false) => "never".to_owned(),
    };
    let kind = match node.ready {
        Some(false) => format!("{}, no data", node.kind.word()),
        _ => node.kind.word().to_owned(),
    };
    let address = match node.addr.first() {
        Some((host, port)) if host.contains(':') => format!("[{}]:{port}", plain(host)),
        Some((host, port)) => format!("{}:{port}", plain(host)),
        None => "-".to_owned(),
    };
    [
        if node.own { "*" } else { "" }.to_owned(),
        plain(node.name.as_str()),
        kind,
        node.tick
            .map_or_else(|| "-".to_owned(), |t| t.0.to_string()),
        node.missing.to_string(),
        lag.to_string(),
        heard,
        match node.same {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        }
        .to_owned(),
        address,
    ]
}

/// What a name of another host may not do to the terminal.
pub(super) fn plain(name: &str) -> String {
    const LONGEST: usize = 60;
    let mut text: String = name
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

fn ago(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// What is to be said below the table.
fn remarks(members: &Members) -> Vec<String> {
    let mut lines = Vec::new();
    if members.more > 0 {
        lines.push(format!("… and {} more nodes", members.more));
    }
    if !members.up {
        lines.push("There is no way to other nodes.".to_owned());
    }
    if members.outbox > 0 {
        lines.push(format!("{} change(s) wait to be sent.", members.outbox));
    }
    if members.split {
        lines.push("The network was split and is being joined.".to_owned());
    }
    lines.extend(deletions(&members.deleters));
    lines
}

/// What deletions wait for.
pub(super) fn deletions(deleters: &Deleters) -> Option<String> {
    let away = deleters.group.iter().filter(|(_, here)| !here);
    let away: Vec<String> = away.map(|(name, _)| plain(name.as_str())).collect();
    let marks = match deleters.marks {
        Some(marks) if marks > 0 => format!("{marks} deletion(s) are remembered"),
        _ => "deletions are remembered".to_owned(),
    };
    if !away.is_empty() {
        return Some(format!(
            "Deleters that are away: {}; {marks} until they are back, or taken from the list by \
             'internal deleter -d'.",
            away.join(", ")
        ));
    }
    // one node alone forgets nothing, and nobody expects it to
    let is_many = deleters.marks.is_some_and(|marks| marks > 0);
    (deleters.group.is_empty() && is_many).then(|| {
        format!("There are no deleters: {marks} until 'internal deleter' names some nodes.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{MemberKind, NodeName, Tick};

    fn members() -> Members {
        let one = MemberInfo {
            name: NodeName::new("one"),
            kind: MemberKind::Ours,
            own: true,
            ready: Some(true),
            tick: Some(Tick(1234)),
            here: true,
            addr: vec![("localhost".to_owned(), 27586)],
            ..MemberInfo::default()
        };
        let two = MemberInfo {
            name: NodeName::new("two\x1b[2J"),
            kind: MemberKind::Original,
            missing: 3,
            reported: 4,
            heard: Some(Duration::from_secs(150)),
            same: Some(false),
            addr: vec![("fd00::2".to_owned(), 1)],
            ..MemberInfo::default()
        };
        let three = MemberInfo {
            name: NodeName::new("three"),
            kind: MemberKind::Ours,
            ready: Some(false),
            heard: Some(Duration::from_millis(2540)),
            here: true,
            same: Some(true),
            ..MemberInfo::default()
        };
        Members {
            node: NodeName::new("one"),
            nodes: vec![one, three, two],
            up: true,
            outbox: 2,
            ..Members::default()
        }
    }

    #[test]
    fn the_table_lines_up_and_marks_the_own_node() {
        let want = [
            "   NODE     KIND           TICK  MISSING  LAG   HEARD  SAME  ADDRESS",
            "*  one      moat           1234        0    2       -  -     localhost:27586",
            "   three    moat, no data     -        0    0   2.5 s  yes   -",
            "   two\u{fffd}[2J  original          -        3    4  2 min!  no    [fd00::2]:1",
            "2 change(s) wait to be sent.",
        ];
        let shown = table(&members());
        assert_eq!(shown.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn what_blocks_is_said() {
        let mut some = members();
        some.up = false;
        some.split = true;
        some.more = 7;
        some.deleters.group = vec![(NodeName::new("one"), true), (NodeName::new("four"), false)];
        some.deleters.marks = Some(5);
        let said = remarks(&some).join("\n");
        for part in [
            "7 more nodes",
            "no way to other nodes",
            "was split",
            "away: four; 5 deletion(s)",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        some.deleters.group.clear();
        assert!(remarks(&some).join("\n").contains("There are no deleters"));
        some.deleters.marks = None;
        assert!(!remarks(&some).join("\n").contains("deleters"));
    }

    #[test]
    fn times_are_short() {
        for (millis, text) in [
            (40, "0.0 s"),
            (9_940, "9.9 s"),
            (10_000, "10 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
        ] {
            assert_eq!(ago(Duration::from_millis(millis)), text);
        }
        assert_eq!(plain(&"x".repeat(61)).chars().count(), 61);
    }
}
