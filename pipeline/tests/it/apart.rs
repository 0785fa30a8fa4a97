//! No sink writes where another stage of the graph reads or writes.

use crate::program::Place;

const MAKE: &str = "
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { id: mel, type: log_mel, preset: base-2026 }
  - { type: sink_shards, path: out }
";

const AGAIN: &str = "
stages:
  - { id: shards, type: source_shards, path: out, shape: [SHAPE], axes: [mels, frames] }
  - { type: standardize, mode: clip }
  - { type: sink_shards, path: link }
";

#[test]
fn a_graph_may_not_write_the_folder_it_reads_by_another_name() {
    let place = Place::new();
    place.copies(2);
    place.write("make.yaml", MAKE);
    place.done("run make.yaml --progress off");
    let shown = place.done("inspect out").out;
    let shape = shown.split("f16[").nth(1).and_then(|rest| rest.split(']').next()).expect("a shape");
    let lens: Vec<&str> = shape.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).collect();
    place.write("again.yaml", AGAIN.replace("SHAPE", &lens.join(", ")));
    std::os::unix::fs::symlink("out", place.path("link")).expect("a link");
    let before = crate::program::files(&place.path("out"));
    let ended = place.run("run again.yaml --progress off");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let said = ["sink_shards", "folder of `shards` too", "help: give the sink a folder of its own"];
    assert!(said.iter().all(|words| ended.err.contains(words)), "{}", ended.err);
    crate::program::assert_same(&before, &crate::program::files(&place.path("out")), "refused");
    // The same graph with a folder of its own runs: it is the folder that is refused.
    place.done("run again.yaml --progress off --set stages.sink_shards.path=other");
}
