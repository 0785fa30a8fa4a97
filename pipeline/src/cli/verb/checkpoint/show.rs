//! `checkpoint show`: everything a checkpoint says of itself.

use std::fmt::Write as _;

use ajepa_model::Preset;
use ajepa_model::checkpoint::{Card, Checkpoint};
use serde_json::{Value, json};

use super::{differences, open};
use crate::cli::args::ShowArgs;
use crate::cli::exit::Exit;
use crate::cli::format::{bytes, count};
use crate::cli::verb::{fail, print};
use crate::embed::{digest, encoder_words};
use crate::front_end::FrontEnd;
use crate::stages::encoder::stage_words;

const PRESETS: [(&str, Preset); 5] = [
    ("tiny", Preset::Tiny),
    ("small", Preset::Small),
    ("paper-2025", Preset::Paper2025),
    ("code-225b816", Preset::Code225b816),
    ("base-2026", Preset::Base2026),
];

/// Prints it; exit 1 when it cannot be read, or `--verify` finds damage.
pub fn show(args: &ShowArgs) -> Exit {
    let checkpoint = match open(&args.path) {
        Ok(checkpoint) => checkpoint,
        Err(exit) => return exit,
    };
    let shown = if args.json { json_text(&checkpoint) } else { text(&checkpoint) };
    let printed = match shown {
        Ok(text) => print(&text),
        Err(error) => return fail(error),
    };
    if !args.verify {
        return printed;
    }
    // With JSON on stdout the words of the check go where words go.
    let (words, exit) = check(&checkpoint);
    if args.json {
        eprint!("{words}");
    } else {
        print(&words);
    }
    exit
}

/// Checks every file, and says so.
pub fn verify(checkpoint: &Checkpoint) -> Exit {
    let (words, exit) = check(checkpoint);
    match print(&words) {
        Exit::Done => exit,
        other => other,
    }
}

fn check(checkpoint: &Checkpoint) -> (String, Exit) {
    let card = checkpoint.card();
    let faults: Vec<String> = card
        .files
        .iter()
        .filter_map(|file| checkpoint.verify_file(file).err())
        .map(|error| format!("{error}\n"))
        .collect();
    let size = bytes(card.files.iter().map(|file| file.bytes).sum());
    let shown = checkpoint.dir().display();
    if faults.is_empty() {
        return (format!("{shown}: {} files, {size} checked: whole\n", card.files.len()), Exit::Done);
    }
    let cure = "what is damaged cannot be mended: take another checkpoint of the run, or a copy of this one";
    (
        format!("{}{shown}: {} of {} files damaged\n{cure}\n", faults.concat(), faults.len(), card.files.len()),
        Exit::Failed,
    )
}

fn json_text(checkpoint: &Checkpoint) -> Result<String, String> {
    let card = checkpoint.card();
    let mut value = serde_json::to_value(card).map_err(|error| error.to_string())?;
    // Checksums of a gigabyte are nothing to look at; `verify` does.
    value["files"] = card.files.iter().map(|file| json!({ "name": file.name, "bytes": file.bytes })).collect();
    value["digest"] = json!(digest(card));
    let [encoder, predictor] = card.recipe.n_parameters().map_err(|error| error.to_string())?;
    value["parameters"] = json!({ "encoder": encoder, "predictor": predictor });
    Ok(format!("{value:#}\n"))
}

fn text(checkpoint: &Checkpoint) -> Result<String, String> {
    let card = checkpoint.card();
    let recipe = &card.recipe;
    let [encoder, predictor] = recipe.n_parameters().map_err(|error| error.to_string())?;
    let mut out = String::new();
    let mut line = |name: &str, words: String| {
        let _ = writeln!(out, "{name:<11} {words}");
    };
    line("checkpoint", checkpoint.dir().display().to_string());
    line("step", format!("{}, seed {}, by ajepa-pipe {}", count(card.steps), card.seed, card.code_version));
    line("preset", preset_words(card));
    let [rows, cols] = recipe.picture;
    let patch = &recipe.patch;
    let pictures =
        format!("pictures {rows} x {cols}, patches {} frames x {} mels", patch.patch_frames, patch.patch_mels);
    line("encoder", format!("{}, {} parameters", encoder_words(&recipe.encoder), count(encoder as u64)));
    let of = &recipe.predictor;
    let sizes = format!("{} wide, {} deep, {} heads", of.width, of.depth, of.n_heads);
    line("predictor", format!("{sizes}, {} parameters", count(predictor as u64)));
    line("input", pictures);
    line("positions", json!(recipe.positions).as_str().unwrap_or("?").to_owned());
    line("target", brief(&json!(recipe.target)));
    line("loss", brief(&json!(recipe.loss)));
    for (i, words) in front_end_words(card).into_iter().enumerate() {
        line(if i == 0 { "front end" } else { "" }, words);
    }
    line("data", card.data_hash.clone().unwrap_or_else(|| "unknown".to_owned()));
    for (i, words) in scores(&card.notes).into_iter().enumerate() {
        line(if i == 0 { "scores" } else { "" }, words);
    }
    for (i, file) in card.files.iter().enumerate() {
        line(if i == 0 { "files" } else { "" }, format!("{:<24} {}", file.name, bytes(file.bytes)));
    }
    line("digest", digest(card));
    line("as a stage", stage_words(checkpoint.dir(), card));
    Ok(out)
}

/// The name of a preset in graphs.
pub(super) fn preset_name(preset: Preset) -> &'static str {
    PRESETS.iter().find(|(_, of)| *of == preset).map_or("?", |(name, _)| name)
}

/// The preset that the recipe is nearest to, and the fields that are others.
pub(super) fn preset_words(card: &Card) -> String {
    let ours = json!(card.recipe);
    let fields = |preset: Preset| {
        let theirs = json!(preset.recipe());
        let mut found = Vec::new();
        differences("", &theirs, &ours, &mut found);
        let mut fields: Vec<String> = found.into_iter().map(|(key, ..)| key).collect();
        fields.sort_by_key(|field| !field.starts_with("encoder"));
        fields
    };
    let all = PRESETS.map(|(name, preset)| (name, fields(preset)));
    let of_encoder = |fields: &[String]| fields.iter().filter(|field| field.starts_with("encoder")).count();
    let nearest = all.into_iter().min_by_key(|(_, fields)| (of_encoder(fields), fields.len()));
    match nearest {
        Some((name, fields)) if fields.is_empty() => name.to_owned(),
        Some((name, fields)) => format!("{name}, but for {}", fields.join(", ")),
        None => "none".to_owned(),
    }
}

/// JSON on one line, without quotes around names.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let fields: Vec<String> = map
                .iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(key, value)| format!("{key}: {}", brief(value)))
                .collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
        Value::Array(list) if list.len() > 8 => format!("[{} values]", list.len()),
        Value::Array(list) => format!("[{}]", list.iter().map(brief).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn front_end_words(card: &Card) -> Vec<String> {
    let Ok(front_end) = serde_json::from_value::<FrontEnd>(card.front_end.clone()) else {
        return vec!["unknown".to_owned()];
    };
    let tensor = &front_end.tensor;
    let dims: Vec<String> = tensor.shape.iter().zip(&tensor.axes).map(|(n, axis)| format!("{n} {axis}")).collect();
    let mut words = vec![format!("{} {}", tensor.column, dims.join(" x "))];
    words.extend(front_end.frame_s().map(|frame_s| format!("a frame every {:.3} ms", 1e3 * frame_s)));
    // The sink came behind the pictures.
    let is_before = |stage: &&Value| !stage["type"].as_str().is_some_and(|name| name.starts_with("sink_"));
    for stage in front_end.stages.iter().filter(is_before) {
        let fields = brief(&stage["config"]);
        words.push(format!("{} {}", stage["type"].as_str().unwrap_or("?"), if fields == "{}" { "" } else { &fields }));
    }
    words
}

/// The numbers and words of what telemetry noted, by their path.
pub(super) fn scores(notes: &Value) -> Vec<String> {
    let map = match notes {
        Value::Object(map) => map,
        Value::Null => return Vec::new(),
        other => return vec![brief(other)],
    };
    let words = |(key, value): (&String, &Value)| match (key.as_str(), &value["run"]["raised"]) {
        // What alarms remember is for themselves; who raised one is for people.
        ("alarms", Value::Array(raised)) if raised.is_empty() && value["largest"].is_null() => {
            "alarms: none; the health of latents was not looked at".to_owned()
        }
        ("alarms", Value::Array(raised)) if raised.is_empty() => "alarms: none".to_owned(),
        ("alarms", Value::Array(raised)) => {
            let names: Vec<&str> = raised.iter().filter_map(Value::as_str).collect();
            format!("alarms: {}", names.join(", "))
        }
        _ => format!("{key}: {}", brief(value)),
    };
    map.iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_alarm_is_said_only_of_what_was_looked_at() {
        let words = |alarms: Value| scores(&json!({ "alarms": alarms })).concat();
        let raised = |kinds: &[&str]| json!({ "largest": { "rank_me": 20.0 }, "run": { "raised": kinds } });
        assert_eq!(words(raised(&[])), "alarms: none");
        assert_eq!(words(raised(&["collapse", "pictures"])), "alarms: collapse, pictures");
        let unseen = json!({ "largest": null, "run": { "raised": [] } });
        assert_eq!(words(unseen), "alarms: none; the health of latents was not looked at");
    }
}
