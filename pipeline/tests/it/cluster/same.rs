//! The same bytes on one machine, in parts, and on a cluster.

use ajepa_pipe::report::RunReport;

use super::lan::Lan;
use crate::program::{Place, assert_same, files};
use crate::promises::SEEDED;

#[test]
fn a_cluster_makes_the_shards_of_one_machine_and_of_parts() {
    let place = Place::new();
    place.copies(60);
    place.write("audio/torn.flac", b"not audio");
    place.write("graph.yaml", format!("{SEEDED}on_error: {{ max_fraction: 0.1 }}\n"));
    let local = place.done("run graph.yaml --progress off --set stages.sink_shards.path=local");
    for part in 1..=3 {
        place.done(&format!("run graph.yaml --progress off --part {part}/3 --set stages.sink_shards.path=parts"));
    }
    let lan = Lan::new(&place, 2, "");
    let ended = place.done(&lan.run("--report report.json --report report.html"));
    let (one, out) = (files(&place.path("local")), files(&place.path("out")));
    assert_eq!(one.keys().filter(|name| name.starts_with("part-")).count(), 16);
    assert_same(&one, &out, "a cluster");
    assert_same(&one, &files(&place.path("parts")), "parts");
    assert_eq!(one["manifest.json"], out["manifest.json"]);
    // The report is that of a run here: counts, rejects, progress.
    let report: RunReport = serde_json::from_slice(&std::fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!((report.end.clips_done, report.end.clips_total, report.end.units_done), (61, 61, 16));
    assert_eq!((report.end.rejects, report.end.jobs, report.outcome.as_str()), (1, 2, "done"));
    assert_eq!((report.units.len(), report.units.iter().map(|row| row.rows).sum::<u64>()), (16, 60));
    assert!(report.units.iter().any(|row| row.host == "host0") && ended.out.contains("host1: "), "{ended:?}");
    assert_eq!(report.reject_counts.len(), 1, "{:?}", report.reject_counts);
    let first = |text: &str| text.lines().next().unwrap_or_default().replace("local", "out");
    assert_eq!(first(&local.out), first(&ended.out), "{ended:?}");
    assert!(ended.err.contains("units in") && ended.err.contains("for 2 places"), "{}", ended.err);
    // Both have worked, and there is nothing left to do: no scheduler is asked.
    let again = place.done(&lan.run(""));
    assert!(again.out.contains("nothing to do"), "{again:?}");
    drop(lan);
    assert!(place.done("run graph.yaml --cluster df://127.0.0.1:1").out.contains("nothing to do"));
    // Nor is there for a run on this machine, and a changed graph is a new generation, whoever makes it.
    assert!(place.done("run graph.yaml --progress off").out.contains("nothing to do"));
}

#[test]
fn a_changed_graph_and_fresh_are_new_generations_on_a_cluster_too() {
    let place = Place::new();
    place.copies(12);
    place.write("graph.yaml", SEEDED);
    let lan = Lan::new(&place, 1, "");
    place.done(&lan.run(""));
    let first = files(&place.path("out"));
    let fresh = place.done(&lan.run("--fresh"));
    assert!(fresh.out.contains("made afresh"), "{fresh:?}");
    let changed = place.done(&lan.run("--set seed=12"));
    assert!(changed.out.contains("seed: 11 -> 12"), "{changed:?}");
    let out = files(&place.path("out"));
    for unit in 0..3 {
        let part = |generation: &str| &out[&format!("part-{generation}{unit:05}.arrow")];
        assert_eq!(part(""), &first[&format!("part-{unit:05}.arrow")], "kept");
        assert_eq!(part("g002-"), part(""), "made afresh, the same");
        assert_ne!(part("g003-"), part(""), "another seed");
    }
}
