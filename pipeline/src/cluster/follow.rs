//! The client's side of a job: hands out what is to do, follows it, and finishes it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ajepa_cluster::{Client, ClusterError, JobState};
use crossbeam::channel::Receiver;
use thiserror::Error;

use super::share_out::share_out;
use super::ticket::{Ticket, item};
use crate::engine::{ErrorPolicy, Outcome, RejectLog, RunError, Snapshot, StopSignal, Timeline, resident_bytes};
use crate::job::{JobError, error_policy, now};
use crate::plan::Graph;
use crate::report::RunReport;
use crate::units::{Ledger, UnitJob, UnitRow};

/// How often the scheduler is asked, at the longest.
const TICK: Duration = Duration::from_millis(300);

/// A job is late by half a tick on average: no more than a small part of what it took.
const TICKS: u32 = 100;

/// How often at the shortest.
const SHORT_TICK: Duration = Duration::from_millis(20);

/// How long a scheduler may be silent before the client gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a client waits for an executor to come.
const NOBODY: Duration = Duration::from_mins(1);

/// How long files that others have written may take to be seen here.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// How long after the first Ctrl-C a second one leaves the job running.
pub const SECOND_THOUGHTS: Duration = Duration::from_secs(3);

/// Why a job on a cluster failed, where no stage of the graph did.
#[derive(Debug, Error)]
pub enum ClusterFault {
    /// The scheduler.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The graph is none for a cluster.
    #[error("{0}")]
    Graph(String),
    /// Executors, or what they met.
    #[error("{0}")]
    Job(String),
}

/// How a job is handed to a cluster.
pub struct ClusterOptions<'a> {
    /// The scheduler.
    pub client: &'a Client,
    /// The job, as it travels.
    pub ticket: &'a Ticket,
    /// Nothing counts as done.
    pub fresh: bool,
    /// Told what a person should know, a line at a time.
    pub say: &'a mut dyn FnMut(&str),
}

/// Whether a cluster can do it.
///
/// # Errors
/// Why not, and what to do.
pub fn check(graph: &Graph) -> Result<(), ClusterFault> {
    for sink in graph.sinks() {
        let node = &graph.nodes[sink];
        if node.type_name == "sink_train" {
            let why = "a cluster makes shards and does not train: end this graph in sink_shards, run that with --cluster, and \
                       train from the shards (source_shards -> sink_train) without it";
            return Err(ClusterFault::Graph(format!("stage {}: {why}", node.id)));
        }
        if node.type_name != "sink_shards" {
            let why = format!(
                "stage {}: {} is written by one process; a cluster makes sink_shards alone",
                node.id, node.type_name
            );
            return Err(ClusterFault::Graph(why));
        }
    }
    Ok(())
}

/// Runs `job` on a cluster: the report is as of a run on this machine.
///
/// # Errors
/// [`JobError`]; what is committed by then stays and is not done again.
pub fn run(
    job: &UnitJob,
    options: ClusterOptions<'_>,
    stop: &Receiver<StopSignal>,
    observe: &mut dyn FnMut(&Snapshot),
) -> (RunReport, Result<(), JobError>) {
    let started_at = now();
    let mut timeline = Timeline::default();
    let (mut outcome, mut units) = (Outcome::default(), Vec::new());
    let result = go(job, options, stop, &mut outcome, &mut units, &mut |snapshot| {
        timeline.push(snapshot.clone());
        observe(snapshot);
    });
    let mut report = RunReport::new(job.graph(), started_at, &timeline, outcome, &result);
    let peak_bytes = units.iter().map(|row| row.peak_bytes).max().unwrap_or(0);
    report.peak_rss_bytes = report.peak_rss_bytes.max(peak_bytes);
    report.units = units;
    (report, result)
}

fn go(
    job: &UnitJob,
    options: ClusterOptions<'_>,
    stop: &Receiver<StopSignal>,
    outcome: &mut Outcome,
    units: &mut Vec<UnitRow>,
    observe: &mut dyn FnMut(&Snapshot),
) -> Result<(), JobError> {
    check(job.graph())?;
    let mut ledger = job.open(options.fresh)?;
    let mut tally = Tally::new(job, &ledger);
    let todo: Vec<usize> = (0..job.units().len()).filter(|&unit| !ledger.done()[unit]).collect();
    observe(&tally.snapshot(0));
    let result = if todo.is_empty() { Ok(()) } else { follow(job, &todo, options, stop, &mut tally, observe) };
    outcome.rejects = tally.log();
    *units = std::mem::take(&mut tally.rows);
    result?;
    finish(job, &mut ledger, outcome)
}

/// Hands the units out, and comes back when they are done.
fn follow(
    job: &UnitJob,
    todo: &[usize],
    options: ClusterOptions<'_>,
    stop: &Receiver<StopSignal>,
    tally: &mut Tally,
    observe: &mut dyn FnMut(&Snapshot),
) -> Result<(), JobError> {
    let ClusterOptions { client, ticket, say, .. } = options;
    let slots = somebody(client, stop, say)?;
    tally.slots = slots;
    let word = |&unit: &usize| item(unit, &job.units()[unit]);
    let tasks: Vec<Vec<String>> =
        share_out(job.seconds(), todo, slots as usize).iter().map(|task| task.iter().map(word).collect()).collect();
    let text = serde_json::to_string(ticket).map_err(|e| ClusterFault::Job(e.to_string()))?;
    let id = client.submit(&job.graph().pipeline, &text, &tasks).map_err(ClusterFault::from)?;
    say(&format!("job {id}: {} units in {} tasks for {slots} places", todo.len(), tasks.len()));
    let since = Instant::now();
    let mut heard = since;
    let mut after = 0;
    loop {
        if let Ok(signal) = stop.recv_timeout((since.elapsed() / TICKS).clamp(SHORT_TICK, TICK)) {
            return Err(leave(client, &id, stop, signal, say));
        }
        let told = client.state(&id).map(|state| (state, client.lines(&id, after)));
        let state = match told {
            Ok((state, lines)) => {
                let lines = lines.unwrap_or_default();
                after += lines.len();
                tally.add(&lines);
                heard = Instant::now();
                state
            }
            Err(ClusterError::Unreachable { .. }) if heard.elapsed() < PATIENCE => continue,
            Err(error) => return Err(ClusterFault::from(error).into()),
        };
        observe(&tally.snapshot(resident_bytes()));
        if let Some(error) = tally.limit_passed() {
            let _ = client.cancel(&id);
            return Err(error.into());
        }
        match state {
            JobState::UnderWay => {}
            JobState::Done => {
                rest(client, &id, after, tally);
                observe(&tally.snapshot(resident_bytes()));
                return Ok(());
            }
            JobState::Failed(why) => return Err(ClusterFault::Job(plain(&why)).into()),
            JobState::Unknown => {
                let why = "the scheduler does not know the job any more: it was started anew. Run the command again: what is \
                           done is kept";
                return Err(ClusterFault::Job(why.to_owned()).into());
            }
        }
    }
}

/// What executors told at last. The job is done whether it is heard or not.
fn rest(client: &Client, id: &str, mut after: usize, tally: &mut Tally) {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        match client.lines(id, after) {
            Ok(lines) if lines.is_empty() => return,
            Ok(lines) => {
                after += lines.len();
                tally.add(&lines);
            }
            Err(ClusterError::Unreachable { .. }) => std::thread::sleep(TICK),
            Err(_) => return,
        }
    }
}

/// Places of all executors, once there is one.
fn somebody(client: &Client, stop: &Receiver<StopSignal>, say: &mut dyn FnMut(&str)) -> Result<u64, JobError> {
    let since = Instant::now();
    let mut is_told = false;
    loop {
        let executors = client.executors().map_err(ClusterFault::from)?;
        let slots: u64 = executors.iter().map(|executor| u64::from(executor.room.slots)).sum();
        if slots > 0 {
            return Ok(slots);
        }
        if !is_told {
            say("no executor is there yet: ajepa-pipe cluster executor --scheduler ... starts one; waiting");
            is_told = true;
        }
        if since.elapsed() > NOBODY {
            return Err(ClusterFault::Job("no executor came within a minute".to_owned()).into());
        }
        if let Ok(signal) = stop.recv_timeout(TICK) {
            return Err(RunError::Interrupted(signal).into());
        }
    }
}

/// What a signal asks for: the job is cancelled, unless the client is told to go away at once, or its terminal is gone.
fn leave(
    client: &Client,
    id: &str,
    stop: &Receiver<StopSignal>,
    signal: StopSignal,
    say: &mut dyn FnMut(&str),
) -> JobError {
    if signal == StopSignal::Interrupt {
        // A second signal ends the process meanwhile, and leaves the job to itself.
        let _ = stop.recv_timeout(SECOND_THOUGHTS);
    }
    if signal == StopSignal::Hangup {
        say(&format!("job {id} goes on without this terminal: the same command follows it"));
    } else {
        match client.cancel(id) {
            Ok(()) => say(&format!("job {id} is cancelled: executors end with the units they are at")),
            Err(error) => say(&format!("job {id} could not be cancelled: {error}")),
        }
    }
    RunError::Interrupted(signal).into()
}

/// Ballista's words around ours taken away.
fn plain(why: &str) -> String {
    let tail = why.rsplit_once("failed: ").map_or(why, |(_, tail)| tail);
    tail.trim().to_owned()
}

/// Writes the manifest. Files that other machines have written may be seen here a while later.
fn finish(job: &UnitJob, ledger: &mut Ledger, outcome: &mut Outcome) -> Result<(), JobError> {
    let since = Instant::now();
    loop {
        let made = ledger.finish()?;
        let complete = made.iter().all(|(_, sink)| sink.complete);
        if complete || since.elapsed() > SHOWN_WITHIN {
            let node = |id: &str| job.graph().nodes.iter().position(|node| node.id == id).unwrap_or_default();
            outcome.sinks = made.into_iter().map(|(id, sink)| (node(&id), sink)).collect();
            if complete {
                return within_budget(job.graph(), outcome);
            }
            let why = "every task has ended, and not every unit is seen here: is the folder the same on every machine? Run the \
                       command again: what is done is kept";
            return Err(ClusterFault::Job(why.to_owned()).into());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn within_budget(graph: &Graph, outcome: &Outcome) -> Result<(), JobError> {
    crate::job::within_budget(graph, outcome).map_err(JobError::from)
}

/// What is known of units so far.
struct Tally {
    started: Instant,
    policy: ErrorPolicy,
    slots: u64,
    clips: Vec<u64>,
    is_todo: Vec<bool>,
    counts: Snapshot,
    reasons: BTreeMap<(String, String), u64>,
    rows: Vec<UnitRow>,
    last: String,
}

impl Tally {
    fn new(job: &UnitJob, ledger: &Ledger) -> Self {
        let policy = error_policy(job.graph());
        let is_todo: Vec<bool> = ledger.done().iter().map(|done| !done).collect();
        let clips: Vec<u64> = job.units().iter().map(|unit| unit.n_clips).collect();
        let of = |todo: bool| clips.iter().zip(&is_todo).filter(|(_, is)| **is == todo).map(|(n, _)| n).sum();
        let counts = Snapshot {
            clips_total: of(true),
            clips_kept: of(false),
            units_total: is_todo.iter().filter(|todo| **todo).count() as u64,
            ..Snapshot::default()
        };
        let (reasons, rows, last) = (BTreeMap::new(), Vec::new(), String::new());
        Self { started: Instant::now(), policy, slots: 0, clips, is_todo, counts, reasons, rows, last }
    }

    /// Counts what executors have told.
    fn add(&mut self, lines: &[String]) {
        for line in lines {
            self.add_unit(line);
        }
    }

    /// Counts a unit, once.
    fn add_unit(&mut self, line: &str) {
        let Ok(row) = serde_json::from_str::<UnitRow>(line) else { return };
        let Some(todo) = usize::try_from(row.unit).ok().and_then(|unit| self.is_todo.get_mut(unit)) else { return };
        if !std::mem::take(todo) {
            return;
        }
        self.counts.units_done += 1;
        self.counts.clips_done += self.clips[row.unit as usize];
        self.counts.rejects += row.rejects;
        for (stage, reason, n) in &row.reasons {
            self.last = format!("unit {} ({stage}): {reason}", row.unit);
            *self.reasons.entry((stage.clone(), reason.clone())).or_default() += n;
        }
        self.rows.push(row);
    }

    fn limit_passed(&self) -> Option<RunError> {
        let (rejects, clips) = (self.counts.rejects, self.counts.clips_total + self.counts.clips_kept);
        let limit = self.policy.limit_passed(rejects, clips).filter(|_| rejects > 0)?;
        Some(RunError::TooManyRejects { rejects, clips, limit, last: self.last.clone() })
    }

    fn snapshot(&self, rss_bytes: u64) -> Snapshot {
        let elapsed_s = self.started.elapsed().as_secs_f64();
        Snapshot { elapsed_s, jobs: self.slots, rss_bytes, ..self.counts.clone() }
    }

    fn log(&self) -> RejectLog {
        RejectLog { counts: self.reasons.clone(), first: Vec::new() }
    }
}
