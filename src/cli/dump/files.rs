//! `moat kv dump init|show|convert|merge|diff|check`: state files, without a
//! server.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path as FilePath, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::show::{decode, map};
use crate::event::{ChainEnd, Event, NamedLink, NodeInfo, NodeName, Tick, TickSet, Tock};
use crate::node::journal::Change;
use crate::path::{Path, RawPath};
use crate::store::{self, Cut, Merged, NewFile, Record, StoreError};
use crate::text::{json, yaml_in};
use crate::value::Value;
use crate::wire::state::{Books, Found, MAX_RECORD, Reader, Writer};

/// Make a file from which a first server can start
#[derive(Args)]
#[command(
    override_usage = "moat kv dump init NODE FILE",
    after_help = "Example:\n  moat kv dump init $(hostname) first.state"
)]
pub(super) struct InitArgs {
    /// The server's name
    #[arg(value_name = "NODE")]
    node: String,
    /// The file; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Print the records of state files
#[derive(Args)]
#[command(
    override_usage = "moat kv dump show [OPTIONS] FILE...",
    after_help = "\
One record after the other, as YAML with '---' behind each, or with --json as one\n\
line each. A record without 'value' deletes its entry.\n\n\
Examples:\n  \
        moat kv dump show first.state\n  \
        moat kv --json dump show -e first.state | moat kv data one update -i -"
)]
pub(super) struct ShowArgs {
    /// Entries only, no bookkeeping
    #[arg(short, long)]
    entries: bool,
    /// Entries at and below this path only
    #[arg(short, long, value_name = "PATH", default_value = ":")]
    path: Path,
    /// Go on behind damaged bytes
    #[arg(short, long)]
    force: bool,
    /// The files; "-" is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Make a state file of what 'dump show' prints
#[derive(Args)]
#[command(
    override_usage = "moat kv dump convert TEXT FILE",
    after_help = "Examples:\n  \
        moat kv dump show old.state >old.yaml\n  \
        moat kv dump convert old.yaml new.state\n  \
        moat kv --json dump convert lines - | moat kv data one update -i -"
)]
pub(super) struct ConvertArgs {
    /// YAML with '---' between the records, with --json one record a line; "-" is standard input
    #[arg(value_name = "TEXT")]
    text: PathBuf,
    /// The file to write; "-" is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Make one compact file of others, or of a part of them
#[derive(Args)]
#[command(
    override_usage = "moat kv dump merge [OPTIONS] FILE... NEW",
    after_help = "\
The order of the files does not matter, nor whether they overlap. What is older\n\
than the time or tock asked for has to be in the files: a full one that is\n\
younger does not know of it.\n\n\
Examples:\n  \
        moat kv dump merge 0.dkv 1.dkv 2.dkv all.state\n  \
        moat kv dump merge -p one.two all.state part.state\n  \
        moat kv dump merge --at-tock 12345 0.dkv 1.dkv before.state"
)]
pub(super) struct MergeArgs {
    #[command(flatten)]
    cut: CutArgs,
    /// Write it as this node's file; that of the last one if absent
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,
    /// The files to read, and the one to write; "-" is standard input or output
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    files: Vec<PathBuf>,
}

/// Show where two state files differ
#[derive(Args)]
#[command(
    override_usage = "moat kv dump diff [OPTIONS] FILE OTHER",
    after_help = "\
Compares what a server would hold that had loaded one or the other. Ends with\n\
status 1 if they differ.\n\n\
Examples:\n  \
        moat kv dump diff monday.state tuesday.state\n  \
        moat kv --json dump diff -p one monday.state tuesday.state"
)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    cut: CutArgs,
    /// One file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The other one
    #[arg(value_name = "OTHER")]
    other: PathBuf,
}

/// Check state files, and repair them
#[derive(Args)]
#[command(
    override_usage = "moat kv dump check [OPTIONS] FILE...",
    after_help = "\
Says what cannot be read, and where, and what does not match the checksums in\n\
FILE.sum, if there is one. Ends with status 1 if there is something.\n\
Changes that are missing are named, and no fault: other nodes may have them.\n\n\
Examples:\n  \
        moat kv dump check 0.dkv 1.dkv\n  \
        moat kv dump check --repair good.state damaged.state"
)]
pub(super) struct CheckArgs {
    /// Write what can be read to a new file, and its checksums beside it
    #[arg(long, value_name = "NEW")]
    repair: Option<PathBuf>,
    /// The files; "-" is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Args)]
struct CutArgs {
    /// Entries at and below this path only
    #[arg(short, long, value_name = "PATH", default_value = ":")]
    path: Path,
    /// The tree as it was at this tock
    #[arg(long, value_name = "TOCK")]
    at_tock: Option<u64>,
    /// The tree as it was at this time, in seconds since 1970
    #[arg(long, value_name = "SECONDS", conflicts_with = "at_tock")]
    at: Option<f64>,
    /// Leave damaged bytes out, and take what does not match FILE.sum
    #[arg(short, long)]
    force: bool,
}

impl CutArgs {
    /// Reads files as one tree, and says what is wrong with them.
    fn read<P: AsRef<FilePath>>(&self, ctx: &Context, files: &[P]) -> Result<Merged, CliError> {
        let cut = Cut {
            below: self.path.encode(),
            tock: self.at_tock.map(Tock),
            time: self.at,
            force: self.force,
        };
        let merged = Merged::read(files, &cut).map_err(anyhow::Error::from)?;
        tell_problems(ctx, &merged);
        if self.at.is_some() && !merged.has_times {
            let why = "no file tells the time, as those of the original do not: use --at-tock";
            return Err(anyhow::anyhow!(why).into());
        }
        Ok(merged)
    }
}

pub(super) fn tell_problems(ctx: &Context, merged: &Merged) {
    for problem in &merged.problems {
        ctx.out.note(&problem.to_string());
    }
}

pub(super) fn init(args: &InitArgs) -> Result<Exit, CliError> {
    let name = args.file.display();
    if fs::symlink_metadata(&args.file).is_ok() {
        return Err(anyhow::anyhow!("{name} exists: choose another name, or remove it").into());
    }
    let node = NodeName::new(&args.node);
    let tick = Tick(1);
    let event = Event {
        path: RawPath::new(),
        chain: vec![NamedLink {
            node: node.clone(),
            tick,
        }],
        end: ChainEnd::Start,
        tock: Tock(1),
        value: Some(Value::Str("Initial data".to_owned()).to_bytes().into()),
    };
    let info = NodeInfo {
        ticks: Some(vec![(node.clone(), Some(tick))]),
        ..NodeInfo::default()
    };
    let (mut writer, mut out) = (Writer::new(), Vec::new());
    let books = Books {
        info,
        tock: Some(Tock(1)),
        node: Some(node),
        time: None,
    };
    writer.books(&mut out, &books);
    writer.entry(&mut out, &event);
    write(&args.file, NewFile::create, |put| put(&out))?;
    Ok(Exit::Success)
}

/// Begins to write a file.
type Begin = fn(&FilePath) -> io::Result<NewFile>;

/// Writes a file as a whole; "-" is standard output.
fn write(
    path: &FilePath,
    begin: Begin,
    fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), CliError>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if path == FilePath::new("-") {
        use std::io::Write as _;
        let mut stdout = io::stdout().lock();
        fill(&mut |bytes| Ok(stdout.write_all(bytes)?))?;
        return Ok(stdout.flush()?);
    }
    let name = || format!("cannot write {}", path.display());
    let mut file = begin(path).with_context(name)?;
    fill(&mut |bytes| Ok(file.put(bytes).with_context(name)?))?;
    Ok(file.finish().with_context(name)?)
}

pub(super) fn show(ctx: &Context, args: &ShowArgs) -> Result<Exit, CliError> {
    let below = args.path.encode();
    for path in &args.files {
        let tell = |problem: store::Problem| ctx.out.note(&problem.to_string());
        let shown = store::records(path, args.force, tell, |_, record| {
            match record {
                Record::Event(event) => {
                    if event.path.as_ref().is_at_or_below(below.as_ref()) {
                        ctx.show_record(&shown_event(ctx, event)?)?;
                    }
                }
                Record::Books(_) if args.entries => {}
                Record::Books(books) => ctx.show_record(&shown_books(books))?,
            }
            Ok::<_, Failed>(())
        });
        shown.map_err(|Failed(why)| why)?;
    }
    Ok(Exit::Success)
}

/// An error on the way through a file.
struct Failed(CliError);

impl From<StoreError> for Failed {
    fn from(why: StoreError) -> Self {
        Self(anyhow::Error::from(why).into())
    }
}

impl From<CliError> for Failed {
    fn from(why: CliError) -> Self {
        Self(why)
    }
}

fn shown_event(ctx: &Context, event: &Event) -> Result<Value, CliError> {
    let path = Path::decode(event.path.as_ref()).context("a path that cannot be shown")?;
    let mut fields = vec![("path".into(), ctx.path_field(path))];
    if let Some(value) = &event.value {
        fields.push(("value".into(), decode(value)?));
    }
    fields.push(("tock".into(), event.tock.0.into()));
    let older = match event.end {
        ChainEnd::Start => Some(Value::Nil),
        ChainEnd::Cut => None,
    };
    let chain = event.chain.iter().rev().fold(older, |older, link| {
        let mut fields = vec![
            ("node".into(), link.node.as_str().into()),
            ("tick".into(), link.tick.0.into()),
        ];
        fields.extend(older.map(|older| ("prev".into(), older)));
        Some(Value::Map(fields))
    });
    fields.extend(chain.map(|chain| ("chain".into(), chain)));
    Ok(Value::Map(fields))
}

fn shown_books(books: &Books) -> Value {
    let sets = |sets: &Option<Vec<(NodeName, TickSet)>>| {
        let sets = sets.iter().flatten();
        let sets = sets.map(|(name, set)| (name.as_str().into(), shown_set(set)));
        Value::Map(sets.collect())
    };
    let ticks = books.info.ticks.iter().flatten();
    let ticks = ticks.map(|(name, tick)| {
        let tick = tick.map_or(Value::Nil, |tick| tick.0.into());
        (name.as_str().into(), tick)
    });
    let mut fields = vec![
        ("nodes".into(), Value::Map(ticks.collect())),
        ("known".into(), sets(&books.info.known)),
        ("deleted".into(), sets(&books.info.deleted)),
    ];
    if books.info.remote_missing.is_some() {
        let missing = sets(&books.info.remote_missing);
        fields.push(("remote_missing".into(), missing));
    }
    if let Some(node) = &books.node {
        fields.push(("node".into(), node.as_str().into()));
    }
    if let Some(tock) = books.tock {
        fields.push(("tock".into(), tock.0.into()));
    }
    if let Some(time) = books.time {
        fields.push(("time".into(), time.into()));
    }
    Value::Map(fields)
}

/// Ticks, and pairs whose second is the first tick that does not belong.
fn shown_set(set: &TickSet) -> Value {
    let item = |from: u64, last: u64| match from == last {
        true => from.into(),
        false => Value::List(vec![from.into(), last.saturating_add(1).into()]),
    };
    let items = set.ranges().map(|r| item(*r.start(), *r.end()));
    Value::List(items.collect())
}

pub(super) fn convert(ctx: &Context, args: &ConvertArgs) -> Result<Exit, CliError> {
    let name = args.text.display();
    let failed = || format!("cannot read {name}");
    let mut input: Box<dyn BufRead> = if args.text == FilePath::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&args.text).with_context(failed)?))
    };
    write(&args.file, NewFile::create, |put| {
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        let (mut document, mut line) = (String::new(), 0u64);
        loop {
            let begin = document.len();
            let read = input.read_line(&mut document).with_context(failed)?;
            line += 1;
            if document.len() > 2 * MAX_RECORD {
                return Err(anyhow::anyhow!("{name}: line {line}: the record is too long").into());
            }
            let last = document.get(begin..).unwrap_or_default();
            let is_end = ctx.json || read == 0 || last.trim_end() == "---";
            if !is_end {
                continue;
            }
            if !ctx.json && read > 0 {
                document.truncate(begin);
            }
            if !document.trim().is_empty() {
                out.clear();
                record(ctx, &document, &mut writer, &mut out).map_err(|why| {
                    anyhow::anyhow!("{name}: the record that ends in line {line}: {why}")
                })?;
                put(&out)?;
            }
            if read == 0 {
                return Ok(());
            }
            document.clear();
        }
    })?;
    Ok(Exit::Success)
}

/// Reads one record that was shown, and writes it as one of a file.
fn record(
    ctx: &Context,
    text: &str,
    writer: &mut Writer,
    out: &mut Vec<u8>,
) -> Result<(), anyhow::Error> {
    let mut record = if ctx.json {
        json::parse(text)?
    } else {
        yaml_in::parse(text)?
    };
    if let Value::Map(fields) = &mut record {
        for (key, value) in fields {
            if let (Some("path"), Value::Str(text)) = (key.as_str(), &*value) {
                *value = text.parse::<Path>()?.into();
            }
        }
    }
    // read as if it came from a file: with all that is asked of one
    let mut reader = Reader::new();
    reader.feed(&record.to_bytes());
    reader.end();
    match reader.poll() {
        Some(Found::Event(event)) if event.value.is_some() => writer.entry(out, event),
        Some(Found::Event(event)) => writer.change(out, &Change::of(event)),
        Some(Found::Books(books)) => writer.books(out, books),
        _ => anyhow::bail!("it is neither an entry nor bookkeeping"),
    }
    Ok(())
}

pub(super) fn merge(ctx: &Context, args: &MergeArgs) -> Result<Exit, CliError> {
    let Some((new, files)) = args.files.split_last() else {
        return Err(CliError::usage("Missing argument 'NEW'."));
    };
    let merged = args.cut.read(ctx, files)?;
    let node = args.node.as_deref();
    write_merged(ctx, &merged, node, new, NewFile::create)?;
    Ok(Exit::Success)
}

pub(super) fn write_merged(
    ctx: &Context,
    merged: &Merged,
    node: Option<&str>,
    new: &FilePath,
    begin: Begin,
) -> Result<(), CliError> {
    let node = node.map(NodeName::new);
    let node = node.or_else(|| merged.writers.last().cloned());
    let node = node.context("no file says whose it is: choose a node by --node")?;
    let mut entries = 0;
    write(new, begin, |put| {
        entries = merged.write(&node, put)?;
        Ok(())
    })?;
    if ctx.out.notes_to_terminal() {
        let records = merged.records;
        ctx.out.note(&format!(
            "{records} records read, {entries} entries written"
        ));
    }
    Ok(())
}

pub(super) fn diff(ctx: &Context, args: &DiffArgs) -> Result<Exit, CliError> {
    let first = args.cut.read(ctx, &[&args.file])?;
    let second = args.cut.read(ctx, &[&args.other])?;
    let mut differ = false;
    let mut seen = BTreeSet::new();
    let entries = first.entries().chain(second.entries());
    for Event { path, .. } in entries {
        if !seen.insert(path.as_ref().bytes().to_vec()) {
            continue;
        }
        let value = |merged: &Merged| merged.entry(path.as_ref()).and_then(|e| e.value);
        let (old, new) = (value(&first), value(&second));
        if old == new {
            continue;
        }
        differ = true;
        let path = Path::decode(path.as_ref()).context("a path that cannot be shown")?;
        let mut fields = vec![("path".into(), ctx.path_field(path))];
        for (name, value) in [("old", old), ("new", new)] {
            if let Some(value) = value {
                fields.push((name.into(), decode(&value)?));
            }
        }
        ctx.show_item(Value::Map(fields))?;
    }
    Ok(if differ { Exit::Failure } else { Exit::Success })
}

pub(super) fn check(ctx: &Context, args: &CheckArgs) -> Result<Exit, CliError> {
    let cut = Cut {
        force: true,
        ..Cut::default()
    };
    let merged = Merged::read(&args.files, &cut).map_err(anyhow::Error::from)?;
    let entries = merged.entries().filter(|event| event.value.is_some());
    let entries = u64::try_from(entries.count()).unwrap_or(u64::MAX);
    if ctx.json {
        let problem = |p: &store::Problem| {
            map([
                ("file", p.path.display().to_string().into()),
                ("at", p.at.into()),
                ("what", p.what.as_str().into()),
            ])
        };
        ctx.show(&map([
            ("records", merged.records.into()),
            ("entries", entries.into()),
            ("missing", merged.holes().into()),
            (
                "problems",
                Value::List(merged.problems.iter().map(problem).collect()),
            ),
        ]))?;
    } else {
        tell_problems(ctx, &merged);
        ctx.out.line(&format!(
            "{} records, {entries} entries, {} changes missing",
            merged.records,
            merged.holes()
        ))?;
    }
    if let Some(new) = &args.repair {
        write_merged(ctx, &merged, None, new, NewFile::with_sums)?;
    }
    Ok(match merged.problems.as_slice() {
        [] => Exit::Success,
        _ => Exit::Failure,
    })
}
