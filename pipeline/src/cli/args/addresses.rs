//! Addresses of object stores on the command line: taken where they are understood, refused where they would be taken for paths, for
//! `s3://bucket/report.html` would become a folder named `s3:`.

use std::ffi::OsStr;
use std::path::Path;

use ajepa_store::scheme;
use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

/// Verbs whose words, though not their options, may be addresses.
const READ_FAR: [&str; 4] = ["copy", "embed", "inspect", "verify"];

/// Refuses an address where a path is meant.
///
/// # Errors
/// A fault of usage that names it.
pub fn refuse_strays(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, of_verb)) = matches.subcommand() else { return Ok(()) };
    let Some(verb) = command.find_subcommand_mut(name) else { return Ok(()) };
    let mut stray = None;
    for arg in verb.get_arguments() {
        let takes_far = arg.is_positional() && READ_FAR.contains(&name);
        let values = of_verb.try_get_raw(arg.get_id().as_str()).ok().flatten().into_iter().flatten();
        // `df://` is where a scheduler is.
        let is_stray = |value: &&OsStr| scheme(Path::new(value)).is_some_and(|scheme| scheme != "df" && !takes_far);
        stray = stray.or_else(|| values.map(AsRef::as_ref).find(is_stray).map(OsStr::to_owned));
    }
    if let Some(stray) = stray {
        let problem = format!(
            "{}: an address, where a path of this machine is meant; addresses are read by sources of a graph, `verify`, `inspect`, `embed` \
             and `copy`, and written by `sink_shards` and `copy`\n",
            stray.display()
        );
        return Err(verb.error(ErrorKind::ValueValidation, problem));
    }
    refuse_strays(verb, of_verb)
}
