//! `eval` from end to end: a task of X-ARES in its tars, a task of one's own, embeddings made elsewhere; what is kept, what is refused.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::embed::{ids, rows, tone, vectors};
use crate::models::place_with_model;
use crate::program::{Place, files, sample};

/// A tar of adjacent audio and JSON.
fn tar(samples: &[(String, String, Vec<u8>, String)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (key, extension, audio, json) in samples {
        for (name, bytes) in [(format!("{key}.{extension}"), &audio[..]), (format!("{key}.json"), json.as_bytes())] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).expect("packs");
        }
    }
    tar.into_inner().expect("a tar")
}

/// The shipped clips of a kind, by name: languages, and what is not speech.
fn shipped() -> Vec<(String, Vec<u8>, &'static str)> {
    let kind = |name: &str| match name.split('/').next() {
        Some("speech") => Some("H"),
        Some("animals") => Some("S"),
        Some("drums") => Some("A"),
        Some("notes") => Some("F"),
        _ => None,
    };
    let clip = |(name, bytes): (String, Vec<u8>)| Some((name.clone(), bytes, kind(&name)?));
    let all = files(&sample()).into_iter().filter_map(clip);
    all.filter(|(name, ..)| ["flac", "wav", "ogg", "mp3"].iter().any(|end| name.ends_with(end))).collect()
}

/// A task of emotions, which are kinds of sound here: every third clip is asked about. One member is no audio.
fn place_with_task() -> Place {
    let place = place_with_model();
    for (split, rest) in [("train", [0, 1]), ("valid", [2, 2]), ("test", [2, 2])] {
        let of_split = shipped().into_iter().enumerate().filter(|(at, _)| rest.contains(&(at % 3)));
        let mut samples: Vec<(String, String, Vec<u8>, String)> = of_split
            .map(|(at, (name, bytes, label))| {
                let extension = name.rsplit('.').next().expect("an extension").to_owned();
                (format!("{split}{at:03}"), extension, bytes, format!(r#"{{"label": "{label}"}}"#))
            })
            .collect();
        if split == "train" {
            samples.push(("broken".to_owned(), "wav".to_owned(), b"no sound".to_vec(), r#"{"label": "H"}"#.to_owned()));
        }
        place.write(&format!("env/cremad/wds-audio-{split}-0000000.tar"), tar(&samples));
    }
    place
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn score(row: &Value, probe: &str) -> f64 {
    let scores = row["scores"].as_array().expect("scores");
    let found = scores.iter().find(|score| score["probe"] == probe);
    found.unwrap_or_else(|| panic!("no {probe}: {row}"))["score"].as_f64().expect("a number")
}

#[test]
fn a_task_of_xares_is_judged_once_and_kept() {
    let place = place_with_task();
    let command =
        "eval -c name=best env --mode xares --together 4 --seeds 2 --cache kept --format json --report judged.html";
    let first = place.done(command);
    let found = json(&first.out);
    let row = &found["models"][0]["tasks"][0];
    assert_eq!(
        (&found["mode"], &row["task"], &row["measure"]),
        (&"xares".into(), &"cremad".into(), &"accuracy".into())
    );
    let n = shipped().len();
    let n_test = (n - 2).div_ceil(3);
    assert_eq!(row["n_clips"], serde_json::json!([n - n_test, n_test]));
    assert!(row["notes"][0].as_str().expect("a note").contains("1 clip of train could not be used"), "{row}");
    for probe in ["knn", "mlp"] {
        assert!((0.0..=1.0).contains(&score(row, probe)), "{probe}: {row}");
    }
    assert_eq!(found["published"].as_array().expect("rows").len(), 12);
    let page = std::fs::read_to_string(place.path("judged.html")).expect("a page");
    assert!(
        ["cremad", "Trained layer", "Published", "dasheng", "could not be used", "learnt from"]
            .iter()
            .all(|words| page.contains(words))
    );
    let counts = [4, n - n_test, n_test, 1116].map(|n| ["<td class=\"n\">".to_owned(), counted(n)].concat()).concat();
    assert!(page.contains(&format!("<td class=\"name\">cremad<td>accuracy{counts}<td>all")), "{page}");

    // Again: nothing is embedded, and the digits are the same.
    let kept = files(&place.path("kept"));
    let again = place.done(command);
    assert_eq!(json(&again.out), found);
    assert!(!again.err.contains("clips of train") && first.err.contains("clips of train"), "{}", again.err);
    // A split that is gone is made again, to the same bytes of vectors.
    let test = kept.keys().find(|name| name.contains("/test-") && !name.contains("clips")).expect("embeddings");
    std::fs::remove_file(place.path("kept").join(test)).expect("removed");
    assert_eq!(json(&place.done(command).out), found);
    // Another seed is another training; in clean mode other embeddings, and nothing published beside them.
    let other = json(&place.done(&format!("{command} --seed 1")).out);
    assert_eq!(score(&other["models"][0]["tasks"][0], "knn"), score(row, "knn"));
    let clean = json(&place.done("eval -c best env/cremad --cache kept --format json --probe knn").out);
    assert!(
        clean["published"].is_null() && clean["models"][0]["tasks"][0]["scores"].as_array().expect("scores").len() == 1
    );
    assert!(files(&place.path("kept")).len() > kept.len());
}

/// In X-ARES clips are filled up with silence to the longest of those that are encoded together, and the silence is embedded.
#[test]
fn silence_is_part_of_what_xares_embeds() {
    let place = place_with_model();
    let lens = [0.7, 3.1, 2.0, 1.2];
    let sample = |at: usize, seconds: f64, label: &str| {
        (format!("k{at}"), "wav".to_owned(), tone(seconds), format!(r#"{{"label": "{label}"}}"#))
    };
    let labels = ["H", "S", "H", "S"];
    let samples: Vec<_> = (0..4).map(|at| sample(at, lens[at], labels[at])).collect();
    for split in ["train", "valid", "test"] {
        place.write(&format!("env/cremad/wds-audio-{split}-0.tar"), tar(&samples));
    }
    place.done("eval -c best env --mode xares --together 2 --probe knn --cache kept");
    let name = files(&place.path("kept")).into_keys().find(|name| name.contains("/train-") && !name.contains("clips"));
    let kept = rows(&place, &format!("kept/{}", name.expect("embeddings")));
    assert_eq!(ids(&kept), (0..4).map(|at| format!("wds-audio-train-0/k{at}")).collect::<Vec<_>>());
    for (at, seconds) in [(0, 3.1), (1, 3.1), (2, 2.0), (3, 2.0)] {
        let mut bytes = tone(lens[at]);
        let missing = ((seconds - lens[at]) * 16_000.0_f64).round() as usize * 2;
        bytes.resize(bytes.len() + missing, 0);
        let data_len = (bytes.len() - 44) as u32;
        bytes[40..44].copy_from_slice(&data_len.to_le_bytes());
        bytes[4..8].copy_from_slice(&(36 + data_len).to_le_bytes());
        place.write(&format!("by_hand/{at}.wav"), bytes);
    }
    place.done("embed -c best -o by_hand.parquet by_hand --progress off");
    let by_hand = vectors(&rows(&place, "by_hand.parquet"));
    for (at, (got, wanted)) in vectors(&kept).iter().zip(&by_hand).enumerate() {
        let worst = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-6, "clip {at}: {worst}");
    }

    // But no silence is attended to: frames of 0.25 s are those of the clips' own lengths, as `embed` has them.
    place.done("eval -c best env --mode xares --together 2 --probe attentive,layers --cache pooled");
    let name = |form: &str| {
        let all =
            files(&place.path("pooled")).into_keys().filter(|name| name.contains("/train-") && !name.contains("clips"));
        let is_of = |name: &String| {
            rows(&place, &format!("pooled/{name}")).num_rows() == if form == "frames" { 3 + 13 + 8 + 5 } else { 4 }
        };
        all.filter(is_of).map(|name| format!("pooled/{name}")).collect::<Vec<_>>()
    };
    let framed = rows(&place, &name("frames")[0]);
    let counts = (0..4).map(|at| ids(&framed).iter().filter(|id| id.ends_with(&format!("k{at}"))).count());
    assert_eq!(counts.collect::<Vec<_>>(), [3, 13, 8, 5]);
    for (at, seconds) in lens.iter().enumerate() {
        place.write(&format!("true/{at}.wav"), tone(*seconds));
    }
    place.done("embed -c best -o true.parquet --frames true --progress off");
    place.done("embed -c best -o layers.parquet --layers true --progress off");
    assert_eq!(vectors(&framed), vectors(&rows(&place, "true.parquet")));
    let layers = vectors(&rows(&place, "layers.parquet"));
    assert!(name("clips").iter().any(|name| vectors(&rows(&place, name)) == layers));
    assert_eq!(layers[0].len(), 2 * crate::models::WIDTH);
}

#[test]
fn a_task_of_ones_own_has_the_scores_of_its_embeddings_made_elsewhere() {
    let place = place_with_model();
    let mut table = "path,label,fold\n".to_owned();
    for (at, (name, bytes, label)) in shipped().into_iter().enumerate() {
        place.write(&format!("sounds/{name}"), bytes);
        writeln!(table, "{name},{label},{}", at % 3 + 1).expect("a text");
    }
    place.write("sounds/kinds.csv", &table);
    place.write("sounds/listed.csv", table.replace("label,", "labels,"));
    let own = json(&place.done("eval -c best sounds/kinds.csv --cache kept --format json").out);
    place.done("embed -c best -o elsewhere/kinds.parquet sounds/listed.csv --progress off");
    place.done("embed -c best -o elsewhere2/kinds.npy sounds/listed.csv --progress off");
    let command = "eval --embeddings a=elsewhere --embeddings b=elsewhere2/kinds.npy --format json";
    let elsewhere = json(&place.done(command).out);
    let row = &own["models"][0]["tasks"][0];
    assert_eq!(row["scores"][1]["runs"].as_array().expect("runs").len(), 9, "three folds, three trainings");
    for model in [0, 1] {
        let other = &elsewhere["models"][model]["tasks"][0];
        assert_eq!((&other["task"], score(other, "knn")), (&row["task"], score(row, "knn")));
        assert!((score(other, "mlp") - score(row, "mlp")).abs() < 0.05);
    }
    let csv = place.done("eval -c best sounds/kinds.csv --cache kept --format csv").out;
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.lines().nth(1).expect("a line").starts_with("clean,best,kinds,1,accuracy,"), "{csv}");
    let table = place.done("eval -c best sounds/kinds.csv --cache kept").out;
    assert!(table.contains("kinds") && table.contains("95 %"), "{table}");
}

/// Runs of a probe about the first task of a model.
fn runs<'a>(model: &'a Value, probe: &str) -> &'a Vec<Value> {
    let scores = model["tasks"][0]["scores"].as_array().expect("scores");
    scores.iter().find(|score| score["probe"] == probe).expect("asked")["runs"].as_array().expect("runs")
}

#[test]
fn attention_and_all_layers_are_asked_on_demand_and_kept() {
    let place = place_with_task();
    let command = "eval -c name=best env --mode xares --seeds 2 --cache kept --format json --report judged.html";
    let probes = "--probe layers,attentive,mlp";
    let first = place.done(&format!("{command} {probes}"));
    let found = json(&first.out);
    let (model, row) = (&found["models"][0], &found["models"][0]["tasks"][0]);
    let order: Vec<&str> =
        row["scores"].as_array().expect("scores").iter().filter_map(|s| s["probe"].as_str()).collect();
    assert_eq!(order, ["mlp", "attentive", "layers"]);
    for probe in order {
        assert!((0.0..=1.0).contains(&score(row, probe)) && runs(model, probe).len() == 2, "{probe}: {row}");
    }
    // Two blocks: their shares, which add up to all, are near equal after so few steps, and are no others' business.
    for run in runs(model, "layers") {
        let shares: Vec<f64> = run["shares"].as_array().expect("shares").iter().filter_map(Value::as_f64).collect();
        assert!(shares.len() == 2 && (shares[0] + shares[1] - 1.0).abs() < 1e-6 && shares[0] != 0.5, "{shares:?}");
    }
    assert!(runs(model, "attentive").iter().all(|run| run["shares"].is_null()));
    let averaged: Vec<&Value> =
        model["averages"].as_array().expect("means").iter().map(|mean| &mean["probe"]).collect();
    assert_eq!(averaged, ["mlp"], "what X-ARES has no probe for enters no average");
    let page = std::fs::read_to_string(place.path("judged.html")).expect("a page");
    assert!(page.contains("Attention over frames") && page.contains("Mix of layers"));

    // Again: the same digits, and nothing is embedded. Nor is more than is asked for.
    let again = place.done(&format!("{command} {probes}"));
    assert_eq!(json(&again.out), found);
    assert!(!again.err.contains(" clips of train") && first.err.contains("layers of"), "{}", again.err);
    let n_kept = files(&place.path("kept")).len();
    let usual = place.done("eval -c best env --mode xares --cache other");
    assert!(!usual.out.contains("attentive") && !usual.out.contains("layers"), "{}", usual.out);
    assert_eq!(n_kept, 3 * files(&place.path("other")).len());
    let csv = place.done(&format!("eval -c best env --mode xares --cache kept --format csv {probes}")).out;
    assert!(csv.lines().count() == 4 && csv.contains(",attentive,0.") && csv.contains(",layers,0."), "{csv}");
    let table = place.done(&format!("eval -c best env --mode xares --cache kept {probes}")).out;
    let head: Vec<&str> = table.lines().nth(1).expect("a head").split_whitespace().collect();
    assert_eq!(head[5..], ["knn", "mlp", "attentive", "layers"], "{table}");
}

/// A column of a table of embeddings.
fn with_column(table: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| field.name().clone()).zip(table.columns().iter().cloned());
    let others = columns.filter(|(other, _)| other != name);
    RecordBatch::try_from_iter(others.chain([(name.to_owned(), values)])).expect("a table")
}

fn write_table(place: &Place, name: &str, table: &RecordBatch) {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, table.schema(), None).expect("a writer");
    writer.write(table).expect("rows");
    writer.close().expect("a file");
    place.write(name, bytes);
}

/// The embeddings that were kept of a task's splits, as one table with a column `split`.
fn kept_as_one(place: &Place, splits: &[&str]) -> RecordBatch {
    let kept = files(&place.path("kept"));
    let of_split = |split: &&str| {
        let name = kept.keys().find(|name| name.contains(&format!("/{split}-")) && !name.contains("clips"));
        let table = rows(place, &format!("kept/{}", name.expect("embeddings")));
        let column: StringArray = vec![Some(*split); table.num_rows()].into_iter().collect();
        with_column(&table, "split", Arc::new(column))
    };
    let parts: Vec<RecordBatch> = splits.iter().map(of_split).collect();
    concat_batches(parts[0].schema_ref(), &parts).expect("one table")
}

/// Frames of a task about frames, given as embeddings made elsewhere: with the events of the task, and with a row's own labels.
#[test]
fn frames_made_elsewhere_are_scored_as_ones_own() {
    let place = place_with_model();
    let events = [("Dog", 0.0, 1.0), ("Cat", 0.6, 2.9), ("Dog", 2.2, 3.0)];
    for (split, n) in [("train", 9), ("eval", 5)] {
        let sample = |at: usize| {
            let own: Vec<String> = events
                .iter()
                .skip(at % 3)
                .map(|(label, on, off)| format!(r#"{{"label": "{label}", "onset": {on}, "offset": {off}}}"#))
                .collect();
            (format!("k{at}"), "wav".to_owned(), tone(3.0 + 0.1 * at as f64), format!("[{}]", own.join(", ")))
        };
        let samples: Vec<_> = (0..n).map(sample).collect();
        place.write(&format!("env/desed/wds-audio-{split}-0.tar"), tar(&samples));
    }
    let own = json(&place.done("eval -c best env --cache kept --format json --probe mlp,attentive,layers").out);
    let row = &own["models"][0]["tasks"][0];
    assert!(row["notes"][0].as_str().expect("a note").contains("2 classes are there, the task has 10"), "{row}");
    assert!(row["notes"][1].as_str().expect("a note").contains("the task asks about frames"), "{row}");
    let frames = kept_as_one(&place, &["train", "test"]);
    write_table(&place, "theirs/desed.parquet", &frames);
    let command = "--embeddings theirs --format json --probe mlp";
    let theirs = json(&place.done(&format!("eval {command} env/desed")).out);
    let scores = |found: &Value| -> Vec<f64> {
        runs(&found["models"][0], "mlp").iter().filter_map(|run| run["score"].as_f64()).collect()
    };
    assert_eq!(scores(&theirs), scores(&own));
    assert!(scores(&own)[0] > 0.0, "{row}");

    // The same events frame by frame, in rows that say how far apart they are: 0.25 s.
    let mut labels = ListBuilder::new(StringBuilder::new());
    let ids = ids(&frames);
    for (at, id) in ids.iter().enumerate() {
        let first = ids.iter().position(|other| other == id).expect("itself");
        let skipped = id[id.len() - 1..].parse::<usize>().expect("a number") % 3;
        let frame = |seconds: f64| (seconds / 0.25).ceil() as usize;
        for (label, on, off) in events.iter().skip(skipped) {
            if (frame(*on)..frame(*off)).contains(&(at - first)) {
                labels.values().append_value(label);
            }
        }
        labels.append(true);
    }
    let labelled = with_column(&frames, "labels", Arc::new(labels.finish()));
    let hops: Float64Array = vec![0.25; labelled.num_rows()].into();
    let labelled = with_column(
        &with_column(&labelled, "hop_s", Arc::new(hops)),
        "offset_s",
        Arc::new(StringArray::from(vec!["?"; ids.len()])),
    );
    write_table(&place, "theirs/desed.parquet", &labelled);
    let by_rows = json(&place.done(&format!("eval {command}")).out);
    assert_eq!(scores(&by_rows), scores(&own));

    // No hop; a clip's rows apart; clips that the task does not know; a vector a clip.
    let n = labelled.num_rows();
    let order: Vec<u32> = (0..n as u32).rev().map(|at| (at * 7 + 3) % n as u32).collect();
    let apart = take_record_batch(&frames, &UInt32Array::from(order)).expect("rows");
    let renamed: StringArray = ids.iter().map(|id| Some(format!("x{id}"))).collect();
    let one_each: StringArray = (0..n).map(|at| Some(format!("c{at}"))).collect();
    let no_hop = with_column(&frames, "offset_s", Arc::new(StringArray::from(vec!["?"; n])));
    for (table, words) in [
        (no_hop, "hop_s"),
        (apart, "are apart"),
        (with_column(&frames, "clip_id", Arc::new(renamed)), "wds-audio-eval-0/k0"),
        (with_column(&frames, "clip_id", Arc::new(one_each)), "a row a frame"),
    ] {
        write_table(&place, "theirs/desed.parquet", &table);
        let ended = place.run(&format!("eval {command} env/desed"));
        assert!(ended.code == Some(2) && ended.err.contains(words), "{words}: {ended:?}");
    }
}

#[test]
fn frames_of_clips_made_elsewhere_are_attended_to_and_their_mean_is_the_clip() {
    let place = place_with_model();
    let mut table = "path,labels,split\n".to_owned();
    for (at, (name, bytes, label)) in shipped().into_iter().enumerate() {
        place.write(&format!("sounds/{name}"), bytes);
        writeln!(table, "{name},{label},{}", ["train", "test", "valid"][at % 3]).expect("a text");
    }
    place.write("sounds/kinds.csv", &table);
    let probes = "--probe knn,mlp,attentive,layers --seeds 1 --format json";
    let own = json(&place.done(&format!("eval -c best sounds/kinds.csv --cache kept {probes}")).out);
    place.done("embed -c best -o frames/kinds.parquet --frames sounds/kinds.csv --progress off");
    place.done("embed -c best -o clips/kinds.npy sounds/kinds.csv --progress off");
    let found = json(&place.done(&format!("eval --embeddings frames --embeddings clips/kinds.npy {probes}")).out);
    let [frames, clips] = [0, 1].map(|at| &found["models"][at]["tasks"][0]);
    let row = &own["models"][0]["tasks"][0];
    for probe in ["knn", "mlp"] {
        assert_eq!(score(frames, probe), score(clips, probe), "{probe}");
    }
    assert_eq!((score(frames, "attentive"), &frames["n_clips"]), (score(row, "attentive"), &row["n_clips"]));
    let notes = |row: &Value| row["notes"].to_string();
    assert!(notes(frames).contains("layers was not asked: embeddings made elsewhere have no layers"), "{frames}");
    assert!(notes(clips).contains("attentive was not asked: there is one vector a clip"), "{clips}");
}

/// What is kept of a task of one's own is for the audio that was there.
#[test]
fn other_audio_behind_the_same_table_is_embedded_anew() {
    let place = place_with_model();
    for at in 0..6 {
        place.write(&format!("sounds/{at}.wav"), tone(1.0 + 0.2 * f64::from(at)));
    }
    let row = |at: usize| format!("{at}.wav,{},{}\n", ["low", "high"][at % 2], ["train", "test"][at / 4]);
    place.write("sounds/tones.csv", format!("path,label,split\n{}", (0..6).map(row).collect::<String>()));
    let judge = || place.done("eval -c best sounds/tones.csv --cache kept --probe knn").err;
    let embedded = |err: &str| ["4 clips of train", "2 clips of test"].map(|words| err.contains(words));
    assert_eq!(embedded(&judge()), [true, true]);
    assert_eq!(embedded(&judge()), [false, false]);
    let before = vectors(&kept_as_one(&place, &["test"]));
    // As long as before, and another sound; only the split that it is of is embedded again.
    let mut other = tone(1.8);
    other[44..].reverse();
    place.write("sounds/4.wav", other);
    assert_eq!(embedded(&judge()), [false, true]);
    let kept = files(&place.path("kept"));
    let tests = kept.keys().filter(|name| name.contains("/test-") && !name.contains("clips"));
    let found: Vec<Vec<Vec<f32>>> = tests.map(|name| vectors(&rows(&place, &format!("kept/{name}")))).collect();
    assert!(found.len() == 2 && found.contains(&before) && found[0] != found[1]);
}

/// Thousands as pages write them.
fn counted(n: usize) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", n / 1000, n % 1000) }
}

/// Embeddings made elsewhere beside a TASK: its file alone is judged, and its clips alone.
#[test]
fn embeddings_are_judged_on_the_clips_of_the_task() {
    let place = place_with_model();
    for at in 0..8 {
        place.write(&format!("sounds/{at}.wav"), tone(1.0 + 0.2 * f64::from(at)));
    }
    let row = |at: usize| format!("{at}.wav,{},{}\n", ["low", "high"][at % 2], ["train", "test"][at / 4]);
    let table = |n: usize| format!("path,labels,split\n{}", (0..n).map(row).collect::<String>());
    place.write("sounds/tones.csv", table(8));
    place.write("sounds/few.csv", table(6));
    place.done("embed -c best -o all/tones.parquet sounds/tones.csv --progress off");
    place.done("embed -c best -o few/few.parquet sounds/few.csv --progress off");
    std::fs::copy(place.path("all/tones.parquet"), place.path("few/other.parquet")).expect("copied");
    let judge = |args: &str| place.done(&format!("eval {args} --probe knn --format json"));
    let alone = judge("--embeddings few");
    assert_eq!(json(&alone.out)["models"][0]["tasks"].as_array().expect("rows").len(), 2);
    // Two clips of the file are not in the task `few`; of the task `tones` the folder `few` has no file.
    std::fs::rename(place.path("all/tones.parquet"), place.path("all/few.parquet")).expect("renamed");
    let both = judge("--embeddings all --embeddings few sounds/few.csv sounds/tones.csv");
    assert!(both.err.contains("few: no TASK was named for other.parquet: left out"), "{}", both.err);
    let found = json(&both.out);
    let [all, few] = [0, 1].map(|at| &found["models"][at]["tasks"]);
    assert_eq!((&all[0]["n_clips"], &all[0]["scores"]), (&few[0]["n_clips"], &few[0]["scores"]));
    assert!(all[0]["notes"].to_string().contains("2 of 8 clips in its file are not in the task: left out"), "{all}");
    assert_eq!(few[0]["notes"].as_array().expect("notes").len(), 0, "{few}");
    assert!(few[1]["notes"].to_string().contains("not run: there is no file of it in few"), "{few}");
    place.write("sounds/bare.csv", "path,split\n0.wav,train\n1.wav,test\n");
    place.done("embed -c best -o bare.parquet sounds/bare.csv --progress off");
    let ended = place.run("eval --embeddings bare.parquet");
    assert!(ended.code == Some(1) && ended.err.contains("bare: labels of its clips: there are none"), "{ended:?}");
    let ended = place.run("eval --embeddings few/other.parquet sounds/few.csv");
    assert!(ended.code == Some(2) && ended.err.contains("a file is named as its task: few;"), "{ended:?}");
}

#[test]
fn what_is_no_task_is_refused_with_a_cure() {
    let place = place_with_model();
    place.write(
        "dup.csv",
        "path,labels,clip_id,split\na.wav,x,k,train\nb.wav,y,k,test\nc.wav,y,m,test\nd.wav,x,m,test\n",
    );
    place.write("late.csv", "path,labels,start,split\na.wav,x,0,train\nb.wav,y,0,test\nb.wav,y,soon,test\n");
    place.write("bare/kinds.npy", "no csv");
    place.write("birds.csv", "path,labels\na.wav,robin\n");
    place.write("bare.csv", "path,split\na.wav,train\nb.wav,test\n");
    place.write("half.csv", "path,labels,split\na.wav,robin,train\n");
    place.write("odd/kinds.npy", "no npy");
    place.write("odd/kinds.csv", "clip_id,label,fold\na,b,1\n");
    for (command, words) in [
        ("eval -c best", "there is no task"),
        ("eval -c best nowhere", "nowhere: there is no such"),
        ("eval -c best audio", "esc50"),
        ("eval -c best birds.csv", "--folds 5"),
        ("eval -c best bare.csv", "no column `labels`"),
        ("eval -c best half.csv", "train, of which no task can be made"),
        ("eval -c best half.csv --together 4", "--mode xares"),
        ("eval --embeddings odd", "np.save"),
        ("eval --embeddings bare", "there is no bare/kinds.csv beside it"),
        ("eval -c best dup.csv", "dup.csv:\n  row 4: clip_id \"m\" is that of row 3 too"),
        ("eval -c best late.csv", "late.csv:\n  row 3: start \"soon\" is not a number"),
        ("eval -c a=best --embeddings a=odd half.csv", "two models are named a: best and odd"),
        ("eval --embeddings audio", "esc50.parquet"),
        ("eval half.csv", "--checkpoint"),
    ] {
        let ended = place.run(command);
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        assert!(ended.err.contains(words), "{command}: {}", ended.err);
    }
}
