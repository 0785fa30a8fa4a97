//! `checkpoint export`: one encoder as safetensors, its sizes as JSON, a PyTorch module that loads both, and a model card.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use ajepa_model::EncoderChoice;
use ajepa_model::checkpoint::pytorch::EXPORTED_TYPE;
use ajepa_model::checkpoint::{Card, Checkpoint};
use ajepa_ops::mel::LogMelConfig;
use ajepa_ops::normalize::{NormalizeConfig, NormalizePreset};
use ajepa_store::{Fs, PendingFolder, RealFs, commit_bytes};
use serde_json::{Value, json};

use super::open;
use super::show::{preset_words, scores};
use crate::cli::args::ExportArgs;
use crate::cli::exit::Exit;
use crate::cli::format::count;
use crate::cli::verb::{fail, print};
use crate::embed::{digest, encoder_words, picture_stages};
use crate::front_end::FrontEnd;

/// The module, as it lies in the repository and is tested from there.
const MODULE: &str = include_str!("../../../../../model/python/audio_jepa.py");

/// Writes the folder, whole or not at all.
pub fn export(args: &ExportArgs) -> Exit {
    let checkpoint = match open(&args.path) {
        Ok(checkpoint) => checkpoint,
        Err(exit) => return exit,
    };
    let choice = args.encoder.map_or_else(|| EncoderChoice::usual(&checkpoint), EncoderChoice::from);
    match write(&checkpoint, choice, args) {
        Ok(true) => {
            if let Some(problem) = input(checkpoint.card())["problem"].as_str() {
                eprintln!("audio_jepa.py takes pictures and no audio: {problem}");
            }
            print(&format!("{}: model.safetensors, config.json, audio_jepa.py, README.md\n", args.out.display()))
        }
        Ok(false) => {
            eprintln!("error: {} is there already: it stays as it is; name another folder", args.out.display());
            Exit::Usage
        }
        Err(error) => fail(error),
    }
}

fn write(checkpoint: &Checkpoint, choice: EncoderChoice, args: &ExportArgs) -> Result<bool, String> {
    let out: &Path = &args.out;
    if out.exists() {
        return Ok(false);
    }
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let tensors = checkpoint.tensors(choice.file()).map_err(|error| words(&error))?;
    let config = config(checkpoint.card(), choice)?;
    let names = tensors.names().map_err(|error| words(&error))?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let folder = PendingFolder::create(&fs, out.to_owned()).map_err(|error| words(&error))?;
    let page = page(checkpoint.card(), &config, &names, args.license.as_deref());
    let json = format!("{config:#}\n");
    for (name, bytes) in [
        ("model.safetensors", tensors.bytes()),
        ("config.json", json.as_bytes()),
        ("audio_jepa.py", MODULE.as_bytes()),
        ("README.md", page.as_bytes()),
    ] {
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
        "model_type": EXPORTED_TYPE,
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
        "data_hash": card.data_hash,
        "recipe": recipe,
        "front_end": front_end(card),
        "sources": sources(card),
        "input": input(card),
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

/// The kinds of the stages that listed its clips, which those that come first name in `from`.
fn sources(card: &Card) -> Vec<Value> {
    let stages = card.front_end["stages"].as_array().into_iter().flatten();
    let sources = stages.filter(|stage| stage["type"].as_str().is_some_and(|name| name.starts_with("source_")));
    sources.map(|stage| json!({ "id": stage["id"], "type": stage["type"], "from": [], "config": {} })).collect()
}

/// What audio_jepa.py makes pictures by: the level, the numbers of a log-mel and what it is standardised by, or why it cannot.
fn input(card: &Card) -> Value {
    let known = serde_json::from_value::<FrontEnd>(card.front_end.clone())
        .map_err(|_| "the checkpoint does not say what made its pictures".to_owned())
        .and_then(|front_end| picture_stages(&front_end))
        .and_then(|stages| plain_input(&stages));
    known.unwrap_or_else(|problem| json!({ "problem": problem }))
}

fn plain_input(stages: &[Value]) -> Result<Value, String> {
    let (mut level, mut mel, mut standardize) = (Value::Null, None, Value::Null);
    for stage in stages {
        let config = &stage["config"];
        match stage["type"].as_str().unwrap_or_default() {
            "resample" if mel.is_none() => {}
            "normalize" if mel.is_none() && level.is_null() => {
                let rule =
                    serde_json::from_value::<NormalizeConfig>(config.clone()).map_err(|error| error.to_string())?;
                if !matches!(rule.preset, NormalizePreset::Code225b816 | NormalizePreset::Mean) {
                    return Err(format!("normalize to {} is not in it", json!(rule.preset)));
                }
                level = json!(rule.preset);
            }
            "log_mel" if mel.is_none() => {
                let config =
                    serde_json::from_value::<LogMelConfig>(config.clone()).map_err(|error| error.to_string())?;
                mel = Some(config.numbers().map_err(|error| error.to_string())?);
            }
            "standardize" if mel.is_some() && standardize.is_null() => standardize = config.clone(),
            other => return Err(format!("stage {other} is not in it")),
        }
    }
    let mel = mel.ok_or("there is no log_mel")?;
    Ok(json!({ "level": level, "mel": mel, "standardize": standardize }))
}

/// The model card: facts of the checkpoint alone.
fn page(card: &Card, config: &Value, names: &[(String, Vec<usize>)], license: Option<&str>) -> String {
    let recipe = &card.recipe;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "---\nlicense: {}\nlibrary_name: pytorch\npipeline_tag: feature-extraction\ntags: [audio, audio-jepa]\n---\n",
        json!(license.unwrap_or("other"))
    );
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
    let _ = writeln!(out, "| preset | `{}` |", preset_words(card));
    for key in
        ["steps", "image_size", "patch_size", "grid", "time_axis", "positions", "layer_norm_eps", "digest", "program"]
    {
        let _ = writeln!(out, "| {key} | `{}` |", config[key].to_string().trim_matches('"'));
    }
    let _ = writeln!(out, "| data, hash | `{}` |", card.data_hash.as_deref().unwrap_or("unknown"));
    let _ = writeln!(out, "| licence of the weights | {} |", license.unwrap_or("not stated by whoever exported them"));
    let scores = scores(&card.notes);
    for words in &scores {
        let _ = writeln!(out, "| noted in training | `{words}` |");
    }
    if scores.is_empty() {
        let _ = writeln!(out, "| scores | unknown |");
    }
    let use_of_audio = match config["input"]["problem"].as_str() {
        None => "vectors = encoder.embed(audio)   # [clips, samples] at encoder.rate_hz -> [clips, width]",
        Some(_) => "tokens = encoder(pictures)   # [clips, rows, cols] -> [clips, tokens, width]",
    };
    let _ = writeln!(
        out,
        "\n## Use\n\n`audio_jepa.py` is the encoder in PyTorch, in one file that needs torch alone.\n\n```python\n\
         from audio_jepa import AudioJepaEncoder\n\nencoder = AudioJepaEncoder.from_pretrained(\".\")\n{use_of_audio}\n```"
    );
    if let Some(problem) = config["input"]["problem"].as_str() {
        let _ = writeln!(out, "\nIt has no front end for these pictures ({problem}): `ajepa-pipe` makes them.");
    }
    let _ = writeln!(
        out,
        "\nThere is no ONNX file: no exporter in Rust writes one. `torch.onnx.export` takes this module, from pictures to tokens."
    );
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
        ajepa_model::Positions::SinCosTimm => {
            "Fixed positions are added to the embedded patches: quarters of a vector for sin(row w_k), sin(column w_k), cos(row w_k), \
             cos(column w_k), with w_k = 10000^(-k / (width / 4)), as timm has them. They are computed, not stored."
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
         order. {positions}\n"
    );
    let _ = writeln!(out, "| tensor | shape |\n|---|---|");
    for (name, shape) in names {
        let _ = writeln!(out, "| `{name}` | {shape:?} |");
    }
    out
}
