//! A unit that hangs fails its job by name, and takes no more along than its slot.

use super::lan::Lan;
use crate::program::{Place, assert_same, files};

/// 8,000 clips in one unit: seconds of work.
const SLOW: &str = "
pipeline: slow
stages:
  - { id: clips, type: source_manifest, path: clips.csv }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 2, frames: 128, n_mels: 64 }
  - { type: sink_shards, path: out, dtype: f16 }
resources: { clips_per_shard: 8000, memory: 256MiB }
";

/// That graph over one file, again and again.
fn place() -> Place {
    let place = Place::new();
    place.copies(1);
    let file = files(&place.path("audio")).into_keys().next().expect("a clip");
    let rows = (0..8000).map(|n| format!("c{n:04},audio/{file}\n"));
    place.write("clips.csv", format!("clip_id,path\n{}", rows.collect::<String>()));
    place.write("graph.yaml", SLOW);
    place
}

#[test]
fn a_unit_over_its_limit_fails_the_job_by_name_and_keeps_its_slot_until_it_ends() {
    let place = place();
    let mut lan = Lan::new(&place, 0, "");
    lan.executor_with(&place, &format!("--scheduler {} --slots 2 --unit-limit 500ms", lan.url));
    let ended = place.run(&lan.run(""));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words =
        ["on host0, unit 0: ", " of 8000 clips are through its first stage, the next are c", "not done in 500ms"];
    assert!(words.iter().all(|words| ended.err.contains(words)) && ended.err.contains("--unit-limit"), "{ended:?}");
    // The other slot is of use at once, and this one when the unit has ended, which nothing has torn.
    let small = "--set stages.sink_shards.path=small --set stages.clips.limit=6 --set resources.clips_per_shard=2";
    place.done(&lan.run(small));
    lan.executors[0].says("it has ended after all, and its slot is of use again");
    place.done(&lan.run(&format!("{small} --fresh")));
    place.done("run graph.yaml --progress off --set stages.sink_shards.path=local");
    place.done("run graph.yaml --progress off");
    assert_same(&files(&place.path("local")), &files(&place.path("out")), "a unit that was late");
}

#[test]
fn an_executor_whose_every_slot_hangs_tells_of_it_and_ends() {
    let place = place();
    let mut lan = Lan::new(&place, 0, "");
    lan.executor_with(&place, &format!("--scheduler {} --slots 1 --unit-limit 500ms", lan.url));
    let ended = place.run(&lan.run(""));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("on host0, unit 0: ") && ended.err.contains("not done in 500ms"), "{ended:?}");
    let gone = lan.executors[0].ended();
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("taken by something that hangs"), "{gone:?}");
    // The scheduler knows that it is gone: another does the work.
    lan.executor(&place);
    let again = place.done(&lan.run(""));
    assert!(again.err.contains("for 1 places") && again.out.contains("8,000 rows in 1 shard"), "{again:?}");
}
