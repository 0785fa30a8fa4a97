//! The client's side: hands a job in, and asks how it goes.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use ballista_core::config::BALLISTA_JOB_NAME;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, execute_query_result, job_status,
};
use ballista_core::version::insert_version_header;
use http::StatusCode;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tonic::client::GrpcService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::MAX_MESSAGE_BYTES;
use super::error::ClusterError;
use super::plan::encode_job;
use super::token::{Bearer, Token};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection may take, and a word that it is alive.
const CONNECT: Duration = Duration::from_secs(5);

/// What the scheduler calls a job.
pub type JobId = String;

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It waits, or runs.
    UnderWay,
    /// Every task has ended well.
    Done,
    /// It has failed, or was cancelled; why.
    Failed(String),
    /// The scheduler does not know it: it was started anew.
    Unknown,
}

/// An executor, as the scheduler knows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct ExecutorInfo {
    /// Its machine.
    pub host: String,
    /// Its name.
    pub id: String,
    /// What it can do.
    #[serde(rename = "specification")]
    pub room: Room,
}

/// What an executor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct Room {
    /// Tasks at once.
    #[serde(rename = "vcores")]
    pub slots: u32,
}

/// A connection to a scheduler.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
    bearer: Bearer,
    url: String,
}

/// A connection that is made when it is first needed, and again when it broke.
pub(crate) fn channel(url: &str) -> Result<Channel, ClusterError> {
    let address = url.strip_prefix("df://").filter(|rest| rest.contains(':') && !rest.contains('/'));
    let address =
        address.ok_or_else(|| ClusterError::Address(format!("{url:?}: a scheduler is written df://host:50050")))?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|e| ClusterError::Address(format!("{url:?}: {e}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(CONNECT)
        .keep_alive_timeout(CONNECT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

impl Client {
    /// To the scheduler at `url` (`df://host:50050`). Nobody is called yet.
    ///
    /// # Errors
    /// [`ClusterError`] for an address that is none.
    pub fn new(url: &str, token: Option<Token>) -> Result<Self, ClusterError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("client").enable_all().build();
        let runtime = runtime.map_err(|e| ClusterError::io("cannot start the client's thread", e))?;
        let channel = {
            let _inside = runtime.enter();
            channel(url)?
        };
        Ok(Self { runtime, channel, bearer: Bearer(token), url: url.to_owned() })
    }

    fn scheduler(&self) -> SchedulerGrpcClient<InterceptedService<Channel, Bearer>> {
        SchedulerGrpcClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn fault(&self, status: &tonic::Status) -> ClusterError {
        ClusterError::of_status(&self.url, status)
    }

    /// Hands in a job, or joins the one of the same text that is under way.
    ///
    /// # Errors
    /// [`ClusterError`] when the scheduler cannot be reached or refuses.
    pub fn submit(&self, name: &str, job: &str, tasks: &[Vec<String>]) -> Result<JobId, ClusterError> {
        let plan = encode_job(job, tasks)?;
        let mut request = tonic::Request::new(ExecuteQueryParams {
            session_id: format!("{name}-{}", std::process::id()),
            settings: vec![KeyValuePair { key: BALLISTA_JOB_NAME.to_owned(), value: Some(name.to_owned()) }],
            operation_id: String::new(),
            query: Some(Query::PhysicalPlan(plan)),
        });
        insert_version_header(request.metadata_mut());
        let answer = self.runtime.block_on(self.scheduler().execute_query(request)).map_err(|e| self.fault(&e))?;
        match answer.into_inner().result {
            Some(execute_query_result::Result::Success(made)) => Ok(made.job_id),
            Some(execute_query_result::Result::Failure(failure)) => Err(ClusterError::Refused(format!("{failure:?}"))),
            None => Err(ClusterError::Refused("an empty answer".to_owned())),
        }
    }

    /// How the job stands.
    ///
    /// # Errors
    /// [`ClusterError`] when the scheduler cannot be reached.
    pub fn state(&self, job: &str) -> Result<JobState, ClusterError> {
        let asked = GetJobStatusParams { job_id: job.to_owned() };
        let answer = self.runtime.block_on(self.scheduler().get_job_status(asked)).map_err(|e| self.fault(&e))?;
        Ok(match answer.into_inner().status.and_then(|status| status.status) {
            Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) => JobState::UnderWay,
            Some(job_status::Status::Successful(_)) => JobState::Done,
            Some(job_status::Status::Failed(failed)) => JobState::Failed(failed.error.trim().to_owned()),
            None => JobState::Unknown,
        })
    }

    /// What executors have told of the job, from the `after`-th line on.
    ///
    /// # Errors
    /// [`ClusterError`] when the scheduler cannot be reached, or does not know the job.
    pub fn lines(&self, job: &str, after: usize) -> Result<Vec<String>, ClusterError> {
        self.get(&format!("/work/{job}?after={after}"))
    }

    /// The executors that the scheduler knows.
    ///
    /// # Errors
    /// [`ClusterError`] when the scheduler cannot be reached.
    pub fn executors(&self) -> Result<Vec<ExecutorInfo>, ClusterError> {
        self.get("/api/executors")
    }

    /// Has the job stopped: tasks that wait are dropped, those under way end with the item they are at.
    ///
    /// # Errors
    /// [`ClusterError`] when the scheduler cannot be reached.
    pub fn cancel(&self, job: &str) -> Result<(), ClusterError> {
        let asked = CancelJobParams { job_id: job.to_owned() };
        let answer = self.runtime.block_on(self.scheduler().cancel_job(asked));
        answer.map(|_| ()).map_err(|e| self.fault(&e))
    }

    /// A page of the scheduler's, over the same connection.
    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClusterError> {
        self.runtime.block_on(async {
            let unreachable = |why: String| ClusterError::Unreachable { url: self.url.clone(), why };
            let mut request = http::Request::get(path)
                .body(tonic::body::Body::empty())
                .map_err(|e| ClusterError::Address(e.to_string()))?;
            self.bearer.headers(request.headers_mut());
            let mut channel = self.channel.clone();
            std::future::poll_fn(|cx| GrpcService::<tonic::body::Body>::poll_ready(&mut channel, cx))
                .await
                .map_err(|e| unreachable(e.to_string()))?;
            let answer = GrpcService::call(&mut channel, request).await.map_err(|e| unreachable(e.to_string()))?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::UNAUTHORIZED => return Err(ClusterError::Unauthorized { url: self.url.clone() }),
                status => return Err(ClusterError::Refused(format!("{path}: {status}"))),
            }
            let bytes = to_bytes(Body::new(answer.into_body()), MAX_MESSAGE_BYTES).await;
            let bytes = bytes.map_err(|e| unreachable(e.to_string()))?;
            serde_json::from_slice(&bytes).map_err(|e| ClusterError::Refused(format!("{path}: {e}")))
        })
    }
}
