//! An executor process: asks for tasks, does them, tells what came of them, until it is told to stop.
//!
//! Ballista's own loop forgets what it told when nobody heard it, and knows nothing of tasks in an answer that was lost: a job then waits
//! for ever. So this is one of our own, over the same protocol. When an answer is lost, the executor takes another name and has the
//! old one struck off, so that all it had is given out again; work is done once, for what is done already is skipped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecutorStoppedParams, PollWorkParams, TaskStatus, task_status};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::MAX_MESSAGE_BYTES;
use super::client::channel;
use super::error::ClusterError;
use super::gate::{self, Say};
use super::registration::registration;
use super::task::{Bench, Ended, UnderWay, Work, now_ms};
use super::token::{Bearer, Token};

/// How often an executor with room asks for work, from one question to the next.
const IDLE: Duration = Duration::from_millis(200);

/// How often one without room says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long an executor that met passing trouble takes no work, the first, second and further times in a row: a task fails its job by the
/// fourth try, and others, whose disks may be well, are to have come to it by then.
const BREATHS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(32)];

/// How long it waits after nobody answered.
const AGAIN: Duration = Duration::from_secs(1);

/// How an executor is run.
pub struct ExecutorOptions {
    /// `df://host:50050`.
    pub scheduler: String,
    /// The scheduler's token, if it wants one.
    pub token: Option<Token>,
    /// The machine's name, for people.
    pub host: String,
    /// Tasks at once.
    pub slots: usize,
    /// How long an item may take before it counts as hung; for ever when `None`.
    pub limit: Option<Duration>,
    /// Told what happens, a line at a time.
    pub say: Box<dyn Fn(&str) + Send + Sync>,
    /// Blocks until the process is asked to stop.
    pub until: Box<dyn FnOnce() + Send>,
}

/// Runs an executor until [`ExecutorOptions::until`] returns. A scheduler that is not there is waited for.
///
/// # Errors
/// [`ClusterError`] for an address that is none, a token that is not accepted, or when every slot hangs.
pub fn execute(options: ExecutorOptions, work: Arc<dyn Work>) -> Result<(), ClusterError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // One at work and one at the disk for each slot, what hangs, and the one that waits for a signal.
        .max_blocking_threads(4 * options.slots + 16)
        .thread_name("executor")
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| ClusterError::io("cannot start the executor's threads", e))?;
    let result = runtime.block_on(run(options, work));
    // What is under way ends with the process: it is committed whole or not at all.
    runtime.shutdown_background();
    result
}

async fn run(options: ExecutorOptions, work: Arc<dyn Work>) -> Result<(), ClusterError> {
    let ExecutorOptions { scheduler, token, host, slots, limit, say, until } = options;
    let say: Say = Arc::from(say);
    let channel = {
        let channel = channel(&scheduler)?;
        SchedulerGrpcClient::with_interceptor(channel, Bearer(token))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    };
    let mut executor = Executor {
        scheduler: channel,
        url: scheduler,
        name: Name::new(host),
        stale: Vec::new(),
        slots: slots.max(1),
        ended: Vec::new(),
        tasks: JoinSet::new(),
        n_tasks: 0,
        under_way: HashMap::new(),
        bench: Bench { work, limit, hung: Arc::default(), changed: Arc::new(Notify::new()), say: say.clone() },
        ails: 0,
        ails_at: String::new(),
        well_at: Instant::now(),
        asked: Instant::now(),
        is_heard: None,
        say,
    };
    let until = tokio::task::spawn_blocking(until);
    tokio::select! {
        fault = executor.ask_for_ever() => {
            if matches!(fault, ClusterError::Hung(_)) {
                executor.leave().await;
            }
            Err(fault)
        }
        _ = until => {
            executor.leave().await;
            Ok(())
        }
    }
}

/// Under which name the scheduler knows this process; another after each lost answer.
struct Name {
    host: String,
    started: u64,
    n: u32,
}

impl Name {
    fn new(host: String) -> Self {
        Self { host, started: now_ms(), n: 0 }
    }

    fn id(&self) -> String {
        format!("{}-{}-{}-{}", self.host, std::process::id(), self.started, self.n)
    }
}

struct Executor {
    scheduler: SchedulerGrpcClient<InterceptedService<Channel, Bearer>>,
    url: String,
    name: Name,
    /// Names that are to be struck off.
    stale: Vec<String>,
    slots: usize,
    /// What the scheduler has not heard yet.
    ended: Vec<TaskStatus>,
    tasks: JoinSet<Ended>,
    /// Tasks that this process was ever given.
    n_tasks: u64,
    /// With the job, by their numbers here.
    under_way: HashMap<u64, (String, Arc<UnderWay>)>,
    bench: Bench,
    /// How often in a row it met passing trouble, at which job, and until when it takes no work.
    ails: usize,
    ails_at: String,
    well_at: Instant,
    /// When the last question went out.
    asked: Instant,
    /// Whether the last call was answered.
    is_heard: Option<bool>,
    say: Say,
}

impl Executor {
    /// Comes back only with what no asking again will mend.
    async fn ask_for_ever(&mut self) -> ClusterError {
        loop {
            self.asked = Instant::now();
            match self.ask().await {
                // By then the scheduler has heard what they are.
                Ok(()) if self.hung() >= self.slots && self.under_way.is_empty() => {
                    return ClusterError::Hung(self.slots);
                }
                Ok(()) => {
                    if self.is_heard != Some(true) {
                        (self.say)(&format!("joined {} as {}, {} tasks at once", self.url, self.name.id(), self.slots));
                    }
                    self.is_heard = Some(true);
                }
                Err(status)
                    if matches!(
                        status.code(),
                        Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition
                    ) =>
                {
                    return ClusterError::of_status(&self.url, &status);
                }
                Err(status) => {
                    self.lose(&status);
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
            self.wait().await;
        }
    }

    /// Nobody answered: whether tasks were in that answer cannot be known, so all that this name had is given back.
    fn lose(&mut self, status: &tonic::Status) {
        if self.is_heard != Some(false) {
            (self.say)(&format!("no answer from {}: {}; asking again", self.url, status.message()));
        }
        self.is_heard = Some(false);
        if self.stale.is_empty() {
            self.stale.push(self.name.id());
            self.name.n += 1;
            self.ended.clear();
        }
    }

    fn hung(&self) -> usize {
        self.bench.hung.load(Ordering::Relaxed)
    }

    /// Tasks that can be taken: a slot is taken by a task whose last item is at work, and by an item that hangs. Beside each slot one more
    /// task may wait for the disk.
    fn room(&self) -> usize {
        if Instant::now() < self.well_at {
            return 0;
        }
        let at_work = self.under_way.values().filter(|(_, task)| !task.is_free.load(Ordering::Relaxed)).count();
        let at_once = (2 * self.slots).saturating_sub(self.under_way.len());
        self.slots.saturating_sub(at_work + self.hung()).min(at_once)
    }

    async fn ask(&mut self) -> Result<(), tonic::Status> {
        while let Some(executor_id) = self.stale.last().cloned() {
            let reason = "an answer to it was lost".to_owned();
            self.scheduler.executor_stopped(ExecutorStoppedParams { executor_id, reason }).await?;
            self.stale.pop();
        }
        let id = self.name.id();
        let asked = PollWorkParams {
            metadata: Some(registration(&id, &self.name.host, self.slots)),
            num_free_vcores: u32::try_from(self.room()).unwrap_or(u32::MAX),
            task_status: self.ended.clone(),
        };
        let mut question = Request::new(asked);
        if self.under_way.is_empty() && self.ended.is_empty() && self.room() > 0 {
            question.metadata_mut().insert(gate::IDLE, MetadataValue::from_static("yes"));
        }
        let given = self.scheduler.poll_work(question).await?.into_inner();
        self.ended.clear();
        for job in given.jobs_to_clean {
            let of_job = self.under_way.values().filter(|(of, _)| *of == job.job_id);
            of_job.for_each(|(_, task)| task.is_stopped.store(true, Ordering::Relaxed));
            if job.job_id == self.ails_at {
                // It has failed: when it comes again, somebody has seen to it.
                (self.ails, self.well_at) = (0, self.asked);
            }
        }
        for task in given.tasks {
            let under_way = Arc::new(UnderWay::default());
            self.n_tasks += 1;
            self.under_way.insert(self.n_tasks, (task.job_id.clone(), under_way.clone()));
            self.tasks.spawn(self.bench.clone().perform(self.n_tasks, id.clone(), task, under_way));
        }
        Ok(())
    }

    /// Until a task has ended or makes room, or it is time to ask.
    async fn wait(&mut self) {
        let ails = self.well_at.saturating_duration_since(self.asked);
        let pause = match self.room() {
            0 if ails.is_zero() => HEARTBEAT,
            0 => HEARTBEAT.min(ails),
            _ => IDLE,
        };
        let ended = tokio::select! {
            Some(Ok(ended)) = self.tasks.join_next() => Some(ended),
            () = self.bench.changed.notified() => None,
            () = tokio::time::sleep_until((self.asked + pause).into()) => None,
        };
        if let Some(ended) = ended {
            self.note(ended);
        }
        while let Some(Ok(ended)) = self.tasks.try_join_next() {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Ended) {
        self.under_way.remove(&ended.n);
        match &ended.status.status {
            Some(task_status::Status::Failed(failed)) => {
                (self.say)(&format!("job {}, task {}: {}", ended.status.job_id, ended.status.task_id, failed.error));
                if matches!(failed.failed_reason, Some(FailedReason::IoError(_))) {
                    self.breathe(&ended.status.job_id);
                }
            }
            _ => self.ails = 0,
        }
        // What was given to another name has been given out again.
        if ended.given_to == self.name.id() {
            self.ended.push(ended.status);
        }
    }

    /// Passing trouble: others come first for a while. What several slots meet together is one trouble.
    fn breathe(&mut self, job: &str) {
        if Instant::now() >= self.well_at {
            self.well_at = Instant::now() + BREATHS[self.ails];
            self.ails = (self.ails + 1).min(BREATHS.len() - 1);
            job.clone_into(&mut self.ails_at);
        }
    }

    /// Says good-bye, so that nobody waits for it.
    async fn leave(&mut self) {
        let bye = ExecutorStoppedParams { executor_id: self.name.id(), reason: "it was asked to stop".to_owned() };
        let told = tokio::time::timeout(HEARTBEAT, self.scheduler.executor_stopped(bye)).await;
        let word = if matches!(told, Ok(Ok(_))) { "left" } else { "stopped; the scheduler was not told" };
        (self.say)(&format!("{word}; {} tasks are given to others", self.tasks.len()));
    }
}
