//! From a planned graph to a finished run: builds the stages, wires the network, runs it, writes the report.
//!
//! This is the library's front door: the command line, and any program that has a [`Graph`], call [`run`].

use std::sync::Arc;

use crossbeam::channel::Receiver;
use thiserror::Error;

use crate::engine::{
    self, ErrorPolicy, Link, Metrics, Network, Outcome, RunError, RunOptions, SegmentWork, Share, Snapshot, StopSignal,
    Timeline,
};
use crate::plan::{Graph, Node, Policy, Segments};
use crate::report::RunReport;
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, RunInfo, Source, Stage, StageKind};

/// Worker threads that a run has at most, whatever is asked for: each has a share of memory and of every queue.
const MAX_JOBS: usize = 1024;

/// What is asked of one run beside the graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobOptions {
    /// Worker threads, of which no more than 1,024 are started; the graph's `resources.jobs`, else one per core, when `None`.
    pub jobs: Option<usize>,
    /// `(I, N)`: this process does every N-th unit from the I-th (from 0).
    pub part: Option<(usize, usize)>,
    /// Nothing counts as done.
    pub fresh: bool,
}

/// Why a job failed.
#[derive(Debug, Error)]
pub enum JobError {
    /// A stage could not be made.
    #[error("stage {stage}: {source}")]
    Build {
        /// Its id.
        stage: String,
        /// Its line in the YAML.
        line: Option<usize>,
        /// Why, and the cure.
        source: BuildError,
    },
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The cluster could not do it.
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterFault),
    /// Training on what the run made failed, or could not begin.
    #[cfg(feature = "train")]
    #[error("stage {stage}: {source}")]
    Training {
        /// Its id.
        stage: String,
        /// Its line in the YAML.
        line: Option<usize>,
        /// Why, and the cure.
        source: crate::train::TrainingFault,
    },
}

/// What somebody who watches a job is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// The graph runs: its counters, ten times a second.
    Running(&'a Snapshot),
    /// A stage computes on a device, by its name: told before anything else.
    #[cfg(feature = "train")]
    Device {
        /// `id` of the stage.
        stage: &'a str,
        /// `cpu`, `cuda:0 (NVIDIA H100)`.
        name: &'a str,
    },
    /// A model is trained on what the graph has made: after every step.
    #[cfg(feature = "train")]
    Training {
        /// `id` of the stage.
        stage: &'a str,
        /// How far it is.
        moment: &'a ajepa_model::telemetry::Moment<'a>,
    },
}

/// Runs `graph` to its end, and then the trainings that its sinks ask for. The report is there however the run ended, as long as
/// it began.
///
/// `observe` is told how it goes; a message on `stop` ends the run in good order.
///
/// # Errors
/// [`JobError`]; what is committed by then stays and is not done again.
pub fn run(
    graph: &Graph,
    options: JobOptions,
    stop: &Receiver<StopSignal>,
    observe: &mut dyn FnMut(&Event<'_>),
) -> (RunReport, Result<(), JobError>) {
    #[cfg(feature = "train")]
    let ready = trainings_ready(graph, options).and_then(|()| open_devices(graph, observe));
    #[cfg(feature = "train")]
    if let Err(error) = ready {
        let result = Err(error);
        return (RunReport::new(graph, now(), &Timeline::default(), Outcome::default(), &result), result);
    }
    let (report, result) = run_changed(graph, options, &|_| (), stop, &mut |now| observe(&Event::Running(now)));
    #[cfg(feature = "train")]
    let (report, result) = {
        let mut report = report;
        let result = result.and_then(|()| train(graph, options, stop, observe, &mut report));
        (report, result)
    };
    (report, result)
}

/// What the sink `node` asks to be trained.
#[cfg(feature = "train")]
fn training<'a>(
    graph: &'a Graph,
    node: &'a Node,
    options: JobOptions,
) -> Result<Option<crate::train::Training<'a>>, JobError> {
    let Some(config) = node.config.training() else { return Ok(None) };
    let fault = |source: crate::stage::PlanError| {
        let (stage, line) = (node.id.clone(), node.line);
        JobError::Build { stage, line, source: source.into() }
    };
    Ok(Some(crate::train::Training {
        pipeline: &graph.pipeline,
        stage: &node.id,
        config,
        recipe: config.recipe(&node.inputs).map_err(fault)?,
        shards: shards_of(graph, node).unwrap_or_else(|| config.path.join(crate::stages::sink_train::DATA)),
        seed: graph.seed,
        fresh: options.fresh,
    }))
}

/// Refuses trainings that cannot be, before the graph works for hours towards them.
#[cfg(feature = "train")]
fn trainings_ready(graph: &Graph, options: JobOptions) -> Result<(), JobError> {
    for (at, node) in graph.nodes.iter().enumerate().filter(|_| !is_part(options)) {
        if let Some(training) = training(graph, node, options)? {
            let fault = |source| JobError::Training { stage: node.id.clone(), line: node.line, source };
            training.ready(&node.inputs, &graph.fingerprint(at)).map_err(fault)?;
        }
    }
    Ok(())
}

/// Opens the devices that stages ask for: what a machine lacks is said before hours of audio are decoded.
#[cfg(feature = "train")]
fn open_devices(graph: &Graph, observe: &mut dyn FnMut(&Event<'_>)) -> Result<(), JobError> {
    for node in &graph.nodes {
        let Some(choice) = node.config.device() else { continue };
        let on = choice.open().map_err(|error| JobError::Build {
            stage: node.id.clone(),
            line: node.line,
            source: BuildError::new(error.problem, error.help),
        })?;
        observe(&Event::Device { stage: &node.id, name: &on.name });
    }
    Ok(())
}

/// Whether other processes do other parts of the job.
#[cfg(feature = "train")]
fn is_part(options: JobOptions) -> bool {
    options.part.is_some_and(|(_, of)| of > 1)
}

/// Trains what the sinks of `graph` ask for, one after the other. A set that is not complete (`--part`) is not trained on.
#[cfg(feature = "train")]
fn train(
    graph: &Graph,
    options: JobOptions,
    stop: &Receiver<StopSignal>,
    observe: &mut dyn FnMut(&Event<'_>),
    report: &mut RunReport,
) -> Result<(), JobError> {
    for node in &graph.nodes {
        let Some(training) = training(graph, node, options)? else { continue };
        let made = report.sinks.iter_mut().find(|(id, _)| *id == node.id);
        if let Some((_, made)) = made.filter(|(_, made)| is_part(options) || !made.complete) {
            made.notes.push("training begins when all parts are there: run once more without --part".to_owned());
            continue;
        }
        let fault = |source| JobError::Training { stage: node.id.clone(), line: node.line, source };
        let watch =
            &mut |moment: &ajepa_model::telemetry::Moment<'_>| observe(&Event::Training { stage: &node.id, moment });
        let (done, stopped) = training.run(stop, watch).map_err(fault)?;
        report.trainings.push(done);
        if let Some(signal) = stopped {
            "interrupted".clone_into(&mut report.outcome);
            return Err(RunError::Interrupted(signal).into());
        }
    }
    Ok(())
}

/// The shards that a sink reads with nothing between.
#[cfg(feature = "train")]
fn shards_of(graph: &Graph, sink: &Node) -> Option<std::path::PathBuf> {
    let [source] = sink.from[..] else { return None };
    let source = &graph.nodes[source];
    (source.type_name == "source_shards").then(|| source.config.folder().map(std::path::Path::to_owned))?
}

/// As [`run`], with a last word on the network before it starts: `bench` puts other ends on it.
///
/// # Errors
/// As [`run`].
pub fn run_changed(
    graph: &Graph,
    options: JobOptions,
    change: &dyn Fn(&mut Network),
    stop: &Receiver<StopSignal>,
    observe: &mut dyn FnMut(&Snapshot),
) -> (RunReport, Result<(), JobError>) {
    let started_at = now();
    let mut timeline = Timeline::default();
    let (outcome, result) = run_network(graph, options, change, stop, &mut |snapshot| {
        timeline.push(snapshot.clone());
        observe(snapshot);
    });
    let report = RunReport::new(graph, started_at, &timeline, outcome, &result);
    (report, result)
}

/// The time to the second, RFC 3339.
pub(crate) fn now() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

fn run_network(
    graph: &Graph,
    options: JobOptions,
    change: &dyn Fn(&mut Network),
    stop: &Receiver<StopSignal>,
    observe: &mut dyn FnMut(&Snapshot),
) -> (Outcome, Result<(), JobError>) {
    let run_options = run_options(graph, options);
    let network = match network(graph, &run_options) {
        Ok(mut network) => {
            change(&mut network);
            network
        }
        Err(error) => return (Outcome::default(), Err(error)),
    };
    let stages = graph.nodes.iter().map(|n| (n.id.clone(), n.type_name.clone(), n.kind())).collect();
    let metrics = Arc::new(Metrics::new(stages));
    let describe = |sink: usize| run_info(graph, sink, options.fresh);
    let (outcome, result) = engine::run(network, &run_options, &metrics, &describe, stop, observe);
    let result = result.and_then(|()| within_budget(graph, &outcome));
    (outcome, result.map_err(JobError::from))
}

/// What the engine is told: the graph's settings under the command line's.
pub fn run_options(graph: &Graph, options: JobOptions) -> RunOptions {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = options.part.map_or(Share::All, |(index, of)| Share::Part { index, of });
    RunOptions {
        jobs: options.jobs.or(graph.resources.jobs).unwrap_or(cores).clamp(1, MAX_JOBS),
        division: None,
        memory_bytes: graph.resources.memory_bytes,
        clip_cap_bytes: graph.resources.clip_cap_bytes(),
        seed: graph.seed,
        on_error: error_policy(graph),
        share,
    }
}

/// What `on_error` of a graph is to the engine.
pub(crate) fn error_policy(graph: &Graph) -> ErrorPolicy {
    let on_error = &graph.on_error;
    ErrorPolicy {
        fail: on_error.policy == Policy::Fail,
        max_fraction: on_error.max_fraction,
        max_count: on_error.max_count,
    }
}

/// What a sink is told of the job, its units left out.
pub(crate) fn run_info(graph: &Graph, sink: usize, fresh: bool) -> RunInfo {
    let fingerprint = graph.fingerprint(sink);
    RunInfo {
        pipeline: graph.pipeline.clone(),
        fingerprint: fingerprint.hex,
        graph: fingerprint.graph,
        units: Vec::new(),
        mine: Vec::new(),
        fresh,
        piece: false,
        quarantine: graph.on_error.policy == Policy::Quarantine,
    }
}

/// The limit holds for the whole job, earlier runs included, and is checked again when all units are there.
pub(crate) fn within_budget(graph: &Graph, outcome: &Outcome) -> Result<(), RunError> {
    let policy = error_policy(graph);
    for (_, sink) in &outcome.sinks {
        let clips = sink.rows + sink.rejects;
        if let Some(limit) = policy.limit_passed(sink.rejects, clips) {
            let last = "see rejects.parquet".to_owned();
            return Err(RunError::TooManyRejects { rejects: sink.rejects, clips, limit, last });
        }
    }
    Ok(())
}

/// Builds every stage of `graph` and wires them up.
///
/// # Errors
/// [`JobError::Build`] for the first stage that cannot be made.
pub fn network(graph: &Graph, options: &RunOptions) -> Result<Network, JobError> {
    network_over(graph, options, &mut |_| Ok(None))
}

/// Gives the source of a node that is listed already.
pub(crate) type GiveSource<'a> = &'a mut dyn FnMut(usize) -> Result<Option<Box<dyn Source>>, JobError>;

/// The same over sources that are given.
pub(crate) fn network_over(graph: &Graph, options: &RunOptions, give: GiveSource<'_>) -> Result<Network, JobError> {
    folders_apart(graph)?;
    let mut stages = Vec::with_capacity(graph.nodes.len());
    for node in 0..graph.nodes.len() {
        let given = give(node)?.map(Stage::Source);
        stages.push(Some(given.map_or_else(|| build_stage(graph, node, options), Ok)?));
    }
    let first_units = first_units(graph, &stages);
    let segments = graph.segments();
    let mut network = Network::default();
    // Edges keep their numbers as queues; casts get new ones behind them.
    for edge in &segments.edges {
        let id = |segment: usize, last: bool| segment_id(graph, &segments, segment, last);
        network.queue(&id(edge.from, true), &id(edge.to, false), &edge.schema);
    }
    for (at, segment) in segments.segments.iter().enumerate() {
        let stage = segment.nodes.first().copied().unwrap_or_else(|| cast_stage(&segments, at));
        if segment.kind == StageKind::Map {
            wire_chain(graph, &segments, at, stage, &mut stages, &mut network);
            continue;
        }
        let work = match stages[stage].take() {
            Some(Stage::Source(source)) => SegmentWork::Source { source, first_unit: first_units[stage] },
            Some(Stage::Fold(fold)) => SegmentWork::Fold(fold),
            Some(Stage::Merge(merge)) => SegmentWork::Merge { merge, counts: counts(graph, stage) },
            Some(Stage::Sink(sink)) => SegmentWork::Sink(sink),
            Some(Stage::Map(_)) | None => return Err(wrong_kind(&graph.nodes[stage])),
        };
        network.segment(work, stage, segment.inputs.clone(), segment.outputs.clone());
    }
    Ok(network)
}

/// Refuses a sink into the folder of another stage, by whatever links and names it is reached. The plan has compared the
/// texts; here the folders are there to be looked up.
fn folders_apart(graph: &Graph) -> Result<(), JobError> {
    let folder = |node: &Node| node.config.folder().and_then(|path| path.canonicalize().ok());
    for sink in graph.nodes.iter().filter(|node| node.kind() == StageKind::Sink) {
        let Some(here) = folder(sink) else { continue };
        let clash = |other: &&Node| other.id != sink.id && folder(other).is_some_and(|there| there == here);
        if let Some(other) = graph.nodes.iter().find(clash) {
            let problem = format!("{} is the folder of `{}` too, by another name", here.display(), other.id);
            let source = BuildError::new(problem, "give the sink a folder of its own");
            return Err(JobError::Build { stage: sink.id.clone(), line: sink.line, source });
        }
    }
    Ok(())
}

/// Makes one stage.
pub(crate) fn build_stage(graph: &Graph, node: usize, options: &RunOptions) -> Result<Stage, JobError> {
    let node = &graph.nodes[node];
    let nothing = Schema::default();
    let output = node.plan.output.as_ref().or(node.plan.stored.as_ref()).unwrap_or(&nothing);
    let cx = BuildCx {
        id: &node.id,
        inputs: &node.inputs,
        output,
        seed: options.seed,
        clips_per_unit: graph.resources.clips_per_shard as usize,
        clip_cap_bytes: options.clip_cap_bytes,
        fail: options.on_error.fail,
    };
    let fault = |source| JobError::Build { stage: node.id.clone(), line: node.line, source };
    node.config.build(&cx).map_err(fault)
}

fn wrong_kind(node: &Node) -> JobError {
    let problem = format!("{} built another kind of stage than it planned", node.type_name);
    JobError::Build {
        stage: node.id.clone(),
        line: node.line,
        source: BuildError::new(problem, "this is a bug in the stage: plan() and build() must agree"),
    }
}

/// Where each source's units begin: at 0, or behind those of the earlier inputs of a `concat`.
fn first_units(graph: &Graph, stages: &[Option<Stage>]) -> Vec<usize> {
    let mut first = vec![0; graph.nodes.len()];
    let n_units = |i: usize| match &stages[i] {
        Some(Stage::Source(source)) => source.units().len(),
        _ => 0,
    };
    for node in graph.nodes.iter().filter(|node| node.type_name == "concat") {
        let mut next = 0;
        for &input in &node.from {
            let above = sources_above(graph, input);
            let mut end = next;
            for &source in &above {
                first[source] += next;
                end = end.max(first[source] + n_units(source));
            }
            next = end;
        }
    }
    first
}

/// For each input of a merge whether it has a source that no earlier input has.
fn counts(graph: &Graph, merge: usize) -> Vec<bool> {
    let mut seen = Vec::new();
    let mut is_new = |&input: &usize| {
        let above = sources_above(graph, input);
        let new = above.iter().any(|source| !seen.contains(source));
        seen.extend(above);
        new
    };
    graph.nodes[merge].from.iter().map(&mut is_new).collect()
}

fn sources_above(graph: &Graph, node: usize) -> Vec<usize> {
    if graph.nodes[node].from.is_empty() {
        return vec![node];
    }
    let mut found: Vec<usize> = graph.nodes[node].from.iter().flat_map(|&i| sources_above(graph, i)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn segment_id(graph: &Graph, segments: &Segments, segment: usize, last: bool) -> String {
    let nodes = &segments.segments[segment].nodes;
    let node = if last { nodes.last() } else { nodes.first() };
    node.map_or_else(|| "cast".to_owned(), |&i| graph.nodes[i].id.clone())
}

/// The stage that a chain without stages is told of: the one that feeds it.
fn cast_stage(segments: &Segments, at: usize) -> usize {
    let edge = segments.segments[at].inputs.first().map(|&edge| &segments.edges[edge]);
    edge.and_then(|edge| segments.segments[edge.from].nodes.last().copied()).unwrap_or(0)
}

fn wire_chain(
    graph: &Graph,
    segments: &Segments,
    at: usize,
    stage: usize,
    stages: &mut [Option<Stage>],
    network: &mut Network,
) {
    let segment = &segments.segments[at];
    let link = |&i: &usize| match stages[i].take() {
        Some(Stage::Map(map)) => Some((Link { stage: i, id: graph.nodes[i].id.as_str().into() }, map)),
        _ => None,
    };
    let links = segment.nodes.iter().filter_map(link).collect();
    let input = segments.edges[segment.inputs[0]].schema.clone();
    let wanted = |&edge: &usize| &segments.edges[edge].schema;
    let first = wanted(&segment.outputs[0]);
    if segment.outputs.iter().all(|edge| wanted(edge) == first) {
        let work = SegmentWork::Chain { links, input, output: first.clone() };
        network.segment(work, stage, segment.inputs.clone(), segment.outputs.clone());
        return;
    }
    // Consumers want different forms: the chain gives its own, and a cast stands before each that wants another.
    let own = segment.nodes.last().and_then(|&i| graph.nodes[i].plan.output.clone()).unwrap_or_else(|| first.clone());
    let mut outputs = Vec::new();
    let mut casts = Vec::new();
    for &edge in &segment.outputs {
        if *wanted(&edge) == own {
            outputs.push(edge);
            continue;
        }
        let between = network.queue(&segment_id(graph, segments, at, true), "cast", &own);
        outputs.push(between);
        casts.push((between, edge));
    }
    network.segment(SegmentWork::Chain { links, input, output: own.clone() }, stage, segment.inputs.clone(), outputs);
    for (between, edge) in casts {
        let work = SegmentWork::Chain { links: Vec::new(), input: own.clone(), output: wanted(&edge).clone() };
        network.segment(work, stage, vec![between], vec![edge]);
    }
}
