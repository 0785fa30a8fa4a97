//! One task of an executor: its items one after the other. The next is begun when the one before it only waits for the disk, and one that
//! hangs is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{
    ExecutionError, FailedTask, IoError, NamedCount, OperatorMetric, OperatorMetricsSet, SuccessfulTask,
    TaskDefinition, TaskKilled, TaskStatus, operator_metric, task_status,
};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

use super::gate::Say;
use super::plan::decode_task;

/// How long it may take to say what hangs.
const WORDS_WITHIN: Duration = Duration::from_secs(2);

/// An item without a limit: a century.
const FOR_EVER: Duration = Duration::from_hours(100 * 365 * 24);

/// Called once an item needs no core any more, and only waits for the disk.
pub type Free = Box<dyn FnOnce() + Send>;

/// What an executor does. Two items may be at it at once, and one more for each that is being brought to the disk.
pub trait Work: Send + Sync + 'static {
    /// Does one item of a job, and reports in a line. Doing what is done already is quick, and changes nothing. `free` is called, if
    /// at all, when another item may begin.
    ///
    /// # Errors
    /// [`Trouble`], by which it is done again or the job fails.
    fn work(&self, job: &str, item: &str, free: Free) -> Result<String, Trouble>;

    /// Names an item that hangs, and what is known of how far it is. It must not wait for it.
    fn name(&self, job: &str, item: &str) -> String;
}

/// Why an item was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The machine's or the network's: done again, up to four times, here or elsewhere.
    Passing(String),
    /// It would happen everywhere: the job fails.
    Lasting(String),
}

/// What all tasks of an executor have in common.
#[derive(Clone)]
pub(crate) struct Bench {
    pub work: Arc<dyn Work>,
    /// How long an item may take.
    pub limit: Option<Duration>,
    /// Items that were left behind, each with a thread.
    pub hung: Arc<AtomicUsize>,
    /// A slot may be free.
    pub changed: Arc<Notify>,
    pub say: Say,
}

/// A task under way, as others see it.
#[derive(Default)]
pub(crate) struct UnderWay {
    /// Whether it is to end with the item it is at.
    pub is_stopped: AtomicBool,
    /// Whether its last item only waits for the disk: the slot can be given to another task.
    pub is_free: AtomicBool,
}

/// How a task ended, and under which name it was given out.
pub(crate) struct Ended {
    pub n: u64,
    pub given_to: String,
    pub status: TaskStatus,
}

impl Bench {
    /// Does task `n` of this process.
    pub async fn perform(self, n: u64, given_to: String, task: TaskDefinition, under_way: Arc<UnderWay>) -> Ended {
        let started = now_ms();
        let mut lines = Vec::new();
        let status = match self.items(&task, &under_way, &mut lines).await {
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
            job_id: task.job_id,
            stage_id: task.stage_id,
            stage_attempt_num: task.stage_attempt_num,
            launch_time: task.launch_time,
            start_exec_time: started,
            end_exec_time: now_ms(),
            metrics: vec![OperatorMetricsSet { metrics: lines.into_iter().map(line).collect() }],
            status: Some(status),
        };
        Ended { n, given_to, status }
    }

    async fn items(
        &self,
        task: &TaskDefinition,
        under_way: &UnderWay,
        lines: &mut Vec<String>,
    ) -> Result<(), FailedTask> {
        let (job, items) = decode_task(&task.plan).map_err(|e| Trouble::Lasting(e.to_string()))?;
        let job: Arc<str> = job.into();
        let last = items.len();
        let mut before: Option<Item> = None;
        let mut result = Ok(());
        for (at, item) in items.into_iter().enumerate() {
            if under_way.is_stopped.load(Ordering::Relaxed) {
                result = Err(killed());
                break;
            }
            let mut this = self.begin(job.clone(), item);
            let is_free = this.is_free().await;
            if is_free && at + 1 == last {
                under_way.is_free.store(true, Ordering::Relaxed);
                self.changed.notify_one();
            }
            // No more than one waits for the disk while the next is at work.
            if let Some(before) = before.replace(this) {
                result = self.line_of(before).await.map(|line| lines.push(line));
            }
            if !is_free && let Some(this) = before.take() {
                let line = self.line_of(this).await.map(|line| lines.push(line));
                result = result.and(line);
            }
            if result.is_err() {
                break;
            }
        }
        if let Some(before) = before {
            let line = self.line_of(before).await.map(|line| lines.push(line));
            result = result.and(line);
        }
        result
    }

    fn begin(&self, job: Arc<str>, item: String) -> Item {
        let deadline = Instant::now() + self.limit.unwrap_or(FOR_EVER);
        let (free, freed) = oneshot::channel();
        let done = spawn_blocking({
            let (work, job, item) = (self.work.clone(), job.clone(), item.clone());
            // Nobody hears it of what was left behind.
            move || work.work(&job, &item, Box::new(move || _ = free.send(())))
        });
        Item { job, text: item, deadline, freed, done }
    }

    async fn line_of(&self, mut item: Item) -> Result<String, FailedTask> {
        let line = match timeout_at(item.deadline, &mut item.done).await {
            Ok(Ok(line)) => line,
            Ok(Err(_)) => Err(Trouble::Lasting("the work panicked; this is a bug".to_owned())),
            Err(_) => Err(Trouble::Lasting(self.leave_behind(item).await)),
        };
        Ok(line?)
    }

    /// Gives up an item that hangs: a thread cannot be killed, so its slot stays taken until it ends by itself. Says what it is.
    async fn leave_behind(&self, item: Item) -> String {
        self.hung.fetch_add(1, Ordering::Relaxed);
        let (work, job, text) = (self.work.clone(), item.job.clone(), item.text.clone());
        let words = timeout(WORDS_WITHIN, spawn_blocking(move || work.name(&job, &text))).await;
        let words = words.ok().and_then(Result::ok).unwrap_or_else(|| item.text.clone());
        let limit = self.limit.unwrap_or(FOR_EVER);
        let (bench, name) = (self.clone(), words.clone());
        tokio::spawn(async move {
            let _ = item.done.await;
            bench.hung.fetch_sub(1, Ordering::Relaxed);
            bench.changed.notify_one();
            (bench.say)(&format!("{name}; it has ended after all, and its slot is of use again"));
        });
        format!(
            "{words}; not done in {limit:?}. It hangs, or is slow: look at these files; if they are well, executors need a longer \
             --unit-limit"
        )
    }
}

/// An item that was begun.
struct Item {
    job: Arc<str>,
    text: String,
    deadline: Instant,
    freed: oneshot::Receiver<()>,
    done: JoinHandle<Result<String, Trouble>>,
}

impl Item {
    /// Waits until another may begin beside it; false where it has ended by then, or hangs.
    async fn is_free(&mut self) -> bool {
        matches!(timeout_at(self.deadline, &mut self.freed).await, Ok(Ok(())))
    }
}

fn killed() -> FailedTask {
    let failed_reason = Some(FailedReason::TaskKilled(TaskKilled {}));
    let error = "the job was cancelled".to_owned();
    FailedTask { error, retryable: true, count_to_failures: false, failed_reason }
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

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
