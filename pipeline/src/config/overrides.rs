//! `--set PATH=VALUE`: a value laid over the tree, with its place in the command line.
//!
//! `PATH` is `pipeline`, `seed`, `on_error.KEY`, `resources.KEY`, or `stages.STAGE.FIELD[.FIELD]...`, where `STAGE` is an id, a
//! type that only one stage has, a number from 0, or the id that a stage got. `VALUE` is YAML: `3`, `true`, `[a, b]`, `"text"`.

use super::document::stage_ids;
use super::fault::Fault;
use super::tree::{self, Key, Node, Place, Value};
use crate::plan::suggest;

/// A change of the document.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    path: Vec<Key>,
    value: Node,
}

impl Override {
    /// Reads `PATH=VALUE`, text `number` of the config.
    pub fn parse(text: &str, number: usize, faults: &mut Vec<Fault>) -> Result<Self, Fault> {
        let whole = Place { text: number, start: 0, end: text.len() };
        let Some((path, value)) = text.split_once('=') else {
            return Err(Fault::new(whole, "an override has no `=`").help("write PATH=VALUE, such as `--set seed=3`"));
        };
        let mut start = 0;
        let mut keys = Vec::new();
        for part in path.split('.') {
            let place = Place { text: number, start, end: start + part.len() };
            if part.trim().is_empty() || part.trim() != part {
                return Err(Fault::new(whole, "a part of the path is empty or has blanks around it").help(PATHS));
            }
            keys.push(Key { text: part.to_owned(), place });
            start += part.len() + 1;
        }
        if keys.len() > 16 {
            return Err(Fault::new(whole, "the path is too deep").help(PATHS));
        }
        let value = tree::parse(value, number, path.len() + 1, faults)?;
        Ok(Self { path: keys, value })
    }
}

const PATHS: &str = "paths: seed, pipeline, on_error.KEY, resources.KEY, stages.STAGE.FIELD, where STAGE is an id, a type or a number from 0";

/// Lays `change` over the document.
///
/// # Errors
/// When the path leads nowhere; whether the field exists and takes the value is found out where the stage is read.
pub fn lay(root: &mut Node, change: &Override) -> Result<(), Fault> {
    let Some((first, rest)) = change.path.split_first() else { return Ok(()) };
    match (first.text.as_str(), rest) {
        ("stages", [stage, _, ..]) => {
            let at = find_stage(root, stage)?;
            let list = root_entry(root, "stages").and_then(|node| match &mut node.value {
                Value::List(items) => items.get_mut(at),
                _ => None,
            });
            list.map_or(Ok(()), |node| set(node, &rest[1..], &change.value))
        }
        ("stages", _) => Err(Fault::new(first.place, "the path ends before a field").help(PATHS)),
        ("seed" | "pipeline", []) | ("on_error" | "resources", [_]) => set(root, &change.path, &change.value),
        (block @ ("on_error" | "resources"), []) => {
            let key = if block == "on_error" { "policy=skip" } else { "memory=2GiB" };
            let problem = format!("`{block}` is set key by key, not as a whole");
            Err(Fault::new(first.place, problem).help(format!("such as `--set {block}.{key}`")))
        }
        ("seed" | "pipeline" | "on_error" | "resources", _) => {
            Err(Fault::new(first.place, "the path is too deep, or not deep enough").help(PATHS))
        }
        (other, _) => {
            let help = suggest(other, &["stages", "seed", "pipeline", "on_error", "resources"]);
            Err(Fault::new(first.place, format!("there is no `{other}` in a pipeline")).help(help).help(PATHS))
        }
    }
}

fn root_entry<'a>(root: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut root.value {
        Value::Map(entries) => entries.iter_mut().find(|(k, _)| k.text == key).map(|(_, node)| node),
        _ => None,
    }
}

/// Index of the stage that a path names.
fn find_stage(root: &Node, key: &Key) -> Result<usize, Fault> {
    let Some(Value::List(stages)) = root.get("stages").map(|node| &node.value) else {
        return Err(Fault::new(key.place, "the document has no list of stages to override"));
    };
    let ids = stage_ids(stages);
    let explicit = |i: &usize| stages[*i].get("id").is_some() && ids[*i] == key.text;
    if let Some(at) = (0..stages.len()).find(explicit) {
        return Ok(at);
    }
    if let Ok(at) = key.text.parse::<usize>() {
        let help = format!("the stages are numbered from 0 to {}", stages.len().max(1) - 1);
        let missing = || Fault::new(key.place, format!("there is no stage number {at}")).help(help);
        return if at < stages.len() { Ok(at) } else { Err(missing()) };
    }
    let is_type = |i: &usize| stages[*i].get("type").is_some_and(|node| node.value == Value::Text(key.text.clone()));
    let of_type: Vec<usize> = (0..stages.len()).filter(is_type).collect();
    match of_type[..] {
        [at] => Ok(at),
        [] => ids.iter().position(|id| *id == key.text).ok_or_else(|| {
            let names: Vec<&str> = ids.iter().map(String::as_str).collect();
            let problem = format!("no stage has the id or the type `{}`", key.text);
            Fault::new(key.place, problem).help(suggest(&key.text, &names))
        }),
        _ => {
            let numbers: Vec<String> = of_type.iter().map(ToString::to_string).collect();
            let problem = format!("{} stages are of the type `{}`", of_type.len(), key.text);
            let help = format!("name one by its number ({}), or give them ids", numbers.join(", "));
            Err(Fault::new(key.place, problem).help(help))
        }
    }
}

/// Sets `path` below `node`, making mappings on the way.
fn set(node: &mut Node, path: &[Key], value: &Node) -> Result<(), Fault> {
    let Some((key, rest)) = path.split_first() else {
        *node = value.clone();
        return Ok(());
    };
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        return Err(Fault::new(key.place, "the path leads into something that is not a mapping").help(PATHS));
    };
    let at = entries.iter().position(|(k, _)| k.text == key.text).unwrap_or_else(|| {
        entries.push((key.clone(), Node { value: Value::Map(Vec::new()), place: key.place }));
        entries.len() - 1
    });
    set(&mut entries[at].1, rest, value)
}
