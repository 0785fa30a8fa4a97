//! One file per verb. A verb prints its result to stdout, talks on stderr, and says how it ended.

pub mod bench;
mod bench_feed;
pub mod check;
#[cfg(feature = "train")]
pub mod checkpoint;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod copy;
pub mod dataset;
#[cfg(feature = "train")]
pub mod embed;
mod embeddings;
#[cfg(all(feature = "train", feature = "datasets"))]
pub mod eval;
pub mod explain;
pub mod inspect;
#[cfg(feature = "sql")]
pub mod query;
pub mod run;
pub mod stages;
pub mod verify;
#[cfg(not(feature = "cluster"))]
mod without_cluster;
#[cfg(not(all(feature = "train", feature = "datasets")))]
mod without_eval;
#[cfg(not(feature = "train"))]
mod without_models;
#[cfg(not(feature = "sql"))]
mod without_sql;

#[cfg(not(feature = "cluster"))]
pub use without_cluster::cluster;
#[cfg(not(all(feature = "train", feature = "datasets")))]
pub use without_eval::eval;
#[cfg(not(feature = "train"))]
pub use without_models::{checkpoint, embed};
#[cfg(not(feature = "sql"))]
pub use without_sql::query;

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;

use super::args::{Cli, GraphArgs, Verb};
use super::exit::Exit;
use crate::config;
use crate::plan::Graph;
use crate::stages::Registry;

/// Does what the command line asks for.
pub fn act(cli: &Cli, registry: &Registry) -> Exit {
    match &cli.verb {
        Verb::Run(args) => run::run(args, registry),
        Verb::Check(args) => check::check(args, registry),
        Verb::Explain(args) => explain::explain(args, registry),
        Verb::Stages(args) => stages::stages(args, registry),
        Verb::Schema(_) => stages::schema(registry),
        Verb::Inspect(args) => inspect::inspect(args),
        Verb::Verify(args) => verify::verify(args),
        Verb::Copy(args) => copy::copy(args),
        Verb::Dataset(args) => dataset::dataset(args, registry),
        Verb::Cluster(args) => cluster::cluster(args, registry),
        Verb::Bench(args) => bench::bench(args, registry),
        Verb::Query(args) => query::query(args),
        Verb::Embed(args) => embed::embed(args, registry),
        Verb::Eval(args) => eval::eval(args, registry),
        Verb::Checkpoint(args) => checkpoint::checkpoint(args, registry),
    }
}

/// Loads the graph of a verb; the faults are on stderr when there are any.
///
/// # Errors
/// [`Exit::Usage`].
pub fn load(args: &GraphArgs, registry: &Registry) -> Result<Graph, Exit> {
    let overrides: Vec<String> = args.overrides.iter().map(ToString::to_string).collect();
    config::load(&args.file, &overrides, registry).map_err(|errors| {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let width = terminal_width();
        eprint!("{}", errors.render(colour, width));
        let n = errors.faults().len();
        eprintln!("{} in {}; nothing was started", super::format::counted(n as u64, "fault"), args.file.display());
        Exit::Usage
    })
}

fn terminal_width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(110)
}

/// Writes a result to stdout. A reader that went away (`| head`) is no fault.
pub fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(format!("cannot write to stdout: {error}"))
        }
        _ => Exit::Done,
    }
}

/// Writes a report, in a folder that is made where it is not there.
///
/// # Errors
/// What the system says.
pub fn write_text(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

/// Says why a verb failed.
pub fn fail(why: impl Display) -> Exit {
    eprintln!("error: {why}");
    Exit::Failed
}
