//! `moat kv internal deleter`: who agrees that deletions may be forgotten.

use clap::Args;

use crate::cli::context::{Context, Verbosity};
use crate::cli::exit::{CliError, Exit};
use crate::cli::show::{decode, map};
use crate::client::{Client, Entry, Error};
use crate::event::{Links, MemberKind, Members};
use crate::path::Path;
use crate::value::Value;

use super::nodes;

/// Where the nodes that confirm deletions are listed.
const DELETERS: [&str; 2] = ["actor", "del"];

/// Show or change the list of nodes that confirm deletions
#[derive(Args)]
#[command(
    override_usage = "moat kv internal deleter [OPTIONS] [NODE]...",
    after_help = "\
A deletion is remembered until all nodes of the list have confirmed it. Nodes\n\
of the list that are away are named on stderr.\n\n\
Examples:\n  \
        moat kv internal deleter\n  \
        moat kv internal deleter one two\n  \
        moat kv internal deleter -d two\n  \
        moat kv internal deleter --auto"
)]
pub(super) struct DeleterArgs {
    /// Take these nodes, or all, from the list
    #[arg(short, long)]
    delete: bool,
    /// Put the nodes on the list that are there now, and no others
    #[arg(long, conflicts_with_all = ["delete", "nodes"])]
    auto: bool,
    /// Nodes to put on the list
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

pub(super) async fn run(ctx: &Context, args: &DeleterArgs) -> Result<Exit, CliError> {
    let client = ctx.connect().await?;
    let path: Path = DELETERS.into_iter().collect();
    let read_only = args.nodes.is_empty() && !args.delete && !args.auto;
    let links = Links::Newest(if read_only { 2 } else { 3 });
    let get = client.get(&path).links(links).internal();
    if read_only {
        ctx.show_reply(&get.reply().await?)?;
        return say_who_is_away(ctx, &client).await;
    }
    let entry = get.await?;
    let nodes = match args.auto {
        true => present(&nodes::members(&client).await?)?,
        false => changed(&entry, args)?,
    };
    let value = map([("nodes", Value::List(nodes))]);
    let set = client.set(&path, &value).internal();
    let set = set.if_chain(entry.chain.as_ref()).links(Links::Newest(1));
    let reply = set.send().await?.reply().await?;
    let mut shown = decode(reply.bytes())?;
    if let Value::Map(fields) = &mut shown {
        fields.push(("value".into(), value));
    }
    ctx.show(&shown)?;
    say_who_is_away(ctx, &client).await
}

/// The list as it will be.
fn changed(entry: &Entry, args: &DeleterArgs) -> Result<Vec<Value>, Error> {
    let stored = entry.value()?;
    let stored = match &stored {
        // an older form has the list alone
        Some(Value::List(nodes)) => nodes.as_slice(),
        Some(map) => match map.field("nodes") {
            Some(Value::List(nodes)) => nodes.as_slice(),
            _ => &[],
        },
        None => &[],
    };
    let mut nodes = stored.to_vec();
    let named: Vec<Value> = args.nodes.iter().map(|n| n.as_str().into()).collect();
    if !args.delete {
        nodes.extend(named.into_iter().filter(|name| !stored.contains(name)));
    } else if named.is_empty() {
        nodes.clear();
    } else {
        nodes.retain(|node| !named.contains(node));
    }
    Ok(nodes)
}

/// The nodes that are there. Who runs the original cannot be told from one
/// that will be back, so that its networks are left to people.
fn present(members: &Members) -> Result<Vec<Value>, CliError> {
    let here = members.nodes.iter().filter(|node| node.here);
    if let Some(other) = here.clone().find(|node| node.kind != MemberKind::Ours) {
        let name = nodes::plain(other.name.as_str());
        return Err(
            anyhow::anyhow!("'{name}' is no server of this kind: name the nodes yourself").into(),
        );
    }
    Ok(here
        .filter(|node| node.ready != Some(false))
        .map(|node| node.name.as_str().into())
        .collect())
}

/// Names the nodes that deletions wait for, if the server knows.
async fn say_who_is_away(ctx: &Context, client: &Client) -> Result<Exit, CliError> {
    if ctx.verbosity > Verbosity::Quiet
        && let Some(members) = client.members().await?
        && let Some(line) = nodes::deletions(&members.deleters)
    {
        ctx.out.note(&line);
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{MemberInfo, NodeName};

    fn node(name: &str, kind: MemberKind, here: bool, ready: Option<bool>) -> MemberInfo {
        MemberInfo {
            name: NodeName::new(name),
            kind,
            here,
            ready,
            ..MemberInfo::default()
        }
    }

    #[test]
    fn present_are_those_with_data_that_were_heard() {
        let mut members = Members {
            nodes: vec![
                node("a", MemberKind::Ours, true, Some(true)),
                node("b", MemberKind::Ours, true, Some(false)),
                node("c", MemberKind::Ours, false, Some(true)),
                node("d", MemberKind::Original, false, None),
            ],
            ..Members::default()
        };
        let names: [Value; 1] = ["a".into()];
        assert_eq!(present(&members).unwrap(), names);
        for kind in [MemberKind::Original, MemberKind::Unknown] {
            members.nodes.push(node("e", kind, true, None));
            assert!(present(&members).is_err());
            members.nodes.pop();
        }
    }
}
