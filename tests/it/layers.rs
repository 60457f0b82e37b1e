//! Who may import whom: the table of `docs/architecture.md` as a test.
//!
//! Every path in `src` that begins with `crate`, `super` or `self` is
//! resolved and looked up in [`TABLE`]. A module that is new has to be
//! entered there first, which is the moment to think about its place. Beside
//! imports: only the command line prints.

use std::collections::BTreeMap;
use std::path::Path;

/// A module and what it may import beside itself. The longest matching name
/// counts, for the importer as for the imported.
type Row = (&'static str, &'static [&'static str]);

/// Ring by ring, from the inside out.
const TABLE: &[Row] = &[
    // data
    ("msgpack", &[]),
    ("literal", &[]),
    ("path", &["literal", "msgpack"]),
    ("value", &["path", "msgpack"]),
    ("event", &["path", "value", "msgpack"]),
    ("text", &["literal", "path", "value", "msgpack"]),
    // core: no socket, no clock, no task, no random source
    ("node", &[DATA, "node::*"]),
    ("node::time", &[DATA, "node"]),
    ("node::tree", &[DATA, "node", "node::time"]),
    ("node::rng", &[DATA, "node"]),
    (
        "node::ticks",
        &[DATA, "node", "node::time", "node::rng", "node::tree"],
    ),
    (
        "node::merge",
        &[
            DATA,
            "node",
            "node::time",
            "node::rng",
            "node::tree",
            "node::ticks",
        ],
    ),
    ("node::replica", &[DATA, "node", BOOKS]),
    ("node::cluster", &[DATA, "node", BOOKS]),
    ("node::watch", &[DATA, "node", BOOKS]),
    ("node::access", &[DATA, "node", BOOKS]),
    ("node::rules", &[DATA, "node", BOOKS]),
    ("node::jobs", &[DATA, "node", BOOKS]),
    ("node::suspend", &[DATA, "node", BOOKS]),
    (
        "node::view",
        &[
            DATA,
            "node",
            BOOKS,
            "node::watch",
            "node::access",
            "node::rules",
        ],
    ),
    // what a request does: it reaches entries through its view alone
    (
        "node::actions",
        &[
            DATA,
            "node",
            "node::time",
            "node::watch",
            "node::suspend",
            "node::view",
            "node::machine",
        ],
    ),
    ("node::network", &[DATA, "node::*"]),
    ("node::machine", &[DATA, "node::*"]),
    // bytes of messages
    ("wire", &[DATA, "node::*", "auth"]),
    // shells
    ("backend", &[DATA, "node::*", "wire", "config"]),
    ("store", &[DATA, "node::*", "wire"]),
    ("auth", &[DATA]),
    ("script", &[DATA]),
    ("config", &[DATA]),
    ("client", &[DATA, "wire", "auth"]),
    (
        "server",
        &[
            DATA, "node::*", "wire", "backend", "store", "auth", "script", "config",
        ],
    ),
    ("runner", &[DATA, "node::*", "client", "script"]),
    ("sim", &[DATA, "node::*", "wire"]),
    (
        "cli",
        &[
            DATA, "node::*", "wire", "backend", "config", "store", "auth", "script", "client",
            "runner", "sim", "server",
        ],
    ),
    ("main", &["cli"]),
];

/// All of the data ring.
const DATA: &str = "{data}";
const DATA_MODULES: [&str; 6] = ["msgpack", "literal", "path", "value", "event", "text"];

/// The tree and its bookkeeping.
const BOOKS: &str = "{books}";
const BOOK_MODULES: [&str; 6] = [
    "node::time",
    "node::rng",
    "node::tree",
    "node::ticks",
    "node::merge",
    "node::replica",
];

/// Names that a module hands on from another one, which they belong to.
const HANDED_ON: &[(&str, &str)] = &[
    ("node::Machine", "node::machine"),
    ("node::Output", "node::machine"),
    ("node::Effects", "node::machine"),
];

/// Modules that print.
const PRINTERS: &[&str] = &["cli"];

/// A word or sign of Rust; what stands in texts and comments is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Path,
    Sign(char),
}

fn tokens(source: &str) -> Vec<Token> {
    let bytes = source.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut out = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let byte = at(i);
        if source[i..].starts_with("//") {
            i += source[i..].find('\n').unwrap_or(source.len() - i);
        } else if source[i..].starts_with("/*") {
            i = after_block_comment(source, i);
        } else if byte == b'"' {
            i = after_text(bytes, i);
        } else if let Some(end) = after_raw_text(source, i) {
            i = end;
        } else if byte == b'\'' {
            i = after_quote(source, i);
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            let len = source[i..]
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(source.len() - i);
            out.push(Token::Word(source[i..i + len].to_owned()));
            i += len;
        } else if source[i..].starts_with("::") {
            out.push(Token::Path);
            i += 2;
        } else {
            let sign = source[i..].chars().next().expect("inside the text");
            if !sign.is_whitespace() {
                out.push(Token::Sign(sign));
            }
            i += sign.len_utf8();
        }
    }
    out
}

fn after_block_comment(source: &str, start: usize) -> usize {
    let (mut depth, mut i) = (0_usize, start);
    while i < source.len() {
        let rest = &source.as_bytes()[i..];
        if rest.starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                break;
            }
        } else {
            i += 1;
        }
    }
    // never inside a character: both ends are ASCII
    i.min(source.len())
}

fn after_text(bytes: &[u8], start: usize) -> usize {
    let mut i = start + 1;
    while i < bytes.len() && bytes[i] != b'"' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}

/// Behind `r"…"`, `r#"…"#`, `br#"…"#`, if one begins here.
fn after_raw_text(source: &str, start: usize) -> Option<usize> {
    let rest = &source[start..];
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let text = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = text.find(&close)? + close.len();
    Some(source.len() - text.len() + end)
}

/// Behind a character, or behind the quote of a lifetime.
fn after_quote(source: &str, start: usize) -> usize {
    let rest = &source[start + 1..];
    let mut chars = rest.char_indices();
    match chars.next() {
        Some((_, '\\')) => {
            // the escaped sign itself may be a quote
            let from = rest.char_indices().nth(2).map_or(rest.len(), |(i, _)| i);
            start + 1 + rest[from..].find('\'').map_or(rest.len(), |i| from + i + 1)
        }
        Some(_) => match chars.next() {
            Some((i, '\'')) => start + 1 + i + 1,
            _ => start + 1,
        },
        None => start + 1,
    }
}

/// The paths that a file of that module names, from the crate's root, and
/// the macros and functions that print.
#[derive(Debug, Default)]
struct Names {
    paths: Vec<Vec<String>>,
    prints: Vec<String>,
}

fn names(module: &str, source: &str) -> Names {
    let tokens = tokens(source);
    let mut found = Names::default();
    // the module of each open brace that belongs to one
    let mut modules: Vec<(usize, Vec<String>)> = vec![(0, split(module))];
    let mut depth = 0;
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        let current = modules.last().map_or_else(Vec::new, |(_, m)| m.clone());
        let before = i.checked_sub(1).and_then(|i| tokens.get(i));
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => {
                if modules.last().is_some_and(|(at, _)| *at == depth) && depth > 0 {
                    modules.pop();
                }
                depth = depth.saturating_sub(1);
            }
            Token::Word(word) if word == "mod" => {
                if let (Some(Token::Word(name)), Some(Token::Sign('{'))) =
                    (tokens.get(i + 1), tokens.get(i + 2))
                {
                    let mut inner = current;
                    inner.push(name.clone());
                    modules.push((depth + 1, inner));
                }
            }
            Token::Word(word)
                if tokens.get(i + 1) == Some(&Token::Path) && before != Some(&Token::Path) =>
            {
                let base = match word.as_str() {
                    "crate" => Some(Vec::new()),
                    "moat" if module == "main" => Some(Vec::new()),
                    "self" => Some(current),
                    "super" => Some(parent(current)),
                    _ => None,
                };
                if let Some(base) = base {
                    i = path_tree(&tokens, i + 2, base, &mut found.paths);
                    continue;
                }
            }
            _ => {}
        }
        if let Token::Word(word) = token
            && before != Some(&Token::Sign('.'))
        {
            let next = tokens.get(i + 1);
            let prints = match word.as_str() {
                "print" | "println" | "eprint" | "eprintln" | "dbg" => {
                    next == Some(&Token::Sign('!'))
                }
                "stdout" | "stderr" => next == Some(&Token::Sign('(')),
                _ => false,
            };
            if prints && before != Some(&Token::Word("fn".to_owned())) {
                found.prints.push(word.clone());
            }
        }
        i += 1;
    }
    found
}

fn split(module: &str) -> Vec<String> {
    let parts = module.split("::").filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

fn parent(mut module: Vec<String>) -> Vec<String> {
    module.pop();
    module
}

/// Reads what follows `crate::`; returns where the path ends.
fn path_tree(
    tokens: &[Token],
    mut i: usize,
    mut base: Vec<String>,
    paths: &mut Vec<Vec<String>>,
) -> usize {
    loop {
        match tokens.get(i) {
            Some(Token::Word(word)) => {
                match word.as_str() {
                    "super" => base = parent(base),
                    // `use a::{self}` means `a`
                    "self" => {}
                    _ => base.push(word.clone()),
                }
                i += 1;
                if tokens.get(i) == Some(&Token::Path) {
                    i += 1;
                    continue;
                }
                if tokens.get(i) == Some(&Token::Word("as".to_owned())) {
                    i += 2;
                }
                paths.push(base);
                return i;
            }
            Some(Token::Sign('{')) => {
                i += 1;
                while !matches!(tokens.get(i), Some(Token::Sign('}')) | None) {
                    if tokens.get(i) == Some(&Token::Sign(',')) {
                        i += 1;
                    } else {
                        i = path_tree(tokens, i, base.clone(), paths);
                    }
                }
                return i + 1;
            }
            // `*`, or the `<` of generic arguments: the path ends before it
            _ => {
                paths.push(base);
                return i + 1;
            }
        }
    }
}

/// The row that a path belongs to.
fn row(path: &[String]) -> Option<&'static Row> {
    let name = path.join("::");
    let handed_on = HANDED_ON.iter().find(|(from, _)| within(&name, from));
    let name = handed_on.map_or(name.as_str(), |(_, to)| to);
    TABLE
        .iter()
        .filter(|(module, _)| within(name, module))
        .max_by_key(|(module, _)| module.len())
}

fn within(name: &str, module: &str) -> bool {
    name.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn allows(list: &[&str], module: &str) -> bool {
    list.iter().any(|entry| match *entry {
        DATA => DATA_MODULES.contains(&module),
        BOOKS => BOOK_MODULES.contains(&module),
        "node::*" => within(module, "node"),
        name => name == module,
    })
}

/// What is wrong with a file.
fn violations(module: &str, source: &str) -> Vec<String> {
    let names = names(module, source);
    let mut out = Vec::new();
    // the crate's root only lists its modules
    if !module.is_empty() {
        let Some((own, may)) = row(&split(module)) else {
            return vec![format!("{module}: not in the table")];
        };
        for path in names.paths {
            let shown = path.join("::");
            match row(&path) {
                _ if within(&shown, module) => {}
                Some((used, _)) if used == own || allows(may, used) => {}
                Some((used, _)) => {
                    out.push(format!("{module} names {shown}: {own} may not use {used}"))
                }
                None => out.push(format!("{module} names {shown}: not in the table")),
            }
        }
    }
    if !PRINTERS.iter().any(|printer| within(module, printer)) {
        let prints = names.prints.iter();
        out.extend(prints.map(|word| format!("{module} prints ({word})")));
    }
    out
}

/// The module of a file below `src`.
fn module_of(file: &Path) -> String {
    let name = file.with_extension("");
    let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
    match parts.as_slice() {
        [lib] if lib == "lib" => String::new(),
        [above @ .., last] if last == "mod" => above.join("::"),
        all => all.join("::"),
    }
}

fn sources(dir: &Path, base: &Path, into: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).expect("read src") {
        let path = entry.expect("entry of src").path();
        if path.is_dir() {
            sources(&path, base, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let file = path.strip_prefix(base).expect("below src");
            let text = std::fs::read_to_string(&path).expect("read a source");
            into.insert(module_of(file), text);
        }
    }
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    sources(&base, &base, &mut files);
    assert!(files.contains_key("msgpack"), "no sources found");
    let found: Vec<String> = files
        .iter()
        .flat_map(|(module, source)| violations(module, source))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("node::tree", "use crate::node::machine::Machine;"),
        ("node::tree", "use crate::node::{Machine, Limits};"),
        ("node::tree", "use crate::{event::Tick, wire::client};"),
        (
            "node::actions::values",
            "fn f(t: &crate::node::tree::Tree) {}",
        ),
        ("node::actions::values", "use super::super::ticks::Nodes;"),
        (
            "node::actions::tree",
            "use crate::node::{view::View, merge};",
        ),
        (
            "node::actions::state",
            "mod inner { use super::super::super::replica; }",
        ),
        ("path", "use crate::value::Value as V;"),
        ("wire::client", "use crate::server::{self};"),
        ("client", "use crate::node::NodeName;"),
        ("server", "use crate::cli::*;"),
        ("main", "fn main() { moat::server::run() }"),
        (
            "value",
            "fn f() { let c = '\\''; let d = '\"'; crate::text::yaml() }",
        ),
        ("unheard::of", "fn f() {}"),
        ("config", "use crate::unheard::of;"),
        ("server", "fn f() { println!(\"x\") }"),
        ("node", "fn f() { eprint!(\"x\") }"),
        ("config", "fn f() { std::io::stderr().lock() }"),
    ];
    for (module, source) in planted {
        let found = violations(module, source);
        assert_eq!(found.len(), 1, "{module}: {source}: {found:?}");
    }
}

#[test]
fn what_is_allowed_passes() {
    let fine = [
        (
            "node::tree",
            "use crate::event::{self, Tick}; use crate::node::Limits;",
        ),
        (
            "node::tree",
            "mod tests { use super::*; use super::super::time; }",
        ),
        (
            "node::tree",
            "// crate::server::x\n/* crate::cli /* nested */ println!() */",
        ),
        (
            "node::tree",
            "const T: &str = \"crate::cli\"; const R: &str = r#\"crate::\"cli\"#;",
        ),
        ("node::tree", "fn f<'a>(x: &'a str) -> char { 'x' }"),
        (
            "node::actions::values",
            "use crate::node::view::View; pub(in crate::node) fn f() {}",
        ),
        (
            "wire::client",
            "use super::Frame; use crate::node::Machine;",
        ),
        (
            "cli::data",
            "use crate::cli::out; fn f() { println!(\"x\") }",
        ),
        (
            "server",
            "fn f(c: &mut Command) { c.stdout(Stdio::null()); }",
        ),
        ("main", "fn main() { moat::cli::main() }"),
        ("", "pub mod anything;"),
    ];
    for (module, source) in fine {
        assert_eq!(violations(module, source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn files_are_their_modules() {
    let names = [
        ("lib.rs", ""),
        ("main.rs", "main"),
        ("node.rs", "node"),
        ("node/actions/values.rs", "node::actions::values"),
        ("wire/mod.rs", "wire"),
    ];
    for (file, module) in names {
        assert_eq!(module_of(Path::new(file)), module);
    }
}
