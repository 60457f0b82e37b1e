//! What the documents name is there, and what is there is named.

use std::path::Path;

use crate::support::PATIENCE;
use crate::support::moat::{Server, program};
use crate::support::process::{command, run};

fn read(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let document = read("docs/dependencies.md");
    let manifest = read("Cargo.toml");
    let mut inside = false;
    let mut seen = 0;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
            continue;
        }
        let Some((name, _)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        let name = name.trim();
        // a renamed one is known by its own name
        let package = line
            .split_once("package = \"")
            .and_then(|(_, rest)| rest.split('"').next());
        let name = package.unwrap_or(name);
        let short = name.replace("rustpython-ruff_python_", "…_");
        assert!(
            quoted(&document).any(|word| word == name || word == short),
            "{name} has no reason in docs/dependencies.md"
        );
        seen += 1;
    }
    assert!(seen > 20, "only {seen} dependencies found");
}

#[test]
fn files_that_documents_name_exist() {
    let documents = [
        "README.md",
        "SECURITY.md",
        "docs/dependencies.md",
        "docs/formats.md",
        "docs/operations.md",
        "tests/reference/README.md",
        "tests/vectors/README.md",
    ];
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in documents {
        let near = base.join(name);
        let near = near.parent().expect("a file has a directory");
        let text = read(name);
        let files = quoted(&text).filter(|word| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            word.contains(['/', '.'])
                && word.starts_with(char::is_alphabetic)
                && word.chars().all(plain)
        });
        for file in files {
            let ends = [".md", ".rs", ".json", ".toml", ".txt", ".lock", "/", "/run"];
            if ends.iter().any(|end| file.ends_with(end)) || file.starts_with("docs/") {
                assert!(
                    base.join(file).exists() || near.join(file).exists(),
                    "{name} names {file}"
                );
            }
        }
    }
}

/// The commands of the tour and what the reader sees after each.
fn tour(readme: &str) -> Vec<(String, String)> {
    let (_, tour) = readme
        .split_once("In another terminal:")
        .expect("README: the tour");
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in tour.lines().skip_while(|line| line.is_empty()) {
        let Some(line) = line.strip_prefix("    ") else {
            break;
        };
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), String::new())),
            (None, Some((_, shown))) => *shown = format!("{shown}{line}\n"),
            (None, None) => panic!("README: output before the first command: {line}"),
        }
    }
    steps
}

#[test]
fn the_tour_shows_what_a_reader_sees() {
    let server = Server::start();
    let steps = tour(&read("README.md"));
    assert!(steps.len() > 7, "{steps:?}");
    let moat = program();
    let bin = moat.parent().expect("a file has a directory");
    let mut defined = String::new();
    for (typed, shown) in steps {
        if typed.contains("() {") {
            // a shell function, for the commands after it
            defined = format!("{defined}{typed}\n");
            continue;
        }
        let mut shell = command("sh");
        shell
            .args(["-c", &format!("{defined}{typed}")])
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", "/nonexistent")
            .env("MOAT_PORT", server.port.to_string());
        let output = run(&typed, &mut shell, None, PATIENCE).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(output.ok(), Ok(shown), "{typed}");
    }
}
