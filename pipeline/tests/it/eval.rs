//! `eval` from end to end: a task of X-ARES in its tars, a task of one's own, embeddings made elsewhere; what is kept, what is refused.

use serde_json::Value;
use std::fmt::Write as _;

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
        ["cremad", "Trained layer", "Published", "dasheng", "could not be used"]
            .iter()
            .all(|words| page.contains(words))
    );

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

#[test]
fn what_is_no_task_is_refused_with_a_cure() {
    let place = place_with_model();
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
        ("eval --embeddings audio", "esc50.parquet"),
        ("eval half.csv", "--checkpoint"),
    ] {
        let ended = place.run(command);
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        assert!(ended.err.contains(words), "{command}: {}", ended.err);
    }
}
