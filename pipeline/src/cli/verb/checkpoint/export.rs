//! `checkpoint export`: one encoder as safetensors, its sizes as JSON, and a page that says how to use it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use ajepa_model::EncoderChoice;
use ajepa_model::checkpoint::{Card, Checkpoint};
use ajepa_store::{Fs, PendingFolder, RealFs, commit_bytes};
use serde_json::{Value, json};

use super::open;
use crate::cli::args::ExportArgs;
use crate::cli::exit::Exit;
use crate::cli::format::count;
use crate::cli::verb::{fail, print};
use crate::embed::{digest, encoder_words};

/// Writes the folder, whole or not at all.
pub fn export(args: &ExportArgs) -> Exit {
    let checkpoint = match open(&args.path) {
        Ok(checkpoint) => checkpoint,
        Err(exit) => return exit,
    };
    let choice = args.encoder.map_or_else(|| EncoderChoice::usual(&checkpoint), EncoderChoice::from);
    match write(&checkpoint, choice, &args.out) {
        Ok(true) => print(&format!("{}: model.safetensors, config.json, README.md\n", args.out.display())),
        Ok(false) => {
            eprintln!("error: {} is there already: it stays as it is; name another folder", args.out.display());
            Exit::Usage
        }
        Err(error) => fail(error),
    }
}

fn write(checkpoint: &Checkpoint, choice: EncoderChoice, out: &Path) -> Result<bool, String> {
    if out.exists() {
        return Ok(false);
    }
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let tensors = checkpoint.tensors(choice.file()).map_err(|error| words(&error))?;
    let config = config(checkpoint.card(), choice)?;
    let names = tensors.names().map_err(|error| words(&error))?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let folder = PendingFolder::create(&fs, out.to_owned()).map_err(|error| words(&error))?;
    let page = page(checkpoint.card(), &config, &names);
    let json = format!("{config:#}\n");
    for (name, bytes) in
        [("model.safetensors", tensors.bytes()), ("config.json", json.as_bytes()), ("README.md", page.as_bytes())]
    {
        commit_bytes(&fs, folder.path().join(name), bytes).map_err(|error| words(&error))?;
    }
    folder.commit_new().map_err(|error| words(&error))
}

/// Everything that is needed to build the network and to make its input.
fn config(card: &Card, choice: EncoderChoice) -> Result<Value, String> {
    let recipe = &card.recipe;
    let patchify = recipe.patchify().map_err(|error| error.to_string())?;
    let grid = patchify.grid();
    let [n_parameters, _] = recipe.n_parameters().map_err(|error| error.to_string())?;
    Ok(json!({
        "model_type": "audio-jepa-encoder",
        "hidden_size": recipe.encoder.width,
        "num_hidden_layers": recipe.encoder.depth,
        "num_attention_heads": recipe.encoder.n_heads,
        "intermediate_size": recipe.encoder.width * recipe.encoder.mlp_ratio,
        "hidden_act": "gelu",
        "layer_norm_eps": recipe.encoder.norm_eps,
        "patch_size": patchify.patch_shape(),
        "image_size": recipe.picture,
        "grid": [grid.rows, grid.cols],
        "time_axis": recipe.time_axis,
        "positions": recipe.positions,
        "parameters": n_parameters,
        "encoder": choice,
        "steps": card.steps,
        "digest": digest(card),
        "front_end": front_end(card),
        "program": format!("ajepa-pipe {}", card.code_version),
    }))
}

/// The front end without where its clips lay and where they went: a folder at home is nobody's business.
fn front_end(card: &Card) -> Value {
    let mut front_end = card.front_end.clone();
    if let Some(stages) = front_end.get_mut("stages").and_then(Value::as_array_mut) {
        let is_place = |name: &str| name.starts_with("source_") || name.starts_with("sink_");
        stages.retain(|stage| !stage["type"].as_str().is_some_and(is_place));
    }
    front_end
}

/// The model card: facts of the checkpoint alone.
fn page(card: &Card, config: &Value, names: &[(String, Vec<usize>)]) -> String {
    let recipe = &card.recipe;
    let mut out = String::new();
    let _ = writeln!(out, "# Audio-JEPA encoder, step {}\n", count(card.steps));
    let _ = writeln!(
        out,
        "The {} encoder of an Audio-JEPA ([arXiv 2507.02915](https://arxiv.org/abs/2507.02915)): a vision transformer, {}, {} parameters, \
         over log-mel pictures. It gives one vector of {} numbers per patch; the mean over all of them is an embedding of a clip.\n",
        config["encoder"].as_str().unwrap_or_default(),
        encoder_words(&recipe.encoder),
        count(config["parameters"].as_u64().unwrap_or_default()),
        recipe.encoder.width
    );
    let _ = writeln!(out, "| | |\n|---|---|");
    for key in
        ["steps", "image_size", "patch_size", "grid", "time_axis", "positions", "layer_norm_eps", "digest", "program"]
    {
        let _ = writeln!(out, "| {key} | `{}` |", config[key].to_string().trim_matches('"'));
    }
    let _ = writeln!(out, "\n## Input\n\nA picture is made by these stages, in order:\n\n```yaml");
    let stages = config["front_end"]["stages"].as_array();
    for stage in stages.into_iter().flatten() {
        let _ = writeln!(out, "- {{ \"type\": {}, \"config\": {} }}", stage["type"], stage["config"]);
    }
    if stages.is_none() {
        let _ = writeln!(out, "# the checkpoint does not say which");
    }
    let _ = writeln!(
        out,
        "```\n\n`ajepa-pipe embed` replays them. A patch is read row by row; the picture is not scaled further. Tokens are in reading \
         order over the grid.\n"
    );
    let positions = match recipe.positions {
        ajepa_model::Positions::SinCos => {
            "Fixed positions are added to the embedded patches: half of a vector for the column, then half for the row, each \
             [sin(p w_k), cos(p w_k)] with w_k = 10000^(-k / (width / 4)). They are computed, not stored."
        }
        ajepa_model::Positions::Rope2d => {
            "Queries and keys are turned by their place (RoPE along two axes): in each head the first half of the pairs by the \
             column, the second by the row, w_k = 10000^(-k / (head width / 4)). Nothing is stored for it."
        }
    };
    let _ = writeln!(
        out,
        "## Weights\n\n`model.safetensors` has names and shapes as PyTorch's (`nn.Linear` is [out, in], `patch_embed.proj` an `nn.Conv2d` \
         whose stride is its kernel). Blocks are pre-norm with exact GELU; `attn.Wqkv` gives queries, keys and values in this \
         order. {positions}\n\n```python\nfrom safetensors.torch import load_file\nweights = load_file(\"model.safetensors\")\n```\n"
    );
    let _ = writeln!(out, "| tensor | shape |\n|---|---|");
    for (name, shape) in names {
        let _ = writeln!(out, "| `{name}` | {shape:?} |");
    }
    out
}
