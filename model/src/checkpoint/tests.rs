use std::path::Path;
use std::sync::Arc;

use ajepa_store::{Fs, RealFs};
use serde_json::{Value, json};

use super::*;
use crate::ModelConfig;

fn card() -> Card {
    Card {
        format: FORMAT,
        code_version: "test".into(),
        steps: 7,
        seed: 1,
        recipe: ModelConfig::default().recipe().unwrap(),
        front_end: Value::Null,
        data_hash: Some("ab".into()),
        place: json!({ "epoch": 0, "step": 7 }),
        notes: Value::Null,
        files: Vec::new(),
    }
}

/// Two files of some pages each.
fn save(dir: &Path, salt: f32) -> bool {
    let tensor = |name: &str, n: usize| TensorSource {
        name: name.into(),
        shape: vec![n, 64],
        numbers: Box::new(move || (0..n * 64).map(|i| i as f32 + salt).collect()),
    };
    let files = [
        FileSource { name: "encoder.safetensors", tensors: vec![tensor("a", 20_000), tensor("b", 3)] },
        FileSource { name: "predictor.safetensors", tensors: vec![tensor("c", 10)] },
    ];
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    write(&fs, dir, card(), &files).unwrap()
}

#[test]
fn what_is_written_is_read_back_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("step-00000007");
    assert!(save(&path, 0.0));
    assert!(!save(&path, 0.5), "a checkpoint is never overwritten");
    let checkpoint = Checkpoint::open(&path).unwrap();
    checkpoint.verify().unwrap();
    assert_eq!(checkpoint.card().steps, 7);
    let tensors = checkpoint.tensors("encoder.safetensors").unwrap();
    assert_eq!(tensors.names().unwrap(), [("a".to_owned(), vec![20_000, 64]), ("b".to_owned(), vec![3, 64])]);
    assert_eq!(tensors.numbers("b", &[3, 64]).unwrap()[191], 191.0);
    assert!(matches!(tensors.numbers("b", &[64, 3]), Err(CheckpointError::Mismatch { .. })));
    assert!(matches!(tensors.numbers("z", &[3]), Err(CheckpointError::Mismatch { .. })));
    assert!(matches!(checkpoint.tensors("target.safetensors"), Err(CheckpointError::Mismatch { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn one_flip_in_any_page_of_any_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    save(&path, 0.0);
    let mut n_flips = 0;
    for name in [CARD, "encoder.safetensors", "predictor.safetensors"] {
        let file = path.join(name);
        let bytes = std::fs::read(&file).unwrap();
        let step = (bytes.len() / 97).clamp(1, 64 << 10);
        for at in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&file, &flipped).unwrap();
            let found = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.verify());
            assert!(matches!(found, Err(CheckpointError::Damaged { .. })), "byte {at} of {name}: {found:?}");
            n_flips += 1;
        }
        for keep in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&file, &bytes[..keep]).unwrap();
            assert!(Checkpoint::open(&path).and_then(|checkpoint| checkpoint.verify()).is_err(), "{keep} of {name}");
        }
        std::fs::write(&file, [&bytes[..], b"x"].concat()).unwrap();
        assert!(Checkpoint::open(&path).and_then(|checkpoint| checkpoint.verify()).is_err(), "one more in {name}");
        std::fs::write(&file, &bytes).unwrap();
    }
    assert!(n_flips > 200, "{n_flips}");
    Checkpoint::open(&path).unwrap().verify().unwrap();
}

#[test]
fn other_folders_are_no_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(CheckpointError::NotACheckpoint { .. })));
    assert!(matches!(Checkpoint::open(&dir.path().join("no")), Err(CheckpointError::NotACheckpoint { .. })));
}
