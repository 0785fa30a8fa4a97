//! What made the pictures of the published models: files of PyTorch's do not say it.

use ajepa_model::Preset;
use serde_json::{Value, json};

use crate::config::{ConfigErrors, load_str};
use crate::front_end::FrontEnd;
use crate::shard::TensorInfo;
use crate::stages::Registry;

/// What `log_mel` calls its pictures.
const COLUMN: &str = "mel";

/// The front end that a published preset was trained behind; `None` for the presets that are this program's own.
///
/// Cells that no sample reaches are 0.0 in those of 2025, as in the code that their weights are used to: two rows of each picture.
///
/// # Errors
/// None, unless `registry` lacks the program's own stages.
pub fn published_front_end(preset: Preset, registry: &Registry) -> Result<Option<FrontEnd>, ConfigErrors> {
    let normalize = json!({ "type": "normalize", "preset": "code-225b816" });
    let (rate_hz, stages) = match preset {
        Preset::Paper2025 => (32_000, vec![json!({ "type": "log_mel", "preset": "paper-2025", "pad": "zero" })]),
        Preset::Code225b816 => {
            (32_000, vec![normalize, json!({ "type": "log_mel", "preset": "code-225b816", "pad": "zero" })])
        }
        Preset::Base2026 => (16_000, vec![json!({ "type": "log_mel", "preset": "base-2026" })]),
        Preset::Tiny | Preset::Small => return Ok(None),
    };
    let mut all = vec![
        json!({ "type": "source_folder", "path": "." }),
        json!({ "type": "decode" }),
        json!({ "type": "resample", "rate_hz": rate_hz }),
    ];
    all.extend(stages);
    all.push(json!({ "type": "sink_shards", "path": "." }));
    let document = json!({ "pipeline": "published", "stages": all });
    let graph = load_str("published", &format!("{document:#}"), &[], registry)?;
    Ok(graph.sinks().first().and_then(|&sink| {
        let node = &graph.nodes[sink];
        let tensor = node.inputs.first()?.tensor(COLUMN)?.clone();
        let stages = graph.fingerprint(sink).graph.get("stages").and_then(Value::as_array).cloned()?;
        let tensor = TensorInfo {
            column: COLUMN.to_owned(),
            dtype: tensor.dtype,
            shape: tensor.shape,
            axes: tensor.axes,
            front_end: tensor.front_end,
            n_frames: 0,
            n_non_finite: 0,
            mean: Vec::new(),
            variance: Vec::new(),
        };
        Some(FrontEnd { tensor, stages })
    }))
}
