//! `dataset`: what is in a corpus.

mod scan;

use crate::cli::args::{DatasetArgs, DatasetVerb};
use crate::cli::exit::Exit;
use crate::stages::Registry;

/// Does what the kind says; exits as `run` does.
pub fn dataset(args: &DatasetArgs, registry: &Registry) -> Exit {
    match &args.verb {
        DatasetVerb::Scan(args) => scan::scan(args, registry),
    }
}
