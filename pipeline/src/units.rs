//! A job in pieces: its sources are listed once, any of its units is done at any time, by anybody, and once all are there it is
//! finished. What a cluster is built on, and knows nothing of any.
//!
//! Doing a unit is idempotent: one that has a valid record is left as it is, one that is done twice is the same bytes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;
use crossbeam::channel::never;
use serde::{Deserialize, Serialize};

use crate::engine::{
    self, ErrorPolicy, Metrics, Network, RunError, RunOptions, Segment, SegmentWork, Share, peak_resident_bytes,
};
use crate::job::{JobError, JobOptions, build_stage, network_over, run_info, run_options};
use crate::plan::Graph;
use crate::stage::{RunInfo, Sink, SinkReport, Source, Stage, StageError, StageKind, Unit, UnitTally};
use ajepa_store::to_hex;

/// A job whose units are known.
pub struct UnitJob {
    graph: Graph,
    units: Vec<Unit>,
    /// Audio of each.
    seconds: Vec<f64>,
    inputs: String,
    /// What each sink is told, its units left out.
    sinks: BTreeMap<usize, RunInfo>,
    sources: Arc<Mutex<Idle>>,
    /// Where the units of each source begin, by node.
    first_units: BTreeMap<usize, usize>,
    /// What is under way, by unit.
    under_way: Mutex<BTreeMap<usize, Arc<Metrics>>>,
}

/// Sources that are listed, by node.
type Idle = BTreeMap<usize, Vec<Box<dyn Source>>>;

/// What came of one unit: a line of a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitRow {
    /// Its number.
    pub unit: u64,
    /// Its key, in hex.
    pub key: String,
    /// Clips that the sources list for it.
    pub clips: u64,
    /// Rows that are stored.
    pub rows: u64,
    /// Bytes that are stored.
    pub bytes: u64,
    /// Clips that could not be used.
    pub rejects: u64,
    /// The same by (stage, reason, count); of an earlier run nothing but their number is known.
    pub reasons: Vec<(String, String, u64)>,
    /// Whether an earlier run had done it.
    pub kept: bool,
    /// How long it took.
    pub seconds: f64,
    /// The most memory that the process had by then.
    pub peak_bytes: u64,
    /// Where.
    pub host: String,
}

/// Clips that are named of a unit that hangs.
const NAMED_CLIPS: usize = 16;

/// What one unit may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitLimits {
    /// Worker threads.
    pub jobs: usize,
    /// How many units are done at once in this process: each gets its part of the graph's memory.
    pub at_once: usize,
}

impl UnitJob {
    /// Lists the sources of `graph`.
    ///
    /// # Errors
    /// [`JobError::Build`] for a stage that cannot be made.
    pub fn new(graph: Graph) -> Result<Self, JobError> {
        let options = run_options(&graph, JobOptions::default());
        let network = network_over(&graph, &options, &mut |_| Ok(None))?;
        let units = engine::all_units(&network);
        let mut idle = Idle::new();
        let mut seconds = vec![0.0; units.len()];
        let mut first_units = BTreeMap::new();
        for segment in network.segments {
            if let SegmentWork::Source { source, first_unit } = segment.work {
                let of_source = (0..source.units().len()).map(|unit| source.seconds(unit));
                seconds[first_unit..].iter_mut().zip(of_source).for_each(|(sum, more)| *sum += more);
                first_units.insert(segment.stage, first_unit);
                idle.entry(segment.stage).or_default().push(source);
            }
        }
        let mut inputs = blake3::Hasher::new();
        for unit in &units {
            inputs.update(&unit.n_clips.to_le_bytes()).update(&unit.key);
        }
        let sinks = graph.sinks().into_iter().map(|sink| (sink, run_info(&graph, sink, false))).collect();
        let inputs = to_hex(&inputs.finalize().as_bytes()[..16]);
        let sources = Arc::new(Mutex::new(idle));
        Ok(Self { graph, units, seconds, inputs, sinks, sources, first_units, under_way: Mutex::default() })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The units, in order.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Seconds of audio of each unit, as far as lists and sizes of files tell.
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// Clips of all units.
    pub fn n_clips(&self) -> u64 {
        self.units.iter().map(|unit| unit.n_clips).sum()
    }

    /// Hash over the keys of all units: equal where the same files are seen.
    pub fn inputs(&self) -> &str {
        &self.inputs
    }

    /// Hash over what decides the content of every sink.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for info in self.sinks.values() {
            hasher.update(info.fingerprint.as_bytes());
        }
        to_hex(&hasher.finalize().as_bytes()[..16])
    }

    /// Begins the job, or goes on with it: claims its place in the folders of its sinks, and sees what is done.
    ///
    /// # Errors
    /// [`JobError`] when a folder cannot be used.
    pub fn open(&self, fresh: bool) -> Result<Ledger, JobError> {
        let options = run_options(&self.graph, JobOptions::default());
        let mut ledger = Ledger { sinks: Vec::new(), done: vec![true; self.units.len()] };
        for (&node, info) in &self.sinks {
            let Stage::Sink(mut sink) = build_stage(&self.graph, node, &options)? else { continue };
            let (units, mine) = (self.units.clone(), vec![true; self.units.len()]);
            let done = sink.open(&RunInfo { units, mine, fresh, ..info.clone() });
            let id = self.graph.nodes[node].id.clone();
            let done = done.map_err(|source| stage_fault(&id, source))?;
            ledger.done.iter_mut().zip(done).for_each(|(all, one)| *all &= one);
            ledger.sinks.push((id, sink));
        }
        Ok(ledger)
    }

    /// Does unit `unit` of a job that somebody has [opened](Self::open); any number of threads may.
    ///
    /// Rejects are counted, and end nothing but a graph whose policy is `fail`: the limits are on all units together.
    ///
    /// # Errors
    /// [`JobError`]; the unit is then absent, not torn.
    pub fn run(&self, unit: usize, limits: UnitLimits, host: &str) -> Result<UnitRow, JobError> {
        self.run_and_tell(unit, limits, host, || ())
    }

    /// The same, and calls `computed` when all rows are made and only the disk is waited for. It is not called for a unit that is there
    /// already or fails before.
    ///
    /// # Errors
    /// As [`UnitJob::run`].
    pub fn run_and_tell(
        &self,
        unit: usize,
        limits: UnitLimits,
        host: &str,
        computed: impl FnOnce() + Send + 'static,
    ) -> Result<UnitRow, JobError> {
        let since = Instant::now();
        let base = run_options(&self.graph, JobOptions { jobs: Some(limits.jobs), ..JobOptions::default() });
        let options = RunOptions {
            memory_bytes: base.memory_bytes / limits.at_once.max(1) as u64,
            on_error: ErrorPolicy { max_fraction: 1.0, max_count: None, ..base.on_error },
            share: Share::Units(vec![unit]),
            ..base
        };
        let mut network = network_over(&self.graph, &options, &mut |node| self.source(node, &options))?;
        tell_when_computed(&mut network, computed);
        let stages = self.graph.nodes.iter().map(|n| (n.id.clone(), n.type_name.clone(), n.kind())).collect();
        let metrics = Arc::new(Metrics::new(stages));
        let describe = |sink: usize| self.sinks[&sink].clone();
        lock(&self.under_way).insert(unit, metrics.clone());
        let (outcome, result) = engine::run(network, &options, &metrics, &describe, &never(), &mut |_| ());
        lock(&self.under_way).remove(&unit);
        result?;
        let wanted = &self.units[unit];
        let sum = |of: fn(&SinkReport) -> u64| outcome.sinks.iter().map(|(_, sink)| of(sink)).sum();
        Ok(UnitRow {
            unit: unit as u64,
            key: to_hex(&wanted.key),
            clips: wanted.n_clips,
            rows: sum(|sink| sink.rows),
            bytes: sum(|sink| sink.bytes),
            rejects: sum(|sink| sink.rejects),
            reasons: outcome.rejects.counts.into_iter().map(|((stage, reason), n)| (stage, reason, n)).collect(),
            kept: metrics.units_total.load(Relaxed) == 0,
            seconds: since.elapsed().as_secs_f64(),
            peak_bytes: peak_resident_bytes(),
            host: host.to_owned(),
        })
    }

    /// How far a unit is that is under way, for people: how many of its clips are through the first stage, and which come next, as far as
    /// that is known without reading.
    pub fn how_far(&self, unit: usize) -> String {
        let n_clips = self.units.get(unit).map_or(0, |unit| unit.n_clips);
        let first_stage = self.graph.nodes.iter().position(|node| node.kind() != StageKind::Source);
        let metrics = lock(&self.under_way).get(&unit).cloned();
        let through = metrics.zip(first_stage).map_or(0, |(metrics, stage)| metrics.stage(stage).rows_in.load(Relaxed));
        let next = self.clips(unit, through as usize);
        if next.is_empty() {
            return format!("{through} of {n_clips} clips are through its first stage");
        }
        format!("{through} of {n_clips} clips are through its first stage, the next are {}", next.join(", "))
    }

    /// Names of a few clips of a unit, from the `first` on.
    fn clips(&self, unit: usize, first: usize) -> Vec<String> {
        let fork = self.first_units.iter().find_map(|(node, &first_unit)| {
            let of_source = unit.checked_sub(first_unit)?;
            let fork = lock(&self.sources).get(node)?.last()?.fork()?;
            (of_source < fork.units().len()).then_some((fork, of_source))
        });
        fork.map_or_else(Vec::new, |(mut source, unit)| source.names(unit, first, NAMED_CLIPS))
    }

    /// A source that is listed: shared where it can be, else lent, else listed once more.
    fn source(&self, node: usize, options: &RunOptions) -> Result<Option<Box<dyn Source>>, JobError> {
        if self.graph.nodes[node].kind() != StageKind::Source {
            return Ok(None);
        }
        let idle = {
            let mut idle = lock(&self.sources);
            let of_node = idle.entry(node).or_default();
            match of_node.last().and_then(|source| source.fork()) {
                Some(fork) => return Ok(Some(fork)),
                None => of_node.pop(),
            }
        };
        let listed = idle.map_or_else(|| build_stage(&self.graph, node, options), |idle| Ok(Stage::Source(idle)))?;
        let Stage::Source(source) = listed else { return Ok(None) };
        Ok(Some(Box::new(Lent { source: Some(source), node, home: self.sources.clone() })))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stage_fault(stage: &str, source: StageError) -> JobError {
    RunError::Stage { stage: stage.to_owned(), source }.into()
}

/// Has the last of the sinks to get all rows of its unit call `computed`.
fn tell_when_computed(network: &mut Network, computed: impl FnOnce() + Send + 'static) {
    let n_sinks = network.segments.iter().filter(|segment| matches!(segment.work, SegmentWork::Sink(_))).count();
    let computed: Mutex<Option<Computed>> = Mutex::new(Some(Box::new(computed)));
    let computed = Arc::new((AtomicUsize::new(n_sinks), computed));
    let told = |mut segment: Segment| {
        segment.work = match segment.work {
            SegmentWork::Sink(sink) => SegmentWork::Sink(Box::new(Telling { sink, computed: computed.clone() })),
            work => work,
        };
        segment
    };
    network.segments = std::mem::take(&mut network.segments).into_iter().map(told).collect();
}

type Computed = Box<dyn FnOnce() + Send>;

/// A sink that says when it has all rows of its unit.
struct Telling {
    sink: Box<dyn Sink>,
    /// How many of the sinks have not, and what is called when all have.
    computed: Arc<(AtomicUsize, Mutex<Option<Computed>>)>,
}

impl Sink for Telling {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        self.sink.open(run)
    }

    fn write(&mut self, unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        self.sink.write(unit, rows)
    }

    fn end_unit(&mut self, unit: usize, tally: UnitTally) -> Result<(), StageError> {
        let (left, computed) = self.computed.as_ref();
        if left.fetch_sub(1, Relaxed) == 1
            && let Some(computed) = lock(computed).take()
        {
            computed();
        }
        self.sink.end_unit(unit, tally)
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        self.sink.finish()
    }
}

/// A source that goes back to where it was taken from.
struct Lent {
    /// There until the drop.
    source: Option<Box<dyn Source>>,
    node: usize,
    home: Arc<Mutex<Idle>>,
}

impl Source for Lent {
    fn units(&self) -> &[Unit] {
        self.source.as_ref().map_or(&[], |source| source.units())
    }

    fn read(
        &mut self,
        unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        match &mut self.source {
            Some(source) => source.read(unit, emit),
            None => Ok(()),
        }
    }

    fn seconds(&self, unit: usize) -> f64 {
        self.source.as_ref().map_or(0.0, |source| source.seconds(unit))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            lock(&self.home).entry(self.node).or_default().push(source);
        }
    }
}

/// What of a job is done, and its last step.
pub struct Ledger {
    sinks: Vec<(String, Box<dyn Sink>)>,
    done: Vec<bool>,
}

impl Ledger {
    /// For every unit whether all sinks had it when the job was opened.
    pub fn done(&self) -> &[bool] {
        &self.done
    }

    /// Reads what is there, and writes what stands over all units, when all are there: `manifest.json`.
    ///
    /// # Errors
    /// [`JobError`] when a folder cannot be read or written.
    pub fn finish(&mut self) -> Result<Vec<(String, SinkReport)>, JobError> {
        let finish = |(id, sink): &mut (String, Box<dyn Sink>)| {
            let made = sink.finish().map_err(|source| stage_fault(id, source))?;
            Ok((id.clone(), made))
        };
        self.sinks.iter_mut().map(finish).collect()
    }
}
