//! A training as one page: how far it is, whether it learns, whether it collapses, and who waited for whom.
//!
//! Made from the records of `metrics.jsonl`. However many there are, at most a thousand numbers are drawn of a curve; peaks stay.

mod curves;
mod sections;

use ajepa_model::telemetry::{Alarm, Record};

use super::args::PatchSize;
use super::page;
use super::picture::{MelClip, PatchRole, PictureError, PictureOptions, draw};

/// What the page says.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrainPage<'a> {
    /// Name of the run: its pipeline and its folder.
    pub title: &'a str,
    /// `running`, `done`, `stopped`, or `failed`.
    pub outcome: &'a str,
    /// Why it failed.
    pub error: Option<&'a str>,
    /// When it began, as text.
    pub started_at: &'a str,
    /// The recipe that the config began with.
    pub preset: &'a str,
    /// Numbers that are trained.
    pub parameters: u64,
    /// Steps to do in all.
    pub steps: u64,
    /// What was recorded, in the order it was written. Of a step that was done twice the later record counts.
    pub records: &'a [Record],
    /// Alarms in the order they were raised.
    pub alarms: &'a [Alarm],
    /// Clips with their masks.
    pub pictures: &'a [Picture],
    /// The config and what else is to be known, as names and values.
    pub facts: &'a [(String, String)],
    /// Version of the program.
    pub program: &'a str,
}

/// A picture on the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// The bytes of a PNG file.
    pub png: Vec<u8>,
    /// What is to be seen.
    pub caption: String,
}

impl Picture {
    /// Draws a clip's log-mel with its patches and what a mask makes of them.
    ///
    /// # Errors
    /// As [`draw`].
    pub fn of(clip: &MelClip<'_>, patch: PatchSize, roles: &[PatchRole]) -> Result<Self, PictureError> {
        // Two stand side by side on the page: as large as they are shown there, so that the letters can be read.
        let scale = (420 / clip.n_frames.max(1)).clamp(1, 6);
        let options = PictureOptions { scale, range: None, patch: Some(patch), roles: Some(roles) };
        let caption =
            if clip.note.is_empty() { clip.title.to_owned() } else { format!("{}: {}", clip.title, clip.note) };
        Ok(Self { png: draw(clip, &options)?.to_png()?, caption })
    }
}

/// Writes the page.
///
/// # Example: a training of two steps
/// ```
/// use ajepa_model::telemetry::Record;
/// use ajepa_pipe::cli::train_html::{TrainPage, render};
/// let records = [1.0, 0.5].map(|loss| Record { step: (2.0 / loss) as u64 - 1, loss, ..Record::default() });
/// let page = TrainPage { title: "first try", outcome: "running", steps: 100, records: &records, ..TrainPage::default() };
/// assert!(render(&page).starts_with("<!doctype html>"));
/// ```
pub fn render(page: &TrainPage<'_>) -> String {
    page::document(&format!("{} - training", page.title), &sections::all(page), page.program)
}

#[cfg(test)]
mod tests;
