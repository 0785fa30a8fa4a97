//! The bottleneck is named rightly when a stage is slowed on purpose, whatever its kind.

use std::time::{Duration, Instant};

use ajepa_pipe::config;
use ajepa_pipe::engine::{FoldCx, MapCx};
use ajepa_pipe::job::{self, JobOptions};
use ajepa_pipe::report::RunReport;
use ajepa_pipe::row::Row;
use ajepa_pipe::schema::Schema;
use ajepa_pipe::stage::{
    BuildCx, BuildError, Fold, Map, MapError, PlanError, RunInfo, Sink, SinkReport, Stage, StageConfig, StageError,
    StageKind, StagePlan, UnitTally,
};
use ajepa_pipe::stages::{Registry, builtin};
use arrow::array::RecordBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::program::{Place, sample};

/// What a slowed stage adds to each clip: ten times what all others take together.
const COST: Duration = Duration::from_millis(40);

fn compute(time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time {
        std::hint::spin_loop();
    }
}

macro_rules! slow {
    ($config:ident, $kind:expr, $stage:expr) => {
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $config {}

        impl StageConfig for $config {
            fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
                Ok(match $kind {
                    StageKind::Sink => StagePlan::sink(inputs[0].clone()),
                    kind => StagePlan::new(kind, inputs[0].clone()),
                })
            }

            fn build(&self, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
                Ok($stage)
            }
        }
    };
}

slow!(SlowMap, StageKind::Map, Stage::Map(Box::new(Slow)));
slow!(SlowFold, StageKind::Fold, Stage::Fold(Box::new(Slow)));
slow!(SlowSink, StageKind::Sink, Stage::Sink(Box::new(Slow)));

struct Slow;

impl Map for Slow {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(Self)
    }

    fn map(&mut self, row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        compute(COST);
        cx.emit(row)
    }
}

impl Fold for Slow {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        compute(COST * rows.num_rows() as u32);
        cx.emit(rows)
    }

    fn end_unit(&mut self, _: usize, _: &mut FoldCx<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

impl Sink for Slow {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        Ok(vec![false; run.units.len()])
    }

    fn write(&mut self, _: usize, rows: RecordBatch) -> Result<(), StageError> {
        compute(COST * rows.num_rows() as u32);
        Ok(())
    }

    fn end_unit(&mut self, _: usize, _: UnitTally) -> Result<(), StageError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        Ok(SinkReport::default())
    }
}

fn registry() -> Registry {
    builtin()
        .with::<SlowMap>("slow_map", StageKind::Map, "{ type: slow_map }")
        .with::<SlowFold>("slow_fold", StageKind::Fold, "{ type: slow_fold }")
        .with::<SlowSink>("slow_sink", StageKind::Sink, "{ type: slow_sink }")
}

fn report(extra: &str, sink: &str) -> RunReport {
    let graph = format!(
        "
pipeline: slowed
stages:
  - {{ type: source_folder, path: {}, extensions: [flac], labels: parent_dir }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 16000 }}
  - {{ id: mel, type: log_mel, preset: base-2026 }}
{extra}  - {sink}
",
        sample().display()
    );
    let graph = config::load_str("slowed", &graph, &[], &registry()).unwrap_or_else(|errors| panic!("{errors}"));
    let options = JobOptions { jobs: Some(2), ..JobOptions::default() };
    let (report, result) = job::run(&graph, options, &crossbeam::channel::never(), &mut |_| ());
    result.expect("the run ends well");
    report
}

#[test]
fn the_slowed_stage_is_named_and_the_advice_is_for_its_kind() {
    let place = Place::new();
    let shards = format!("{{ type: sink_shards, path: {} }}", place.path("out").display());
    for (extra, sink, stage, advice) in [
        ("  - { id: slow, type: slow_map }\n", shards.as_str(), "slow", "more cores"),
        ("  - { id: slow, type: slow_fold }\n", shards.as_str(), "slow", "one thread by contract"),
        ("", "{ id: slow, type: slow_sink }", "slow", "disk"),
    ] {
        std::fs::remove_dir_all(place.path("out")).ok();
        let bottleneck = report(extra, sink).bottleneck.expect("a bottleneck");
        assert_eq!(bottleneck.stage, stage, "{bottleneck:?}");
        assert!(bottleneck.share > 0.5, "{bottleneck:?}");
        assert!(bottleneck.advice.contains(advice) || bottleneck.advice.contains("--jobs"), "{bottleneck:?}");
    }
}

#[test]
fn bench_measures_the_sink_in_a_folder_that_is_gone_afterwards() {
    let place = Place::new();
    let graph = format!(
        "
pipeline: bench
stages:
  - {{ type: source_folder, path: {}, extensions: [flac] }}
  - {{ type: decode }}
  - {{ type: resample, rate_hz: 16000 }}
  - {{ id: mel, type: log_mel, preset: base-2026 }}
  - {{ id: shards, type: sink_shards, path: out/mel }}
",
        sample().display()
    );
    place.write("graph.yaml", graph);
    let ended = place.done("bench graph.yaml --clips 8 --jobs 2");
    let line = ended.out.lines().find(|line| line.starts_with("shards")).unwrap_or_default();
    let ms: f64 = line.split_whitespace().nth(3).and_then(|ms| ms.parse().ok()).unwrap_or(0.0);
    assert!(ms > 0.0, "{}", ended.out);
    let left: Vec<_> = std::fs::read_dir(place.path("out")).map(|dir| dir.flatten().collect()).unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}
