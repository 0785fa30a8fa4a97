//! Does the pool share out its workers as well as the best division set by hand? `cargo bench -p ajepa-pipe --bench division`
//!
//! Two chains with a fold between them, and a sink. For each graph every way to divide the workers between the chains is
//! run beside the pool, in turn; printed are the best division, the pool, and the ratio of their times (medians).
//! Workers of the first three graphs wait (as for a disk or a device), so that their number is not bound by the cores here;
//! those of the last two compute, one a core.

#![allow(missing_docs)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ajepa_pipe::engine::{
    ErrorPolicy, FoldCx, Link, MapCx, Metrics, Network, RunError, RunOptions, SegmentWork, Share, run,
};
use ajepa_pipe::row::Row;
use ajepa_pipe::schema::{ColumnType, Schema};
use ajepa_pipe::stage::{
    Fold, Map, MapError, RunInfo, Sink, SinkReport, Source, StageError, StageKind, Unit, UnitTally,
};
use arrow::array::{Float64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use crossbeam::channel::never;

const CLIPS: usize = 1920;
const CLIPS_PER_UNIT: usize = 240;
const ROUNDS: usize = 5;

/// Microseconds that each clip costs at each place; `drift` moves the cost of the first chain to the second on the way.
#[derive(Clone, Copy)]
struct Graph {
    name: &'static str,
    workers: usize,
    computes: bool,
    first_us: u64,
    second_us: u64,
    sink_us: u64,
    drift: bool,
}

const GRAPHS: [Graph; 5] = [
    Graph {
        name: "first chain heavy",
        workers: 8,
        computes: false,
        first_us: 6000,
        second_us: 2000,
        sink_us: 0,
        drift: false,
    },
    Graph {
        name: "second chain heavy",
        workers: 8,
        computes: false,
        first_us: 1000,
        second_us: 7000,
        sink_us: 0,
        drift: false,
    },
    Graph {
        name: "sink heavy",
        workers: 8,
        computes: false,
        first_us: 1500,
        second_us: 1500,
        sink_us: 1000,
        drift: false,
    },
    Graph {
        name: "load that moves",
        workers: 2,
        computes: true,
        first_us: 1000,
        second_us: 200,
        sink_us: 0,
        drift: true,
    },
    Graph {
        name: "sink heavy, computing",
        workers: 2,
        computes: true,
        first_us: 300,
        second_us: 300,
        sink_us: 600,
        drift: false,
    },
];

impl Graph {
    fn cost(&self, chain: usize, clip: usize) -> Duration {
        let moved = self.drift && clip >= CLIPS / 2;
        Duration::from_micros(if (chain == 0) == moved { self.second_us } else { self.first_us })
    }

    fn spend(&self, time: Duration) {
        if self.computes {
            let since = Instant::now();
            while since.elapsed() < time {
                std::hint::spin_loop();
            }
        } else if !time.is_zero() {
            std::thread::sleep(time);
        }
    }
}

fn schema() -> Schema {
    Schema::default()
        .with("clip_id", ColumnType::Plain(DataType::Utf8))
        .with("offset_s", ColumnType::Plain(DataType::Float64))
}

struct Numbers(Vec<Unit>);

impl Source for Numbers {
    fn units(&self) -> &[Unit] {
        &self.0
    }

    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        for first in (unit * CLIPS_PER_UNIT..(unit + 1) * CLIPS_PER_UNIT).step_by(16) {
            let clips = first..first + 16;
            let ids: StringArray = clips.clone().map(|i| Some(format!("c{i}"))).collect();
            let numbers: Float64Array = clips.map(|i| Some(i as f64)).collect();
            let schema = Arc::new(ajepa_pipe::columns::arrow_schema(&schema()));
            emit(RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(numbers)])?)?;
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Cost {
    graph: Graph,
    chain: usize,
}

impl Map for Cost {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        let clip = row.f64("offset_s").unwrap_or(0.0) as usize;
        self.graph.spend(self.graph.cost(self.chain, clip));
        cx.emit(row)
    }
}

struct Through;

impl Fold for Through {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        cx.emit(rows)
    }

    fn end_unit(&mut self, _: usize, _: &mut FoldCx<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

struct End(Graph);

impl Sink for End {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        Ok(vec![false; run.units.len()])
    }

    fn write(&mut self, _: usize, rows: RecordBatch) -> Result<(), StageError> {
        self.0.spend(Duration::from_micros(self.0.sink_us * rows.num_rows() as u64));
        Ok(())
    }

    fn end_unit(&mut self, _: usize, _: UnitTally) -> Result<(), StageError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        Ok(SinkReport::default())
    }
}

fn network(graph: Graph) -> Network {
    let mut network = Network::default();
    let q: Vec<usize> = (0..4).map(|i| network.queue(&format!("s{i}"), &format!("s{}", i + 1), &schema())).collect();
    let units = (0..CLIPS / CLIPS_PER_UNIT).map(|k| Unit { n_clips: CLIPS_PER_UNIT as u64, key: [k as u8; 16] });
    let source = Box::new(Numbers(units.collect()));
    network.segment(SegmentWork::Source { source, first_unit: 0 }, 0, vec![], vec![q[0]]);
    let chain = |chain: usize, stage: usize| {
        let link = Link { stage, id: format!("s{stage}").into() };
        let cost: Box<dyn Map> = Box::new(Cost { graph, chain });
        SegmentWork::Chain { links: vec![(link, cost)], input: schema(), output: schema() }
    };
    network.segment(chain(0, 1), 1, vec![q[0]], vec![q[1]]);
    network.segment(SegmentWork::Fold(Box::new(Through)), 2, vec![q[1]], vec![q[2]]);
    network.segment(chain(1, 3), 3, vec![q[2]], vec![q[3]]);
    network.segment(SegmentWork::Sink(Box::new(End(graph))), 4, vec![q[3]], vec![]);
    network
}

fn seconds(graph: Graph, division: Option<Vec<usize>>) -> Result<f64, RunError> {
    let kinds = [StageKind::Source, StageKind::Map, StageKind::Fold, StageKind::Map, StageKind::Sink];
    let stages = (0_usize..).zip(kinds).map(|(i, kind)| (format!("s{i}"), "bench".to_owned(), kind)).collect();
    let options = RunOptions {
        jobs: graph.workers,
        division,
        memory_bytes: 256 << 20,
        clip_cap_bytes: 1 << 20,
        seed: 0,
        on_error: ErrorPolicy { fail: true, max_fraction: 0.0, max_count: None },
        share: Share::All,
    };
    let info = |_| RunInfo {
        pipeline: "division".into(),
        fingerprint: String::new(),
        graph: serde_json::Value::Null,
        units: Vec::new(),
        mine: Vec::new(),
        piece: false,
        fresh: true,
        quarantine: false,
    };
    let since = Instant::now();
    run(network(graph), &options, &Arc::new(Metrics::new(stages)), &info, &never(), &mut |_| ()).1?;
    Ok(since.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<24} {:>8} {:>16} {:>10} {:>10} {:>8}", "graph", "workers", "best by hand", "seconds", "pool", "ratio");
    for graph in GRAPHS {
        let divisions: Vec<Option<Vec<usize>>> =
            (1..graph.workers).map(|n| Some(vec![n, graph.workers - n])).chain([None]).collect();
        let mut times = vec![Vec::new(); divisions.len()];
        for _ in 0..ROUNDS {
            for (division, times) in divisions.iter().zip(&mut times) {
                times.push(seconds(graph, division.clone())?);
            }
        }
        let medians: Vec<f64> = times.into_iter().map(median).collect();
        let (pool, by_hand) = (medians[medians.len() - 1], &medians[..medians.len() - 1]);
        let best = (0..by_hand.len()).min_by(|&a, &b| by_hand[a].total_cmp(&by_hand[b])).unwrap_or(0);
        let words = format!("{} + {}", best + 1, graph.workers - best - 1);
        let ratio = pool / by_hand[best];
        println!(
            "{:<24} {:>8} {words:>16} {:>10.3} {pool:>10.3} {ratio:>8.3}",
            graph.name, graph.workers, by_hand[best]
        );
    }
    Ok(())
}
