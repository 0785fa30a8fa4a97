//! The `ajepa-pipe` program: reads the command line, hands over to the verb, turns its end into an exit code.

use ajepa_pipe::cli::args::{Cli, Verb};
use ajepa_pipe::cli::exit::Exit;
use ajepa_pipe::cli::verb;
use ajepa_pipe::stages::builtin;
use clap::Parser;

fn main() -> Exit {
    let cli = Cli::parse();
    let registry = builtin();
    match &cli.verb {
        Verb::Run(args) => verb::run::run(args, &registry),
        Verb::Check(args) => verb::check::check(args, &registry),
        Verb::Explain(args) => verb::explain::explain(args, &registry),
        Verb::Stages(args) => verb::stages::stages(args, &registry),
        Verb::Schema(_) => verb::stages::schema(&registry),
        Verb::Inspect(args) => verb::inspect::inspect(args),
        Verb::Verify(args) => verb::verify::verify(args),
        Verb::Dataset(args) => verb::dataset::dataset(args, &registry),
        Verb::Bench(args) => verb::bench::bench(args, &registry),
        Verb::Query(args) => verb::query::query(args),
        Verb::Embed(args) => verb::embed::embed(args, &registry),
        Verb::Checkpoint(args) => verb::checkpoint::checkpoint(args),
    }
}
