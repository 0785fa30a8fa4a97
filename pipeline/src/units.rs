//! A job in pieces: its sources are listed once, any of its units is done at any time, by anybody, and once all are there it is
//! finished. What a cluster is built on, and knows nothing of any.
//!
//! Doing a unit is idempotent: one that has a valid record is left as it is, one that is done twice is the same bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;
use crossbeam::channel::never;
use serde::{Deserialize, Serialize};

use crate::engine::{self, ErrorPolicy, Metrics, RunError, RunOptions, SegmentWork, Share, peak_resident_bytes};
use crate::job::{JobError, JobOptions, build_stage, network_over, run_info, run_options};
use crate::plan::Graph;
use crate::stage::{RunInfo, Sink, SinkReport, Source, Stage, StageError, StageKind, Unit};
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
        for segment in network.segments {
            if let SegmentWork::Source { source, first_unit } = segment.work {
                let of_source = (0..source.units().len()).map(|unit| source.seconds(unit));
                seconds[first_unit..].iter_mut().zip(of_source).for_each(|(sum, more)| *sum += more);
                idle.entry(segment.stage).or_default().push(source);
            }
        }
        let mut inputs = blake3::Hasher::new();
        for unit in &units {
            inputs.update(&unit.n_clips.to_le_bytes()).update(&unit.key);
        }
        let sinks = graph.sinks().into_iter().map(|sink| (sink, run_info(&graph, sink, false))).collect();
        let inputs = to_hex(&inputs.finalize().as_bytes()[..16]);
        Ok(Self { graph, units, seconds, inputs, sinks, sources: Arc::new(Mutex::new(idle)) })
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
        let since = Instant::now();
        let base = run_options(&self.graph, JobOptions { jobs: Some(limits.jobs), ..JobOptions::default() });
        let options = RunOptions {
            memory_bytes: base.memory_bytes / limits.at_once.max(1) as u64,
            on_error: ErrorPolicy { max_fraction: 1.0, max_count: None, ..base.on_error },
            share: Share::Units(vec![unit]),
            ..base
        };
        let network = network_over(&self.graph, &options, &mut |node| self.source(node, &options))?;
        let stages = self.graph.nodes.iter().map(|n| (n.id.clone(), n.type_name.clone(), n.kind())).collect();
        let metrics = Arc::new(Metrics::new(stages));
        let describe = |sink: usize| self.sinks[&sink].clone();
        let (outcome, result) = engine::run(network, &options, &metrics, &describe, &never(), &mut |_| ());
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
            kept: metrics.units_total.load(std::sync::atomic::Ordering::Relaxed) == 0,
            seconds: since.elapsed().as_secs_f64(),
            peak_bytes: peak_resident_bytes(),
            host: host.to_owned(),
        })
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

fn lock(sources: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    sources.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stage_fault(stage: &str, source: StageError) -> JobError {
    RunError::Stage { stage: stage.to_owned(), source }.into()
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
