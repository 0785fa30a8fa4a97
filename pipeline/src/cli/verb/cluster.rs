//! `cluster`, and `run --cluster`: one run on several machines.

use std::path::Path;
use std::sync::Arc;

use ajepa_cluster::{Client, ClusterError, ExecutorOptions, SchedulerOptions, Token, execute, schedule};

use super::fail;
use super::run::{conclude_run, quiet_workers};
use crate::cli::args::{ClusterArgs, ClusterPart, ExecutorArgs, RunArgs, SchedulerArgs};
use crate::cli::exit::{Exit, StopWatch};
use crate::cli::progress::ProgressMode;
use crate::cli::shown::Shown;
use crate::cluster::{ClusterFault, ClusterOptions, Ticket, Units, check};
use crate::job::{Event, JobError};
use crate::plan::Graph;
use crate::stages::Registry;
use crate::units::UnitJob;

/// What is said at the first signal to a scheduler or an executor.
const LEAVING: &str = "stopping (once more to stop at once)";

/// What is said at the first Ctrl-C to a client.
const CANCELLING: &str = "stopping the job in 3 seconds: what is done is kept, the same command goes on from there \
                          (Ctrl-C once more before that leaves it running, and the same command follows it)";

/// Runs a part of a cluster; exit 0, 1, 2, 129, 130 or 143.
pub fn cluster(args: &ClusterArgs, registry: &Registry) -> Exit {
    match &args.part {
        ClusterPart::Scheduler(args) => scheduler(args),
        ClusterPart::Executor(args) => executor(args, registry),
    }
}

fn token(file: Option<&Path>) -> Result<Option<Token>, Exit> {
    file.map(Token::read).transpose().map_err(|error| {
        fail(error);
        Exit::Usage
    })
}

fn scheduler(args: &SchedulerArgs) -> Exit {
    let token = match token(args.token_file.as_deref()) {
        Ok(token) => token,
        Err(exit) => return exit,
    };
    let is_open = !args.listen.ip().is_loopback();
    if is_open && token.is_none() && !args.insecure {
        eprintln!(
            "error: {} is reached from other machines, and whoever reaches it reads and writes what the executors can\n  \
             help: --token-file FILE, with a secret that executors and clients are given too (openssl rand -hex 32); or \
             --insecure, where the network is trusted",
            args.listen
        );
        return Exit::Usage;
    }
    if is_open && token.is_none() {
        eprintln!("warning: no token: anybody who reaches {} reads and writes what the executors can", args.listen);
    }
    let listen = args.listen;
    serve("scheduler", |say, until| schedule(SchedulerOptions { listen, token, say, until }))
}

fn executor(args: &ExecutorArgs, registry: &Registry) -> Exit {
    let token = match token(args.token_file.as_deref()) {
        Ok(token) => token,
        Err(exit) => return exit,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let slots = args.slots.map_or(cores, std::num::NonZero::get);
    let host = args.name.clone().unwrap_or_else(host_name);
    #[cfg(feature = "train")]
    ajepa_model::share_heaps(slots.div_ceil(2));
    let units = Arc::new(Units::new(registry.clone(), host.clone(), slots));
    let scheduler = args.scheduler.clone();
    let limit = Some(args.unit_limit).filter(|limit| !limit.is_zero());
    quiet_workers();
    serve("executor", |say, until| execute(ExecutorOptions { scheduler, token, host, slots, limit, say, until }, units))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_owned();
    if name.is_empty() { std::env::var("HOSTNAME").unwrap_or_else(|_| "executor".to_owned()) } else { name }
}

type Say = Box<dyn Fn(&str) + Send + Sync>;
type Until = Box<dyn FnOnce() + Send>;

/// Runs a part until a signal asks it to stop.
fn serve(what: &'static str, part: impl FnOnce(Say, Until) -> Result<(), ClusterError>) -> Exit {
    let watch = match StopWatch::start_saying(LEAVING) {
        Ok(watch) => watch,
        Err(error) => return fail(format!("cannot listen for signals: {error}")),
    };
    let (stops, (told, signal)) = (watch.stops().clone(), crossbeam::channel::bounded(1));
    let until = move || {
        if let Ok(signal) = stops.recv() {
            let _ = told.try_send(signal);
        }
    };
    let say = move |line: &str| eprintln!("{what}: {line}");
    match part(Box::new(say), Box::new(until)) {
        Ok(()) => signal.try_recv().map_or(Exit::Done, Exit::Stopped),
        Err(error @ (ClusterError::Address(_) | ClusterError::Unauthorized { .. })) => {
            fail(error);
            Exit::Usage
        }
        Err(error) => fail(error),
    }
}

/// `run --cluster`.
pub fn run(args: &RunArgs, url: &str, graph: Graph) -> Exit {
    if let Err(error) = check(&graph) {
        fail(error);
        return Exit::Usage;
    }
    let (token, text) = match (token(args.token_file.as_deref()), std::fs::read_to_string(&args.graph.file)) {
        (Ok(token), Ok(text)) => (token, text),
        (Err(exit), _) => return exit,
        (_, Err(error)) => return fail(format!("{}: {error}", args.graph.file.display())),
    };
    let client = match Client::new(url, token) {
        Ok(client) => client,
        Err(error) => {
            fail(error);
            return Exit::Usage;
        }
    };
    let watch = match StopWatch::start_saying(CANCELLING) {
        Ok(watch) => watch,
        Err(error) => return fail(format!("cannot listen for signals: {error}")),
    };
    let job = match UnitJob::new(graph) {
        Ok(job) => job,
        Err(JobError::Build { stage, line, source }) => return super::run::build_fault(&stage, line, &source),
        Err(error) => return fail(error),
    };
    let overrides = args.graph.overrides.iter().map(ToString::to_string).collect();
    let ticket = Ticket::new(&job, &args.graph.file, text, overrides);
    let quiet = args.progress == ProgressMode::Off;
    let mut say = |line: &str| {
        if !quiet {
            eprintln!("{line}");
        }
    };
    let mut shown = Shown::new(args.progress);
    let options = ClusterOptions { client: &client, ticket: &ticket, fresh: args.fresh, say: &mut say };
    let (report, result) =
        crate::cluster::run(&job, options, watch.stops(), &mut |snapshot| shown.update(&Event::Running(snapshot)));
    shown.finish();
    let usage = matches!(
        &result,
        Err(JobError::Cluster(ClusterFault::Cluster(ClusterError::Unauthorized { .. } | ClusterError::Address(_))))
    );
    let exit = conclude_run(job.graph(), report, result, &args.reports, args.fresh);
    if usage { Exit::Usage } else { exit }
}
