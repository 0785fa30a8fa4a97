//! A unit that hangs fails its job by name, and takes no more along than its slot.

use std::process::Command;

use super::lan::{Lan, Process};
use crate::program::{Place, assert_same, files};

/// 3,000 clips in one unit: seconds of work.
const SLOW: &str = "
pipeline: slow
stages:
  - { id: clips, type: source_manifest, path: clips.csv }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 2, frames: 128, n_mels: 64 }
  - { type: sink_shards, path: out, dtype: f16 }
resources: { clips_per_shard: 3000, memory: 256MiB }
";

/// That graph over one file, again and again.
fn place() -> Place {
    let place = Place::new();
    place.copies(1);
    let file = files(&place.path("audio")).into_keys().next().expect("a clip");
    let rows = (0..3000).map(|n| format!("c{n:04},audio/{file}\n"));
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
        ["on host0, unit 0: ", " of 3000 clips are through its first stage, the next are c", "not done in 500ms"];
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
    // Where this executor runs, the list is a pipe that nobody writes to: to open it takes for ever.
    std::fs::create_dir(place.path("elsewhere")).expect("a folder");
    let made = Command::new("mkfifo").arg(place.path("elsewhere/clips.csv")).status().expect("mkfifo");
    assert!(made.success());
    let mut lan = Lan::new(&place, 0, "");
    let args = format!("cluster executor --scheduler {} --slots 1 --name odd --unit-limit 1s", lan.url);
    lan.joins(Process::start_in(&place, "odd", &args, &place.path("elsewhere")));
    let ended = place.run(&lan.run(""));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words = "on odd, unit 0: the sources of the graph are not listed yet; not done in 1s";
    assert!(ended.err.contains(words), "{ended:?}");
    let odd = lan.executors[0].ended();
    assert_eq!(odd.code, Some(1), "{odd:?}");
    assert!(odd.err.contains("taken by something that hangs"), "{odd:?}");
    // The scheduler knows that it is gone: another does the work.
    lan.executor(&place);
    let again = place.done(&lan.run(""));
    assert!(again.err.contains("for 1 places") && again.out.contains("3,000 rows in 1 shard"), "{again:?}");
}
