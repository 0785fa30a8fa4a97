//! `check`: is the graph sound? Touches no audio.

use super::{load, print};
use crate::cli::args::CheckArgs;
use crate::cli::exit::Exit;
use crate::cli::format::counted;
use crate::stages::Registry;

/// Says on stdout what would run, or on stderr all that is wrong.
pub fn check(args: &CheckArgs, registry: &Registry) -> Exit {
    match load(&args.graph, registry) {
        Ok(graph) => print(&format!(
            "{}: {} is sound: {}\n",
            args.graph.file.display(),
            graph.pipeline,
            counted(graph.nodes.len() as u64, "stage")
        )),
        Err(exit) => exit,
    }
}
