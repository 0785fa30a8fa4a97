//! What made the pictures that a model was trained on: kept in its checkpoints, so that new audio is seen the same way.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::TensorType;
use crate::shard::{Manifest, TensorInfo};

/// Fields of a front end that say how long a picture is. An encoder takes pictures of any length, as long as the time from one
/// frame to the next (`frame_s`, which is compared) is the same.
const LENGTHS: [&str; 3] = ["log_mel.seconds", "log_mel.frames", "log_mel.frame_shift_ms"];

/// A tensor column of a shard set, and the stages it came through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnd {
    /// The column, its shape, axes and parameters, and the moments of each bin.
    pub tensor: TensorInfo,
    /// The graph that wrote the shards, stages in order: `{ id, type, from, config }` with every default filled in.
    pub stages: Vec<Value>,
}

impl FrontEnd {
    /// What `manifest` says of `tensor`.
    pub fn new(manifest: &Manifest, tensor: &TensorInfo) -> Self {
        let stages = manifest.graph.get("stages").and_then(Value::as_array).cloned().unwrap_or_default();
        Self { tensor: tensor.clone(), stages }
    }

    /// Seconds from one frame of the pictures to the next, where the front end says it.
    pub fn frame_s(&self) -> Option<f64> {
        frame_s(&self.tensor.front_end)
    }

    /// Where pictures of `other` are made in another way than these, a clause each. A picture may be longer or shorter, and of
    /// one that does not say how it was made only shape and axes are compared.
    pub fn differences(&self, other: &TensorType) -> Vec<String> {
        let ours = &self.tensor;
        let mut found = Vec::new();
        // Frames are left out of the comparison, not out of the words.
        let bins = |shape: &[usize], axes: &[String]| -> Vec<(usize, String)> {
            let bins = shape.iter().copied().zip(axes.iter().cloned());
            bins.map(|(n, axis)| if axis == "frames" { (0, axis) } else { (n, axis) }).collect()
        };
        if bins(&ours.shape, &ours.axes) != bins(&other.shape, &other.axes) {
            let words = |shape: &[usize], axes: &[String]| {
                let dims: Vec<String> = shape.iter().zip(axes).map(|(n, axis)| format!("{n} {axis}")).collect();
                dims.join(" x ")
            };
            found.push(format!("{} and not {}", words(&other.shape, &other.axes), words(&ours.shape, &ours.axes)));
        }
        if !ours.front_end.is_null() && !other.front_end.is_null() {
            differences("", &ours.front_end, &other.front_end, &mut found);
        }
        found
    }
}

/// Seconds from one frame to the next, where the front end says it.
pub fn frame_s(front_end: &Value) -> Option<f64> {
    find(front_end, "frame_s").and_then(Value::as_f64)
}

/// A field of a front end, however many stages have wrapped it.
pub fn find<'a>(front_end: &'a Value, key: &str) -> Option<&'a Value> {
    let map = front_end.as_object()?;
    map.get(key).or_else(|| map.values().find_map(|inner| find(inner, key)))
}

/// Equal, but for the last bits of numbers: JSON's reader does not keep them.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (a, b) => a == b,
    }
}

/// Appends `KEY is THEIRS and not OURS` for every value that differs.
fn differences(key: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    if is_same(ours, theirs) || LENGTHS.iter().any(|length| key.ends_with(length)) {
        return;
    }
    if let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) {
        let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for name in keys {
            let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
            differences(&inner, &of(ours), &of(theirs), found);
        }
        return;
    }
    let words = |value: &Value| match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        other => other.to_string(),
    };
    found.push(match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => format!("{key} differs"),
        _ => format!("{key} is {} and not {}", words(theirs), words(ours)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Dtype;
    use serde_json::json;

    #[test]
    fn what_differs_is_named_and_length_alone_is_no_difference() {
        let axes = || vec!["mels".to_owned(), "frames".to_owned()];
        let made = |n: usize| json!({ "log_mel": { "n_mels": n, "seconds": 10.0 }, "frame_s": 0.039 });
        let tensor = TensorInfo {
            column: "mel".to_owned(),
            dtype: Dtype::F16,
            shape: vec![128, 256],
            axes: axes(),
            front_end: made(128),
            n_frames: 0,
            n_non_finite: 0,
            mean: Vec::new(),
            variance: Vec::new(),
        };
        let front_end = FrontEnd { tensor, stages: Vec::new() };
        let other = |shape: [usize; 2], front_end: Value| front_end_of(shape, axes(), front_end);
        let mut short = made(128);
        short["log_mel"]["seconds"] = json!(2.0);
        assert_eq!(front_end.differences(&other([128, 64], short)), [] as [&str; 0]);
        assert_eq!(front_end.differences(&other([128, 64], Value::Null)), [] as [&str; 0]);
        let found = front_end.differences(&other([64, 256], made(64)));
        assert_eq!(found, ["64 mels x 256 frames and not 128 mels x 256 frames", "log_mel.n_mels is 64 and not 128"]);
        assert_eq!(front_end.frame_s(), Some(0.039));
    }

    fn front_end_of(shape: [usize; 2], axes: Vec<String>, front_end: Value) -> TensorType {
        TensorType { dtype: Dtype::F32, shape: shape.to_vec(), axes, front_end }
    }
}
