//! `sink_shards` and `source_shards` as a graph uses them.

use arrow::array::AsArray;

use super::*;
use crate::stage::{BuildCx, BuildError, Source, Stage, StageConfig};
use crate::stages::sink_shards::SinkShardsConfig;
use crate::stages::source_shards::SourceShardsConfig;

fn build(config: &dyn StageConfig, inputs: &[Schema]) -> Result<Stage, BuildError> {
    let plan = config.plan(inputs).unwrap();
    let output = plan.output.or(plan.stored).unwrap();
    let cx = BuildCx {
        id: "shards",
        inputs,
        output: &output,
        seed: 0,
        clips_per_unit: 100,
        clip_cap_bytes: 1 << 20,
        fail: true,
    };
    config.build(&cx)
}

fn source(dir: &Path, more: &str) -> Result<Box<dyn Source>, BuildError> {
    let yaml = format!("{{ path: {:?}, shape: [64, 96]{more} }}", dir.display().to_string());
    let config: SourceShardsConfig = serde_saphyr::from_str(&yaml).unwrap();
    match build(&config, &[])? {
        Stage::Source(source) => Ok(source),
        _ => panic!("a source"),
    }
}

#[test]
fn a_graph_reads_what_a_graph_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("deep/out");
    let config: SinkShardsConfig = serde_saphyr::from_str(&format!("path: {:?}", out.display().to_string())).unwrap();
    let Stage::Sink(mut sink) = build(&config, &[stored(Dtype::F32)]).unwrap() else { panic!("a sink") };
    let run = job(&[30, 0, 300]);
    assert_eq!(sink.open(&run).unwrap(), [false; 3]);
    for (unit, n_rows) in [(0, 30), (1, 0), (2, 300)] {
        sink.write(unit, rows(unit, 0, n_rows.max(1), Dtype::F16).slice(0, n_rows)).unwrap();
        sink.end_unit(unit, tally(unit, n_rows)).unwrap();
    }
    assert!(sink.finish().unwrap().complete);

    for access in ["mapped", "copied"] {
        let mut source = source(&out, &format!(", access: {access}")).unwrap();
        let n_clips: Vec<u64> = source.units().iter().map(|unit| unit.n_clips).collect();
        assert_eq!(n_clips, [30, 300]);
        let mut ids = Vec::new();
        for unit in 0..2 {
            let mut emit = |batch: RecordBatch| {
                assert!(batch.num_rows() <= 256);
                ids.extend(batch.column(0).as_string::<i32>().iter().map(|id| id.unwrap().to_owned()));
                assert!(batch.column_by_name("split").is_some(), "further columns travel along");
                Ok(())
            };
            source.read(unit, &mut emit).unwrap();
        }
        let expected: Vec<String> = (0..30).chain(2000..2300).map(|clip| format!("clip-{clip:06}")).collect();
        assert_eq!(ids, expected);
    }

    // The same shards elsewhere are the same input.
    let copy = tempfile::tempdir().unwrap();
    copy_set(&out, copy.path());
    assert_eq!(source(copy.path(), "").unwrap().units(), source(&out, "").unwrap().units());
}

#[test]
fn damage_ends_the_read() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[300]));
    let path = dir.path().join("part-00000.arrow");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1 << 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let read = |more: &str| source(dir.path(), more).unwrap().read(0, &mut |_| Ok(()));
    let error = read("").unwrap_err().to_string();
    assert!(error.contains("part-00000.arrow: bytes 1048576..2097152 are damaged"), "{error}");
    assert!(read(", verify: false").is_ok());
}

#[test]
fn shards_of_another_shape_are_refused_with_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[3]));
    let fault = |yaml: &str| {
        let yaml = format!("{{ path: {:?}, {yaml} }}", dir.path().display().to_string());
        let config: SourceShardsConfig = serde_saphyr::from_str(&yaml).unwrap();
        build(&config, &[]).map(drop).unwrap_err()
    };
    let other = fault("shape: [64, 128]");
    assert_eq!(other.help, "shape: [64, 96], dtype: f16, axes: [frames, mels]");
    assert!(fault("shape: [64, 96], dtype: f32").help.contains("dtype: f16"));
    let missing = fault("shape: [64, 96], column: tokens");
    assert!(missing.problem.contains("\"tokens\"") && missing.help.contains("mel"), "{missing:?}");
    let config: SourceShardsConfig = serde_saphyr::from_str("{ path: nowhere, shape: [64, 96] }").unwrap();
    let absent = build(&config, &[]).map(drop).unwrap_err();
    assert!(absent.problem.contains("nowhere") && absent.help.contains("sink_shards"), "{absent:?}");
    let plan = |yaml: &str| serde_saphyr::from_str::<SourceShardsConfig>(yaml).unwrap().plan(&[]).unwrap_err();
    assert_eq!(plan("{ path: x, shape: [] }").field.as_deref(), Some("shape"));
    assert_eq!(plan("{ path: x, shape: [64] }").field.as_deref(), Some("axes"));
    assert_eq!(plan("{ path: x, shape: [70000, 70000] }").field.as_deref(), Some("shape"));
}
