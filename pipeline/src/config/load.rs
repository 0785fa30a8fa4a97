//! From a path, or a text, to a graph.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::document::{self, StagePlaces};
use super::fault::{ConfigErrors, Fault};
use super::overrides::{self, Override};
use super::tree::{self, Node, Place};
use crate::plan::{self, DraftFault, Graph, Where};
use crate::stages::{Entry, Parsed, Registry};

/// Largest document that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the pipeline at `path`, with `overrides` such as `stages.mel.n_mels=96` laid over it, and proves that it fits together.
/// No other file is opened.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path, overrides: &[String], registry: &Registry) -> Result<Graph, ConfigErrors> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|(problem, help)| ConfigErrors::of_file(name.clone(), problem, help))?;
    load_str(&name, &text, overrides, registry)
}

fn read_text(path: &Path) -> Result<String, (String, String)> {
    if path.is_dir() {
        return Err(("this is a directory, not a file".to_owned(), nearby(path)));
    }
    let failed = |error: std::io::Error| (format!("the file cannot be read: {error}"), String::new());
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ("there is no such file".to_owned(), nearby(path)),
        _ => failed(error),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].split(|&byte| byte == b'\n').count();
        (format!("the text is not UTF-8: byte {at}, in line {line}"), "save the file as UTF-8".to_owned())
    })
}

fn too_large() -> (String, String) {
    ("the document is larger than 1 MiB".to_owned(), "a pipeline is a page of text; is this the right file?".to_owned())
}

/// YAML files in the folder at or around `path`: one of them was probably meant.
fn nearby(path: &Path) -> String {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let folder = folder.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let entries = folder.and_then(|folder| folder.read_dir().ok());
    let is_yaml = |path: &Path| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let paths = entries.into_iter().flatten().take(1000).filter_map(Result::ok).map(|entry| entry.path());
    let mut names: Vec<String> = paths.filter(|path| is_yaml(path)).map(|path| path.display().to_string()).collect();
    names.sort();
    names.truncate(6);
    if names.is_empty() { String::new() } else { format!("in that folder: {}", names.join(", ")) }
}

/// Reads the pipeline in `text`; `name` stands for it in messages, and names the pipeline when the text does not.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_str(name: &str, text: &str, overrides: &[String], registry: &Registry) -> Result<Graph, ConfigErrors> {
    if text.len() as u64 > MAX_BYTES {
        let (problem, help) = too_large();
        return Err(ConfigErrors::of_file(name.to_owned(), problem, help));
    }
    let mut texts = vec![(name.to_owned(), text.to_owned())];
    texts.extend(overrides.iter().map(|text| ("--set".to_owned(), text.clone())));
    let mut faults = Vec::new();
    let graph = read(name, text, overrides, registry, &mut faults);
    match graph {
        Some(graph) if faults.is_empty() => Ok(graph),
        _ => Err(ConfigErrors::new(texts, faults)),
    }
}

fn read(name: &str, text: &str, overrides: &[String], registry: &Registry, faults: &mut Vec<Fault>) -> Option<Graph> {
    let mut root = match tree::parse(text, 0, 0, faults) {
        Ok(root) => root,
        Err(fault) => {
            faults.push(fault);
            return None;
        }
    };
    for (i, text) in overrides.iter().enumerate() {
        let laid = Override::parse(text, i + 1, faults).and_then(|change| overrides::lay(&mut root, &change));
        faults.extend(laid.err());
    }
    let stem = Path::new(name).file_stem().map_or("pipeline".into(), |stem| stem.to_string_lossy());
    let (draft, places) = document::read(&root, &stem, text, registry, faults)?;
    match plan::check(draft) {
        Ok(graph) => Some(graph),
        Err(problems) => {
            faults.extend(problems.into_iter().map(|fault| placed(fault, &root, &places)));
            None
        }
    }
}

/// Gives a fault of the plan its place in the document.
fn placed(fault: DraftFault, root: &Node, places: &[StagePlaces]) -> Fault {
    let stage = fault.stage.and_then(|i| places.get(i));
    let place = match (stage, &fault.at) {
        (None, _) => root.entry("stages").map_or(root.place, |(key, _)| key.place),
        (Some(stage), Where::Stage) => stage.label,
        (Some(stage), Where::Id) => stage.id.unwrap_or(stage.label),
        (Some(stage), Where::From(n)) => stage.from.get(*n).or(stage.from.first()).copied().unwrap_or(stage.label),
        (Some(stage), Where::Field(path)) => field_place(&stage.node, path).unwrap_or(stage.label),
    };
    Fault::new(place, fault.problem).help(fault.help)
}

/// Where a field is written, as deep as it is.
fn field_place(node: &Node, path: &str) -> Option<Place> {
    let mut node = node;
    let mut place = None;
    for key in path.split('.') {
        let Some(next) = node.get(key) else { break };
        place = Some(next.place);
        node = next;
    }
    place
}

/// Reads one stage's fields, as they stand in a document, outside of any document: `{ rate_hz: 32000 }`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn parse_stage(entry: &Entry, yaml: &str) -> Result<Parsed, ConfigErrors> {
    let texts = vec![(entry.name.to_owned(), yaml.to_owned())];
    let mut faults = Vec::new();
    match tree::parse(yaml, 0, 0, &mut faults) {
        Ok(node) => {
            let parsed = document::parse_fields(entry, entry.name, &node, node.place, &mut faults);
            parsed.filter(|_| faults.is_empty()).ok_or_else(|| ConfigErrors::new(texts, faults))
        }
        Err(fault) => Err(ConfigErrors::new(texts, vec![fault])),
    }
}
