//! SQL through the program, over shards that the program has made.

mod answers;
mod conditions;
mod hostile;

use crate::program::{Ended, Place, sample};

/// The shipped clips as pictures: 45 rows in three parts of some megabytes, labels are the names of their folders.
const GRAPH: &str = "
pipeline: asked
stages:
  - { id: clips, type: source_folder, path: SAMPLE, labels: parent_dir }
  - { type: decode }
  - { type: resample, rate_hz: 32000 }
  - { type: normalize, preset: code-225b816 }
  - { type: crop, seconds: 10 }
  - { id: mel, type: log_mel, preset: code-225b816 }
  - { type: sink_shards, path: out/mel, dtype: f32 }
resources: { clips_per_shard: 16, memory: 256MiB }
";

/// A place with `out/mel` and the `report.json` of the run that made it.
fn place() -> Place {
    let place = Place::new();
    place.write("graph.yaml", GRAPH.replace("SAMPLE", sample().to_str().expect("UTF-8")));
    place.done("run graph.yaml --progress off --report report.json");
    place
}

/// `query` with these options, parted by blanks, and this statement.
fn ask(place: &Place, options: &str, sql: &str) -> Ended {
    Ended::of(&place.command(&format!("query {options}")).arg(sql).output().expect("the program starts"))
}

/// The answer in CSV, without its header.
fn rows(place: &Place, options: &str, sql: &str) -> Vec<String> {
    let ended = ask(place, &format!("{options} --format csv"), sql);
    assert_eq!(ended.code, Some(0), "{sql}: {ended:?}");
    ended.out.lines().skip(1).map(str::to_owned).collect()
}
