//! `checkpoint`, and what other verbs make of checkpoints: whole, damaged, of another model.

use std::path::Path;
use std::sync::Arc;

use ajepa_model::Learner;
use ajepa_model::checkpoint::About;
use ajepa_store::{Fs, RealFs};
use safetensors::SafeTensors;

use crate::embed::{rows, vectors};
use crate::models::{WIDTH, config, place_with_model, save};
use crate::program::files;

fn write(learner: &Learner, to: &Path) {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    assert!(learner.save(&fs, to, About::default()).expect("saved"));
}

#[test]
fn show_says_what_it_is_and_verify_reads_every_page() {
    let place = place_with_model();
    let shown = place.done("checkpoint show best --verify").out;
    for said in [
        "0, seed 3, by ajepa-pipe",
        "tiny, but for encoder.depth",
        "32 wide, 2 deep, 2 heads",
        "pictures 128 x 64, patches 16 frames x 16 mels",
        "mel 128 frames x 64 mels",
        "a frame every 15.625 ms",
        "resample { quality: soxr_hq, rate_hz: 16000 }",
        "best_probe: 0.5",
        "target.safetensors",
        "{ type: encoder, checkpoint: best, width: 32, digest: \"",
        "best: 4 files",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&place.done("checkpoint show best --json").out).expect("saved");
    assert_eq!((json["recipe"]["encoder"]["width"].as_u64(), json["seed"].as_u64()), (Some(WIDTH as u64), Some(3)));
    assert!(json["parameters"]["encoder"].as_u64().expect("saved") > 10_000);
    assert!(place.done("inspect best").out.contains("32 wide"));
    assert!(place.done("verify best").out.contains("checked: whole"));
}

#[test]
fn diff_names_the_fields_and_the_tensors_that_moved_most() {
    let place = place_with_model();
    assert!(place.done("checkpoint diff best best").out.contains("the cards say the same\n0 of "));
    let mut other = save(&place.path("shards"), &place.path("twin"), &config(), 3);
    let twin = place.done("checkpoint diff best twin").out;
    assert!(twin.contains("the cards say the same\n0 of "), "{twin}");
    let params = &other.model.weights.encoder;
    let at = params.specs().iter().position(|spec| spec.name == "blocks.1.mlp.fc1.weight").expect("saved");
    let mut numbers = params.read(at);
    numbers[7] += 0.5;
    other.write("encoder.blocks.1.mlp.fc1.weight", &numbers).expect("saved");
    other.steps = 10;
    write(&other, &place.path("moved"));
    let moved = place.done("checkpoint diff best moved").out;
    assert!(moved.contains("steps") && moved.contains("0  ->  10") && moved.contains("1 of "), "{moved}");
    assert!(moved.contains("encoder: blocks.1.mlp.fc1.weight") && moved.contains("5.000e-1"), "{moved}");
    let mut deeper = config();
    deeper.encoder = deeper.encoder.map(|encoder| ajepa_model::EncoderConfig { depth: 3, ..encoder });
    save(&place.path("shards"), &place.path("deeper"), &deeper, 4);
    let deeper = place.done("checkpoint diff best deeper").out;
    assert!(deeper.contains("recipe.encoder.depth") && deeper.contains("2  ->  3"), "{deeper}");
    assert!(deeper.contains("blocks.2.norm1.weight is in the second only"), "{deeper}");
}

#[test]
fn an_export_holds_the_encoder_to_the_last_bit() {
    let place = place_with_model();
    place.done("checkpoint export best --out exported");
    let out = files(&place.path("exported"));
    assert_eq!(out.keys().collect::<Vec<_>>(), ["README.md", "audio_jepa.py", "config.json", "model.safetensors"]);
    assert_eq!(out["model.safetensors"], files(&place.path("best"))["target.safetensors"]);
    let tensors = SafeTensors::deserialize(&out["model.safetensors"]).expect("saved");
    assert_eq!(tensors.tensor("patch_embed.proj.weight").expect("saved").shape(), [WIDTH, 1, 16, 16]);
    let config: serde_json::Value = serde_json::from_slice(&out["config.json"]).expect("saved");
    assert_eq!((config["hidden_size"].as_u64(), config["encoder"].as_str()), (Some(WIDTH as u64), Some("target")));
    assert_eq!(config["front_end"]["tensor"]["axes"][0], "frames");
    assert_eq!(config["front_end"]["stages"][0]["type"], "decode", "places stay at home");
    let page = String::from_utf8(out["README.md"].clone()).expect("saved");
    assert!(page.contains("16000") && page.contains("blocks.0.attn.Wqkv.weight"), "{page}");
    place.done("checkpoint export best --out context --encoder context");
    let again = place.run("checkpoint export best --out exported");
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("exported is there already"), "{}", again.err);
}

#[test]
fn what_was_exported_is_imported_again() {
    let place = place_with_model();
    let target = files(&place.path("best"))["target.safetensors"].clone();
    place.done("embed -c best -o before.parquet audio --progress off");
    for (which, file) in [("target", "target.safetensors"), ("context", "encoder.safetensors")] {
        place.done(&format!("checkpoint export best --out {which} --encoder {which}"));
        // The folder, and the tensors by their name.
        for (path, out) in
            [(which.to_owned(), format!("{which}2")), (format!("{which}/model.safetensors"), format!("{which}3"))]
        {
            let said = place.done(&format!("checkpoint import {path} --out {out}")).out;
            assert!(said.contains(&format!("{which} encoder: 28 tensors")), "{said}");
            assert_eq!(files(&place.path(&out))[file], files(&place.path("best"))[file], "{out}");
            place.done(&format!("checkpoint show {out} --verify"));
        }
    }
    // The front end came along: the same vectors of the same audio; and a second export is the first.
    place.done("embed -c target2 -o after.parquet audio --progress off");
    let [before, after] = ["before.parquet", "after.parquet"].map(|name| vectors(&rows(&place, name)));
    assert_eq!(before, after);
    place.done("checkpoint export target3 --out again");
    let again = files(&place.path("again"));
    assert_eq!(again["model.safetensors"], target);
    let stages = |name: &str| {
        let config: serde_json::Value = serde_json::from_slice(&files(&place.path(name))["config.json"]).expect("JSON");
        (config["front_end"].clone(), config["sources"][0]["type"].clone(), config["input"].clone())
    };
    assert_eq!(stages("again"), stages("target"));
    assert_eq!(stages("again").1, "source_folder");

    // What does not fit, is not there, or goes without saying.
    let config = String::from_utf8(again["config.json"].clone()).expect("text");
    let without = config.replace("\"recipe\"", "\"receipt\"");
    let deep = config.replacen("\"depth\": 2", "\"depth\": 3", 1);
    for (name, config) in
        [("old", &without), ("deep", &deep), ("deeper", &deep.replace("\"depth\": 3", "\"depth\": 99999999999"))]
    {
        place.write(&format!("{name}/config.json"), config);
        place.write(&format!("{name}/model.safetensors"), &target);
    }
    for (command, said, help) in [
        ("checkpoint import old --out no", "missing field `recipe`", "export the checkpoint again"),
        ("checkpoint import deep --out no", "missing: blocks.2", "another model"),
        ("checkpoint import deeper --out no", "it says 99999999999 blocks", "export the checkpoint again"),
        ("checkpoint import audio --out no", "audio: ", "a folder that `checkpoint export` wrote"),
        ("checkpoint import target --out no --heads 2", "its config.json says what it is", "leave out --preset"),
        ("checkpoint show target", "there is no checkpoint.json in it", "`ajepa-pipe checkpoint import` makes"),
        ("checkpoint show target/model.safetensors", "there is no checkpoint.json in it", "name the folder"),
    ] {
        let ended = place.run(command);
        assert!(matches!(ended.code, Some(1 | 2)) && !place.path("no").exists(), "{command}: {ended:?}");
        assert!(ended.err.contains(said) && ended.err.contains(help), "{command}: {}", ended.err);
    }
}

/// What is wrong with a checkpoint, and in which words each verb that reads it says so.
#[test]
fn hostile_checkpoints_are_named_with_their_file() {
    let place = place_with_model();
    let flipped = |name: &str, file: &str| {
        for (path, mut content) in files(&place.path("best")) {
            if path == file {
                let middle = content.len() / 2;
                content[middle] ^= 16;
            }
            place.write(&format!("{name}/{path}"), content);
        }
    };
    flipped("flipped", "target.safetensors");
    flipped("edited", "checkpoint.json");
    for (path, content) in files(&place.path("best")) {
        let n = if path == "checkpoint.json" { content.len() / 2 } else { content.len() };
        place.write(&format!("cut/{path}"), &content[..n]);
        let n = if path == "target.safetensors" { content.len() - 100 } else { content.len() };
        place.write(&format!("short/{path}"), &content[..n]);
    }
    let learner = save(&place.path("shards"), &place.path("twin"), &config(), 3);
    write(&learner, &place.path("silent_about_its_front_end"));
    let embed = |name: &str| place.run(&format!("embed --checkpoint {name} --out e.parquet --progress off audio"));
    for (name, said) in [
        ("flipped", "target.safetensors: bytes 0.."),
        ("edited", "edited/checkpoint.json"),
        ("cut", "cut/checkpoint.json"),
        ("short", "target.safetensors"),
        ("audio", "there is no checkpoint.json in it"),
        ("nowhere", "nowhere is no checkpoint: it is not there"),
        ("silent_about_its_front_end", "it does not say what made its pictures"),
    ] {
        let ended = embed(name);
        assert!(matches!(ended.code, Some(1 | 2)), "{name}: {ended:?}");
        assert!(ended.err.contains(said), "{name}: {}", ended.err);
        assert!(!place.path("e.parquet").exists(), "{name}");
        if name == "nowhere" {
            assert!(ended.err.contains("\n  help: name the folder of a run or of a checkpoint"), "{}", ended.err);
        }
    }
    let shown = place.run("checkpoint show flipped --verify");
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert!(
        shown.out.contains("target.safetensors: bytes 0..") && shown.out.contains("1 of 4 files damaged"),
        "{}",
        shown.out
    );
    assert_eq!(place.run("verify flipped").code, Some(1));
    assert_eq!(place.run("checkpoint show cut").code, Some(1));
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let place = place_with_model();
    let mut learner = save(&place.path("shards"), &place.path("twin"), &config(), 3);
    let at = learner.model.weights.encoder.specs().iter().position(|spec| spec.name == "norm.weight").expect("saved");
    let mut numbers = learner.model.weights.encoder.read(at);
    numbers[3] = f32::NAN;
    learner.write("target_encoder.norm.weight", &numbers).expect("saved");
    let card = ajepa_model::checkpoint::Checkpoint::open(&place.path("best")).expect("saved").card().clone();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let about = About { front_end: card.front_end, ..About::default() };
    learner.save(&fs, &place.path("diverged"), about).expect("saved");
    let ended = place.run("embed --checkpoint diverged --out e.parquet --progress off audio");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let said = "diverged/target.safetensors: norm.weight holds a number that is not finite";
    assert!(ended.err.contains(said) && ended.err.contains("earlier checkpoint"), "{}", ended.err);
    // The other encoder is whole.
    place.done("embed --checkpoint diverged --encoder context --out e.parquet --progress off audio");
}
