//! `embed`: what the library gives by hand, whatever the workers; long, short, silent, empty and broken audio; who reads it.

use std::fs::File;
use std::io::Cursor;

use ajepa_model::checkpoint::Checkpoint;
use ajepa_model::{Device, Learner};
use ajepa_ops::AudioRead;
use ajepa_ops::decode::DecodeConfig;
use ajepa_ops::mel::LogMelConfig;
use ajepa_ops::normalize::{NormalizeConfig, NormalizePreset};
use ajepa_ops::resample::ResampleConfig;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, Float64Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::models::{WIDTH, place_with_model};
use crate::program::{Place, files, sample};

pub fn rows(place: &Place, name: &str) -> RecordBatch {
    let file = File::open(place.path(name)).expect(name);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet").build().expect("parquet");
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("rows")).collect();
    concat_batches(&batches[0].schema(), &batches).expect("rows")
}

pub fn ids(rows: &RecordBatch) -> Vec<String> {
    rows.column_by_name("clip_id")
        .expect("as it was written")
        .as_string::<i32>()
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect()
}

pub fn vectors(rows: &RecordBatch) -> Vec<Vec<f32>> {
    let lists = rows.column_by_name("embedding").expect("as it was written").as_fixed_size_list();
    (0..rows.num_rows()).map(|row| lists.value(row).as_primitive::<Float32Type>().values().to_vec()).collect()
}

fn seconds(rows: &RecordBatch, name: &str) -> Vec<f64> {
    rows.column_by_name(name).expect("as it was written").as_primitive::<Float64Type>().values().to_vec()
}

/// A WAV of one channel at 16 kHz.
fn wav(samples: impl ExactSizeIterator<Item = f32>) -> Vec<u8> {
    let data: Vec<u8> = samples.flat_map(|x| ((x * 32_767.0) as i16).to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

pub fn tone(seconds: f64) -> Vec<u8> {
    let n = (seconds * 16_000.0).round() as usize;
    wav((0..n).map(|i| 0.4 * (i as f32 * 0.2).sin() + 0.2 * (i as f32 * 0.013 + (i as f32 * 1e-4).sin()).sin()))
}

/// Frames of one file by the ops alone: [frames that hold sound, width], window after window.
fn by_hand(place: &Place, file: &str) -> Vec<Vec<f32>> {
    let checkpoint = Checkpoint::open(&place.path("best")).expect("as it was written");
    let learner = Learner::restore(&checkpoint, &Device::default()).expect("as it was written");
    let bytes = std::fs::read(place.path(file)).expect("as it was written");
    let extension = file.rsplit('.').next().expect("as it was written");
    let clip = DecodeConfig::default()
        .build()
        .expect("as it was written")
        .open(Box::new(Cursor::new(bytes)), extension)
        .expect("as it was written");
    let mut clip =
        ResampleConfig::new(16_000).build_cache().expect("as it was written").wrap(clip).expect("as it was written");
    let mut samples = Vec::new();
    clip.read_to_end(&mut samples, u64::MAX).expect("as it was written");
    let normalize = NormalizeConfig::new(NormalizePreset::Code225b816).build().expect("as it was written");
    let json = r#"{ "rate_hz": 16000, "n_mels": 64, "seconds": 2, "frames": 128, "frame_shift_ms": 15.625 }"#;
    let mut mel =
        serde_json::from_str::<LogMelConfig>(json).expect("as it was written").build().expect("as it was written");
    let average = learner.model.average.as_ref().expect("as it was written");
    let mut frames = Vec::new();
    for window in samples.chunks(32_000) {
        let mut window = window.to_vec();
        normalize.process(&mut window).expect("as it was written");
        let mut picture = vec![0.0; 128 * 64];
        mel.process(&window, &mut picture).expect("as it was written");
        let (latents, grid) = learner.model.latents(average, &picture, [128, 64]).expect("as it was written");
        let latents = latents.into_data().try_into_vec::<f32>().expect("as it was written");
        // Rows of the grid are frames, four bands each.
        assert_eq!((grid.rows, grid.cols), (8, 4));
        let n_valid = (window.len() as f64 / 32_000.0 * 8.0).ceil() as usize;
        for frame in latents.chunks(4 * WIDTH).take(n_valid) {
            frames.push((0..WIDTH).map(|i| (0..4).map(|band| frame[band * WIDTH + i]).sum::<f32>() / 4.0).collect());
        }
    }
    frames
}

fn mean(frames: &[Vec<f32>]) -> Vec<f32> {
    (0..WIDTH).map(|i| (frames.iter().map(|f| f64::from(f[i])).sum::<f64>() / frames.len() as f64) as f32).collect()
}

fn assert_close(one: &[f32], other: &[f32], what: &str) {
    assert_eq!(one.len(), other.len(), "{what}");
    let worst = one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{what}: {worst}");
}

#[test]
fn embeddings_are_what_the_library_gives_by_hand() {
    let place = place_with_model();
    place.write("long.wav", tone(5.3));
    let audio = "audio/speech/en_1.flac long.wav audio/animals/sheep.mp3";
    place.done(&format!("embed --checkpoint best --out clips.parquet --progress off {audio}"));
    place.done(&format!("embed --checkpoint best --out frames.parquet --frames --progress off {audio}"));
    place.done(&format!("embed --checkpoint best --out windows.parquet --windows --progress off {audio}"));
    let (clips, frames, windows) =
        (rows(&place, "clips.parquet"), rows(&place, "frames.parquet"), rows(&place, "windows.parquet"));
    assert_eq!(ids(&clips), ["audio/speech/en_1", "long", "audio/animals/sheep"]);
    let (frame_ids, frame_vectors) = (ids(&frames), vectors(&frames));
    for (clip, file) in audio.split(' ').enumerate() {
        let expected = by_hand(&place, file);
        let id = &ids(&clips)[clip];
        assert_close(&vectors(&clips)[clip], &mean(&expected), file);
        let of_clip = frame_ids.iter().zip(&frame_vectors).filter(|(frame, _)| *frame == id);
        let of_clip: Vec<&Vec<f32>> = of_clip.map(|(_, vector)| vector).collect();
        assert_eq!(of_clip.len(), expected.len(), "{file}");
        for (got, wanted) in of_clip.iter().zip(&expected) {
            assert_close(got, wanted, file);
        }
        let windows: Vec<Vec<f32>> =
            ids(&windows).iter().zip(vectors(&windows)).filter(|(window, _)| *window == id).map(|(_, v)| v).collect();
        for (got, wanted) in windows.iter().zip(expected.chunks(8)) {
            assert_close(got, &mean(wanted), file);
        }
        assert_eq!(windows.len(), expected.len().div_ceil(8), "{file}");
    }
    // 5.3 s are two windows and 1.3 s: 8 + 8 + ceil(1.3 / 2 * 8) frames of 0.25 s.
    let at: Vec<usize> = (0..frame_ids.len()).filter(|&row| frame_ids[row] == "long").collect();
    let (starts, lengths) = (seconds(&frames, "offset_s"), seconds(&frames, "duration_s"));
    assert_eq!(at.len(), 22);
    for (n, &row) in at.iter().enumerate() {
        assert!((starts[row] - 0.25 * n as f64).abs() < 1e-9, "{n}: {}", starts[row]);
    }
    assert!((lengths[at[21]] - 0.05).abs() < 1e-9 && (lengths[at[20]] - 0.25).abs() < 1e-9);
    assert!((seconds(&clips, "duration_s")[1] - 5.3).abs() < 1e-9);
    let n_frames = clips.column_by_name("n_frames").expect("as it was written").as_primitive::<UInt32Type>().value(1);
    assert_eq!(n_frames, 22);
}

#[test]
fn the_encoders_are_two_and_the_default_is_the_target() {
    let place = place_with_model();
    let embed = |out: &str, more: &str| {
        place.done(&format!("embed --checkpoint best --out {out} --progress off {more} audio"));
        std::fs::read(place.path(out)).expect("as it was written")
    };
    let tensors = |out: &str| vectors(&rows(&place, out));
    embed("usual.parquet", "");
    embed("target.parquet", "--encoder target");
    embed("context.parquet", "--encoder context");
    assert_eq!(tensors("usual.parquet"), tensors("target.parquet"));
    // Untrained, the moving average is the encoder.
    assert_eq!(tensors("context.parquet"), tensors("target.parquet"));
    let tokens = {
        embed("tokens.parquet", "--tokens");
        tensors("tokens.parquet")
    };
    assert_eq!(tokens[0].len(), 8 * 4 * WIDTH);
}

#[test]
fn workers_change_not_a_byte() {
    let place = place_with_model();
    for more in ["", "--windows --hop 0.5", "--frames"] {
        for jobs in [1, 2, 4] {
            let out = format!("{jobs}.parquet");
            let _ = std::fs::remove_file(place.path(&out));
            place.done(&format!("embed --checkpoint best --out {out} --jobs {jobs} --progress off {more} audio"));
        }
        let of = |name: &str| std::fs::read(place.path(name)).expect("as it was written");
        assert_eq!(of("1.parquet"), of("2.parquet"), "{more}");
        assert_eq!(of("1.parquet"), of("4.parquet"), "{more}");
    }
}

#[test]
fn silent_short_empty_and_broken_files_behave() {
    let place = place_with_model();
    let clips = files(&sample());
    place.write("in/short.wav", tone(0.1));
    place.write("in/silent.wav", wav((0..48_000).map(|_| 0.0)));
    place.write("in/exact.wav", tone(4.0));
    place.write("in/no_samples.wav", wav(std::iter::empty::<f32>().collect::<Vec<_>>().into_iter()));
    place.write("in/empty.wav", "");
    place.write("in/words.wav", "words about sound");
    place.write("in/cut.flac", &clips["speech/en_2.flac"][..15_000]);
    let ended = place.done("embed --checkpoint best --out out/e.parquet --progress off in");
    let found = rows(&place, "out/e.parquet");
    assert_eq!(ids(&found), ["in/exact", "in/short", "in/silent"], "{ended:?}");
    assert!(vectors(&found).iter().flatten().all(|x| x.is_finite()));
    let n_frames =
        found.column_by_name("n_frames").expect("as it was written").as_primitive::<UInt32Type>().values().to_vec();
    assert_eq!(n_frames, [16, 1, 12]);
    assert!(ended.out.contains("4 clips refused"), "{}", ended.out);
    let rejects = rows(&place, "out/e.rejects.parquet");
    assert_eq!(ids(&rejects), ["in/cut", "in/empty", "in/no_samples", "in/words"]);
    // Nothing at all is an error, and leaves no file.
    let ended = place.run("embed --checkpoint best --out out/none.parquet --progress off in/words.wav");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("no clip gave a row") && ended.err.contains("unsupported_container"), "{}", ended.err);
    assert!(!place.path("out/none.parquet").exists());
}

#[test]
fn again_is_nothing_to_do_and_another_is_refused() {
    let place = place_with_model();
    let first = place.done("embed --checkpoint best --out e.parquet --progress off audio");
    assert!(first.out.contains("e.parquet: 4 rows"), "{}", first.out);
    let again = place.done("embed --checkpoint best --out e.parquet --progress off audio");
    assert!(again.out.contains("nothing to do: 4 clips done"), "{}", again.out);
    let other = place.run("embed --checkpoint best --out e.parquet --windows --progress off audio");
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.err.contains("from another graph or other audio: move it away"), "{}", other.err);
    let inspected = place.done("inspect e.parquet");
    assert!(inspected.out.contains("4 embeddings") && inspected.out.contains("a row is a clip"), "{}", inspected.out);
}

#[test]
fn manifests_bring_their_labels_columns_and_parts() {
    let place = place_with_model();
    place.write("long.wav", tone(6.0));
    place.write("set.csv", "path,clip_id,start,end,labels,fold\nlong.wav,a,0,3,x;y,1\nlong.wav,b,3,5.5,z,2\n");
    place.done("embed --checkpoint best --out e.parquet --progress off set.csv");
    let found = rows(&place, "e.parquet");
    assert_eq!(ids(&found), ["a", "b"]);
    assert_eq!((seconds(&found, "offset_s"), seconds(&found, "duration_s")), (vec![0.0, 3.0], vec![3.0, 2.5]));
    assert_eq!(found.column_by_name("fold").expect("as it was written").as_string::<i32>().value(1), "2");
    assert_eq!(found.column_by_name("labels").expect("as it was written").as_list::<i32>().value(0).len(), 2);
    place.done("embed --checkpoint best --out both.parquet --progress off set.csv audio long.wav");
    assert_eq!(ids(&rows(&place, "both.parquet")).len(), 7);
    let twice = place.run("embed --checkpoint best --out twice.parquet --progress off long.wav long.wav");
    assert_eq!(twice.code, Some(2), "{twice:?}");
    assert!(twice.err.contains("two clips are named \"long\""), "{}", twice.err);
}

/// Ten hours of noise, a byte a sample, 2 kHz: quick to write and to read.
fn night() -> Vec<u8> {
    let n: u32 = 10 * 3600 * 2000;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + n).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(2_000_u32.to_le_bytes());
    bytes.extend(2_000_u32.to_le_bytes());
    bytes.extend(b"\x01\0\x08\0data");
    bytes.extend(n.to_le_bytes());
    bytes.extend((0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 25) as u8 + 64));
    bytes
}

#[test]
fn ten_hours_take_no_more_memory_than_they_must() {
    let place = place_with_model();
    place.write("night.wav", night());
    place.done("embed --checkpoint best --out night.parquet --progress off --report night.json night.wav");
    let found = rows(&place, "night.parquet");
    assert_eq!((found.num_rows(), seconds(&found, "duration_s")[0]), (1, 36_000.0));
    let n_frames = found.column_by_name("n_frames").expect("as it was written").as_primitive::<UInt32Type>().value(0);
    assert_eq!(n_frames, 18_000 * 8);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("night.json")).expect("as it was written"))
            .expect("as it was written");
    let peak = report["peak_rss_bytes"].as_u64().expect("as it was written");
    assert!(peak < 500 << 20, "{peak}");
}

#[test]
fn a_graph_of_ones_own_ends_in_an_encoder() {
    let place = place_with_model();
    let shown = place.done("checkpoint show best").out;
    let stage = shown.lines().find_map(|line| line.strip_prefix("as a stage  ")).expect("a stage").to_owned();
    let graph = |mel: &str, encoder: &str, sink: &str| {
        format!(
            "stages:\n  - {{ type: source_folder, path: audio }}\n  - {{ type: decode }}\n  - {{ type: resample, rate_hz: 16000 }}\n  \
             - {{ type: normalize, preset: code-225b816 }}\n  - {{ id: mel, type: log_mel, rate_hz: 16000, {mel} }}\n  \
             - {encoder}\n  - {sink}\n"
        )
    };
    let (two_s, four_s) = ("n_mels: 64, seconds: 2, frames: 128", "n_mels: 64, seconds: 4, frames: 256");
    let sink = "{ type: sink_embeddings, path: e.parquet }";
    let run = |text: String| {
        place.write("graph.yaml", text);
        place.run("run graph.yaml --progress off")
    };
    assert_eq!(run(graph(two_s, &stage, sink)).code, Some(0));
    assert_eq!(rows(&place, "e.parquet").num_rows(), 4);
    // Longer pictures of the same front end are as good; shards take embeddings too, and go on where they stopped.
    let ended = run(graph(four_s, &stage, "{ type: sink_shards, path: shards_of_embeddings, dtype: f32 }"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (mel, encoder, said) in [
        (two_s, stage.replace("width: 32", "width: 64"), "its encoder is 32 wide, not 64"),
        (two_s, stage.replace("digest: \"", "digest: \"0"), "it is another checkpoint"),
        (
            two_s,
            stage.replace("width: 32", "width: 32, patch: { patch_frames: 8, patch_mels: 16 }"),
            "patches are 16 x 16, not 8 x 16",
        ),
        ("n_mels: 64, seconds: 4, frames: 128", stage.clone(), "was trained on other pictures: frame_s is"),
        ("n_mels: 32, seconds: 2, frames: 128", stage.clone(), "128 frames x 32 mels and not 128 frames x 64 mels"),
        (two_s, stage.replace("checkpoint: best", "checkpoint: audio"), "is no checkpoint"),
    ] {
        let ended = run(graph(mel, &encoder, "{ type: sink_embeddings, path: other.parquet }"));
        assert_eq!(ended.code, Some(2), "{said}: {ended:?}");
        assert!(ended.err.contains(said) && ended.err.contains("help"), "{said}: {}", ended.err);
    }
}

#[test]
fn other_programs_read_the_files() {
    let Some(python) = std::env::var_os("AJEPA_PYTHON") else {
        println!("skipped: AJEPA_PYTHON names no interpreter with pyarrow, polars, duckdb and numpy");
        return;
    };
    let place = place_with_model();
    place.write("set.csv", "path,clip_id,labels,fold\naudio/drums/tom.wav,a,x;y,1\naudio/speech/en_1.flac,b,z,2\n");
    place.done("embed --checkpoint best --out e.parquet --progress off set.csv");
    place.done("embed --checkpoint best --out e.npy --progress off set.csv");
    place.done("embed --checkpoint best --out frames.npy --frames --progress off set.csv");
    place.done("embed --checkpoint best --out tokens.parquet --tokens --progress off set.csv");
    place.done("checkpoint export best --out exported");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers_embeddings.py");
    let output =
        std::process::Command::new(python).arg(script).arg(place.path("")).output().expect("as it was written");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}");
}

#[test]
fn stopped_it_leaves_nothing_and_says_so() {
    let place = place_with_model();
    place.write("night.wav", night());
    let mut command = place.command("embed --checkpoint best --out e.parquet --jobs 1 --progress plain night.wav");
    let mut child = command.spawn().expect("starts");
    // The first line of progress says that it is at work.
    let mut first = [0; 1];
    std::io::Read::read_exact(child.stderr.as_mut().expect("stderr"), &mut first).expect("progress");
    let pid = child.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
    let ended = crate::program::Ended::of(&child.wait_with_output().expect("ends"));
    assert_eq!(ended.code, Some(143), "{ended:?}");
    assert!(ended.err.contains("nothing was written; the same command begins again"), "{}", ended.err);
    let left = std::fs::read_dir(place.path("")).expect("as it was written").flatten();
    let left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(left.iter().all(|name| !name.contains("e.parquet")), "{left:?}");
}
