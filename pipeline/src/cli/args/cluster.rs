//! `cluster`: the processes that share a run out to several machines.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::value;

/// `cluster scheduler|executor`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  head$ openssl rand -hex 32 > ~/ajepa.token && chmod 600 ~/ajepa.token
  head$ ajepa-pipe cluster scheduler --listen 10.0.0.1:50050 --token-file ~/ajepa.token
  a, b$ ajepa-pipe cluster executor --scheduler df://10.0.0.1:50050 --token-file ~/ajepa.token
  head$ ajepa-pipe run audioset.yaml --cluster df://10.0.0.1:50050 --token-file ~/ajepa.token

These are three machines that see the same files under the same paths, with the same build of the
program; executors are started in the folder that relative paths of graphs are under. Whoever has the token can read and write what the executors can.")]
pub struct ClusterArgs {
    /// Which part.
    #[command(subcommand)]
    pub part: ClusterPart,
}

/// Parts of a cluster.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum ClusterPart {
    /// Hand out units of work: one process, and the only one that listens
    Scheduler(SchedulerArgs),
    /// Do units of work: one process on every machine
    Executor(ExecutorArgs),
}

/// `cluster scheduler`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe cluster scheduler                           for this machine alone
  ajepa-pipe cluster scheduler --listen 10.0.0.1:50050 --token-file ~/ajepa.token

It keeps what it knows in memory: when it is started anew, run the command again, and what is done
is kept. The token is not encrypted on its way: this is for a private network.")]
pub struct SchedulerArgs {
    /// Address and port to listen on; beyond this machine only with a token
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:50050")]
    pub listen: SocketAddr,

    /// A file with the secret of 32 bytes or more that executors and clients must have too
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Serve anybody who reaches the port: they read and write what the executors can
    #[arg(long, conflicts_with = "token_file")]
    pub insecure: bool,
}

/// `cluster executor`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  ajepa-pipe cluster executor --scheduler df://10.0.0.1:50050 --token-file ~/ajepa.token
  ajepa-pipe cluster executor --scheduler df://10.0.0.1:50050 --slots 4

It listens on nothing, waits for its scheduler, and goes on when that comes back. Stopped by a
signal it says good-bye, and what it had begun is done by others; killed, they do it after 20 s.
A unit over its limit fails the job and keeps its slot until it ends by itself; when no other slot
is left, the executor ends.")]
pub struct ExecutorArgs {
    /// The scheduler, as df://host:50050
    #[arg(long, value_name = "URL")]
    pub scheduler: String,

    /// The file with the scheduler's secret
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Units done at once, each by one thread [default: one per core]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub slots: Option<NonZeroUsize>,

    /// How long one unit may take before it counts as hung and the job fails, as 90s, 30m, 2h; 0 for ever
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = value::time_limit)]
    pub unit_limit: Duration,

    /// What this machine is called in reports [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}
