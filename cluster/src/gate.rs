//! What stands before Ballista's scheduler: the calls that it may get, and the plans.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ballista_core::config::{BALLISTA_JOB_NAME, BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK};
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult, CreateUpdateSessionParams,
    CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult, ExecuteQuerySuccessResult,
    ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams, GetJobMetricsResult, GetJobStatusParams,
    GetJobStatusResult, HeartBeatParams, HeartBeatResult, JobStatus, KeyValuePair, PollWorkParams, PollWorkResult,
    QueuedJob, RegisterExecutorParams, RegisterExecutorResult, RemoveSessionParams, RemoveSessionResult, TaskStatus,
    UpdateTaskStatusParams, UpdateTaskStatusResult, execute_query_result, job_status, operator_metric,
};
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status};

use super::plan;

/// Ballista's scheduler.
pub(crate) type Scheduler = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Jobs whose lines are kept, the newest.
const MAX_JOBS: usize = 32;

/// Lines of a job for each of its tasks, and bytes of a line, at most: what a broken executor can fill.
const LINES_PER_TASK: usize = 4096;
const MAX_LINE_BYTES: usize = 64 << 10;

/// How long a job may lie between two of Ballista's tables.
const BETWEEN_TABLES: Duration = Duration::from_secs(10);

/// In the head of a question: the executor has nothing under way, and nothing to say until it has.
pub(crate) const IDLE: &str = "ajepa-idle";

/// How long the question of an executor that has nothing to do is held, for a job to come: it begins at once, and asks seldom.
const HELD: Duration = Duration::from_secs(1);

/// A job that is unknown for so long has ended, and is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);

/// How long a job may take from the gate to its first task.
const PLANNED_WITHIN: Duration = Duration::from_millis(300);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Where an operator reads what happens.
pub(crate) type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Lets through what our executors and clients ask, and nothing else.
#[derive(Clone)]
pub(crate) struct Gate {
    inner: Arc<Scheduler>,
    jobs: Arc<Mutex<Jobs>>,
    /// When the last job was handed in.
    handed_in: watch::Sender<Option<Instant>>,
    say: Say,
}

/// What is known of jobs beside Ballista.
#[derive(Default)]
struct Jobs {
    newest: VecDeque<String>,
    by_id: HashMap<String, Job>,
}

struct Job {
    /// Hash of its text: the same job handed in twice is one.
    key: blake3::Hash,
    n_tasks: usize,
    /// What executors told of its tasks.
    lines: Vec<String>,
    /// Since when Ballista knows nothing of it.
    unknown_since: Option<Instant>,
}

impl Jobs {
    fn add(&mut self, id: &str, key: blake3::Hash, n_tasks: usize) {
        self.newest.push_back(id.to_owned());
        self.by_id.insert(id.to_owned(), Job { key, n_tasks, lines: Vec::new(), unknown_since: None });
        if self.newest.len() > MAX_JOBS
            && let Some(oldest) = self.newest.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Whether a job that Ballista knows nothing of was handed in here a moment ago: it lies in a queue between two of its tables.
    fn is_on_its_way(&mut self, id: &str, is_known: bool) -> bool {
        let Some(job) = self.by_id.get_mut(id) else { return false };
        if is_known {
            job.unknown_since = None;
            return false;
        }
        job.unknown_since.get_or_insert_with(Instant::now).elapsed() < BETWEEN_TABLES
    }

    /// Moves the lines out of the word on a task: Ballista would add them up.
    fn take_lines(&mut self, status: &mut TaskStatus) {
        let metrics = std::mem::take(&mut status.metrics);
        let Some(job) = self.by_id.get_mut(&status.job_id) else { return };
        for metric in metrics.into_iter().flat_map(|set| set.metrics) {
            if let Some(operator_metric::Metric::Count(line)) = metric.metric
                && line.name.len() <= MAX_LINE_BYTES
                && job.lines.len() < LINES_PER_TASK.saturating_mul(job.n_tasks)
            {
                job.lines.push(line.name);
            }
        }
    }
}

impl Gate {
    pub fn new(inner: Arc<Scheduler>, say: Say) -> Self {
        Self { inner, jobs: Arc::default(), handed_in: watch::Sender::new(None), say }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines of `job` from the `after`-th on, at most `n`; `None` for a job that is not known.
    pub fn lines(&self, job: &str, after: usize, n: usize) -> Option<Vec<String>> {
        self.jobs().by_id.get(job).map(|job| job.lines.iter().skip(after).take(n).cloned().collect())
    }

    /// Asks for an executor that has nothing to do until there is something, a while at most.
    async fn held(&self, asked: PollWorkParams) -> Result<Response<PollWorkResult>, Status> {
        let until = Instant::now() + HELD;
        let mut handed_in = self.handed_in.subscribe();
        loop {
            let answer = SchedulerGrpc::poll_work(self.inner.as_ref(), Request::new(asked.clone())).await?;
            let left = until.saturating_duration_since(Instant::now());
            let is_empty = answer.get_ref().tasks.is_empty() && answer.get_ref().jobs_to_clean.is_empty();
            if !is_empty || left.is_zero() {
                return Ok(answer);
            }
            let is_planned_now = handed_in.borrow_and_update().is_some_and(|at| at.elapsed() < PLANNED_WITHIN);
            if is_planned_now {
                sleep(LOOK.min(left)).await;
            } else {
                // Whether one came or the time is over: it is asked once more.
                let _ = timeout(left, handed_in.changed()).await;
            }
        }
    }

    /// A job of this text that waits or runs.
    async fn under_way(&self, key: blake3::Hash) -> Option<String> {
        let same: Vec<String> = {
            let jobs = self.jobs();
            jobs.newest
                .iter()
                .rev()
                .filter(|id| jobs.by_id.get(*id).is_some_and(|job| job.key == key))
                .cloned()
                .collect()
        };
        for job_id in same {
            if let Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) = self.status(&job_id).await {
                return Some(job_id);
            }
        }
        None
    }

    /// What Ballista knows of a job that was handed in. It forgets a job some minutes after its end, and knows nothing of one for a moment
    /// while it lies between two tables: that one is asked for again.
    async fn status(&self, job_id: &str) -> Option<job_status::Status> {
        let since = Instant::now();
        loop {
            let asked = Request::new(GetJobStatusParams { job_id: job_id.to_owned() });
            let answer = SchedulerGrpc::get_job_status(self.inner.as_ref(), asked).await.ok()?;
            let status = answer.into_inner().status.and_then(|status| status.status);
            if status.is_some() || since.elapsed() > FORGOTTEN_AFTER {
                return status;
            }
            sleep(LOOK).await;
        }
    }
}

fn refused<T>(what: &str) -> Result<Response<T>, Status> {
    Err(Status::permission_denied(format!(
        "{what} is not served here: this scheduler hands out units and nothing else"
    )))
}

/// The settings of every job, whatever the client says.
fn settings(name: String) -> Vec<KeyValuePair> {
    let set = |key: &str, value: String| KeyValuePair { key: key.to_owned(), value: Some(value) };
    vec![set(BALLISTA_JOB_NAME, name), set(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, "1".to_owned())]
}

#[tonic::async_trait]
impl SchedulerGrpc for Gate {
    type ExecuteQueryPushStream = <Scheduler as SchedulerGrpc>::ExecuteQueryPushStream;

    async fn poll_work(&self, mut request: Request<PollWorkParams>) -> Result<Response<PollWorkResult>, Status> {
        let asked = request.get_mut();
        let whole = asked
            .metadata
            .as_ref()
            .is_some_and(|m| m.host.is_some() && m.specification.is_some() && m.os_info.is_some());
        if !whole || asked.task_status.iter().any(|status| status.status.is_none()) {
            return Err(Status::invalid_argument("an executor says who it is and how its tasks ended"));
        }
        {
            let mut jobs = self.jobs();
            asked.task_status.iter_mut().for_each(|status| jobs.take_lines(status));
        }
        if request.metadata().contains_key(IDLE) {
            return self.held(request.into_inner()).await;
        }
        SchedulerGrpc::poll_work(self.inner.as_ref(), request).await
    }

    async fn executor_stopped(
        &self,
        request: Request<ExecutorStoppedParams>,
    ) -> Result<Response<ExecutorStoppedResult>, Status> {
        SchedulerGrpc::executor_stopped(self.inner.as_ref(), request).await
    }

    async fn execute_query(
        &self,
        mut request: Request<ExecuteQueryParams>,
    ) -> Result<Response<ExecuteQueryResult>, Status> {
        let asked = request.get_mut();
        let Some(Query::PhysicalPlan(bytes)) = &asked.query else { return refused("SQL") };
        let (job, n_tasks) = plan::outline(bytes).map_err(|e| {
            (self.say)(&format!("a plan was refused: {e}"));
            Status::permission_denied(e.to_string())
        })?;
        let key = blake3::hash(job.as_bytes());
        let session_id = asked.session_id.clone();
        if let Some(job_id) = self.under_way(key).await {
            (self.say)(&format!("job {job_id}: somebody joined it"));
            let same = ExecuteQuerySuccessResult { job_id, session_id };
            let result = Some(execute_query_result::Result::Success(same));
            return Ok(Response::new(ExecuteQueryResult { operation_id: asked.operation_id.clone(), result }));
        }
        let name = asked.settings.iter().find(|pair| pair.key == BALLISTA_JOB_NAME).and_then(|pair| pair.value.clone());
        asked.settings = settings(name.clone().unwrap_or_default());
        let answer = SchedulerGrpc::execute_query(self.inner.as_ref(), request).await?;
        if let Some(execute_query_result::Result::Success(made)) = &answer.get_ref().result {
            self.jobs().add(&made.job_id, key, n_tasks);
            self.handed_in.send_replace(Some(Instant::now()));
            (self.say)(&format!("job {} ({}): {n_tasks} tasks", made.job_id, name.unwrap_or_default()));
        }
        Ok(answer)
    }

    async fn get_job_status(
        &self,
        request: Request<GetJobStatusParams>,
    ) -> Result<Response<GetJobStatusResult>, Status> {
        let job_id = request.get_ref().job_id.clone();
        let mut answer = SchedulerGrpc::get_job_status(self.inner.as_ref(), request).await?;
        let status = &mut answer.get_mut().status;
        if self.jobs().is_on_its_way(&job_id, status.is_some()) {
            let queued = Some(job_status::Status::Queued(QueuedJob::default()));
            *status = Some(JobStatus { job_id, status: queued, ..JobStatus::default() });
        }
        Ok(answer)
    }

    async fn cancel_job(&self, request: Request<CancelJobParams>) -> Result<Response<CancelJobResult>, Status> {
        (self.say)(&format!("job {}: cancelled", request.get_ref().job_id));
        SchedulerGrpc::cancel_job(self.inner.as_ref(), request).await
    }

    async fn register_executor(
        &self,
        _: Request<RegisterExecutorParams>,
    ) -> Result<Response<RegisterExecutorResult>, Status> {
        refused("registering an executor that is called")
    }

    async fn heart_beat_from_executor(&self, _: Request<HeartBeatParams>) -> Result<Response<HeartBeatResult>, Status> {
        refused("a heartbeat")
    }

    async fn update_task_status(
        &self,
        _: Request<UpdateTaskStatusParams>,
    ) -> Result<Response<UpdateTaskStatusResult>, Status> {
        refused("a task's status")
    }

    async fn create_update_session(
        &self,
        _: Request<CreateUpdateSessionParams>,
    ) -> Result<Response<CreateUpdateSessionResult>, Status> {
        refused("a session")
    }

    async fn remove_session(&self, _: Request<RemoveSessionParams>) -> Result<Response<RemoveSessionResult>, Status> {
        refused("a session")
    }

    async fn execute_query_push(
        &self,
        _: Request<ExecuteQueryParams>,
    ) -> Result<Response<Self::ExecuteQueryPushStream>, Status> {
        refused("a query that is followed")
    }

    async fn get_job_metrics(&self, _: Request<GetJobMetricsParams>) -> Result<Response<GetJobMetricsResult>, Status> {
        refused("a query's metrics")
    }

    async fn clean_job_data(&self, _: Request<CleanJobDataParams>) -> Result<Response<CleanJobDataResult>, Status> {
        refused("cleaning")
    }
}
