//! `check`: is the graph sound? Touches no audio.

use std::fmt::Write as _;

use super::{load, print};
use crate::cli::args::CheckArgs;
use crate::cli::exit::Exit;
use crate::cli::format::counted;
use crate::plan::explain::explain;
use crate::stages::Registry;

/// Says on stdout what would run, or on stderr all that is wrong.
pub fn check(args: &CheckArgs, registry: &Registry) -> Exit {
    match load(&args.graph, registry) {
        Ok(graph) => {
            let n_stages = counted(graph.nodes.len() as u64, "stage");
            let mut out = format!("{}: {} is sound: {n_stages}\n", args.graph.file.display(), graph.pipeline);
            for training in explain(&graph).trainings {
                let _ = writeln!(out, "{}", training.text());
            }
            print(&out)
        }
        Err(exit) => exit,
    }
}
