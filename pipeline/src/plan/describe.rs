//! Stages in words, from the JSON Schema of their configs: what `ajepa-pipe stages` prints.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::stage::StageKind;
use crate::stages::{Entry, Registry};

/// Deepest nesting of fields that is followed.
const MAX_DEPTH: usize = 4;

/// One field of a config.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// As written in YAML; dots lead into nested ones.
    pub name: String,
    /// What it takes: `integer`, `number`, `text`, `a | b`, `list of text`.
    pub takes: String,
    /// Its value when it is not written; `None` when it must be.
    pub default: Option<Value>,
    /// Whether it must be written.
    pub required: bool,
    /// What it means, with unit and range.
    pub doc: String,
}

/// One line per stage: name, kind and what it does.
pub fn list(registry: &Registry) -> String {
    let mut out = String::new();
    let width = registry.entries().iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in registry.entries() {
        let doc = first_sentence(&about(&(entry.schema)().to_value()));
        let line = format!("{:width$}  {:6}  {doc}", entry.name, kind_word(entry.kind));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// Everything about one stage: what it does, its fields, an example.
pub fn one(entry: &Entry) -> String {
    let schema = (entry.schema)().to_value();
    let mut out = format!("{} ({})\n", entry.name, kind_doc(entry.kind));
    let doc = about(&schema);
    if !doc.is_empty() {
        let _ = writeln!(out, "\n{}", wrap(&doc, 0));
    }
    let fields = fields(&schema);
    out.push_str(if fields.is_empty() { "\nNo fields.\n" } else { "\nFields\n" });
    for field in fields {
        let must = match &field.default {
            _ if field.required => ", required".to_owned(),
            Some(Value::Null) | None => ", optional".to_owned(),
            Some(default) => format!(", default {default}"),
        };
        let _ = writeln!(out, "  {}: {}{must}", field.name, field.takes);
        if !field.doc.is_empty() {
            let _ = writeln!(out, "{}", wrap(&field.doc, 6));
        }
    }
    let _ = writeln!(out, "\nExample\n{}", indent(&format!("- {}", entry.example.trim()), 2));
    out
}

/// The fields of a config, nested ones behind those that hold them.
pub fn fields(schema: &Value) -> Vec<Field> {
    let mut out = Vec::new();
    collect(schema, schema, "", 0, &mut out);
    out
}

/// First paragraph of the doc of the field that `path` leads to.
pub fn field_doc(schema: &Value, path: &[String]) -> Option<String> {
    let mut here = schema;
    for key in path {
        here = resolve(schema, here).get("properties")?.get(key)?;
    }
    let doc = text_of(here, "description");
    let first = doc.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    (!first.is_empty()).then(|| format!("{}: {first}", path.last().map_or("", String::as_str)))
}

fn collect(root: &Value, object: &Value, prefix: &str, depth: usize, out: &mut Vec<Field>) {
    let object = resolve(root, object);
    choices(root, object, prefix, depth, out);
    let Some(properties) = object.get("properties").and_then(Value::as_object) else { return };
    let required = |name: &str| {
        object.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|n| n == name))
    };
    for (key, schema) in properties {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        out.push(Field {
            takes: takes(root, schema, depth),
            default: schema.get("default").cloned(),
            required: required(key),
            doc: text_of(schema, "description"),
            name: name.clone(),
        });
        if depth < MAX_DEPTH {
            collect(root, without_null(root, schema), &name, depth + 1, out);
        }
    }
}

/// The fields of the choices that have some, each under the name that is written for it.
fn choices(root: &Value, object: &Value, prefix: &str, depth: usize, out: &mut Vec<Field>) {
    let all = object.get("oneOf").or(object.get("anyOf")).and_then(Value::as_array);
    for choice in all.into_iter().flatten().map(|choice| resolve(root, choice)) {
        let at = out.len();
        collect(root, choice, prefix, depth, out);
        if properties(choice).len() == 1
            && let Some(named) = out.get_mut(at)
        {
            named.required = false;
            if named.doc.is_empty() {
                named.doc = text_of(choice, "description");
            }
        }
    }
}

/// Follows a `$ref` into `$defs`.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    target.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(schema)
}

/// The schema of `T` in that of `Option<T>`.
fn without_null<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let is_null = |schema: &&Value| schema.get("type").is_some_and(|kind| kind == "null");
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(choices) => choices.iter().find(|choice| !is_null(choice)).map_or(schema, |choice| resolve(root, choice)),
        None => schema,
    }
}

fn takes(root: &Value, schema: &Value, depth: usize) -> String {
    let schema = resolve(root, without_null(root, schema));
    if depth > MAX_DEPTH {
        return "mapping".to_owned();
    }
    if let Some(word) = schema.get("const") {
        return plain(word);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().filter(|word| !word.is_null()).map(plain).collect::<Vec<_>>().join(" | ");
    }
    if let Some(choices) = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array) {
        return choices.iter().map(|choice| takes(root, choice, depth + 1)).collect::<Vec<_>>().join(" | ");
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or(""),
        _ => "",
    };
    match kind {
        "string" => "text".to_owned(),
        "boolean" => "true | false".to_owned(),
        "array" => match schema.get("items") {
            Some(items) => format!("list of {}", takes(root, items, depth + 1)),
            None => "list".to_owned(),
        },
        "object" => match schema.get("properties").and_then(Value::as_object) {
            Some(fields) => format!("{{ {} }}", fields.keys().cloned().collect::<Vec<_>>().join(", ")),
            None => "mapping".to_owned(),
        },
        "integer" | "number" => format!("{kind}{}", range(schema)),
        _ => "any value".to_owned(),
    }
}

/// Bounds that say more than the type does.
fn range(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).filter(|bound| bound.as_f64() != Some(0.0)).map(ToString::to_string);
    let low = bound("minimum").map(|low| format!(">= {low}"));
    let high =
        bound("maximum").filter(|high| !["255", "65535"].contains(&high.as_str())).map(|high| format!("<= {high}"));
    let bounds: Vec<String> = low.into_iter().chain(high).collect();
    if bounds.is_empty() { String::new() } else { format!(" {}", bounds.join(" and ")) }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text_of(schema: &Value, key: &str) -> String {
    schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a stage does: its config's documentation up to the first heading, where that of the Rust interface begins.
pub(crate) fn about(schema: &Value) -> String {
    let text = text_of(schema, "description");
    let end = if text.starts_with("# ") { 0 } else { text.find("\n# ").unwrap_or(text.len()) };
    text[..end].trim_end().to_owned()
}

fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let ends_here = |at: &usize| paragraph[at + 2..].starts_with(char::is_uppercase);
    let end = paragraph.match_indices(". ").map(|(at, _)| at).find(ends_here).map_or(paragraph.len(), |at| at + 1);
    paragraph[..end].to_owned()
}

/// One lower-case word for a kind.
pub fn kind_word(kind: StageKind) -> &'static str {
    match kind {
        StageKind::Source => "source",
        StageKind::Map => "map",
        StageKind::Fold => "fold",
        StageKind::Merge => "merge",
        StageKind::Sink => "sink",
    }
}

fn kind_doc(kind: StageKind) -> &'static str {
    match kind {
        StageKind::Source => "source: reads no other stage",
        StageKind::Map => "map: row by row, on every worker",
        StageKind::Fold => "fold: rows in order, on one thread",
        StageKind::Merge => "merge: reads several stages",
        StageKind::Sink => "sink: gives nothing on",
    }
}

/// Fills lines of 100 characters; paragraphs stay apart.
fn wrap(text: &str, margin: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && margin + line.len() + word.len() >= 100 {
                lines.push(std::mem::take(&mut line));
            }
            let gap = if line.is_empty() { "" } else { " " };
            let _ = write!(line, "{gap}{word}");
        }
        lines.push(line);
    }
    indent(&lines.join("\n"), margin)
}

fn indent(text: &str, margin: usize) -> String {
    let margin = " ".repeat(margin);
    text.lines().map(|line| format!("{margin}{line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Names of the properties of a schema, for tests and tools.
pub(crate) fn properties(schema: &Value) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}
