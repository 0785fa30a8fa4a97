//! TensorBoard itself reads the event files.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;

use ajepa_model::telemetry::{EventWriter, Health, ProbeScores, Record, Speed, scalars_of};
use serde_json::{Value, json};

/// What TensorBoard sees in a folder; `None` where it is not installed.
fn seen(folder: &Path) -> Option<Value> {
    let python = std::env::var_os("AJEPA_PYTHON")?;
    let has = Command::new(&python).args(["-c", "import tensorboard"]).output().unwrap();
    if !has.status.success() {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

const SKIPPED: &str = "skipped: AJEPA_PYTHON names no interpreter with tensorboard";

/// A record whose numbers tell steps and lives apart.
fn record(step: u64, life: u64) -> Record {
    let x = step as f64 + 1_000.0 * life as f64;
    Record {
        step,
        epoch: step / 7,
        clips: step * 300,
        loss: 1.0 / (x as f32 + 1.5),
        regulariser: if step == 5 { f32::NAN } else { 0.1 },
        grad_norm: if step == 6 { f64::INFINITY } else { x.sqrt() },
        lr: 1e-4 * (0.1 * x).sin().abs(),
        weight_decay: 0.05,
        tau: 0.996,
        health: step.is_multiple_of(5).then(|| Health { rank_me: x * 1.1, r2: -0.3, ..Health::default() }),
        alarms: Vec::new(),
        device: "cpu".to_owned(),
        probe: step.is_multiple_of(10).then_some(ProbeScores { knn: 0.125 + x * 1e-5 }),
        speed: Some(Speed { clips_per_s: 1_234.5, data_wait: 0.004, step_s: 0.25 }),
    }
}

fn wall_time_s(record: &Record) -> f64 {
    1_764_000_000.25 + record.step as f64
}

fn write(folder: &Path, records: &[Record], next_step: u64) -> EventWriter {
    let mut events = EventWriter::create(folder, 1_764_000_000.0, next_step).unwrap();
    for record in records {
        events.record(wall_time_s(record), record).unwrap();
    }
    events
}

/// Whether TensorBoard sees these records, all of them and nothing else.
fn assert_seen(seen: &Value, records: &[Record]) {
    let mut n = 0;
    for record in records {
        for (tag, value) in scalars_of(record) {
            let points = seen["scalars"][tag].as_array().unwrap_or_else(|| panic!("no {tag}"));
            let at: Vec<&Value> = points.iter().filter(|point| point[0] == record.step).collect();
            assert_eq!(at.len(), 1, "{tag} of step {}: {at:?}", record.step);
            assert_eq!(at[0][1].as_f64(), Some(wall_time_s(record)), "{tag}");
            let got: f64 = at[0][2].as_str().unwrap().parse().unwrap();
            let wanted = f64::from(value as f32);
            assert!(got == wanted || (got.is_nan() && wanted.is_nan()), "{tag} of step {}: {got}", record.step);
            n += 1;
        }
    }
    let all: usize = seen["scalars"].as_object().unwrap().values().map(|points| points.as_array().unwrap().len()).sum();
    assert_eq!(all, n);
}

#[test]
fn tensorboard_sees_every_scalar_picture_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..=30).map(|step| record(step, 0)).collect();
    let mut events = write(dir.path(), &records, 1);
    let png = b"\x89PNG\r\n\x1a\n and so on: it is not looked at here";
    events.picture(20, 1.0, "masks/0", png, [640, 200]).unwrap();
    events.text(0, 1.0, "config", "preset: **tiny**\n\u{e4}\u{f6}\u{fc}").unwrap();
    // The file is read while it is open: nothing is held back.
    let Some(seen) = seen(dir.path()) else {
        println!("{SKIPPED}");
        return;
    };
    assert_seen(&seen, &records);
    assert_eq!(seen["pictures"], json!({ "masks/0": [[20, 640, 200, png.to_vec()]] }));
    assert_eq!(seen["texts"], json!({ "config": [[0, "preset: **tiny**\n\u{e4}\u{f6}\u{fc}"]] }));
}

#[test]
fn steps_repeated_after_a_resume_are_seen_once_as_they_were_last() {
    let dir = tempfile::tempdir().unwrap();
    let first: Vec<Record> = (1..=30).map(|step| record(step, 0)).collect();
    let path = write(dir.path(), &first, 1).path().to_owned();
    // Killed in the middle of a write: half a record at the end.
    let len = std::fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(len - 9).unwrap();
    // From the checkpoint of step 20, and once more from that of step 25.
    let second: Vec<Record> = (21..=28).map(|step| record(step, 1)).collect();
    write(dir.path(), &second, 21);
    let third: Vec<Record> = (26..=40).map(|step| record(step, 2)).collect();
    write(dir.path(), &third, 26);
    let Some(seen) = seen(dir.path()) else {
        println!("{SKIPPED}");
        return;
    };
    let wanted = [&first[..20], &second[..5], &third[..]].concat();
    assert_seen(&seen, &wanted);
}
