//! What of a job travels: the text of its graph, and by what an executor knows that it sees the same job. Names and bytes, nothing that
//! could be run.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::sync::OnceLock;

use ajepa_store::to_hex;
use serde::{Deserialize, Serialize};

use crate::config;
use crate::stage::Unit;
use crate::stages::Registry;
use crate::units::UnitJob;

/// A job, as every executor is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Version and build of the client's program.
    pub program: String,
    /// Name of the graph's file, for messages.
    pub name: String,
    /// The graph, in YAML.
    pub graph: String,
    /// `--set`, in order.
    pub overrides: Vec<String>,
    /// Folder that relative paths of the graph are under.
    pub folder: String,
    /// Hash of what decides content.
    pub fingerprint: String,
    /// Hash over the keys of all units.
    pub inputs: String,
    /// Units of the job.
    pub units: u64,
    /// Clips of the job.
    pub clips: u64,
}

/// Version and build of this program. Another build may make other bytes.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let build = std::env::current_exe().and_then(std::fs::File::open).and_then(build_of);
        format!("{} ({})", env!("CARGO_PKG_VERSION"), build.unwrap_or_else(|_| "unknown".to_owned()))
    })
}

/// What the linker has signed the program with, else a hash over the file, which takes a fifth of a second for some hundred megabytes.
fn build_of(mut file: File) -> std::io::Result<String> {
    /// Lengths of name and content, kind and name of the ELF note `NT_GNU_BUILD_ID`.
    const NOTE: &[u8; 16] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    /// Headers and notes stand before everything else.
    const HEAD_BYTES: u64 = 64 << 10;
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let note = head.windows(NOTE.len()).position(|bytes| bytes == NOTE).map(|at| at + NOTE.len());
    if let Some(id) = note.and_then(|at| head.get(at..at + 20)).filter(|_| head.starts_with(b"\x7FELF")) {
        return Ok(to_hex(&id[..6]));
    }
    file.rewind()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(to_hex(&hasher.finalize().as_bytes()[..6]))
}

/// The folder that relative paths are under.
pub(super) fn folder() -> String {
    std::env::current_dir().map_or_else(|_| String::new(), |folder| folder.display().to_string())
}

impl Ticket {
    /// The job of a client.
    pub fn new(job: &UnitJob, file: &Path, graph: String, overrides: Vec<String>) -> Self {
        Self {
            program: program().to_owned(),
            name: file.display().to_string(),
            graph,
            overrides,
            folder: folder(),
            fingerprint: job.fingerprint(),
            inputs: job.inputs().to_owned(),
            units: job.units().len() as u64,
            clips: job.n_clips(),
        }
    }

    /// The same job on this machine.
    ///
    /// # Errors
    /// What is other here than where the client runs.
    pub fn open(&self, registry: &Registry) -> Result<UnitJob, String> {
        if self.program != program() {
            return Err(format!(
                "the program here is {}, the client's is {}: run the same build everywhere",
                program(),
                self.program
            ));
        }
        let graph = config::load_str(&self.name, &self.graph, &self.overrides, registry);
        let graph = graph.map_err(|errors| errors.render(false, 100))?;
        let here = |problem: String| format!("{problem}{}", self.other_folder());
        let job = UnitJob::new(graph).map_err(|error| here(error.to_string()))?;
        if job.fingerprint() != self.fingerprint {
            return Err(format!(
                "the graph means something else here: fingerprint {}, not {}",
                job.fingerprint(),
                self.fingerprint
            ));
        }
        Ok(job)
    }

    /// Why `job`, as it is seen here, is not the client's, if its list of clips differs; `wanted` are units as the client sees them.
    pub(super) fn differs(&self, job: &UnitJob, wanted: &[(usize, Unit)]) -> Option<String> {
        if job.inputs() == self.inputs {
            return None;
        }
        let (clips, units) = (job.n_clips(), job.units().len());
        let counts = format!(
            "{clips} clips in {units} units are listed here, {} in {} where the client runs",
            self.clips, self.units
        );
        let first = wanted.iter().find(|(number, unit)| job.units().get(*number) != Some(unit));
        let first = first.map_or_else(String::new, |(number, unit)| {
            let here = job.units().get(*number).map_or(0, |unit| unit.n_clips);
            format!(
                "; unit {number} is another: {here} clips here, {} there, or other sizes or times of files",
                unit.n_clips
            )
        });
        Some(format!("{counts}{first}{}", self.other_folder()))
    }

    /// A word on relative paths, where they mean something else.
    fn other_folder(&self) -> String {
        let here = folder();
        if here == self.folder {
            return String::new();
        }
        format!(
            "; relative paths are under {here} here and under {} there: start executors in that folder, or write whole paths",
            self.folder
        )
    }
}

/// A unit, as a word of a task: number, clips, key.
pub(super) fn item(number: usize, unit: &Unit) -> String {
    format!("{number} {} {}", unit.n_clips, to_hex(&unit.key))
}

/// The same read back.
pub(super) fn parse_item(item: &str) -> Option<(usize, Unit)> {
    let mut words = item.split(' ');
    let (number, n_clips) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let hex = words.next().filter(|hex| hex.len() == 32 && hex.is_ascii())?;
    let mut key = [0; 16];
    for (byte, at) in key.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    words.next().is_none().then_some((number, Unit { n_clips, key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_as_it_was_written() {
        let unit = Unit { n_clips: 512, key: *b"0123456789abcdef" };
        assert_eq!(parse_item(&item(17, &unit)), Some((17, unit)));
        for bad in [
            "",
            "1",
            "1 2",
            "1 2 00",
            "x 2 00000000000000000000000000000000",
            "1 2 0000000000000000000000000000000g",
            "1 2 00000000000000000000000000000000 3",
        ] {
            assert_eq!(parse_item(bad), None, "{bad}");
        }
    }
}
