//! What the targets begin with: the recordings of `tests/vectors`.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// For each target, what it begins with.
///
/// # Errors
/// If a recording cannot be read.
pub fn all() -> Result<Vec<(&'static str, Vec<Vec<u8>>)>, Box<dyn Error>> {
    let paths = texts("paths.json", "text")?;
    let encoded = paths.iter().filter_map(|text| {
        let path: moat::path::Path = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(path.encode().as_ref().bytes().to_vec())
    });
    let encoded: Vec<Vec<u8>> = encoded.collect();
    Ok(vec![
        ("client_messages", clients()?),
        ("cluster_messages", traffic()?),
        ("paths", paths.into_iter().chain(encoded).collect()),
        ("expressions", texts("eval.json", "expr")?),
        ("fetches", dialogues()?),
        ("state_files", files()?),
    ])
}

/// The state files, with a size of pieces before each.
fn files() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(vectors().join("state"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "msgpack"));
    files.sort();
    let seed = |file: &PathBuf| Ok([&[7], std::fs::read(file)?.as_slice()].concat());
    files.iter().map(seed).collect()
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

fn read(file: &Path) -> Result<Value, Box<dyn Error>> {
    let text = std::fs::read_to_string(file)?;
    Ok(serde_json::from_str(&text)?)
}

/// The recordings in a directory.
fn recordings(dir: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(vectors().join(dir))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.filter_map(byte).collect()
}

/// A text of each case of a file.
fn texts(file: &str, key: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let cases = read(&vectors().join(file))?;
    let texts = list(&cases, "cases").iter().filter_map(|c| c[key].as_str());
    Ok(texts.map(|text| text.as_bytes().to_vec()).collect())
}

/// What a client said in each recorded session, in one piece.
fn clients() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut seeds = Vec::new();
    for session in recordings("client")? {
        let mut said = vec![0];
        for message in list(&session, "messages") {
            if message["dir"] == "c>s" {
                said.extend(unhex(message["hex"].as_str().unwrap_or_default()));
            }
        }
        if said.len() > 1 {
            seeds.push(said);
        }
    }
    Ok(seeds)
}

/// Each recorded message between nodes, and some of each recording together.
fn traffic() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut seeds = Vec::new();
    for recording in recordings("cluster")? {
        let mut together = Vec::new();
        for message in list(&recording, "traffic") {
            let topic = message["topic"].as_str().unwrap_or_default();
            let word = topic.rsplit('/').next().unwrap_or_default();
            let words = ["update", "info", "ping", "del"];
            let Some(topic) = words.iter().position(|w| *w == word) else {
                continue;
            };
            let payload = unhex(message["hex"].as_str().unwrap_or_default());
            if let Some(seed) = crate::pack(topic, &payload) {
                if together.len() < 2000 {
                    together.extend_from_slice(&seed);
                }
                seeds.push(seed);
            }
        }
        seeds.push(together);
    }
    seeds.retain(|seed| !seed.is_empty());
    seeds.sort();
    seeds.dedup();
    Ok(seeds)
}

/// What a peer said to each recorded joiner, in one piece.
fn dialogues() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let cases = read(&vectors().join("cluster/join.json"))?;
    let mut seeds = Vec::new();
    for case in cases.as_array().map_or(&[][..], Vec::as_slice) {
        let mut said = vec![6];
        for message in list(case, "log") {
            if message["from"] == "peer" && message["msg"]["seq"] != 1 {
                said.extend(unhex(message["hex"].as_str().unwrap_or_default()));
            }
        }
        seeds.push(said);
    }
    Ok(seeds)
}
