//! Many faults of one file, told at once: the first ten in words, the rest as a number.

use crate::stage::BuildError;

const SHOWN: usize = 10;

/// Collects faults while a list is read.
#[derive(Debug, Default)]
pub struct Faults {
    shown: Vec<(usize, String)>,
    n: usize,
}

impl Faults {
    /// Counts a fault; `words` is called only while there is room to show it.
    pub fn push(&mut self, words: impl FnOnce() -> String) {
        self.push_at(self.n, words);
    }

    /// The same for a fault that has a place: what is shown is told in the order of places.
    pub fn push_at(&mut self, place: usize, words: impl FnOnce() -> String) {
        self.n += 1;
        if self.shown.len() < SHOWN {
            self.shown.push((place, words()));
        }
    }

    /// `Ok` when nothing was at fault.
    ///
    /// # Errors
    /// [`BuildError`] that starts with `what` (it names the file) and lists the faults; `help` is the cure.
    pub fn into_result(mut self, what: &str, help: &str) -> Result<(), BuildError> {
        if self.n == 0 {
            return Ok(());
        }
        let more = match self.n - self.shown.len() {
            0 => String::new(),
            more => format!("\n  and {more} more"),
        };
        self.shown.sort_by_key(|(place, _)| *place);
        let lines: Vec<String> = self.shown.into_iter().map(|(_, words)| words).collect();
        Err(BuildError::new(format!("{what}:\n  {}{more}", lines.join("\n  ")), help))
    }
}
