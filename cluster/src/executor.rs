//! An executor process: asks for tasks, does them, tells what came of them, until it is told to stop.
//!
//! Ballista's own loop forgets what it told when nobody heard it, and knows nothing of tasks in an answer that was lost: a job then waits
//! for ever. So this is one of our own, over the same protocol. When an answer is lost, the executor takes another name and has the
//! old one struck off, so that all it had is given out again; work is done once, for what is done already is skipped.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    ExecutionError, ExecutorStoppedParams, FailedTask, IoError, NamedCount, OperatorMetric, OperatorMetricsSet,
    PollWorkParams, SuccessfulTask, TaskDefinition, TaskKilled, TaskStatus, operator_metric, task_status,
};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::MAX_MESSAGE_BYTES;
use super::client::channel;
use super::error::ClusterError;
use super::plan::decode_task;
use super::registration::registration;
use super::token::{Bearer, Token};

/// How often an executor with room asks for work.
const IDLE: Duration = Duration::from_millis(200);

/// How often one without room says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long a task that met passing trouble is held back, so that it is not tried four times within a blink.
const BREATH: Duration = Duration::from_secs(2);

/// How long it waits after nobody answered.
const AGAIN: Duration = Duration::from_secs(1);

/// What an executor does. Two tasks may be at it at once.
pub trait Work: Send + Sync + 'static {
    /// Does one item of a job, and reports in a line. Doing what is done already is quick, and changes nothing.
    ///
    /// # Errors
    /// [`Trouble`], by which it is done again or the job fails.
    fn work(&self, job: &str, item: &str) -> Result<String, Trouble>;
}

/// Why an item was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The machine's or the network's: done again, up to four times, here or elsewhere.
    Passing(String),
    /// It would happen everywhere: the job fails.
    Lasting(String),
}

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
    /// Told what happens, a line at a time.
    pub say: Box<dyn Fn(&str) + Send + Sync>,
    /// Blocks until the process is asked to stop.
    pub until: Box<dyn FnOnce() + Send>,
}

/// Runs an executor until [`ExecutorOptions::until`] returns. A scheduler that is not there is waited for.
///
/// # Errors
/// [`ClusterError`] for an address that is none, or a token that is not accepted.
pub fn execute(options: ExecutorOptions, work: Arc<dyn Work>) -> Result<(), ClusterError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("executor").enable_all().build();
    let runtime = runtime.map_err(|e| ClusterError::io("cannot start the executor's threads", e))?;
    let result = runtime.block_on(run(options, work));
    // What is under way ends with the process: it is committed whole or not at all.
    runtime.shutdown_background();
    result
}

async fn run(options: ExecutorOptions, work: Arc<dyn Work>) -> Result<(), ClusterError> {
    let ExecutorOptions { scheduler, token, host, slots, say, until } = options;
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
        stops: HashMap::new(),
        is_heard: None,
        say,
    };
    let until = tokio::task::spawn_blocking(until);
    tokio::select! {
        fault = executor.ask_for_ever(&work) => Err(fault),
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

/// How a task ended, and under which name it was given out.
struct Ended {
    given_to: String,
    task: (String, u32),
    status: TaskStatus,
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
    /// By job and task.
    stops: HashMap<(String, u32), Arc<AtomicBool>>,
    /// Whether the last call was answered.
    is_heard: Option<bool>,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Executor {
    /// Comes back only with what no asking again will mend.
    async fn ask_for_ever(&mut self, work: &Arc<dyn Work>) -> ClusterError {
        loop {
            match self.ask(work).await {
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

    async fn ask(&mut self, work: &Arc<dyn Work>) -> Result<(), tonic::Status> {
        while let Some(executor_id) = self.stale.last().cloned() {
            let reason = "an answer to it was lost".to_owned();
            self.scheduler.executor_stopped(ExecutorStoppedParams { executor_id, reason }).await?;
            self.stale.pop();
        }
        let id = self.name.id();
        let free = self.slots.saturating_sub(self.tasks.len());
        let asked = PollWorkParams {
            metadata: Some(registration(&id, &self.name.host, self.slots)),
            num_free_vcores: u32::try_from(free).unwrap_or(u32::MAX),
            task_status: self.ended.clone(),
        };
        let given = self.scheduler.poll_work(asked).await?.into_inner();
        self.ended.clear();
        for job in given.jobs_to_clean {
            let of_job = self.stops.iter().filter(|((of, _), _)| *of == job.job_id);
            of_job.for_each(|(_, stop)| stop.store(true, Ordering::Relaxed));
        }
        for task in given.tasks {
            let stop = Arc::new(AtomicBool::new(false));
            let key = (task.job_id.clone(), task.task_id);
            self.stops.insert(key, stop.clone());
            let (work, given_to) = (work.clone(), id.clone());
            self.tasks.spawn_blocking(move || perform(work.as_ref(), given_to, &task, &stop));
        }
        Ok(())
    }

    /// Until a task has ended, or it is time to ask.
    async fn wait(&mut self) {
        let pause = if self.tasks.len() < self.slots { IDLE } else { HEARTBEAT };
        // Without tasks there is none to wait for.
        let ended = tokio::time::timeout(pause, async {
            match self.tasks.join_next().await {
                Some(ended) => ended,
                None => std::future::pending().await,
            }
        });
        if let Ok(Ok(ended)) = ended.await {
            self.note(ended);
        }
        while let Some(Ok(ended)) = self.tasks.try_join_next() {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Ended) {
        self.stops.remove(&ended.task);
        if let Some(task_status::Status::Failed(failed)) = &ended.status.status {
            (self.say)(&format!("job {}, task {}: {}", ended.task.0, ended.task.1, failed.error));
        }
        // What was given to another name has been given out again.
        if ended.given_to == self.name.id() {
            self.ended.push(ended.status);
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

fn perform(work: &dyn Work, given_to: String, task: &TaskDefinition, stop: &AtomicBool) -> Ended {
    let started = now_ms();
    let mut lines = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| items(work, task, stop, &mut lines)));
    let result = result.unwrap_or_else(|_| Err(Trouble::Lasting("the work panicked; this is a bug".to_owned()).into()));
    let status = match result {
        Ok(()) => {
            task_status::Status::Successful(SuccessfulTask { executor_id: given_to.clone(), ..Default::default() })
        }
        Err(failed) => task_status::Status::Failed(failed),
    };
    let line = |name| OperatorMetric {
        partition: None,
        metric: Some(operator_metric::Metric::Count(NamedCount { name, value: 0 })),
    };
    let status = TaskStatus {
        task_id: task.task_id,
        job_id: task.job_id.clone(),
        stage_id: task.stage_id,
        stage_attempt_num: task.stage_attempt_num,
        launch_time: task.launch_time,
        start_exec_time: started,
        end_exec_time: now_ms(),
        metrics: vec![OperatorMetricsSet { metrics: lines.into_iter().map(line).collect() }],
        status: Some(status),
    };
    Ended { given_to, task: (task.job_id.clone(), task.task_id), status }
}

fn items(work: &dyn Work, task: &TaskDefinition, stop: &AtomicBool, lines: &mut Vec<String>) -> Result<(), FailedTask> {
    let (job, items) = decode_task(&task.plan).map_err(|e| Trouble::Lasting(e.to_string()))?;
    for item in &items {
        if stop.load(Ordering::Relaxed) {
            let failed_reason = Some(FailedReason::TaskKilled(TaskKilled {}));
            let error = "the job was cancelled".to_owned();
            return Err(FailedTask { error, retryable: true, count_to_failures: false, failed_reason });
        }
        let line = work.work(&job, item);
        if matches!(line, Err(Trouble::Passing(_))) {
            std::thread::sleep(BREATH);
        }
        lines.push(line?);
    }
    Ok(())
}

impl From<Trouble> for FailedTask {
    fn from(trouble: Trouble) -> Self {
        let (error, passing) = match trouble {
            Trouble::Passing(error) => (error, true),
            Trouble::Lasting(error) => (error, false),
        };
        let reason =
            if passing { FailedReason::IoError(IoError {}) } else { FailedReason::ExecutionError(ExecutionError {}) };
        Self { error, retryable: passing, count_to_failures: passing, failed_reason: Some(reason) }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
