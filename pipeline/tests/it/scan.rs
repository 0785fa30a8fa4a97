//! `dataset scan` from end to end: planted faults under the right reason, none invented, resume after a kill.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ajepa_ops::AudioRead;
use ajepa_ops::decode::{Channels, DecodeConfig};
use ajepa_ops::fingerprint::compare;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::program::{Ended, Place, files, sample};

/// Faults of each kind that are planted.
const N: usize = 20;
/// Share of differing bits below which two clips are taken for copies: what `--near` is unless somebody says otherwise.
const NEAR: f32 = 0.25;

/// One row of a table.
#[derive(Debug, Clone, Default, PartialEq)]
struct Clip {
    source: String,
    status: String,
    detail: String,
    labels: Vec<String>,
    hash: Option<Vec<u8>>,
    words: Vec<u32>,
    duration_s: Option<f64>,
    rate_hz: Option<u32>,
    channels: Option<u32>,
    codec: String,
    levels_db: Option<[f32; 2]>,
    content_bytes: Option<u64>,
}

/// All rows by name, of which no two are alike.
fn table(path: &Path) -> BTreeMap<String, Clip> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("opens")).expect("is Parquet");
    let mut clips = BTreeMap::new();
    for rows in builder.build().expect("reads") {
        let rows = rows.expect("reads");
        let text = |name: &str, row: usize| {
            let column = rows.column_by_name(name).expect(name).as_string::<i32>();
            if column.is_valid(row) { column.value(row).to_owned() } else { String::new() }
        };
        for row in 0..rows.num_rows() {
            let column =
                |name: &str| Some(rows.column_by_name(name).expect(name)).filter(|column| column.is_valid(row));
            let single = |name| column(name).map(|column| column.as_primitive::<Float32Type>().value(row));
            let number = |name| column(name).map(|column| column.as_primitive::<UInt32Type>().value(row));
            let list = |name| column(name).map(|column| column.as_list::<i32>().value(row));
            let clip = Clip {
                source: text("source", row),
                status: text("status", row),
                detail: text("detail", row),
                labels: list("labels").map_or_else(Vec::new, |labels| {
                    labels.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
                }),
                hash: column("content_hash").map(|hash| hash.as_fixed_size_binary().value(row).to_vec()),
                words: list("fingerprint")
                    .map_or_else(Vec::new, |words| words.as_primitive::<UInt32Type>().values().to_vec()),
                duration_s: column("duration_s").map(|column| column.as_primitive::<Float64Type>().value(row)),
                rate_hz: number("rate_hz"),
                channels: number("channels"),
                codec: text("codec", row),
                levels_db: single("peak_db").zip(single("rms_db")).map(|(peak, rms)| [peak, rms]),
                content_bytes: column("content_bytes").map(|column| column.as_primitive::<UInt64Type>().value(row)),
            };
            assert_eq!(clips.insert(text("clip_id", row), clip), None, "{}", text("clip_id", row));
        }
    }
    clips
}

/// A WAV file of 16-bit samples.
pub fn wav(samples: &[i16], rate_hz: u32, channels: u16) -> Vec<u8> {
    let n_bytes = samples.len() as u32 * 2;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + n_bytes).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((rate_hz * u32::from(channels) * 2).to_le_bytes());
    bytes.extend((channels * 2).to_le_bytes());
    bytes.extend(b"\x10\0data");
    bytes.extend(n_bytes.to_le_bytes());
    for x in samples {
        bytes.extend(x.to_le_bytes());
    }
    bytes
}

/// Two seconds of partials that come and go, another sound for each number.
fn sound(number: usize, rate_hz: u32, n: usize) -> Vec<i16> {
    let mut state = number as u64 * 7_919 + 17;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let partials: Vec<[f64; 3]> =
        (0..40).map(|_| [250.0 + 2_500.0 * draw(), 1.0 + 8.0 * draw(), 7.0 * draw()]).collect();
    let at = |i: usize| {
        let t = i as f64 / f64::from(rate_hz);
        let partial = |[hz, beat, phase]: &[f64; 3]| {
            (std::f64::consts::TAU * hz * t + phase).sin() * (beat * t + phase * 3.0).sin()
        };
        (partials.iter().map(partial).sum::<f64>() * 600.0) as i16
    };
    (0..n).map(at).collect()
}

/// All channels of a file, as 16-bit samples.
fn samples_of(name: &str, bytes: &[u8]) -> (Vec<i16>, u32, u16) {
    let config = DecodeConfig { channels: Channels::All, ..DecodeConfig::default() };
    let hint = name.rsplit('.').next().expect("an extension");
    let source = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let mut audio = config.build().expect("builds").open(source, hint).expect("decodes");
    let mut samples = Vec::new();
    audio.read_to_end(&mut samples, u64::from(u32::MAX)).expect("decodes");
    let samples = samples.iter().map(|x| (x * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).collect();
    (samples, audio.rate_hz(), audio.channels() as u16)
}

/// G.711 mu-law of one channel, in a WAV file of half the level: a lossy copy that needs no encoder.
fn mu_law_wav(samples: &[i16], rate_hz: u32) -> Vec<u8> {
    let code = |x: i16| -> u8 {
        let (sign, x) = (if x < 0 { 0x80 } else { 0 }, (i32::from(x).abs() / 2 + 132).min(32_767));
        let exponent = (x >> 7).max(1).ilog2() as i32;
        let mantissa = x >> (exponent + 3) & 0x0F;
        !(sign | (exponent << 4 | mantissa) as u8)
    };
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((38 + samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x12\0\0\0\x07\0\x01\0");
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(b"\x01\0\x08\0\0\0data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    bytes.extend(samples.iter().map(|&x| code(x)));
    bytes
}

fn scan(place: &Place, args: &str) -> Ended {
    place.run(&format!("dataset scan {args} --progress off"))
}

fn done(place: &Place, args: &str) -> Ended {
    let ended = scan(place, args);
    assert_eq!(ended.code, Some(0), "{args}: {ended:?}");
    ended
}

/// The shipped clips as `clean/`, and twenty of each fault beside them, all named in `clips.csv`.
fn plant(place: &Place) -> BTreeMap<String, String> {
    let clean = files(&sample());
    let is_clip = |name: &&String| !matches!(name.rsplit('.').next(), Some("csv" | "md"));
    let clean: Vec<(&String, &Vec<u8>)> = clean.iter().filter(|(name, _)| is_clip(name)).collect();
    let mut rows = vec!["path,clip_id,labels".to_owned()];
    let mut expected = BTreeMap::new();
    let mut put = |kind: &str, i: usize, extension: &str, status: &str, bytes: Option<&[u8]>| {
        let (path, id) = (format!("{kind}/{i:02}.{extension}"), format!("{kind} {i:02}"));
        if let Some(bytes) = bytes {
            place.write(&path, bytes);
        }
        rows.push(format!("{path},{id},{kind};{extension}"));
        expected.insert(id, status.to_owned());
    };
    for (i, (name, bytes)) in clean.iter().enumerate() {
        put("clean", i, name.rsplit('.').next().expect("an extension"), "ok", Some(bytes));
    }
    // Headers say how long these are, so that a cut can be noticed at all.
    let is_whole = |name: &&&String| ["flac", "wav", "m4a", "aiff"].iter().any(|e| name.ends_with(&format!(".{e}")));
    let whole: Vec<&(&String, &Vec<u8>)> = clean.iter().filter(|(name, _)| is_whole(&name)).collect();
    for i in 0..N {
        let rate_hz = [16_000, 22_050, 44_100][i % 3];
        let (name, bytes) = whole[i];
        let cut = &bytes[..bytes.len() * (60 + i) / 100];
        put("truncated", i, name.rsplit('.').next().expect("an extension"), "truncated", Some(cut));
        // Dither of one step is silence, too.
        let silence: Vec<i16> = (0..32_000).map(|n| if i % 2 == 0 { 0 } else { n % 3 - 1 }).collect();
        put("silent", i, "wav", "silent", Some(&wav(&silence, rate_hz, 1)));
        put("short", i, "wav", "too_short", Some(&wav(&sound(500 + i, rate_hz, 40 * (i + 1)), rate_hz, 1)));
        put("empty", i, ["wav", "mp3", "flac", "ogg"][i % 4], "empty", Some(&[]));
        put("missing", i, "wav", "missing", None);
        let named = ["mp3", "flac", "ogg", "m4a"][i % 4];
        put("misnamed", i, named, "ok", Some(&wav(&sound(i, rate_hz, 2 * rate_hz as usize), rate_hz, 1)));
        // Four seconds, so that there are words enough to tell by.
        let original = wav(&sound(100 + i, rate_hz, 4 * rate_hz as usize), rate_hz, 1);
        put("twice", i, "wav", "ok", Some(&original));
        put("twice again", i, "wav", "ok", Some(&original));
        let long = sound(200 + i, rate_hz, 12 * rate_hz as usize);
        put("original", i, "wav", "ok", Some(&wav(&long, rate_hz, 1)));
        put("encoded", i, "wav", "ok", Some(&mu_law_wav(&long, rate_hz)));
        let text = ["<!DOCTYPE html><html>", "version https://git-lfs", "{\"error\": 404}", "PK\u{3}\u{4}...."][i % 4];
        put("text", i, "flac", "unsupported_container", Some(text.repeat(20).as_bytes()));
    }
    place.write("clips.csv", rows.join("\n") + "\n");
    expected
}

#[test]
fn planted_faults_come_out_under_their_reasons_and_none_is_invented() {
    let place = Place::new();
    let expected = plant(&place);
    let ended = done(&place, "clips.csv -o out/scan.parquet --report out/scan.html --report out/scan.json");
    let clips = table(&place.path("out/scan.parquet"));
    assert_eq!(clips.len(), expected.len());
    for (id, status) in &expected {
        let clip = &clips[id];
        assert_eq!(clip.status, *status, "{id}: {clip:?}");
        assert_eq!(clip.labels.first().map(String::as_str), id.rsplit_once(' ').map(|(kind, _)| kind), "{id}");
        let misnamed = id.starts_with("misnamed");
        assert_eq!(clip.detail.starts_with("wrong_extension: "), misnamed, "{id}: {clip:?}");
        if *status == "ok" {
            assert!(misnamed || clip.detail.is_empty(), "{id}: {clip:?}");
            let [peak_db, rms_db] = clip.levels_db.expect("a level");
            assert!(peak_db > -70.0 && peak_db < 12.1 && rms_db <= peak_db, "{id}: {clip:?}");
            assert!(clip.duration_s.expect("a length") > 0.1 && !clip.words.is_empty(), "{id}: {clip:?}");
            let size = std::fs::metadata(place.path(&clip.source)).expect("a file").len();
            assert_eq!(clip.content_bytes, Some(size), "{id}");
            assert!(clip.rate_hz.is_some() && clip.channels.is_some() && !clip.codec.is_empty(), "{id}: {clip:?}");
        }
    }
    duplicates_are_those_that_were_planted(&clips);

    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("out/scan.json")).expect("a report")).expect("JSON");
    assert_eq!((json["duplicates"].as_u64(), json["wrong_extension"].as_u64()), (Some(20), Some(20)), "{json}");
    let page = std::fs::read_to_string(place.path("out/scan.html")).expect("a page");
    for words in ["unsupported_container", "Loudness", "The first duplicates", "truncated"] {
        assert!(page.contains(words), "{words}");
    }
    for words in ["20 missing", "20 empty", "20 truncated", "20 silent", "20 too_short", "20 of these have the samples"]
    {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
}

/// Fewer than sixteen words that differ are too few to tell by: short clips, and steady sounds.
fn can_tell(clip: &Clip) -> bool {
    clip.words.iter().collect::<std::collections::BTreeSet<_>>().len() >= 16
}

/// By hash those of `twice`, by fingerprint also those of `encoded`, and nothing else.
fn duplicates_are_those_that_were_planted(clips: &BTreeMap<String, Clip>) {
    let usable: Vec<(&String, &Clip)> = clips.iter().filter(|(_, clip)| clip.status == "ok").collect();
    let (mut same, mut near) = (Vec::new(), Vec::new());
    for (at, (id, clip)) in usable.iter().enumerate() {
        for (other, before) in &usable[..at] {
            if clip.hash == before.hash {
                same.push(format!("{other} = {id}"));
            }
            let found = compare(&clip.words, &before.words, 2).filter(|_| can_tell(clip) && can_tell(before));
            if found.is_some_and(|found| found.bit_error_rate < NEAR) {
                near.push(format!("{other} = {id}"));
            }
        }
    }
    let twice = |i: usize| format!("twice {i:02} = twice again {i:02}");
    assert_eq!(same, (0..N).map(twice).collect::<Vec<_>>());
    let mut wanted: Vec<String> = (0..N).map(|i| format!("encoded {i:02} = original {i:02}")).collect();
    wanted.extend((0..N).map(twice));
    near.sort();
    assert_eq!(near, wanted);
}

#[test]
fn one_recording_has_one_hash_in_wav_and_flac_and_another_when_it_was_changed() {
    let place = Place::new();
    let clips = files(&sample());
    for (i, name) in
        ["speech/en_1.flac", "textures/ambi_swoosh.flac", "music/cold_day.flac", "drums/hihat.aiff"].iter().enumerate()
    {
        let (mut samples, rate_hz, channels) = samples_of(name, &clips[*name]);
        let extension = name.rsplit('.').next().expect("an extension");
        place.write(&format!("a/{i}_whole.{extension}"), &clips[*name]);
        place.write(&format!("a/{i}_plain.wav"), wav(&samples, rate_hz, channels));
        let middle = samples.len() / 2;
        samples[middle] ^= 4;
        place.write(&format!("a/{i}_other.wav"), wav(&samples, rate_hz, channels));
        samples[middle] ^= 4;
        place.write(&format!("a/{i}_slower.wav"), wav(&samples, rate_hz / 2, channels));
    }
    done(&place, "a -o scan.parquet");
    let clips = table(&place.path("scan.parquet"));
    assert_eq!(clips.len(), 16);
    for i in 0..4 {
        let hash = |kind: &str| clips[&format!("a/{i}_{kind}")].hash.clone().expect("a hash");
        assert_eq!(hash("whole"), hash("plain"), "{i}");
        assert_ne!(hash("whole"), hash("other"), "{i}");
        assert_ne!(hash("whole"), hash("slower"), "{i}");
    }
    assert_eq!(clips["a/1_plain"].channels, Some(2));
    assert_eq!((clips["a/0_whole"].codec.as_str(), clips["a/0_plain"].codec.as_str()), ("FLAC", "PCM"));
}

/// `n` files of a second, each its own sound.
fn many(place: &Place, n: usize) {
    let base = sound(1, 8_000, 8_000);
    for i in 0..n {
        let samples: Vec<i16> = base.iter().map(|x| x.wrapping_add(i as i16)).collect();
        place.write(&format!("many/{i:05}.wav"), wav(&samples, 8_000, 1));
    }
    place.write("many/zz_empty.wav", "");
}

/// Kills a scan as soon as one unit is there; whether others were still to come.
fn killed_midway(place: &Place, name: &str) -> bool {
    let args = format!("dataset scan many -o {name} --jobs 1 --progress off");
    let mut child = place.command(&args).spawn().expect("starts");
    let parts = place.path(&format!("{name}.parts/_units/g001"));
    while !parts.join("00000.json").exists() && child.try_wait().expect("is there").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("is killed");
    child.wait().expect("ends");
    !parts.join("00003.json").exists() && !place.path(name).exists()
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    std::fs::read(place.path(name)).expect(name)
}

#[test]
fn killed_and_run_again_it_has_the_table_of_an_undisturbed_scan() {
    let place = Place::new();
    many(&place, 1_800);
    done(&place, "many -o whole.parquet --jobs 2");
    let name = (0..20).map(|i| format!("cut{i}.parquet")).find(|name| killed_midway(&place, name));
    let name = name.expect("one of twenty scans is slower than the hand that ends it");
    done(&place, &format!("many -o {name} --jobs 2"));
    assert_eq!(read(&place, &name), read(&place, "whole.parquet"));
    let again = done(&place, &format!("many -o {name}"));
    assert!(again.out.contains("nothing to do: 1,801 clips"), "{}", again.out);
    assert!(again.out.contains("1 empty"), "{}", again.out);
}

#[test]
fn a_file_that_came_later_is_all_that_is_decoded_and_other_files_are_not_replaced() {
    let place = Place::new();
    many(&place, 1_030);
    done(&place, "many -o scan.parquet");
    place.write("many/zzz.wav", wav(&sound(9, 8_000, 9_000), 8_000, 1));
    let ended = done(&place, "many -o scan.parquet");
    assert!(ended.out.contains("2 of 3 units are unchanged and were taken over"), "{}", ended.out);
    assert_eq!(table(&place.path("scan.parquet")).len(), 1_032);
    place.write("mine.parquet", "not a scan");
    let refused = scan(&place, "many -o mine.parquet");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("is no table of a scan"), "{}", refused.err);
    assert_eq!(read(&place, "mine.parquet"), b"not a scan");
    for (args, words) in [
        ("gone -o x.parquet", "no such file or folder"),
        ("many -o x.csv", "must end in .parquet"),
        ("many -o x.parquet --silent-below 3", "-200 to 0"),
    ] {
        let refused = scan(&place, args);
        assert!(refused.code == Some(2) && refused.err.contains(words), "{args}: {refused:?}");
    }
}

#[test]
fn folders_tars_and_parquet_are_scanned_together() {
    let place = Place::new();
    let one = |i: usize| wav(&sound(i, 16_000, 20_000), 16_000, 1);
    place.write("folder/a.wav", one(1));
    let mut tar = tar::Builder::new(Vec::new());
    let mut member = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).expect("appends");
    };
    member("k1.wav", &one(2));
    member("k1.json", br#"{"labels": ["dog"]}"#);
    member("k2.flac", &one(3));
    place.write("some.tar", tar.into_inner().expect("a tar"));
    let audio: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&one(4)[..]), None, Some(b"no sound at all")]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["p1", "p2", "p3"]));
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["cat", "cow", "owl"]));
    let rows = RecordBatch::try_from_iter([("name", names), ("audio", audio), ("kind", labels)]).expect("rows");
    let mut file = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
    file.write(&rows).expect("writes");
    place.write("data/train-0.parquet", file.into_inner().expect("closes"));

    done(&place, "folder some.tar data --id-column name --label-column kind -o scan.parquet");
    let clips = table(&place.path("scan.parquet"));
    let told: Vec<[&str; 4]> = clips
        .iter()
        .map(|(id, clip)| [id.as_str(), &clip.source, &clip.status, clip.labels.first().map_or("", String::as_str)])
        .collect();
    assert_eq!(
        told,
        [
            ["folder/a", "folder/a.wav", "ok", ""],
            ["k1", "some.tar!k1.wav", "ok", "dog"],
            ["k2", "some.tar!k2.flac", "ok", ""],
            ["p1", "train-0.parquet#0", "ok", "cat"],
            ["p2", "train-0.parquet#1", "missing", "cow"],
            ["p3", "train-0.parquet#2", "unsupported_container", "owl"],
        ]
    );
    assert_eq!(clips["k2"].detail, "wrong_extension: named .flac, it is WAV");
    assert_eq!(clips["p1"].content_bytes, Some(one(4).len() as u64));
}

/// Whether a copy by ffmpeg can be had.
fn ffmpeg(from: &Path, to: &Path, args: &str) -> bool {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(from).args(args.split(' ')).arg(to);
    command.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn copies_in_other_codecs_are_found_by_their_fingerprints() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("b")).expect("a folder");
    for i in 0..N {
        place.write(&format!("a/{i:02}.wav"), wav(&sound(700 + i, 44_100, 8 * 44_100), 44_100, 1));
        let (args, extension) =
            [("-b:a 64k", "mp3"), ("-b:a 32k", "opus"), ("-b:a 64k", "m4a"), ("-q:a 1", "ogg")][i % 4];
        if !ffmpeg(&place.path(&format!("a/{i:02}.wav")), &place.path(&format!("b/{i:02}.{extension}")), args) {
            println!("no ffmpeg with these encoders on this machine");
            return;
        }
    }
    done(&place, "a b -o scan.parquet");
    let clips = table(&place.path("scan.parquet"));
    for i in 0..N {
        for k in 0..N {
            let (a, b) = (&clips[&format!("a/{i:02}")], &clips[&format!("b/{k:02}")]);
            let found = compare(&a.words, &b.words, 2).expect("words");
            assert_eq!(found.bit_error_rate < NEAR, i == k, "{i} {k}: {found:?}");
        }
    }
}
