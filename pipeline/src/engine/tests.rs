//! The engine with small stages of its own: order, bounds, faults, stops.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{AsArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Float64Type, Schema as ArrowSchema};
use crossbeam::channel::{bounded, never};

use super::*;
use crate::row::{Cell, Row};
use crate::schema::{ColumnType, Dtype, Schema, TensorType};
use crate::stage::{
    ClipError, Fold, Map, MapError, Merge, RunInfo, Sink, SinkReport, Source, StageError, StageKind, Unit, UnitTally,
};

fn input_schema() -> Schema {
    Schema::default()
        .with("clip_id", ColumnType::Plain(DataType::Utf8))
        .with("offset_s", ColumnType::Plain(DataType::Float64))
}

fn tensor_schema(n: usize) -> Schema {
    let tensor = TensorType {
        dtype: Dtype::F32,
        shape: vec![n],
        axes: vec!["values".into()],
        front_end: serde_json::Value::Null,
    };
    input_schema().with("x", ColumnType::Tensor(tensor))
}

/// Clips `c0`, `c1`, ... in units of `per_unit`, in batches of 4.
struct Numbers {
    units: Vec<Unit>,
    per_unit: usize,
}

impl Numbers {
    fn boxed(n_units: usize, per_unit: usize) -> Box<dyn Source> {
        let unit = |k: usize| Unit { n_clips: per_unit as u64, key: [k as u8; 16] };
        Box::new(Self { units: (0..n_units).map(unit).collect(), per_unit })
    }
}

impl Source for Numbers {
    fn units(&self) -> &[Unit] {
        &self.units
    }

    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let ids: Vec<usize> = (0..self.per_unit).map(|i| unit * self.per_unit + i).collect();
        for ids in ids.chunks(4) {
            let names: StringArray = ids.iter().map(|i| Some(format!("c{i}"))).collect();
            let offsets: Float64Array = ids.iter().map(|&i| Some(i as f64)).collect();
            let fields =
                vec![Field::new("clip_id", DataType::Utf8, true), Field::new("offset_s", DataType::Float64, true)];
            let schema = Arc::new(ArrowSchema::new(fields));
            emit(RecordBatch::try_new(schema, vec![Arc::new(names), Arc::new(offsets)])?)?;
        }
        Ok(())
    }
}

type Work = dyn Fn(Row, &mut MapCx<'_>) -> Result<(), MapError> + Send + Sync;

#[derive(Clone)]
struct Closure(Arc<Work>);

impl Map for Closure {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        (self.0)(row, cx)
    }
}

fn chain(
    stage: usize,
    input: Schema,
    output: Schema,
    work: impl Fn(Row, &mut MapCx<'_>) -> Result<(), MapError> + Send + Sync + 'static,
) -> SegmentWork {
    let link = Link { stage, id: format!("s{stage}").into() };
    SegmentWork::Chain { links: vec![(link, Box::new(Closure(Arc::new(work))))], input, output }
}

/// Keeps (unit, clip_id) of everything, and sleeps for each batch.
#[derive(Clone, Default)]
struct Keep {
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    tallies: Arc<Mutex<Vec<UnitTally>>>,
    done: Vec<bool>,
    delay: Duration,
}

impl Sink for Keep {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        self.done.resize(run.units.len(), false);
        Ok(self.done.clone())
    }

    fn write(&mut self, unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        std::thread::sleep(self.delay);
        let ids = rows.column_by_name("clip_id").unwrap().as_string::<i32>();
        let offsets = rows.column_by_name("offset_s").unwrap().as_primitive::<Float64Type>();
        let named = ids.iter().zip(offsets.values()).map(|(id, at)| (unit, format!("{}@{at}", id.unwrap())));
        self.seen.lock().unwrap().extend(named);
        Ok(())
    }

    fn end_unit(&mut self, _: usize, tally: UnitTally) -> Result<(), StageError> {
        self.tallies.lock().unwrap().push(tally);
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        Ok(SinkReport { rows: self.seen.lock().unwrap().len() as u64, ..SinkReport::default() })
    }
}

fn info(_: usize) -> RunInfo {
    RunInfo {
        pipeline: "test".into(),
        fingerprint: "0".into(),
        graph: serde_json::Value::Null,
        units: Vec::new(),
        mine: Vec::new(),
        piece: false,
        fresh: false,
        quarantine: true,
    }
}

fn options(jobs: usize) -> RunOptions {
    RunOptions {
        jobs,
        division: None,
        memory_bytes: 64 << 20,
        clip_cap_bytes: 16 << 20,
        seed: 7,
        on_error: ErrorPolicy { fail: false, max_fraction: 0.5, max_count: None },
        share: Share::All,
    }
}

fn metrics(n: usize) -> Arc<Metrics> {
    Arc::new(Metrics::new((0..n).map(|i| (format!("s{i}"), "test".into(), StageKind::Map)).collect()))
}

fn go(network: Network, jobs: usize) -> (Outcome, Result<(), RunError>) {
    run(network, &options(jobs), &metrics(8), &info, &never(), &mut |_| ())
}

/// source -> chain -> sink
fn line(source: Box<dyn Source>, work: SegmentWork, sink: Box<dyn Sink>) -> Network {
    let mut network = Network::default();
    let schema = input_schema();
    let (a, b) = (network.queue("s0", "s1", &schema), network.queue("s1", "s2", &schema));
    network.segment(SegmentWork::Source { source, first_unit: 0 }, 0, vec![], vec![a]);
    network.segment(work, 1, vec![a], vec![b]);
    network.segment(SegmentWork::Sink(sink), 2, vec![b], vec![]);
    network
}

fn jitter(row: &Row) -> Duration {
    Duration::from_micros(ajepa_ops::seed::hash_str(row.str("clip_id")) % 700)
}

#[test]
fn order_is_the_sources_for_any_number_of_workers() {
    let run_with = |jobs| {
        let keep = Keep::default();
        let work = chain(1, input_schema(), input_schema(), |row, cx| {
            std::thread::sleep(jitter(&row));
            let seed = cx.seed(&row);
            let mut second = row.sibling();
            second.set("offset_s", Cell::F64((seed % 1000) as f64 + 0.5));
            cx.emit(row)?;
            cx.emit(second)
        });
        let (outcome, result) = go(line(Numbers::boxed(5, 37), work, Box::new(keep.clone())), jobs);
        result.unwrap();
        assert_eq!(outcome.sinks[0].1.rows, 2 * 5 * 37);
        keep.seen.lock().unwrap().clone()
    };
    let one = run_with(1);
    assert_eq!(one[0], (0, "c0@0".to_owned()));
    assert_eq!(one[74], (1, "c37@37".to_owned()));
    assert_eq!(one, run_with(2));
    assert_eq!(one, run_with(8));
}

#[test]
fn bad_rows_are_tallied_filtered_rows_counted_and_panics_cost_one_row() {
    let keep = Keep::default();
    let work = chain(1, input_schema(), input_schema(), |row, cx| match row.f64("offset_s").unwrap() as u64 % 10 {
        3 => Err(ClipError::new("bad", "three").into()),
        5 => Ok(()),
        7 => panic!("seven"),
        _ => cx.emit(row),
    });
    let (outcome, result) = go(line(Numbers::boxed(2, 50), work, Box::new(keep.clone())), 3);
    result.unwrap();
    let tallies = keep.tallies.lock().unwrap();
    assert_eq!(tallies.iter().map(|t| t.clips).collect::<Vec<_>>(), [50, 50]);
    assert_eq!(tallies.iter().map(|t| t.filtered).collect::<Vec<_>>(), [5, 5]);
    let reasons: Vec<&str> = tallies[0].rejects.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons, ["bad", "panicked"].repeat(5));
    assert_eq!(tallies[0].rejects[1].detail, "seven");
    assert_eq!(tallies[0].rejects[1].clip_id, "c7");
    assert_eq!(outcome.rejects.counts[&("s1".to_owned(), "bad".to_owned())], 10);
    assert_eq!(keep.seen.lock().unwrap().len(), 70);
}

#[test]
fn too_many_bad_clips_end_the_run() {
    let work = chain(1, input_schema(), input_schema(), |_, _| Err(ClipError::new("bad", "all").into()));
    let (_, result) = go(line(Numbers::boxed(2, 50), work, Box::new(Keep::default())), 2);
    assert!(matches!(result, Err(RunError::TooManyRejects { clips: 100, .. })), "{result:?}");
}

#[test]
fn units_that_are_done_are_not_read_again() {
    let keep = Keep { done: vec![false, true, false], ..Keep::default() };
    let work = chain(1, input_schema(), input_schema(), |row, cx| cx.emit(row));
    go(line(Numbers::boxed(3, 4), work, Box::new(keep.clone())), 2).1.unwrap();
    let units: Vec<usize> = keep.seen.lock().unwrap().iter().map(|(unit, _)| *unit).collect();
    assert_eq!(units, [0, 0, 0, 0, 2, 2, 2, 2]);
}

#[test]
fn a_slow_sink_bounds_what_is_queued_even_when_one_clip_becomes_many_rows() {
    // One clip gives 64 MiB in windows of 64 KiB, through two chains with a fold between, so workers must help each other.
    const N: usize = 16 * 1024;
    let keep = Keep { delay: Duration::from_millis(2), ..Keep::default() };
    let mut network = Network::default();
    let (schema, wide) = (input_schema(), tensor_schema(N));
    let queues: Vec<usize> = (0..4).map(|i| network.queue(&format!("s{i}"), &format!("s{}", i + 1), &wide)).collect();
    network.segment(SegmentWork::Source { source: Numbers::boxed(2, 2), first_unit: 0 }, 0, vec![], vec![queues[0]]);
    let windows = chain(1, schema, wide.clone(), |row, cx| {
        for k in 0..512 {
            let mut window = row.sibling();
            window.set("offset_s", Cell::F64(f64::from(k)));
            window.set("x", Cell::Tensor(vec![k as f32; N]));
            cx.emit(window)?;
        }
        Ok(())
    });
    network.segment(windows, 1, vec![queues[0]], vec![queues[1]]);
    network.segment(SegmentWork::Fold(Box::new(Through)), 2, vec![queues[1]], vec![queues[2]]);
    let second = chain(3, wide.clone(), wide, |row, cx| cx.emit(row));
    network.segment(second, 3, vec![queues[2]], vec![queues[3]]);
    network.segment(SegmentWork::Sink(Box::new(keep.clone())), 4, vec![queues[3]], vec![]);
    let peak = AtomicUsize::new(0);
    let options = RunOptions { memory_bytes: 32 << 20, ..options(2) };
    let (_, result) = run(network, &options, &metrics(8), &info, &never(), &mut |snapshot| {
        for queue in &snapshot.queues {
            // The cap is 4 MiB; a worker may be one part (4 MiB) over it.
            assert!(queue.peak_bytes <= 3 * (4 << 20) + (1 << 20), "{queue:?}");
            peak.fetch_max(queue.peak_bytes as usize, SeqCst);
        }
    });
    result.unwrap();
    let seen = keep.seen.lock().unwrap();
    assert_eq!(seen.len(), 4 * 512);
    assert_eq!((seen[511].1.as_str(), seen[512].1.as_str()), ("c0@511", "c1@0"));
    assert!(peak.load(SeqCst) > 1 << 20);
}

/// Gives on what it gets.
struct Through;

impl Fold for Through {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        cx.emit(rows)
    }

    fn end_unit(&mut self, _: usize, _: &mut FoldCx<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

/// Holds the rows of a unit to its end, but for those whose number ends in 3: they are refused, as they come or at the end.
#[derive(Default)]
struct Choosy {
    late: bool,
    held: Vec<Arc<RecordBatch>>,
}

/// The rows that are kept.
fn without_threes(rows: &Arc<RecordBatch>, cx: &mut FoldCx<'_>) -> Result<RecordBatch, StageError> {
    let offsets = rows.column_by_name("offset_s").unwrap().as_primitive::<Float64Type>();
    let kept: Vec<bool> = offsets.values().iter().map(|at| *at as u64 % 10 != 3).collect();
    for row in (0..kept.len()).filter(|&row| !kept[row]) {
        cx.reject(rows, row, ClipError::new("bad", "three"));
    }
    Ok(filter_record_batch(rows, &kept.into())?)
}

impl Fold for Choosy {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        let offsets = rows.column_by_name("offset_s").unwrap().as_primitive::<Float64Type>();
        assert!(!offsets.values().contains(&1000.0), "a thousand");
        let mut rows = Arc::new(rows);
        if !self.late {
            rows = Arc::new(without_threes(&rows, cx)?);
        }
        self.held.push(rows);
        Ok(())
    }

    fn end_unit(&mut self, _: usize, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        for rows in std::mem::take(&mut self.held) {
            let rows = without_threes(&rows, cx)?;
            cx.emit(rows)?;
        }
        Ok(())
    }
}

fn choosy(late: bool, keep: &Keep, n_clips: usize) -> (Outcome, Result<(), RunError>) {
    let mut network = Network::default();
    let schema = input_schema();
    let queues: Vec<usize> = (0..3).map(|i| network.queue(&format!("s{i}"), &format!("s{}", i + 1), &schema)).collect();
    let source = SegmentWork::Source { source: Numbers::boxed(2, n_clips), first_unit: 0 };
    network.segment(source, 0, vec![], vec![queues[0]]);
    let work = chain(1, input_schema(), input_schema(), |row, cx| match row.f64("offset_s").unwrap() as u64 % 10 {
        4 => Err(ClipError::new("bad", "four").into()),
        5 => Ok(()),
        _ => cx.emit(row),
    });
    network.segment(work, 1, vec![queues[0]], vec![queues[1]]);
    let fold = SegmentWork::Fold(Box::new(Choosy { late, held: Vec::new() }));
    network.segment(fold, 2, vec![queues[1]], vec![queues[2]]);
    network.segment(SegmentWork::Sink(Box::new(keep.clone())), 3, vec![queues[2]], vec![]);
    go(network, 2)
}

#[test]
fn what_a_fold_refuses_is_tallied_with_its_unit() {
    for late in [false, true] {
        let keep = Keep::default();
        let (outcome, result) = choosy(late, &keep, 50);
        result.unwrap();
        let (tallies, seen) = (keep.tallies.lock().unwrap(), keep.seen.lock().unwrap());
        for (unit, tally) in tallies.iter().enumerate() {
            let rows = seen.iter().filter(|(of, _)| *of == unit).count() as u64;
            assert_eq!((tally.clips, tally.filtered, rows, tally.rejects.len()), (50, 5, 35, 10), "{late}");
            let by_fold: Vec<&str> =
                tally.rejects.iter().filter(|r| r.stage == "s2").map(|r| r.clip_id.as_str()).collect();
            let expected: Vec<String> = (0..5).map(|ten| format!("c{}", unit * 50 + ten * 10 + 3)).collect();
            assert_eq!(by_fold, expected);
        }
        assert_eq!(outcome.rejects.counts[&("s2".to_owned(), "bad".to_owned())], 10);
        assert!(seen.is_sorted_by_key(|(_, id)| id[1..id.find('@').unwrap()].parse::<u32>().unwrap()), "{seen:?}");
    }
}

#[test]
fn a_panic_of_a_fold_ends_the_run_and_not_the_process() {
    let keep = Keep::default();
    let (outcome, result) = choosy(false, &keep, 1001);
    assert!(
        matches!(&result, Err(RunError::Panicked { stage, message }) if stage == "s2" && message == "a thousand"),
        "{result:?}"
    );
    assert!(outcome.sinks.is_empty() && keep.tallies.lock().unwrap().is_empty());
}

#[test]
fn a_cast_names_whose_rows_it_refuses() {
    let (wide, schema) = (tensor_schema(2), input_schema());
    let mut half = tensor_schema(2);
    if let ColumnType::Tensor(tensor) = &mut half.columns[2].kind {
        tensor.dtype = Dtype::F16;
    }
    let keep = Keep::default();
    let mut network = Network::default();
    let queues: Vec<usize> = (0..4).map(|i| network.queue(&format!("s{i}"), &format!("s{}", i + 1), &wide)).collect();
    network.segment(SegmentWork::Source { source: Numbers::boxed(1, 8), first_unit: 0 }, 0, vec![], vec![queues[0]]);
    let large = chain(1, schema, wide.clone(), |mut row, cx| {
        // The largest number that is rounded to 65504, and the least that is not.
        let x = if row.f64("offset_s") == Some(2.0) { 65_520.0 } else { 65_519.996 };
        row.set("x", Cell::Tensor(vec![-x, f32::NAN]));
        cx.emit(row)
    });
    network.segment(large, 1, vec![queues[0]], vec![queues[1]]);
    network.segment(SegmentWork::Fold(Box::new(Through)), 2, vec![queues[1]], vec![queues[2]]);
    let cast = SegmentWork::Chain { links: Vec::new(), input: wide, output: half };
    network.segment(cast, 2, vec![queues[2]], vec![queues[3]]);
    network.segment(SegmentWork::Sink(Box::new(keep.clone())), 4, vec![queues[3]], vec![]);
    go(network, 2).1.unwrap();
    let tallies = keep.tallies.lock().unwrap();
    let [reject] = &tallies[0].rejects[..] else { panic!("{tallies:?}") };
    assert_eq!((reject.clip_id.as_str(), reject.stage.as_str(), reject.reason.as_str()), ("c2", "s2", "out_of_range"));
    assert!(reject.detail.starts_with("x: 1 of 2 numbers are beyond 65504") && reject.detail.contains("dtype: f32"));
    assert_eq!(keep.seen.lock().unwrap().len(), 7);
}

/// Takes batches of its inputs in turn, or the first to its end.
struct Turns {
    in_turn: bool,
    last: usize,
}

impl Merge for Turns {
    fn next_input(&mut self, open: &[bool]) -> usize {
        let n = open.len();
        let first = if self.in_turn { self.last + 1 } else { 0 };
        self.last = (first..first + n).map(|i| i % n).find(|&i| open[i]).unwrap_or(0);
        self.last
    }

    fn push(
        &mut self,
        _: usize,
        rows: RecordBatch,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        emit(rows)
    }

    fn end_unit(
        &mut self,
        _: usize,
        _: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        self.last = 1;
        Ok(())
    }
}

/// source -> (chain 1, chain 2) -> merge -> sink
fn diamond(merge: Turns, n_clips: usize, keep: &Keep) -> Network {
    let mut network = Network::default();
    let schema = input_schema();
    let q: Vec<usize> = (0..5).map(|i| network.queue("a", &format!("b{i}"), &schema)).collect();
    let source = SegmentWork::Source { source: Numbers::boxed(2, n_clips), first_unit: 0 };
    network.segment(source, 0, vec![], vec![q[0], q[1]]);
    for (stage, input, output) in [(1, q[0], q[2]), (2, q[1], q[3])] {
        let work = chain(stage, input_schema(), input_schema(), move |mut row, cx| {
            std::thread::sleep(jitter(&row) / stage as u32);
            row.set("offset_s", Cell::F64(stage as f64));
            cx.emit(row)
        });
        network.segment(work, stage, vec![input], vec![output]);
    }
    network.segment(
        SegmentWork::Merge { merge: Box::new(merge), counts: vec![true, false] },
        3,
        vec![q[2], q[3]],
        vec![q[4]],
    );
    network.segment(SegmentWork::Sink(Box::new(keep.clone())), 4, vec![q[4]], vec![]);
    network
}

#[test]
fn branches_meet_again_in_one_order() {
    let run_with = |jobs| {
        let keep = Keep::default();
        go(diamond(Turns { in_turn: true, last: 1 }, 100, &keep), jobs).1.unwrap();
        let clips: Vec<u64> = keep.tallies.lock().unwrap().iter().map(|tally| tally.clips).collect();
        assert_eq!(clips, [100, 100], "branches of one source are counted once");
        keep.seen.lock().unwrap().clone()
    };
    let one = run_with(1);
    assert_eq!(one.len(), 400);
    assert_eq!(one[4].1, "c0@2");
    assert_eq!(one, run_with(2));
    assert_eq!(one, run_with(8));
}

#[test]
fn a_graph_that_waits_for_itself_is_an_error_not_a_hang() {
    // The merge wants all of branch 1 before branch 2, whose queue fills up: the plan refuses such a graph, the engine survives it.
    let (_, result) = go(diamond(Turns { in_turn: false, last: 0 }, 2000, &Keep::default()), 2);
    assert!(matches!(result, Err(RunError::Stuck { .. })), "{result:?}");
}

#[test]
fn a_signal_stops_the_run_in_good_order() {
    let (stop, stopped) = bounded(1);
    let work = chain(1, input_schema(), input_schema(), |row, cx| {
        std::thread::sleep(Duration::from_millis(1));
        cx.emit(row)
    });
    let network = line(Numbers::boxed(1000, 100), work, Box::new(Keep::default()));
    let mut ticks = 0;
    let (_, result) = run(network, &options(2), &metrics(8), &info, &stopped, &mut |_| {
        ticks += 1;
        if ticks == 2 {
            stop.send(StopSignal::Terminate).unwrap();
        }
    });
    assert!(matches!(result, Err(RunError::Interrupted(StopSignal::Terminate))), "{result:?}");
}

#[test]
fn a_fault_of_a_stage_names_the_stage() {
    let work = chain(1, input_schema(), input_schema(), |_, _| Err(StageError::Other("disk gone".into()).into()));
    let (_, result) = go(line(Numbers::boxed(2, 5), work, Box::new(Keep::default())), 2);
    assert_eq!(result.unwrap_err().to_string(), "stage s1: disk gone");
}

#[test]
fn parts_share_the_units() {
    let mut all = Vec::new();
    for part in 0..3 {
        let keep = Keep::default();
        let work = chain(1, input_schema(), input_schema(), |row, cx| cx.emit(row));
        let network = line(Numbers::boxed(7, 3), work, Box::new(keep.clone()));
        let options = RunOptions { share: Share::Part { index: part, of: 3 }, ..options(2) };
        run(network, &options, &metrics(8), &info, &never(), &mut |_| ()).1.unwrap();
        all.extend(keep.seen.lock().unwrap().clone());
    }
    all.sort_by_key(|(unit, _)| *unit);
    let keep = Keep::default();
    let work = chain(1, input_schema(), input_schema(), |row, cx| cx.emit(row));
    go(line(Numbers::boxed(7, 3), work, Box::new(keep.clone())), 2).1.unwrap();
    assert_eq!(all, *keep.seen.lock().unwrap());
}
