//! `where:` of sources.

use crate::program::{Place, clip_ids, sample};
use crate::{load, load_with};

fn graph(source: &str) -> String {
    format!(
        "pipeline: chosen
stages:
  - {{ id: clips, {source} }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 16000 }}
  - {{ type: crop, seconds: 1 }}
  - {{ id: mel, type: log_mel, rate_hz: 16000, seconds: 1, frames: 64, n_mels: 32 }}
  - {{ type: sink_shards, path: out/mel }}
on_error: {{ policy: quarantine, max_fraction: 0.5 }}
"
    )
}

fn place() -> Place {
    let place = Place::new();
    let table = "path,labels,year\n\
                 notes/brass.flac,Music;Brass,2001\n\
                 notes/bass.flac,Music;Bass,\n\
                 drums/hat.wav,Drum,2003\n\
                 drums/tom.wav,Music;Drum,1999\n\
                 speech/en_1.flac,,2010\n";
    place.write("clips.csv", table);
    place
}

fn chosen(place: &Place, condition: &str, more: &str) -> Vec<String> {
    let root = sample();
    let source =
        format!("type: source_manifest, path: clips.csv, root: {}, where: \"{condition}\"{more}", root.display());
    place.write("graph.yaml", graph(&source));
    place.done("run graph.yaml --progress off --fresh");
    clip_ids(&place.path("out/mel"))
}

#[test]
fn a_condition_chooses_clips_and_null_is_no() {
    let place = place();
    assert_eq!(chosen(&place, "array_has(labels, 'Music')", ""), ["notes/brass", "notes/bass", "drums/tom"]);
    assert_eq!(chosen(&place, "cast(year AS int) >= 2001", ""), ["notes/brass", "drums/hat", "speech/en_1"]);
    assert_eq!(chosen(&place, "NOT array_has(labels, 'Music')", ""), ["drums/hat"]);
    assert_eq!(
        chosen(&place, "source LIKE 'drums/%' OR labels IS NULL", ""),
        ["drums/hat", "drums/tom", "speech/en_1"]
    );
    // Chosen first, counted then.
    assert_eq!(chosen(&place, "array_has(labels, 'Drum')", ", limit: 1"), ["drums/hat"]);
}

#[test]
fn classes_below_a_class_are_chosen_by_the_ontology_beside_the_table() {
    let place = place();
    place.write(
        "ontology.json",
        r#"[{"id":"/m/1","name":"Percussion","child_ids":["/m/2"]},{"id":"/m/2","name":"Drum"}]"#,
    );
    let drums = chosen(&place, "array_has_any(labels, under_names('Percussion'))", "");
    assert_eq!(drums, ["drums/hat", "drums/tom"]);
}

#[test]
fn a_folder_can_be_chosen_from_and_the_fingerprint_knows() {
    let place = Place::new();
    let source = |condition: &str| {
        graph(&format!("type: source_folder, path: {}, labels: parent_dir{condition}", sample().display()))
    };
    place.write("graph.yaml", source(", where: \"array_has(labels, 'drums') AND clip_id LIKE '%beat%'\""));
    place.done("run graph.yaml --progress off");
    assert_eq!(clip_ids(&place.path("out/mel")), ["drums/beat_a", "drums/beat_b"]);
    let hex = |text: &str| {
        let graph = crate::good(text);
        graph.fingerprint(graph.sinks()[0]).hex
    };
    let all = [source(""), source(", where: \"true\""), source(", where: \"clip_id = 'x'\"")].map(|text| hex(&text));
    assert!(all[0] != all[1] && all[1] != all[2], "{all:?}");
}

#[test]
fn what_is_wrong_with_a_condition_is_told_before_anything_runs() {
    let cases = [
        ("array_has(lables, 'x')", "source_folder", "did you mean `labels`?"),
        ("duration_s", "source_manifest", "neither true nor false"),
        ("duration_s >", "source_manifest", "Expected"),
        ("count(*) > 1", "source_manifest", "a function of many rows"),
        ("random() < 0.5", "source_manifest", "something else every time"),
        ("clip_id IN (SELECT clip_id FROM other)", "source_manifest", "asks other tables"),
        ("EXISTS (SELECT 1)", "source_manifest", "asks other tables"),
        ("duration_s > 'ten'", "source_folder", "ten"),
        ("true; DROP TABLE x", "source_manifest", ""),
        ("", "source_manifest", "empty"),
    ];
    for (condition, kind, words) in cases {
        let text = graph(&format!("type: {kind}, path: x.csv, where: \"{condition}\""));
        match load(&text) {
            Ok(_) => assert!(condition.contains("'ten'"), "{condition} is not refused"),
            Err(errors) => {
                let shown = errors.to_string();
                assert!(shown.contains("clips.where") && shown.contains(words), "{condition}: {shown}");
                assert_eq!(errors.position(&errors.faults()[0]).1.expect("a place").0, 3, "{shown}");
            }
        }
    }
    // A column that only the table knows is proven when the table is read.
    let text = graph("type: source_manifest, path: clips.csv, where: \"yeer = '2001'\"");
    assert!(load(&text).is_ok());
    assert!(load_with(&text, &["stages.clips.where=count(1) = 1"]).is_err());
    let place = place();
    place.write("graph.yaml", &text);
    let ended = place.run("run graph.yaml --progress off");
    assert!(ended.code != Some(0) && ended.err.contains("did you mean `year`?"), "{ended:?}");
    place.write("graph.yaml", graph("type: source_manifest, path: clips.csv, where: \"year = '1850'\""));
    let ended = place.run("run graph.yaml --progress off");
    assert!(ended.code != Some(0) && ended.err.contains("true of none of 5 clips"), "{ended:?}");
}
