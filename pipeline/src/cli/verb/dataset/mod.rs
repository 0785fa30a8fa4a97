//! `dataset`: what is in a corpus.

#[cfg(feature = "datasets")]
mod make;
#[cfg(feature = "datasets")]
mod report;
mod scan;

use crate::cli::args::{DatasetArgs, DatasetVerb};
use crate::cli::exit::Exit;
use crate::stages::Registry;

/// Does what the kind says; exits as `run` does.
pub fn dataset(args: &DatasetArgs, registry: &Registry) -> Exit {
    if let DatasetVerb::Scan(args) = &args.verb {
        return scan::scan(args, registry);
    }
    manifest(&args.verb, registry)
}

#[cfg(feature = "datasets")]
fn manifest(verb: &DatasetVerb, registry: &Registry) -> Exit {
    let done = match verb {
        DatasetVerb::Refine(args) => make::refine(args),
        DatasetVerb::Show(args) => make::show(args),
        verb => make::make(verb, registry),
    };
    done.unwrap_or_else(|exit| exit)
}

#[cfg(not(feature = "datasets"))]
fn manifest(_: &DatasetVerb, _: &Registry) -> Exit {
    eprintln!("error: manifests need polars, and this program was built without: build it with the feature `datasets`");
    Exit::Usage
}
