//! JSON Schema of the whole document, for editors.

use serde_json::{Map, Value, json};

use crate::plan::{Resources, describe};
use crate::stages::{Entry, Registry};

/// JSON Schema (draft 2020-12) of a pipeline: one alternative per stage, told apart by `type`.
///
/// Put `# yaml-language-server: $schema=FILE` on top of a document and an editor completes and checks it.
pub fn json_schema(registry: &Registry) -> Value {
    let mut defs = Map::new();
    let stages: Vec<Value> = registry.entries().iter().map(|entry| stage(entry, &mut defs)).collect();
    let defaults = Resources::default();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ajepa-pipe pipeline",
        "type": "object",
        "additionalProperties": false,
        "required": ["stages"],
        "properties": {
            "pipeline": { "type": "string", "description": "Name of the pipeline; the file's name by default." },
            "seed": { "type": "integer", "minimum": 0, "default": 0, "description": "Seed of everything that is drawn." },
            "stages": { "type": "array", "minItems": 1, "items": { "oneOf": stages }, "description": "What is done, from sources to sinks." },
            "on_error": {
                "type": "object",
                "additionalProperties": false,
                "description": "What happens to clips that cannot be used.",
                "properties": {
                    "policy": { "enum": ["fail", "skip", "quarantine"], "default": "quarantine", "description": "fail: the run ends; skip: the clip is counted and left out; quarantine: it is also written to rejects.parquet." },
                    "max_fraction": { "type": "number", "minimum": 0, "maximum": 1, "default": 0.01, "description": "The run fails when more than this share of the clips is rejected." },
                    "max_count": { "type": ["integer", "null"], "minimum": 0, "description": "The run fails when more clips than this are rejected." },
                },
            },
            "resources": {
                "type": "object",
                "additionalProperties": false,
                "description": "What the run may take.",
                "properties": {
                    "jobs": { "oneOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 4096 }], "default": "auto", "description": "Worker threads; auto: as many as there are cores." },
                    "memory": { "type": "string", "pattern": "^[0-9.]+ *[kKMGTP]?i?B?$", "default": "4GiB", "description": "What everything queued and in work may take, with its unit." },
                    "clips_per_shard": { "type": "integer", "minimum": 1, "maximum": 1_000_000, "default": defaults.clips_per_shard, "description": "Clips that make one unit, which becomes one shard." },
                },
            },
        },
        "$defs": defs,
    })
}

/// The alternative of one stage; what it refers to goes into `defs` under a name of its own.
fn stage(entry: &Entry, defs: &mut Map<String, Value>) -> Value {
    let mut schema = (entry.schema)().to_value();
    rename_refs(&mut schema, entry.name);
    if let Some(Value::Object(inner)) = schema.as_object_mut().and_then(|fields| fields.remove("$defs")) {
        defs.extend(inner.into_iter().map(|(name, def)| (format!("{}.{name}", entry.name), def)));
    }
    let mut properties = Map::new();
    properties
        .insert("type".to_owned(), json!({ "const": entry.name, "description": describe::kind_word(entry.kind) }));
    properties.insert("id".to_owned(), json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$", "description": "Unique; the type by default. Seeds what the stage draws." }));
    let id = json!({ "type": "string" });
    let ids = json!({ "type": "array", "items": id, "minItems": 1 });
    properties.insert(
        "from".to_owned(),
        json!({ "oneOf": [id, ids], "description": "The stages it reads; the one above by default." }),
    );
    properties.extend(describe::properties(&schema));
    let own = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let required: Vec<Value> = std::iter::once(Value::from("type")).chain(own).collect();
    let mut out = json!({
        "type": "object",
        "title": entry.name,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let about = describe::about(&schema);
    if !about.is_empty() {
        out["description"] = about.into();
    }
    out
}

fn rename_refs(value: &mut Value, owner: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{owner}.{name}");
            }
            fields.values_mut().for_each(|value| rename_refs(value, owner));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename_refs(value, owner)),
        _ => {}
    }
}
