//! The `ajepa-pipe` program: reads the command line, hands over to the verb, turns its end into an exit code.

use ajepa_pipe::cli::args::Cli;
use ajepa_pipe::cli::exit::Exit;
use ajepa_pipe::cli::verb;
use ajepa_pipe::stages::builtin;

fn main() -> Exit {
    verb::act(&Cli::read(), &builtin())
}
