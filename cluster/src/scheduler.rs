//! The scheduler process: Ballista's scheduler behind one port, with the token before everything that is served there.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::api::get_routes;
use ballista_scheduler::cluster::{BallistaCluster, ClusterStateEvent};
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::create_scheduler;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;

use super::MAX_MESSAGE_BYTES;
use super::error::ClusterError;
use super::gate::{Gate, Say, Scheduler};
use super::plan::WorkCodec;
use super::token::Token;

/// Seconds without a word after which an executor counts as lost; it asks for work every two.
const LOST_AFTER_S: u64 = 20;

/// How often that is looked at, in seconds.
const LOOK_EVERY_S: u64 = 3;

/// Seconds that a job waits for an executor after the last one was lost.
const WAIT_FOR_ONE_S: u64 = 120;

/// Seconds that the state of a finished job is kept for those who ask how it ended.
const REMEMBER_S: u64 = 600;

/// Lines of one answer.
const LINES: usize = 10_000;

/// How a scheduler is run.
pub struct SchedulerOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What every request must carry; anybody who reaches the port is served when `None`.
    pub token: Option<Token>,
    /// Told what happens, a line at a time.
    pub say: Box<dyn Fn(&str) + Send + Sync>,
    /// Blocks until the process is asked to stop.
    pub until: Box<dyn FnOnce() + Send>,
}

/// Runs a scheduler until [`SchedulerOptions::until`] returns.
///
/// # Errors
/// [`ClusterError`] when the port cannot be had or Ballista will not start.
pub fn schedule(options: SchedulerOptions) -> Result<(), ClusterError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("scheduler").enable_all().build();
    let runtime = runtime.map_err(|e| ClusterError::io("cannot start the scheduler's threads", e))?;
    let result = runtime.block_on(serve(options));
    // The thread that waits for a signal may wait for ever.
    runtime.shutdown_background();
    result
}

async fn serve(options: SchedulerOptions) -> Result<(), ClusterError> {
    let SchedulerOptions { listen, token, say, until } = options;
    let say: Say = Arc::from(say);
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|e| ClusterError::io(format!("cannot listen on {listen}"), e))?;
    let address = listener.local_addr().map_err(|e| ClusterError::io("cannot listen", e))?;
    let fault = |e: ballista_core::error::BallistaError| ClusterError::Scheduler(e.to_string());
    let config = Arc::new(config(address));
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(fault)?;
    let scheduler: Scheduler = create_scheduler(cluster, config).await.map_err(fault)?;
    let scheduler = Arc::new(scheduler);
    let events = scheduler.cluster_state_events().await.map_err(fault)?;
    let told = tokio::spawn(tell(events, say.clone()));
    let gate = Gate::new(scheduler.clone(), say.clone());
    let served = axum::serve(listener, routes(scheduler, gate, token));
    say(&format!("listening on {address}"));
    let result = tokio::select! {
        ended = served.into_future() => ended.map_err(|e| ClusterError::io("the scheduler's port", e)),
        _ = tokio::task::spawn_blocking(until) => Ok(()),
    };
    told.abort();
    result
}

fn config(address: SocketAddr) -> SchedulerConfig {
    // A job of ours needs no function, no catalogue, no optimizer.
    let session = |config: SessionConfig| Ok(SessionStateBuilder::new().with_config(config).build());
    let message_bytes = u32::try_from(MAX_MESSAGE_BYTES).unwrap_or(u32::MAX);
    SchedulerConfig {
        external_host: address.ip().to_string(),
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: LOST_AFTER_S,
        expire_dead_executor_interval_seconds: LOOK_EVERY_S,
        no_executors_grace_period_seconds: WAIT_FOR_ONE_S,
        finished_job_state_clean_up_interval_seconds: REMEMBER_S,
        finished_job_data_clean_up_interval_seconds: 0,
        grpc_server_max_decoding_message_size: message_bytes,
        grpc_server_max_encoding_message_size: message_bytes,
        override_physical_codec: Some(Arc::new(WorkCodec::default())),
        override_session_builder: Some(Arc::new(session)),
        override_config_producer: Some(Arc::new(SessionConfig::new_with_ballista)),
        // Ballista's page lives elsewhere and would be let in by a browser; ours is the command line.
        cors_allowed_origins: "http://nobody.invalid".to_owned(),
        ..SchedulerConfig::default()
    }
}

async fn tell(mut events: ballista_scheduler::cluster::ClusterStateEventStream, say: Say) {
    while let Some(event) = events.next().await {
        match event {
            ClusterStateEvent::RegisteredExecutor { executor_id } => say(&format!("executor {executor_id} is here")),
            ClusterStateEvent::RemovedExecutor { executor_id } => {
                say(&format!("executor {executor_id} is gone: what it had is given to others"));
            }
        }
    }
}

/// Everything behind the port: Ballista's protocol through the gate, its REST interface, and the lines of jobs; before all of it the
/// token.
fn routes(scheduler: Arc<Scheduler>, gate: Gate, token: Option<Token>) -> Router {
    let grpc = SchedulerGrpcServer::new(gate.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut builder = RoutesBuilder::default();
    builder.add_service(grpc);
    let grpc = builder.routes().into_axum_router();
    let lines = Router::new().route("/work/{job}", get(lines)).with_state(gate);
    let all = get_routes(scheduler).merge(lines).merge(grpc);
    all.layer(from_fn_with_state(token.map(Arc::new), admit))
}

/// Nothing behind it sees a request without the token.
async fn admit(State(token): State<Option<Arc<Token>>>, request: Request, next: Next) -> Response {
    match token {
        Some(token) if !token.is_in(request.headers()) => StatusCode::UNAUTHORIZED.into_response(),
        _ => next.run(request).await,
    }
}

#[derive(serde::Deserialize)]
struct After {
    #[serde(default)]
    after: usize,
}

async fn lines(State(gate): State<Gate>, Path(job): Path<String>, Query(after): Query<After>) -> Response {
    match gate.lines(&job, after.after, LINES) {
        Some(lines) => Json(lines).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
