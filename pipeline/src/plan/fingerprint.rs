//! What decides the content of a sink, as one hash and as JSON that a person can compare.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Graph;
use crate::stage::StageKind;

/// Counts up when the same graph begins to give other bytes.
const CONTENT_VERSION: u32 = 1;

/// Fields of a sink that say where, not what.
const PLACES: [&str; 1] = ["path"];

/// A fingerprint and what it was taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    /// BLAKE3 of the canonical form of `graph`, in hex.
    pub hex: String,
    /// Everything that decides content: stages with all defaults filled in, seed, clips per shard, version.
    pub graph: Value,
}

impl Graph {
    /// Fingerprint of all that decides what arrives in node `sink`.
    ///
    /// In it: every stage upstream with its id (ids seed randomness), type, inputs and config, the sink's own config, the
    /// seed, the clips per shard, how long a clip may be. Not in it: the pipeline's name, jobs, other memory, the budget of bad clips, the sink's id and path.
    pub fn fingerprint(&self, sink: usize) -> Fingerprint {
        let above = self.upstream(sink);
        let stages: Vec<Value> = (0..self.nodes.len()).filter(|&i| above[i]).map(|i| self.content(i)).collect();
        let graph = json!({
            "version": CONTENT_VERSION,
            "seed": self.seed,
            "clips_per_shard": self.resources.clips_per_shard,
            "clip_cap_bytes": self.resources.clip_cap_bytes(),
            "stages": stages,
        });
        let mut text = String::new();
        canonical(&graph, &mut text);
        Fingerprint { hex: blake3::hash(text.as_bytes()).to_hex().to_string(), graph }
    }

    fn content(&self, i: usize) -> Value {
        let node = &self.nodes[i];
        let from: Vec<&str> = node.from.iter().map(|&k| self.nodes[k].id.as_str()).collect();
        let mut config = node.config.content().unwrap_or_else(|| node.json.clone());
        let mut id = node.id.as_str();
        if node.kind() == StageKind::Sink {
            id = &node.type_name;
            if let Value::Object(fields) = &mut config {
                fields.retain(|name, _| !PLACES.contains(&name.as_str()));
            }
        }
        json!({ "id": id, "type": node.type_name, "from": from, "config": config })
    }
}

/// JSON with sorted keys and no blanks: equal values, equal text, whatever order a map was built in.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            out.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{}:", Value::from(key.as_str()));
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_count() {
        let mut a = String::new();
        let mut b = String::new();
        canonical(&json!({ "x": 1, "a": [true, { "q": "\"", "b": null }] }), &mut a);
        canonical(&json!({ "a": [true, { "b": null, "q": "\"" }], "x": 1 }), &mut b);
        assert_eq!(a, b);
        assert_eq!(a, r#"{"a":[true,{"b":null,"q":"\""}],"x":1}"#);
    }
}
