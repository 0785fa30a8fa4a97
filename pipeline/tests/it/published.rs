//! PyTorch's checkpoints in and out: imported by the program, embedded, exported, and loaded by PyTorch again.

use std::path::{Path, PathBuf};
use std::process::Command;

use ajepa_model::checkpoint::Checkpoint;
use ajepa_model::{Device, EncoderChoice, FrozenEncoder, Pictures};
use ajepa_ops::mel::LogMelConfig;
use ajepa_ops::normalize::{NormalizeConfig, NormalizePreset};

use crate::embed::{rows, vectors};
use crate::program::{Place, files, root, sample};

fn fixture(name: &str) -> PathBuf {
    root().join("model/tests/fixtures/published").join(name)
}

/// A chirp that comes and goes in noise, mono. Without noise there would be bands that hold nothing but what an FFT rounds.
fn audio(rate_hz: u32, seconds: f64) -> Vec<f32> {
    let n = (f64::from(rate_hz) * seconds) as usize;
    let at = |i: usize| {
        let t = i as f64 / f64::from(rate_hz);
        let loud = if (t * 1.5).fract() < 0.7 { 0.3 } else { 0.003 };
        let noise = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let noise = ((noise ^ (noise >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 / 8_388_608.0 - 1.0;
        (loud * (std::f64::consts::TAU * (110.0 + 300.0 * t) * t).sin() + 0.03 * noise + 0.02) as f32
    };
    (0..n).map(at).collect()
}

/// A WAV file of floats.
fn wav(rate_hz: u32, samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
    let (n, rate) = (data.len() as u32, rate_hz.to_le_bytes());
    let head = [&b"RIFF"[..], &(36 + n).to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes(), &[3, 0, 1, 0], &rate];
    [&head.concat()[..], &(4 * rate_hz).to_le_bytes(), &[4, 0, 32, 0], b"data", &n.to_le_bytes(), &data].concat()
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("written");
    bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
}

fn raw(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[track_caller]
fn off(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const CASES: [(&str, &str, u32); 4] = [
    ("code.ckpt", "code-225b816", 32_000),
    ("paper.ckpt", "paper-2025", 32_000),
    ("base.ckpt", "base-2026", 16_000),
    ("base.safetensors", "base-2026", 16_000),
];

#[test]
fn imported_it_embeds_and_pytorch_loads_what_is_exported() {
    let torch = std::env::var_os("AJEPA_TORCH_PYTHON");
    for (name, preset, rate_hz) in CASES {
        let place = Place::new();
        let said = place.done(&format!("checkpoint import {} --out imported --heads 2", fixture(name).display())).out;
        assert!(said.contains(&format!("{name}: {preset}, in the layout of 20")), "{said}");
        assert!(said.contains("8 wide, 2 deep, 2 heads") && said.contains("context encoder: 28 tensors"), "{said}");
        let shown = place.done("checkpoint show imported --verify").out;
        assert!(shown.contains(&format!("{preset}, but for")) && shown.contains("log_mel {"), "{shown}");
        // Longer than a picture, so that a window is filled up.
        let samples = audio(rate_hz, 12.9);
        place.write("audio/a.wav", wav(rate_hz, &samples));
        place.done("embed -c imported -o e.parquet audio --progress off");
        let vector = vectors(&rows(&place, "e.parquet")).swap_remove(0);
        place.done("checkpoint export imported --out exported --license CC-BY-4.0");
        let out = files(&place.path("exported"));
        assert_eq!(out.keys().collect::<Vec<_>>(), ["README.md", "audio_jepa.py", "config.json", "model.safetensors"]);
        let page = String::from_utf8(out["README.md"].clone()).expect("text");
        for part in ["license: \"CC-BY-4.0\"", preset, "encoder.embed(audio)", "There is no ONNX file"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let Some(torch) = &torch else {
            println!("skipped: AJEPA_TORCH_PYTHON names no interpreter with torch");
            continue;
        };
        let checkpoint = Checkpoint::open(&place.path("imported")).expect("imported");
        let shape = checkpoint.card().recipe.picture;
        let config = &checkpoint.card().front_end["stages"];
        let stages = config.as_array().expect("stages");
        let of = |name: &str| stages.iter().find(|stage| stage["type"] == name).map(|stage| stage["config"].clone());
        let mel: LogMelConfig = serde_json::from_value(of("log_mel").expect("log_mel")).expect("a config");
        let mut mel = mel.build().expect("a config");
        let mut window = samples[..10 * rate_hz as usize].to_vec();
        if of("normalize").is_some() {
            NormalizeConfig::new(NormalizePreset::Code225b816)
                .build()
                .expect("a rule")
                .process(&mut window)
                .expect("level");
        }
        let mut picture = vec![0.0; shape[0] * shape[1]];
        mel.process(&window, &mut picture).expect("a picture");
        let choice = EncoderChoice::usual(&checkpoint);
        let encoder = FrozenEncoder::load(&checkpoint, choice, shape, &Device::default()).expect("an encoder");
        let tokens = encoder.embed(Pictures::F32(&picture)).expect("tokens");
        place.write("picture.f32", raw(&picture));
        place.write("audio.f32", raw(&samples));
        let script = root().join("pipeline/tests/torch_module.py");
        let paths = ["exported", "picture.f32", "audio.f32", "."].map(|name| place.path(name));
        let ran = Command::new(torch).arg(script).args(paths).output().expect("python starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let tokens_off = off(&floats(&place.path("tokens.f32")), &tokens);
        let picture_off = off(&floats(&place.path("picture.f32")), &picture);
        let vector_off = off(&floats(&place.path("vector.f32")), &vector);
        println!("{name}: tokens off by {tokens_off:e}, picture by {picture_off:e}, vector of audio by {vector_off:e}");
        assert!(tokens_off <= 1e-5, "{name}: {tokens_off}");
        assert!(picture_off <= 2e-3, "{name}: {picture_off}");
        assert!(vector_off <= 1e-4, "{name}: {vector_off}");
    }
}

/// Pictures that were standardised in training are so in PyTorch: of the frames that hold sound, or by numbers of the corpus.
#[test]
fn standardised_pictures_are_the_same_in_pytorch() {
    let torch = std::env::var_os("AJEPA_TORCH_PYTHON");
    let band = |of: &dyn Fn(usize) -> f64| (0..64).map(|band| of(band).to_string()).collect::<Vec<_>>().join(", ");
    let (mean, std) = (band(&|band| -0.1 * band as f64), band(&|band| 1.0 + 0.02 * band as f64));
    for fields in [
        String::new(),
        ", mode: clip_per_mel".to_owned(),
        format!(", mode: global, mean: [{mean}], std: [{std}]"),
        ", mode: global, mean: [-4], std: [0.5]".to_owned(),
    ] {
        let place = Place::new();
        place.write("audio/train.wav", wav(16_000, &audio(16_000, 5.0)));
        let stage = format!("  - {{ type: standardize{fields} }}\n  - {{ type: shuffle");
        place.write("training.yaml", crate::models::GRAPH.replace("  - { type: shuffle", &stage));
        place.done("run training.yaml --progress off");
        crate::models::save(&place.path("shards"), &place.path("best"), &crate::models::config(), 3);
        let said = place.done("checkpoint export best --out exported");
        assert_eq!(said.err, "");
        // Three windows of two seconds, the last of them a quarter full.
        let samples = audio(16_000, 4.5);
        std::fs::remove_file(place.path("audio/train.wav")).expect("removed");
        place.write("audio/a.wav", wav(16_000, &samples));
        place.done("embed -c best -o e.parquet audio --progress off");
        let vector = vectors(&rows(&place, "e.parquet")).swap_remove(0);
        let Some(torch) = &torch else {
            println!("skipped: AJEPA_TORCH_PYTHON names no interpreter with torch");
            continue;
        };
        place.write("picture.f32", raw(&vec![0.5; 128 * 64]));
        place.write("audio.f32", raw(&samples));
        let paths = ["exported", "picture.f32", "audio.f32", "."].map(|name| place.path(name));
        let script = root().join("pipeline/tests/torch_module.py");
        let ran = Command::new(torch).arg(script).args(paths).output().expect("python starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let vector_off = off(&floats(&place.path("vector.f32")), &vector);
        println!("standardize{fields}: vector of audio off by {vector_off:e}");
        assert!(vector_off <= 1e-4, "{fields}: {vector_off}");
    }
    // What the module cannot do is said where it is exported.
    let place = Place::new();
    place.write("audio/train.wav", wav(16_000, &audio(16_000, 5.0)));
    place.write("training.yaml", crate::models::GRAPH.replace("min_db: -6, max_db: 6", "db: -6"));
    place.done("run training.yaml --progress off");
    crate::models::save(&place.path("shards"), &place.path("best"), &crate::models::config(), 3);
    let said = place.done("checkpoint export best --out exported").err;
    assert!(said.contains("takes pictures and no audio: stage gain is not in it"), "{said}");
}

#[test]
fn what_cannot_be_imported_is_said_with_a_cure() {
    let place = Place::new();
    let import = |file: &str, more: &str| place.run(&format!("checkpoint import {file} --out imported {more}"));
    let good = fixture("base.ckpt").display().to_string();
    let paper = fixture("paper.ckpt").display().to_string();
    let bytes = std::fs::read(fixture("base.ckpt")).expect("a fixture");
    place.write("torn.ckpt", &bytes[..bytes.len() / 2]);
    place.write("evil.pt", b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch evil\x85R.");
    for (file, more, said, help) in [
        ("torn.ckpt", "", "torn.ckpt: ", "download it again"),
        ("evil.pt", "", "neither an archive of `torch.save` nor a safetensors file", "download it again"),
        ("nowhere.ckpt", "", "nowhere.ckpt: ", "download it again"),
        (&paper, "", "how many heads share its 8 numbers", "--heads"),
        (&good, "--preset paper-2025", "wanted [1, 128, 8]", "--preset"),
        (&good, "--heads 3", "8 does not divide into 3 heads", ""),
    ] {
        let ended = import(file, more);
        if more == "--preset paper-2025" {
            // Both presets have 128 tokens; the table of positions tells them apart.
            assert!(ended.err.contains("no table of fixed positions of 16 x 8 patches"), "{}", ended.err);
            continue;
        }
        assert_eq!(ended.code, Some(1), "{file} {more}: {ended:?}");
        assert!(ended.err.contains(said) && ended.err.contains(help), "{file} {more}: {}", ended.err);
        assert!(!place.path("imported").exists(), "{file} {more}");
    }
    assert!(!place.path("evil").exists());
    place.done(&format!("checkpoint import {good} --out imported"));
    let again = import(&good, "");
    assert!(again.code == Some(2) && again.err.contains("imported is there already"), "{again:?}");
}

#[test]
fn training_begins_with_an_imported_encoder() {
    let place = Place::new();
    place.done(&format!("checkpoint import {} --out imported --heads 2", fixture("base.safetensors").display()));
    let clips = files(&sample());
    for name in ["speech/en_1.flac", "notes/bass.flac", "animals/sheep.mp3", "drums/tom.wav"] {
        place.write(&format!("audio/{name}"), &clips[name]);
    }
    let graph = |positions: &str| {
        format!(
            "
stages:
  - {{ id: clips, type: source_folder, path: audio }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 16000 }}
  - {{ type: log_mel, preset: base-2026 }}
  - type: sink_train
    path: out
    from_checkpoint: imported
    model:
      preset: base-2026
      {positions}
      encoder: {{ width: 8, depth: 2, n_heads: 2 }}
      predictor: {{ width: 8, depth: 1, n_heads: 2 }}
    steps: 2
    batch_clips: 2
"
        )
    };
    place.write("wrong.yaml", graph(""));
    let wrong = place.run("run wrong.yaml --progress off");
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("SinCosTimm"), "{}", wrong.err);
    place.write("right.yaml", graph("positions: sin_cos_timm").replace("path: out", "path: out2"));
    place.done("run right.yaml --progress off");
    let shown = place.done("checkpoint show out2").out;
    assert!(shown.contains("sin_cos_timm") && shown.contains("optimiser.safetensors"), "{shown}");
}
