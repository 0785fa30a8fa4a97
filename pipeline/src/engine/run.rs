//! One run: a thread for every source, fold, merge and sink; a pool of workers for all chains together.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::select;
use thiserror::Error;

use super::board::{Board, ChainPorts, QueueCap};
use super::chain::{ChainSettings, Link, panic_message};
use super::gate::Gate;
use super::metrics::{Metrics, Snapshot, resident_bytes};
use super::network::{Network, QueueSpec, Segment, SegmentWork};
use super::segments::{ChainPrototype, Worker, run_fold, run_merge, run_sink, run_source};
use crate::stage::{Reject, RunInfo, SinkReport, StageError, Unit};

/// Name of every thread of a run.
pub const WORKER_NAME: &str = "ajepa-run";

/// How often the observer is called.
const TICK: Duration = Duration::from_millis(100);

/// What the engine must know beside the network.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Worker threads for the chains.
    pub jobs: usize,
    /// How many of them work for each chain and for no other; any for all when `None`. The pool needs no such division:
    /// this is here to be measured against (`benches/division.rs`).
    pub division: Option<Vec<usize>>,
    /// Bytes for everything that is queued or under way.
    pub memory_bytes: u64,
    /// Bytes that one clip may take when a stage holds it whole.
    pub clip_cap_bytes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// What to do with bad clips.
    pub on_error: ErrorPolicy,
    /// Which of the units this run does.
    pub share: Share,
}

/// What of a job one run does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Share {
    /// All of it.
    #[default]
    All,
    /// Every `of`-th unit from `index` on, counted from 0: other processes do the others, and whoever is last finishes the job.
    Part {
        /// Which.
        index: usize,
        /// Processes that share the job.
        of: usize,
    },
    /// These units, ascending: somebody else hands the job out and finishes it.
    Units(Vec<usize>),
}

impl Share {
    /// Whether unit `k` is in it.
    pub fn has(&self, k: usize) -> bool {
        match self {
            Self::All => true,
            Self::Part { index, of } => k % of.max(&1) == *index,
            Self::Units(units) => units.binary_search(&k).is_ok(),
        }
    }
}

/// When bad clips end a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorPolicy {
    /// The first one does.
    pub fail: bool,
    /// More than this share of the clips does.
    pub max_fraction: f64,
    /// More than this many do.
    pub max_count: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What each sink made, by stage index; empty after an error.
    pub sinks: Vec<(usize, SinkReport)>,
    /// Every reject of this run by (stage, reason), and the first hundred themselves.
    pub rejects: RejectLog,
}

/// Rejects, counted, with the first ones kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RejectLog {
    /// (stage, reason) and how many.
    pub counts: std::collections::BTreeMap<(String, String), u64>,
    /// The first hundred that were seen.
    pub first: Vec<Reject>,
}

/// Why a run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// A stage could not go on.
    #[error("stage {stage}: {source}")]
    Stage {
        /// Its id.
        stage: String,
        /// Why.
        source: StageError,
    },
    /// A stage panicked outside a clip.
    #[error("stage {stage} panicked: {message}; this is a bug in the stage")]
    Panicked {
        /// Its id.
        stage: String,
        /// The panic's words.
        message: String,
    },
    /// `on_error: fail` met a bad clip.
    #[error("clip {clip_id} ({source_name}) was refused by {stage}: {reason}: {detail}", clip_id = .0.clip_id, source_name = .0.source, stage = .0.stage, reason = .0.reason, detail = .0.detail)]
    BadClip(Box<Reject>),
    /// More bad clips than allowed.
    #[error("{rejects} of {clips} clips were refused, more than {limit}; the last one: {last}")]
    TooManyRejects {
        /// Refused so far.
        rejects: u64,
        /// Clips of this run.
        clips: u64,
        /// The limit, as the config says it.
        limit: String,
        /// The last one, in words.
        last: String,
    },
    /// The graph waits for itself.
    #[error("the graph waits for itself: {queues}; no stage can go on, please report this graph")]
    Stuck {
        /// Fill of the queues.
        queues: String,
    },
    /// Asked to stop.
    #[error("stopped by {0}")]
    Interrupted(StopSignal),
}

/// A signal that asks for a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: `kill`, Slurm, Kubernetes.
    Terminate,
    /// SIGHUP: the terminal was closed, the connection lost.
    Hangup,
}

impl std::fmt::Display for StopSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        })
    }
}

/// Shared by the threads of a run.
pub(super) struct Shared {
    pub board: Board,
    pub metrics: Arc<Metrics>,
    pub on_error: ErrorPolicy,
    pub log: Mutex<RejectLog>,
    first_sink: Option<usize>,
    faults: Sender<RunError>,
}

impl Shared {
    /// Whether progress is read off this sink.
    pub fn is_first_sink(&self, stage: usize) -> bool {
        self.first_sink == Some(stage)
    }

    /// Counts rejects; ends the run when there are too many.
    pub fn count_rejects(&self, rejects: &[Reject]) {
        let Some(last) = rejects.last() else { return };
        {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            for reject in rejects {
                *log.counts.entry((reject.stage.clone(), reject.reason.clone())).or_default() += 1;
                if log.first.len() < 100 {
                    log.first.push(reject.clone());
                }
            }
        }
        let total = self.metrics.rejects.fetch_add(rejects.len() as u64, Relaxed) + rejects.len() as u64;
        let clips = self.metrics.clips_total.load(Relaxed) + self.metrics.clips_kept.load(Relaxed);
        if self.on_error.fail {
            self.fail(RunError::BadClip(Box::new(rejects[0].clone())));
        } else if let Some(limit) = self.on_error.limit_passed(total, clips) {
            let last = format!("{} ({}): {}: {}", last.clip_id, last.stage, last.reason, last.detail);
            self.fail(RunError::TooManyRejects { rejects: total, clips, limit, last });
        }
    }

    /// Ends the run with this fault, unless another came first.
    pub fn fail(&self, fault: RunError) {
        // There is room for one: the first fault is the one that is told.
        let _ = self.faults.try_send(fault);
        self.board.stop();
    }
}

impl ErrorPolicy {
    /// The limit that `rejects` of `clips` pass, in words.
    pub fn limit_passed(&self, rejects: u64, clips: u64) -> Option<String> {
        if self.max_count.is_some_and(|max| rejects > max) {
            return self.max_count.map(|max| format!("on_error.max_count = {max}"));
        }
        let over = rejects as f64 > self.max_fraction * clips as f64;
        over.then(|| format!("on_error.max_fraction = {}", self.max_fraction))
    }
}

/// Runs `network` to its end on threads of its own.
///
/// `info` is told to each sink with its fingerprint filled in by `describe`; `observe` is called on this thread ten times a
/// second and once at the end; a message on `stop` ends the run in good order.
///
/// # Errors
/// The first fault. What is committed stays, nothing else is left.
pub fn run(
    mut network: Network,
    options: &RunOptions,
    metrics: &Arc<Metrics>,
    describe: &dyn Fn(usize) -> RunInfo,
    stop: &Receiver<StopSignal>,
    observe: &mut dyn FnMut(&Snapshot),
) -> (Outcome, Result<(), RunError>) {
    let mut outcome = Outcome::default();
    metrics.jobs.store(options.jobs as u64, Relaxed);
    let todo = match open_sinks(&mut network, options, metrics, describe) {
        Ok(todo) => todo,
        Err(error) => return (outcome, Err(error)),
    };
    let (ports, actors) = wiring(&network, options);
    let caps = queue_caps(&network.queues, options);
    let is_sink = |segment: &&Segment| matches!(segment.work, SegmentWork::Sink(_));
    let first_sink = network.segments.iter().find(is_sink).map(|segment| segment.stage);
    let (faults, first_fault) = bounded(1);
    let shared = Shared {
        board: Board::new(&caps, ports, actors),
        metrics: metrics.clone(),
        on_error: options.on_error,
        log: Mutex::new(RejectLog::default()),
        first_sink,
        faults,
    };
    let names: Vec<(String, String)> = network.queues.iter().map(|q| (q.from.clone(), q.to.clone())).collect();
    let mut sinks = Vec::new();
    let signal = drive(network, options, &shared, &todo, &mut sinks, stop, &mut |shared| {
        observe(&snapshot(shared, &names));
    });
    outcome.rejects = shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let result = match (first_fault.try_recv(), signal) {
        (Ok(fault), _) => Err(fault),
        (Err(_), Some(signal)) => Err(RunError::Interrupted(signal)),
        (Err(_), None) if shared.board.is_stuck() => Err(RunError::Stuck { queues: queue_words(&shared, &names) }),
        (Err(_), None) => Ok(()),
    };
    sinks.sort_by_key(|(stage, _)| *stage);
    outcome.sinks = sinks;
    (outcome, result)
}

/// What there is to do: for each unit of the job whether this process does it now.
pub(super) struct Todo {
    pub units: Vec<bool>,
}

fn open_sinks(
    network: &mut Network,
    options: &RunOptions,
    metrics: &Arc<Metrics>,
    describe: &dyn Fn(usize) -> RunInfo,
) -> Result<Todo, RunError> {
    let units = all_units(network);
    let mine: Vec<bool> = (0..units.len()).map(|k| options.share.has(k)).collect();
    let piece = matches!(options.share, Share::Units(_));
    let mut todo = vec![false; units.len()];
    for segment in &mut network.segments {
        let SegmentWork::Sink(sink) = &mut segment.work else { continue };
        let info = RunInfo { units: units.clone(), mine: mine.clone(), piece, ..describe(segment.stage) };
        let done = sink
            .open(&info)
            .map_err(|source| RunError::Stage { stage: metrics.id(segment.stage).to_owned(), source })?;
        for (k, todo) in todo.iter_mut().enumerate() {
            *todo |= mine[k] && !done.get(k).copied().unwrap_or(false);
        }
    }
    let clips = |wanted: bool| {
        (0..units.len()).filter(|&k| mine[k] && todo[k] == wanted).map(|k| units[k].n_clips).sum::<u64>()
    };
    metrics.clips_total.store(clips(true), Relaxed);
    metrics.clips_kept.store(clips(false), Relaxed);
    metrics.units_total.store(todo.iter().filter(|&&todo| todo).count() as u64, Relaxed);
    Ok(Todo { units: todo })
}

/// Unit `k` of the job is unit `k - first_unit` of every source that has it.
pub(crate) fn all_units(network: &Network) -> Vec<Unit> {
    let mut units: Vec<(u64, blake3::Hasher)> = Vec::new();
    for segment in &network.segments {
        let SegmentWork::Source { source, first_unit } = &segment.work else { continue };
        let needed = first_unit + source.units().len();
        while units.len() < needed {
            units.push((0, blake3::Hasher::new()));
        }
        for (unit, (n_clips, hasher)) in source.units().iter().zip(&mut units[*first_unit..]) {
            *n_clips += unit.n_clips;
            hasher.update(&segment.stage.to_le_bytes());
            hasher.update(&unit.key);
        }
    }
    units.iter().map(|(n_clips, hasher)| Unit::new(*n_clips, hasher)).collect()
}

fn wiring(network: &Network, options: &RunOptions) -> (Vec<ChainPorts>, usize) {
    let mut ports = Vec::new();
    let mut threads = 0;
    for segment in &network.segments {
        match &segment.work {
            SegmentWork::Chain { .. } => {
                ports.push(ChainPorts { input: segment.inputs[0], outputs: segment.outputs.clone() });
            }
            _ => threads += 1,
        }
    }
    let workers = duties(options, ports.len()).iter().filter(|chains| !chains.is_empty()).count();
    (ports, threads + workers)
}

/// Half of the memory is for queues, shared out evenly; the other half is for clips under way. What the process has taken already,
/// itself first, comes off the queues, or the two halves and the program were more than was allowed; to a guest of a large process half of
/// them is left.
fn queue_caps(queues: &[QueueSpec], options: &RunOptions) -> Vec<QueueCap> {
    const ENOUGH_BYTES: u64 = 256 << 20;
    let half = options.memory_bytes / 2;
    let bytes = ((half - resident_bytes().min(half / 2)) / queues.len().max(1) as u64).min(ENOUGH_BYTES);
    queues.iter().map(|_| QueueCap { bytes, items: 4 * options.jobs as u64 + 4 }).collect()
}

/// Bytes of a clip that each worker may hold at any time; for more it waits until no other worker does.
fn clip_share_bytes(memory_bytes: u64, jobs: usize) -> u64 {
    memory_bytes / 4 / jobs.max(1) as u64
}

fn drive(
    network: Network,
    options: &RunOptions,
    shared: &Shared,
    todo: &Todo,
    sinks: &mut Vec<(usize, SinkReport)>,
    stop: &Receiver<StopSignal>,
    observe: &mut dyn FnMut(&Shared),
) -> Option<StopSignal> {
    let settings = ChainSettings {
        seed: options.seed,
        epoch: 0,
        clip_cap_bytes: options.clip_cap_bytes,
        clip_share_bytes: clip_share_bytes(options.memory_bytes, options.jobs),
    };
    let gate = Arc::new(Gate::default());
    let (report, reports) = bounded(network.segments.len().max(1));
    let mut prototypes = Vec::new();
    let mut signal = None;
    thread::scope(|scope| {
        let (done, all_done) = bounded::<()>(0);
        for segment in network.segments {
            let (stage, inputs, outputs) = (segment.stage, segment.inputs, segment.outputs);
            let done = done.clone();
            let report = report.clone();
            match segment.work {
                SegmentWork::Chain { links, input, output } => {
                    let home = Link { stage, id: shared.metrics.id(stage).into() };
                    prototypes.push(ChainPrototype { home, links: Mutex::new(links), input, output });
                }
                SegmentWork::Source { mut source, first_unit } => {
                    spawn(scope, shared, stage, done, move || {
                        run_source(shared, stage, source.as_mut(), first_unit, todo, &outputs)
                    });
                }
                SegmentWork::Fold(mut fold) => {
                    spawn(scope, shared, stage, done, move || {
                        run_fold(shared, stage, fold.as_mut(), inputs[0], &outputs)
                    });
                }
                SegmentWork::Merge { mut merge, counts } => {
                    spawn(scope, shared, stage, done, move || {
                        run_merge(shared, stage, merge.as_mut(), &inputs, &counts, &outputs)
                    });
                }
                SegmentWork::Sink(mut sink) => {
                    spawn(scope, shared, stage, done, move || {
                        let made = run_sink(shared, stage, sink.as_mut(), inputs[0])?;
                        // One place per segment, so this never waits.
                        let _ = report.send((stage, made));
                        Ok(())
                    });
                }
            }
        }
        let prototypes = Arc::new(prototypes);
        if !prototypes.is_empty() {
            for duties in duties(options, prototypes.len()) {
                let (prototypes, gate) = (prototypes.clone(), gate.clone());
                let stage = prototypes[0].home.stage;
                spawn(scope, shared, stage, done.clone(), move || {
                    Worker::new(shared, &prototypes, settings, gate, duties).run()
                });
            }
        }
        drop(done);
        signal = watch(shared, stop, &all_done, observe);
    });
    drop(report);
    sinks.extend(reports.iter());
    signal
}

/// For each worker the chains it works for.
fn duties(options: &RunOptions, n_chains: usize) -> Vec<Range<usize>> {
    match &options.division {
        None => vec![0..n_chains; options.jobs],
        Some(division) => {
            let of_chain = |(chain, &n): (usize, &usize)| vec![chain..chain + 1; n];
            division.iter().enumerate().take(n_chains).flat_map(of_chain).collect()
        }
    }
}

/// Waits on the calling thread until every thread has dropped its `done`; passes ticks and signals on.
fn watch(
    shared: &Shared,
    stop: &Receiver<StopSignal>,
    all_done: &Receiver<()>,
    observe: &mut dyn FnMut(&Shared),
) -> Option<StopSignal> {
    let mut signal = None;
    let never = crossbeam::channel::never();
    let mut stop = stop;
    loop {
        select! {
            recv(all_done) -> _ => {
                observe(shared);
                return signal;
            }
            recv(stop) -> message => {
                if let Ok(asked) = message {
                    signal = Some(asked);
                    shared.board.stop();
                }
                // One is enough; a closed channel would be ready for ever.
                stop = &never;
            }
            default(TICK) => observe(shared),
        }
    }
}

fn spawn<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    shared: &'env Shared,
    stage: usize,
    done: Sender<()>,
    work: impl FnOnce() -> Result<(), (usize, StageError)> + Send + 'scope,
) {
    let body = move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let name = |stage: usize| shared.metrics.id(stage).to_owned();
        match outcome {
            Ok(Ok(()) | Err((_, StageError::Stopped))) => {}
            Ok(Err((stage, source))) => shared.fail(RunError::Stage { stage: name(stage), source }),
            Err(panic) => {
                shared.fail(RunError::Panicked { stage: name(stage), message: panic_message(panic.as_ref()) });
            }
        }
        shared.board.leave();
        drop(done);
    };
    // A thread that cannot be had is a fault of the machine; the run ends, and says so.
    if let Err(source) = thread::Builder::new().name(WORKER_NAME.to_owned()).spawn_scoped(scope, body) {
        let what = "cannot start a thread".to_owned();
        let stage = shared.metrics.id(stage).to_owned();
        shared.fail(RunError::Stage { stage, source: StageError::Io { what, source } });
        shared.board.leave();
    }
}

fn snapshot(shared: &Shared, names: &[(String, String)]) -> Snapshot {
    let mut queues = shared.board.queues();
    for (queue, (from, to)) in queues.iter_mut().zip(names) {
        queue.from.clone_from(from);
        queue.to.clone_from(to);
    }
    shared.metrics.snapshot(queues)
}

fn queue_words(shared: &Shared, names: &[(String, String)]) -> String {
    let queues = snapshot(shared, names).queues;
    let words = queues.iter().map(|q| format!("{} -> {} holds {} items, {} bytes", q.from, q.to, q.items, q.bytes));
    words.collect::<Vec<_>>().join("; ")
}

/// Adds to a counter of a stage.
pub(super) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
