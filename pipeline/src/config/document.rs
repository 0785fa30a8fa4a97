//! The skeleton of a document: its top level and what every stage has. The rest of a stage belongs to the stage.

use std::collections::HashSet;

use bytesize::ByteSize;

use super::fault::{Fault, line_column};
use super::read::{ReadError, ReadErrorKind, read_all};
use super::tree::{Key, Node, Place, Value};
use crate::plan::{Draft, DraftStage, From, OnError, Policy, Resources, describe, nearest, suggest};
use crate::stages::{Entry, Parsed, Registry};

/// Keys of the top level.
const TOP: [&str; 5] = ["pipeline", "seed", "stages", "on_error", "resources"];

/// Keys that every stage has; the others are its own.
pub const FRAMEWORK: [&str; 3] = ["id", "type", "from"];

/// Longest list of inputs.
const MAX_FROM: usize = 100;

/// Where the parts of a stage stand, for faults that are found later.
#[derive(Debug)]
pub struct StagePlaces {
    /// What stands for the stage: its type, or what it has.
    pub label: Place,
    /// Its `id`.
    pub id: Option<Place>,
    /// The entries of its `from`.
    pub from: Vec<Place>,
    /// The whole stage.
    pub node: Node,
}

/// Reads the skeleton and every stage. `None` when there is no list of stages to speak of.
pub fn read(
    root: &Node,
    stem: &str,
    text: &str,
    registry: &Registry,
    faults: &mut Vec<Fault>,
) -> Option<(Draft, Vec<StagePlaces>)> {
    let entries = match &root.value {
        Value::Map(entries) => entries,
        Value::Null => {
            let help = "a pipeline has `stages`, a list with at least a source and a sink";
            faults.push(Fault::new(root.place, "the document is empty").help(help));
            return None;
        }
        _ => {
            let help = "write `stages:` at the left margin, and the stages below it";
            faults.push(Fault::new(root.place, "a pipeline is a mapping with the key `stages`").help(help));
            return None;
        }
    };
    unknown_keys(entries, &TOP, "a pipeline", faults);
    let mut draft = Draft {
        pipeline: field(root, "pipeline", faults).unwrap_or_else(|| stem.to_owned()),
        seed: field(root, "seed", faults).unwrap_or_default(),
        stages: Vec::new(),
        on_error: root.get("on_error").map(|node| on_error(node, faults)).unwrap_or_default(),
        resources: root.get("resources").map(|node| resources(node, faults)).unwrap_or_default(),
    };
    let Some((key, stages)) = root.entry("stages") else {
        faults.push(Fault::new(root.place, "the key `stages` is missing").help("a pipeline is a list of stages"));
        return None;
    };
    let Value::List(items) = &stages.value else {
        let fault = Fault::new(key.place, "`stages` is not a list");
        faults.push(fault.help("write each stage behind a dash: `- { type: decode }`"));
        return None;
    };
    let ids = stage_ids(items);
    let mut places = Vec::new();
    for (node, id) in items.iter().zip(ids) {
        let (mut stage, place) = read_stage(node, id, registry, faults);
        stage.line = (place.label.text == 0).then(|| line_column(text, place.label.start).0);
        draft.stages.push(stage);
        places.push(place);
    }
    Some((draft, places))
}

/// The id of every stage: as written, else its type, numbered from the second of that type on.
pub fn stage_ids(stages: &[Node]) -> Vec<String> {
    let text = |node: &Node, key: &str| match node.get(key).map(|node| &node.value) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let mut taken: HashSet<String> = stages.iter().filter_map(|stage| text(stage, "id")).collect();
    let mut ids = Vec::with_capacity(stages.len());
    for stage in stages {
        let id = text(stage, "id").unwrap_or_else(|| {
            let base = text(stage, "type").unwrap_or_else(|| "stage".to_owned());
            let numbered = (2..).map(|n| format!("{base}_{n}"));
            std::iter::once(base.clone()).chain(numbered).find(|id| !taken.contains(id)).unwrap_or(base)
        });
        taken.insert(id.clone());
        ids.push(id);
    }
    ids
}

fn read_stage(node: &Node, id: String, registry: &Registry, faults: &mut Vec<Fault>) -> (DraftStage, StagePlaces) {
    let mut stage =
        DraftStage { id, type_name: "?".to_owned(), kind: None, from: From::Above, parsed: None, line: None };
    let mut places = StagePlaces { label: node.place, id: None, from: Vec::new(), node: node.clone() };
    let Value::Map(_) = &node.value else {
        let fault = Fault::new(node.place, "a stage is a mapping with the key `type`");
        faults.push(fault.help("write `{ type: decode }`"));
        return (stage, places);
    };
    if let Some(id) = node.get("id") {
        places.id = Some(id.place);
        check_id(id, faults);
    }
    if let Some(from) = node.get("from") {
        (stage.from, places.from) = read_from(from, faults);
    }
    let Some(kind) = node.get("type") else {
        let key = node.get("id").map_or(node.place, |id| id.place);
        faults.push(Fault::new(key, "a stage without `type`").help("`ajepa-pipe stages` lists the types"));
        return (stage, places);
    };
    places.label = kind.place;
    let Ok(name) = read_all::<String>(kind).map_err(|errors| tell(errors, "type", kind.place, None, faults)) else {
        return (stage, places);
    };
    stage.type_name.clone_from(&name);
    let Some(entry) = registry.get(&name) else {
        let names: Vec<&str> = registry.entries().iter().map(|entry| entry.name).collect();
        let fault = Fault::new(kind.place, format!("there is no stage of the type `{name}`"));
        faults.push(fault.help(suggest(&name, &names)).help("`ajepa-pipe stages` lists the types"));
        return (stage, places);
    };
    stage.kind = Some(entry.kind);
    stage.parsed = parse_fields(entry, &stage.id, &node.without(&FRAMEWORK), kind.place, faults);
    (stage, places)
}

/// Reads the fields that are a stage's own.
pub fn parse_fields(entry: &Entry, id: &str, node: &Node, label: Place, faults: &mut Vec<Fault>) -> Option<Parsed> {
    let told = |errors| {
        let schema = (entry.schema)().to_value();
        tell(errors, id, label, Some(&schema), faults);
    };
    (entry.parse)(node).map_err(told).ok()
}

fn check_id(node: &Node, faults: &mut Vec<Fault>) {
    let help = "letters, digits, `_` and `-`, a letter first, at most 64";
    let Ok(id) = read_all::<String>(node).map_err(|errors| tell(errors, "id", node.place, None, faults)) else {
        return;
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins = id.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins || !id.chars().all(fits) || id.len() > 64 {
        let shown: String = id.chars().take(64).collect();
        faults.push(Fault::new(node.place, format!("{shown:?} is not an id")).help(help));
    }
}

fn read_from(node: &Node, faults: &mut Vec<Fault>) -> (From, Vec<Place>) {
    let mut ids = Vec::new();
    let mut places = Vec::new();
    let items = match &node.value {
        Value::List(items) if items.is_empty() => {
            let fault = Fault::new(node.place, "`from` is empty");
            faults.push(fault.help("name the stages that this one reads, or take `from` out to read the one above"));
            return (From::Above, vec![node.place]);
        }
        Value::List(items) if items.len() > MAX_FROM => {
            faults.push(Fault::new(node.place, format!("`from` names more than {MAX_FROM} stages")));
            return (From::Above, vec![node.place]);
        }
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        if let Value::Text(id) = &item.value {
            ids.push(id.clone());
            places.push(item.place);
        } else {
            let fault = Fault::new(item.place, "`from` takes the id of a stage, or a list of ids");
            faults.push(fault.help("write `from: decode` or `from: [a, b]`"));
        }
    }
    if ids.is_empty() { (From::Above, vec![node.place]) } else { (From::Ids(ids), places) }
}

fn on_error(node: &Node, faults: &mut Vec<Fault>) -> OnError {
    let mut out = OnError::default();
    let Some(entries) = mapping(node, "on_error", faults) else { return out };
    unknown_keys(entries, &["policy", "max_fraction", "max_count"], "`on_error`", faults);
    if let Some(policy) = field::<Policy>(node, "policy", faults) {
        out.policy = policy;
    }
    if let Some(max_fraction) = field::<f64>(node, "max_fraction", faults) {
        if (0.0..=1.0).contains(&max_fraction) {
            out.max_fraction = max_fraction;
        } else {
            let place = node.get("max_fraction").map_or(node.place, |node| node.place);
            let fault = Fault::new(place, format!("`max_fraction` is a share of the clips, and {max_fraction} is not"));
            faults.push(fault.help("from 0 (none may fail) to 1 (all may); 0.01 is one in a hundred"));
        }
    }
    out.max_count = field(node, "max_count", faults);
    out
}

fn resources(node: &Node, faults: &mut Vec<Fault>) -> Resources {
    let mut out = Resources::default();
    let Some(entries) = mapping(node, "resources", faults) else { return out };
    unknown_keys(entries, &["jobs", "memory", "clips_per_shard"], "`resources`", faults);
    let auto = |node: &&Node| node.value != Value::Text("auto".to_owned()) && node.value != Value::Null;
    if let Some(jobs) = node.get("jobs").filter(auto) {
        out.jobs = in_range(jobs, "jobs", 1..=4096, "`auto`, or a number of threads from 1 to 4096", faults)
            .map(|jobs| jobs as usize);
    }
    if let Some(memory) = node.get("memory").filter(|node| node.value != Value::Null) {
        out.memory_bytes = memory_bytes(memory).map_err(|fault| faults.push(fault)).unwrap_or(out.memory_bytes);
    }
    if let Some(clips) = node.get("clips_per_shard") {
        let help = "from 1 to 1000000; 512 is the default";
        out.clips_per_shard = in_range(clips, "clips_per_shard", 1..=1_000_000, help, faults).unwrap_or(512);
    }
    out
}

fn in_range(
    node: &Node,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
    help: &str,
    faults: &mut Vec<Fault>,
) -> Option<u64> {
    match read_all::<u64>(node) {
        Ok(value) if range.contains(&value) => return Some(value),
        Ok(value) => faults.push(Fault::new(node.place, format!("`{name}` cannot be {value}")).help(help)),
        Err(errors) => {
            let first = errors.first().map_or_else(String::new, ToString::to_string);
            faults.push(Fault::new(node.place, format!("`{name}`: {first}")).help(help));
        }
    }
    None
}

/// A size with its unit: 4 what?
fn memory_bytes(node: &Node) -> Result<u64, Fault> {
    let help = "write the unit: 4GiB, 512MiB";
    let text = match &node.value {
        Value::Text(text) => text,
        Value::Unsigned(value) => {
            return Err(Fault::new(node.place, format!("`memory: {value}` has no unit")).help(help));
        }
        _ => return Err(Fault::new(node.place, "`memory` is a size in bytes with its unit").help(help)),
    };
    if !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Fault::new(node.place, format!("`memory: {text}` has no unit")).help(help));
    }
    let size: ByteSize =
        text.parse().map_err(|_| Fault::new(node.place, format!("`memory: {text}` is not a size")).help(help))?;
    if size < ByteSize::mib(64) || size > ByteSize::pib(1) {
        return Err(Fault::new(node.place, format!("`memory: {text}` is out of range")).help("from 64MiB to 1PiB"));
    }
    Ok(size.as_u64())
}

fn mapping<'a>(node: &'a Node, name: &str, faults: &mut Vec<Fault>) -> Option<&'a [(Key, Node)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Null => None,
        _ => {
            faults.push(
                Fault::new(node.place, format!("`{name}` is a mapping")).help(format!("write `{name}: {{ ... }}`")),
            );
            None
        }
    }
}

fn unknown_keys(entries: &[(Key, Node)], known: &[&str], whose: &str, faults: &mut Vec<Fault>) {
    for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
        let fault = Fault::new(key.place, format!("there is no `{}` in {whose}", key.text));
        faults.push(fault.help(suggest(&key.text, known)));
    }
}

/// The value under `key`; `None` when it is absent, empty, or wrong (which is told).
fn field<T: serde::de::DeserializeOwned>(node: &Node, key: &str, faults: &mut Vec<Fault>) -> Option<T> {
    let value = node.get(key).filter(|node| node.value != Value::Null)?;
    read_all(value).map_err(|errors| tell(errors, key, value.place, None, faults)).ok()
}

/// Turns what serde says into faults: `whose` is the stage or key, `label` stands for it.
pub fn tell(
    errors: Vec<ReadError>,
    whose: &str,
    label: Place,
    schema: Option<&serde_json::Value>,
    faults: &mut Vec<Fault>,
) {
    let misspelt: Vec<String> = errors.iter().filter_map(meant).collect();
    for error in errors {
        // A field under a misspelt name is not missing.
        if matches!(&error.kind, ReadErrorKind::MissingKey(key) if misspelt.contains(key)) {
            continue;
        }
        let place = match error.kind {
            ReadErrorKind::MissingKey(_) if error.path.is_empty() => label,
            _ => error.place.unwrap_or(label),
        };
        let path = error.path.join(".");
        let whose = if path.is_empty() { whose.to_owned() } else { format!("{whose}.{path}") };
        let doc = |path: &[String]| schema.and_then(|schema| describe::field_doc(schema, path)).unwrap_or_default();
        let fault = match &error.kind {
            ReadErrorKind::UnknownKey { key, known } => {
                let own: Vec<&str> = known.iter().map(String::as_str).collect();
                let all = own.iter().copied().chain(FRAMEWORK.into_iter().filter(|_| error.path.is_empty()));
                let help = match nearest(key, all) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if own.is_empty() => "it has no fields of its own".to_owned(),
                    None => format!("its fields are: {}", own.join(", ")),
                };
                Fault::new(place, format!("`{whose}` has no field `{key}`")).help(help)
            }
            ReadErrorKind::UnknownWord { word, known } => {
                let near: Vec<&str> = known.iter().map(String::as_str).collect();
                let fault = Fault::new(place, format!("`{whose}` cannot be `{word}`")).help(suggest(word, &near));
                fault.help(doc(&error.path))
            }
            ReadErrorKind::MissingKey(key) => {
                let path: Vec<String> = error.path.iter().cloned().chain([key.clone()]).collect();
                Fault::new(place, format!("`{whose}` needs the field `{key}`")).help(doc(&path))
            }
            ReadErrorKind::Mismatch { found, expected } => {
                let fault = Fault::new(place, format!("`{whose}`: expected {expected}, found {found}"));
                fault.help(unit_help(found, expected)).help(doc(&error.path))
            }
            ReadErrorKind::Other(message) => Fault::new(place, format!("`{whose}`: {message}")).help(doc(&error.path)),
        };
        faults.push(fault);
    }
}

/// The field that an unknown key stands for.
fn meant(error: &ReadError) -> Option<String> {
    match &error.kind {
        ReadErrorKind::UnknownKey { key, known } => nearest(key, known.iter().map(String::as_str)).map(str::to_owned),
        _ => None,
    }
}

/// The usual slips: a unit behind a number, a number where text is meant.
fn unit_help(found: &str, expected: &str) -> String {
    let Some(text) = found.strip_prefix("the text \"") else {
        let bare = found.starts_with(|c: char| c.is_ascii_digit() || c == '-') || found.starts_with('`');
        return if expected == "text" && bare {
            format!("put it in quotes: {:?}", found.trim_matches('`'))
        } else {
            String::new()
        };
    };
    let number: String = text.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '-')).collect();
    let numeric = expected.contains("number") && number.parse::<f64>().is_ok();
    if numeric { format!("write the number alone, {number}, in the unit of the field") } else { String::new() }
}
