//! Addresses of object stores on the command line: taken where they are understood, refused where they would be taken for paths, for
//! `s3://bucket/report.html` would become a folder named `s3:`.

use std::ffi::OsStr;
use std::path::Path;

use ajepa_store::{is_misspelt, is_url};
use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

/// Verbs whose words, though not their options, may be addresses.
const READ_FAR: [&str; 4] = ["copy", "embed", "inspect", "verify"];

/// Options that name a scheduler, `df://host:50050`.
const SCHEDULERS: [&str; 2] = ["cluster", "scheduler"];

/// Refuses an address where a path is meant.
///
/// # Errors
/// A fault of usage that names it.
pub fn refuse_strays(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, of_verb)) = matches.subcommand() else { return Ok(()) };
    let Some(verb) = command.find_subcommand_mut(name) else { return Ok(()) };
    let mut stray = None;
    for arg in verb.get_arguments() {
        let takes_far =
            (arg.is_positional() && READ_FAR.contains(&name)) || SCHEDULERS.contains(&arg.get_id().as_str());
        let values = of_verb.try_get_raw(arg.get_id().as_str()).ok().flatten().into_iter().flatten();
        let is_stray = |value: &&OsStr| {
            let place = Path::new(value);
            is_misspelt(place) || (!takes_far && is_url(place))
        };
        stray = stray.or_else(|| values.map(AsRef::as_ref).find(is_stray).map(OsStr::to_owned));
    }
    if let Some(stray) = stray {
        if is_misspelt(Path::new(&stray)) {
            let problem = format!("{}: addresses have two slashes: s3://bucket/folder\n", stray.display());
            return Err(verb.error(ErrorKind::ValueValidation, problem));
        }
        let problem = format!(
            "{}: an address, where a path of this machine is meant; addresses are read by sources of a graph, `verify`, `inspect`, `embed` \
             and `copy`, and written by `sink_shards` and `copy`\n",
            stray.display()
        );
        return Err(verb.error(ErrorKind::ValueValidation, problem));
    }
    refuse_strays(verb, of_verb)
}
