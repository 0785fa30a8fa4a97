//! `dataset audioset|fsd50k|esc50|xares|folder|refine|show` from end to end, on audio that plays.

use std::collections::BTreeMap;
use std::path::Path;

use ajepa_datasets::Manifest;
use ajepa_pipe::shard::ShardSet;
use arrow::array::AsArray;
use serde_json::Value;

use crate::program::{Place, clip_ids, root, small_clips};

/// What a column of texts says of each clip; `-` for nothing.
fn texts(manifest: &Path, column: &str) -> BTreeMap<String, String> {
    let frame = Manifest::read(manifest).expect("a manifest").into_frame();
    let of = |name: &str| -> Vec<String> {
        let column = frame.column(name).expect(name).str().expect("texts").clone();
        column.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
    };
    of("clip_id").into_iter().zip(of(column)).collect()
}

fn recipe(name: &str) -> String {
    root().join("datasets/recipes").join(name).display().to_string()
}

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(place.path(name)).expect("a report")).expect("JSON")
}

/// AudioSet in a folder: lists as their publisher writes them, and files as people name them.
fn audioset(place: &Place) {
    let clips = small_clips();
    place.write(
        "lists/eval_segments.csv",
        "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=7, num_segs=7, num_unique_labels=2\n\
         # YTID, start_seconds, end_seconds, positive_labels\n\
         00000000000, 30.000, 40.000, \"/m/04rlf\"\n\
         1e10aaaaaaa, 30.000, 40.000, \"/m/04rlf,/m/09x0r\"\n\
         -bcdefghijk, 0.000, 10.000, \"/m/09x0r\"\n\
         copycopycop, 0.000, 10.000, \"/m/04rlf\"\n\
         emptyempty0, 0.000, 10.000, \"/m/04rlf\"\n\
         notheldhere, 0.000, 10.000, \"/m/04rlf\"\n\
         silentsilen, 0.000, 10.000, \"/m/04rlf\"\n",
    );
    place.write(
        "lists/ontology.json",
        r#"[{"id": "/m/04rlf", "name": "Music", "child_ids": []}, {"id": "/m/09x0r", "name": "Speech", "child_ids": []}]"#,
    );
    let (first, second, third) = (&clips[0], &clips[1], &clips[2]);
    place.write(&format!("audio/00/00000000000.{}", first.0), &first.1);
    place.write(&format!("audio/1e/1e10aaaaaaa_30.{}", second.0), &second.1);
    place.write(&format!("audio/-b/Y-bcdefghijk.{}", third.0), &third.1);
    place.write(&format!("audio/co/some title [copycopycop].{}", first.0), &first.1);
    place.write("audio/em/emptyempty0.wav", "");
    place.write("audio/si/silentsilen.wav", crate::scan::wav(&vec![0; 32_000], 16_000, 1));
    place.write(&format!("audio/un/somethingelse.{}", third.0), &third.1);
}

#[test]
fn audioset_as_people_hold_it_becomes_verified_shards_in_one_command() {
    let place = Place::new();
    audioset(&place);
    let command = format!(
        "dataset audioset lists --audio audio -o made/eval.parquet --split eval --report page.html --report counts.json --then {} \
         --set stages.shards.path=out/eval --progress plain",
        recipe("audioset_base-2026.yaml")
    );
    let ended = place.done(&command);
    let all = place.path("made/eval.all.parquet");
    let found = texts(&all, "reason");
    let wanted = [
        ("-bcdefghijk", "-"),
        ("00000000000", "-"),
        ("1e10aaaaaaa", "-"),
        ("copycopycop", "-"),
        ("emptyempty0", "empty"),
        ("notheldhere", "not_held"),
        ("silentsilen", "silent"),
    ];
    assert_eq!(found, wanted.map(|(id, reason)| (id.to_owned(), reason.to_owned())).into());
    assert_eq!(texts(&all, "duplicate_of")["copycopycop"], "00000000000");
    let total = &json(&place, "counts.json")["total"];
    for (name, n) in
        [("wanted", 7), ("found", 6), ("usable", 4), ("missing", 1), ("corrupt", 1), ("silent", 1), ("duplicate", 1)]
    {
        assert_eq!(total[name], n, "{name}: {total}");
    }
    let held = &json(&place, "counts.json")["held"];
    assert_eq!((&held["files"], &held["unwanted"]), (&7.into(), &1.into()), "{held}");
    let page = std::fs::read_to_string(place.path("page.html")).expect("a page");
    for words in ["7 clips wanted", "Splits", "near dup", "Music / eval", "Lengths", "copycopycop"] {
        assert!(page.contains(words), "{words}");
    }

    // The graph ran over what can be used, with its labels, and what it wrote was verified.
    let shards = place.path("out/eval");
    let mut ids = clip_ids(&shards);
    ids.sort();
    assert_eq!(ids, ["-bcdefghijk", "00000000000", "1e10aaaaaaa", "copycopycop"]);
    assert!(ended.out.contains("checked: whole"), "{}", ended.out);
    let set = ShardSet::open(&shards).expect("shards");
    let rows = set.part(0).expect("a part").batches().next().expect("rows").expect("rows");
    let labels = rows.column_by_name("label_names").expect("names of labels").as_list::<i32>();
    assert!(
        (0..rows.num_rows()).any(|row| labels.value(row).as_string::<i32>().iter().eq([Some("Music"), Some("Speech")]))
    );

    // Again: nothing is decoded, nothing changes, wherever it is run from.
    let before = std::fs::read(&all).expect("a manifest");
    let again = place.done(&command);
    assert!(again.err.contains("nothing to do") || again.out.contains("nothing to do"), "{again:?}");
    assert!(std::fs::read(&all).expect("a manifest") == before);
}

#[test]
fn lists_at_fault_and_splits_that_are_not_there_are_refused_before_anything_is_decoded() {
    let place = Place::new();
    audioset(&place);
    let ended = place.run("dataset audioset lists --audio audio --split evaluation -o x.parquet");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no split \"evaluation\"") && ended.err.contains("there are eval"), "{}", ended.err);
    place.write("lists/eval_segments.csv", "# x\n00000000000, 30.000, 40.000, \"/m/04rlf\"\nbad line\n");
    let ended = place.run("dataset audioset lists --audio audio -o x.parquet");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("eval_segments.csv") && ended.err.contains("line 3"), "{}", ended.err);
    for (command, words) in [
        ("dataset audioset nowhere -o x.parquet", "nowhere"),
        ("dataset esc50 nowhere -o x.parquet", "esc50.csv"),
        ("dataset xares nothing tars -o x.parquet", "no task of X-ARES"),
        ("dataset folder audio -o x.all.parquet", "NAME.parquet"),
        ("dataset folder audio -o x.parquet --then nowhere.yaml", "nowhere.yaml"),
        ("dataset refine lists/ontology.json --balanced -o x.parquet", "ontology.json"),
    ] {
        let ended = place.run(command);
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        assert!(ended.err.contains(words), "{command}: {}", ended.err);
    }
    assert!(!place.path("x.scan.parquet").exists());
}

#[test]
fn members_of_tars_are_run_where_they_lie() {
    let place = Place::new();
    let mut tar = tar::Builder::new(Vec::new());
    let clips = small_clips();
    for (number, (extension, bytes)) in clips.iter().take(5).enumerate() {
        let mut add = |name: String, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).expect("packs");
        };
        add(format!("{number:04}.{extension}"), bytes);
        add(format!("{number:04}.json"), format!(r#"{{"label": {number}}}"#).as_bytes());
    }
    place.write("env/esc50/wds-audio-fold-2-000000.tar", tar.into_inner().expect("a tar"));
    place.done("dataset xares esc50 env/esc50 -o made/task.parquet --progress off");
    let all = place.path("made/task.all.parquet");
    assert!(texts(&all, "split").values().all(|split| split == "fold2"));
    assert!(texts(&all, "status").values().all(|status| status == "ok"), "{:?}", texts(&all, "detail"));
    assert_eq!(texts(&all, "member").len(), 5);

    let graph = |source: &str, out: &str| {
        format!(
            "pipeline: t\nstages:\n  - {{ id: clips, {source} }}\n  - {{ type: decode }}\n  - {{ type: resample, rate_hz: 16000 }}\n  \
             - {{ id: mel, type: log_mel, preset: base-2026 }}\n  - {{ type: sink_shards, path: {out}, dtype: f32 }}\n"
        )
    };
    place.write("manifest.yaml", graph("type: source_manifest, path: made/task.parquet", "out/manifest"));
    place.write("tar.yaml", graph("type: source_webdataset, path: env/esc50", "out/tar"));
    place.done("run manifest.yaml --progress off");
    place.done("run tar.yaml --progress off");
    let pictures = |out: &str| -> BTreeMap<String, Vec<f32>> {
        let set = ShardSet::open(place.path(out)).expect("shards");
        let rows = set.part(0).expect("a part").batches().next().expect("rows").expect("rows");
        let mel = rows.column_by_name("mel").expect("mel").as_fixed_size_list();
        let ids = rows.column_by_name("clip_id").expect("names").as_string::<i32>();
        let picture = |row: usize| mel.value(row).as_primitive::<arrow::datatypes::Float32Type>().values().to_vec();
        (0..rows.num_rows()).map(|row| (ids.value(row).to_owned(), picture(row))).collect()
    };
    assert_eq!(pictures("out/manifest").len(), 5);
    assert!(pictures("out/manifest") == pictures("out/tar"));

    // A member that is gone costs its clip, under a reason; a link is none.
    place.write("clips.csv", "path,member\nenv/esc50/wds-audio-fold-2-000000.tar,0001.nothing\n");
    place.write("gone.yaml", graph("type: source_manifest, path: clips.csv", "out/gone"));
    let (ended, report) = place.report("gone.yaml --set on_error.policy=quarantine");
    assert_eq!(
        report.reject_counts.iter().map(|(_, reason, n)| (reason.as_str(), *n)).collect::<Vec<_>>(),
        [("missing", 1)],
        "{ended:?}"
    );
}

#[test]
fn a_folder_is_labelled_by_its_paths_and_split_without_leaks() {
    let place = Place::new();
    for (number, (extension, bytes)) in small_clips().iter().enumerate() {
        let label = if number % 2 == 0 { "even" } else { "odd" };
        place.write(&format!("own/{label}/{number:03}.{extension}"), bytes);
    }
    // The same recording once more, under another label: both go to one side.
    let (extension, bytes) = &small_clips()[0];
    place.write(&format!("own/odd/again.{extension}"), bytes);
    place.done("dataset folder own --label-part 1 --into train=0.5,valid=0.5 --seed 3 --balanced -o own.parquet --progress off");
    let splits = texts(&place.path("own.all.parquet"), "split");
    assert_eq!(splits["even/000"], splits["odd/again"]);
    assert!(splits.values().any(|split| split == "train") && splits.values().any(|split| split == "valid"));
    let frame = Manifest::read(&place.path("own.parquet")).expect("a manifest").into_frame();
    let weights: f64 = frame.column("weight").expect("weights").f64().expect("numbers").iter().flatten().sum();
    assert!((weights - 2.0).abs() < 1e-9, "two labels, each as often: {weights}");
    let shown = place.done("dataset show own.all.parquet");
    assert!(shown.out.contains("train") && !shown.out.contains("both sides"), "{}", shown.out);

    // A list of rejects and copies are left out, with the reason; paths still lead to the files from another folder.
    place.write("gone.csv", "");
    place.done("dataset refine own.all.parquet --drop-duplicates --folds 3 -o elsewhere/own.parquet");
    let refined = place.path("elsewhere/own.all.parquet");
    assert_eq!(texts(&refined, "reason")["odd/again"], "duplicate");
    let path = &texts(&refined, "path")["even/000"];
    assert!(Path::new(path).is_absolute() && Path::new(path).exists(), "{path}");
    let ended = place.run("dataset refine own.all.parquet -o x.parquet");
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn loose_files_beside_and_above_tars_are_all_read() {
    let place = Place::new();
    let clips = small_clips();
    let packed = |name: &str, bytes: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).expect("packs");
        tar.into_inner().expect("a tar")
    };
    place.write(&format!("audio/loose.{}", clips[0].0), &clips[0].1);
    place.write(&format!("audio/deep/down.{}", clips[1].0), &clips[1].1);
    place.write("audio/shard.tar", packed(&format!("in_tar.{}", clips[2].0), &clips[2].1));
    place.write("audio/deep/other.tar", packed(&format!("in_other.{}", clips[3].0), &clips[3].1));
    for _ in 0..2 {
        // Its own tables, beside the audio, are no audio.
        place.done("dataset scan audio -o audio/scan.parquet --report scan.json --progress off");
        assert_eq!(json(&place, "scan.json")["clips"], 4);
    }
}

#[test]
fn a_manifest_is_written_over_nothing_but_a_manifest() {
    let place = Place::new();
    audioset(&place);
    place.write("other.parquet", "hello");
    std::fs::create_dir(place.path("folder.parquet")).expect("a folder");
    for (name, words) in [("other", "is no manifest"), ("folder", "is a folder")] {
        let ended = place.run(&format!("dataset audioset lists --audio audio -o {name}.parquet"));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(words), "{}", ended.err);
        assert!(!place.path(&format!("{name}.scan.parquet")).exists());
    }
    place.done("dataset audioset lists --audio audio -o audio/a.parquet --progress off");
    place.done("dataset audioset lists --audio audio -o audio/a.parquet --progress off");
    let ended = place.run("dataset refine audio/a.all.parquet --sample 1 -o audio/a.parquet");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("is what is read"), "{}", ended.err);
    place.done("dataset refine audio/a.all.parquet --sample 1 -o b.parquet");
    let reasons = texts(&place.path("b.all.parquet"), "reason");
    assert_eq!(reasons.values().filter(|reason| *reason == "not_sampled").count(), 3, "{reasons:?}");
    let ended = place.run("dataset refine audio/a.all.parquet --of evil --folds 2 -o c.parquet");
    assert!(ended.code == Some(2) && ended.err.contains("evil") && ended.err.contains("eval"), "{ended:?}");
}

#[test]
fn a_shard_of_which_nothing_is_left_is_a_shard() {
    let place = Place::new();
    audioset(&place);
    place.done("dataset audioset lists --audio audio -o a.parquet --progress off");
    std::fs::rename(place.path("audio/00"), place.path("gone")).expect("moves");
    place.write(
        "graph.yaml",
        "pipeline: t\nstages:\n  - { id: clips, type: source_manifest, path: a.parquet }\n  - { type: decode }\n  \
         - { type: resample, rate_hz: 16000 }\n  - { type: log_mel, preset: base-2026 }\n  - { type: sink_shards, path: out/a }\n\
         on_error: { policy: quarantine, max_fraction: 1.0 }\nresources: { clips_per_shard: 1 }\n",
    );
    place.done("run graph.yaml --progress off");
    assert_eq!(clip_ids(&place.path("out/a")).len(), 3);
}

#[test]
fn names_alone_make_a_manifest_too() {
    let place = Place::new();
    audioset(&place);
    place.done("dataset audioset lists --audio audio --unchecked -o quick.parquet --report quick.html");
    let statuses = texts(&place.path("quick.all.parquet"), "status");
    assert_eq!(statuses.values().filter(|status| *status == "unchecked").count(), 6);
    assert!(!place.path("quick.scan.parquet").exists());
    assert!(std::fs::read_to_string(place.path("quick.html")).expect("a page").contains("7 clips wanted"));
    // Only archives are known by their names alone: files of one name may be named side by side.
    let (extension, bytes) = &small_clips()[0];
    place.write(&format!("other/00000000000.{extension}"), bytes);
    let both = format!("--audio audio/00/00000000000.{extension} --audio other/00000000000.{extension}");
    place.done(&format!("dataset audioset lists {both} --unchecked -o two.parquet"));
}

#[test]
fn every_recipe_is_sound() {
    let place = Place::new();
    let mut n = 0;
    for entry in std::fs::read_dir(root().join("datasets/recipes")).expect("recipes") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            place.done(&format!("check {}", path.display()));
            n += 1;
        }
    }
    assert!(n >= 6, "{n}");
}
