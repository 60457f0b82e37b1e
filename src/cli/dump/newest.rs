//! `moat kv dump newest`: what a server would load of the files it rotated.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::keep::DateArgs;
use crate::store::{Cut, Merged, NewFile};

use super::files::{tell_problems, write_merged};

/// Make one file of the newest ones that a server has rotated
#[derive(Args)]
#[command(
    override_usage = "moat kv dump newest [OPTIONS] DIR [FILE]",
    after_help = "\
DIR has a directory for each full file 0.dkv, in which 1.dkv, 2.dkv … go on. Of\n\
the newest one whose 0.dkv can be read all are joined. What cannot be read is\n\
named, and passed over.\n\n\
Examples:\n  \
        moat kv dump newest /var/lib/moat/kv now.state\n  \
        moat kv dump newest /var/lib/moat/kv | moat kv server -l - $(hostname)"
)]
pub(super) struct NewestArgs {
    #[command(flatten)]
    date: DateArgs,
    /// Write it as this node's file; that of the last one if absent
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,
    /// The directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The file to write; standard output if absent
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: PathBuf,
}

pub(super) fn run(ctx: &Context, args: &NewestArgs) -> Result<Exit, CliError> {
    let config = &ctx.config.kv.server.keep;
    let keep = args.date.keep(args.dir.clone(), config)?;
    let Some(newest) = keep.newest(|text| ctx.out.note(&text))? else {
        let dir = args.dir.display();
        return Err(anyhow::anyhow!("{dir}: there is no directory with a 0.dkv to load").into());
    };
    let cut = Cut {
        force: newest.is_damaged,
        ..Cut::default()
    };
    let merged = Merged::read(&newest.files, &cut).map_err(anyhow::Error::from)?;
    tell_problems(ctx, &merged);
    write_merged(
        ctx,
        &merged,
        args.node.as_deref(),
        &args.file,
        NewFile::create,
    )?;
    Ok(Exit::Success)
}
