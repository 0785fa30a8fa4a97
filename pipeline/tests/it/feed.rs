//! `bench` of a folder of shards: what a user sees of the feed.

use crate::program::Place;

const GRAPH: &str = "
pipeline: fed
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { id: mel, type: log_mel, preset: base-2026 }
  - { type: sink_shards, path: out }
";

#[test]
fn bench_of_shards_shows_how_they_feed() {
    let place = Place::new();
    place.copies(6);
    place.write("graph.yaml", GRAPH);
    place.done("run graph.yaml");
    let said = place.done("bench out --jobs 2").out;
    let lines = ["out: 6 clips of f16[128 mels x 256 frames], 384.0 KiB", "first epoch", "1 worker", "2 workers"];
    for line in lines.into_iter().chain(["trainer on an H100", "a bare copy of the same rows takes"]) {
        assert!(said.contains(line), "no {line:?} in:\n{said}");
    }
    assert!(said.contains("masks drawn") && !said.contains("NaN"), "{said}");
    let refused = place.run("bench out --set seed=1");
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    // A page of the shard rots: the bench says so, and which clip.
    let mut bytes = std::fs::read(place.path("out/part-00000.arrow")).expect("a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.write("out/part-00000.arrow", bytes);
    let damaged = place.run("bench out");
    assert_eq!(damaged.code, Some(1));
    assert!(damaged.err.contains("part-00000.arrow: bytes 0..") && damaged.err.contains("(checksum)"), "{damaged:?}");
}
