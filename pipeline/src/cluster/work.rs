//! What an executor does with a job and a unit.

use std::sync::{Arc, Mutex, PoisonError};

use ajepa_cluster::{Free, Trouble, Work};

use super::ticket::{Ticket, parse_item, program};
use crate::engine::RunError;
use crate::job::JobError;
use crate::stage::StageError;
use crate::stages::Registry;
use crate::units::{UnitJob, UnitLimits};

/// Jobs that stay listed.
const MAX_JOBS: usize = 3;

/// Does units, and keeps jobs listed between them.
pub struct Units {
    registry: Registry,
    host: String,
    slots: usize,
    /// The one that was used last comes last.
    jobs: Mutex<Vec<(blake3::Hash, Slot)>>,
}

/// A job, once it is listed: who comes meanwhile waits.
type Slot = Arc<Mutex<Option<Arc<Opened>>>>;

struct Opened {
    ticket: Ticket,
    job: UnitJob,
}

impl Units {
    /// For an executor on `host` that does `slots` tasks at once.
    pub fn new(registry: Registry, host: String, slots: usize) -> Self {
        // Known before the first job comes.
        program();
        Self { registry, host, slots, jobs: Mutex::default() }
    }

    fn slot(&self, text: &str) -> Slot {
        let key = blake3::hash(text.as_bytes());
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let at = jobs.iter().position(|(of, _)| *of == key);
        let entry = at.map_or_else(|| (key, Slot::default()), |at| jobs.remove(at));
        let slot = entry.1.clone();
        jobs.push(entry);
        if jobs.len() > MAX_JOBS {
            jobs.remove(0);
        }
        slot
    }

    fn opened(&self, text: &str) -> Result<Arc<Opened>, Trouble> {
        let slot = self.slot(text);
        let mut opened = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = opened.as_ref() {
            return Ok(opened.clone());
        }
        let ticket: Ticket = serde_json::from_str(text)
            .map_err(|e| self.lasting(&format!("the job is not of this version of the program: {e}")))?;
        let job = ticket.open(&self.registry).map_err(|why| self.lasting(&why))?;
        let made = Arc::new(Opened { ticket, job });
        *opened = Some(made.clone());
        Ok(made)
    }

    fn lasting(&self, why: &str) -> Trouble {
        Trouble::Lasting(format!("on {}: {why}", self.host))
    }
}

impl Work for Units {
    fn work(&self, job: &str, item: &str, free: Free) -> Result<String, Trouble> {
        let opened = self.opened(job)?;
        let (number, wanted) = parse_item(item).ok_or_else(|| self.lasting(&format!("{item:?} is no unit")))?;
        if let Some(why) = opened.ticket.differs(&opened.job, &[(number, wanted)]) {
            return Err(self.lasting(&why));
        }
        let limits = UnitLimits { jobs: 1, at_once: self.slots };
        let row = opened.job.run_and_tell(number, limits, &self.host, free);
        let row = row.map_err(|error| trouble(&self.host, number, &error))?;
        serde_json::to_string(&row).map_err(|e| self.lasting(&e.to_string()))
    }

    fn name(&self, job: &str, item: &str) -> String {
        let number = parse_item(item).map_or(0, |(number, _)| number);
        let slot = self.slot(job);
        // Whoever lists the job holds it.
        let opened = slot.try_lock().ok().and_then(|opened| opened.clone());
        let words = opened.map_or_else(
            || "the sources of the graph are not listed yet".to_owned(),
            |opened| opened.job.how_far(number),
        );
        format!("on {}, unit {number}: {words}", self.host)
    }
}

/// A disk or a network may be well again, and elsewhere; a graph will not.
fn trouble(host: &str, unit: usize, error: &JobError) -> Trouble {
    let why = format!("on {host}, unit {unit}: {error}");
    match error {
        JobError::Run(RunError::Stage { source: StageError::Io { .. }, .. }) => Trouble::Passing(why),
        _ => Trouble::Lasting(why),
    }
}
