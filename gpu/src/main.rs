//! `ajepa-pipe` as it is, with GPUs: says which kinds this program can open, then does what the command line asks for.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(any(feature = "cuda", feature = "vulkan"))]
mod trial;
#[cfg(feature = "vulkan")]
mod vulkan;

use ajepa_model::device::{Driver, add_drivers};
use ajepa_pipe::cli::args::Cli;
use ajepa_pipe::cli::exit::Exit;
use ajepa_pipe::cli::verb;
use ajepa_pipe::stages::builtin;

fn main() -> Exit {
    #[cfg(feature = "vulkan")]
    if let Some(works) = vulkan::tried() {
        return if works { Exit::Done } else { Exit::Failed };
    }
    add_drivers(drivers());
    verb::act(&Cli::read(), &builtin())
}

fn drivers() -> Vec<Driver> {
    Vec::from([
        #[cfg(feature = "cuda")]
        cuda::driver(),
        #[cfg(feature = "vulkan")]
        vulkan::driver(),
    ])
}
