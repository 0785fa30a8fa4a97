//! Event files as TensorBoard reads them: scalars, pictures and texts by step.

mod wire;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use ajepa_store::StoreError;

use self::wire::Message;
use super::Record;

/// What every name of an event file begins with.
const PREFIX: &str = "events.out.tfevents.";

/// Writes one event file, which is what TensorBoard expects of one process.
///
/// A record is in the file when the call returns: whoever watches sees it, and a process that is killed loses none. After a
/// failed write the file is cut back to its last whole record, so that it stays readable and the next call may try again.
///
/// # Example: two steps of a loss
/// ```
/// # let folder = tempfile::tempdir()?;
/// use ajepa_model::telemetry::EventWriter;
/// let mut events = EventWriter::create(folder.path(), 1_764_000_000.0, 1)?;
/// events.scalars(1, 1_764_000_001.5, &[("loss/total", 0.9), ("schedule/lr", 1e-5)])?;
/// events.scalars(2, 1_764_000_003.0, &[("loss/total", 0.8), ("schedule/lr", 2e-5)])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
    /// Bytes of whole records.
    len: u64,
}

impl EventWriter {
    /// Begins a file in `folder`, which is made where it is missing.
    ///
    /// `next_step` is the first step that will be written: TensorBoard forgets what earlier processes wrote of it and of later
    /// steps, so that steps repeated after a resume are not shown twice. TensorBoard reads the files of a folder in the order
    /// of their names, which begin with seconds; so this one is named later than all there, whatever the clock says.
    ///
    /// # Errors
    /// When the folder or the file cannot be made or written.
    pub fn create(folder: &Path, wall_time_s: f64, next_step: u64) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| StoreError::io("create", folder, error))?;
        let newest = newest_s(folder).map_err(|error| StoreError::io("list", folder, error))?;
        let second = (wall_time_s as u64).max(newest.map_or(0, |s| s + 1));
        let path = folder.join(format!("{PREFIX}{second:010}.ajepa.{}.0", std::process::id()));
        let open = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = open.map_err(|error| StoreError::io("create", &path, error))?;
        let mut writer = Self { file, path, len: 0 };
        writer.append(&event(0, wall_time_s).bytes(FILE_VERSION, b"brain.Event:2"))?;
        // Field 1 of a session log is its state, and 1 is START.
        let start = Message::default().varint(1, 1);
        writer.append(&event(next_step, wall_time_s).message(SESSION_LOG, &start))?;
        Ok(writer)
    }

    /// Where it writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything that a record holds; see [`scalars_of`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&mut self, wall_time_s: f64, record: &Record) -> Result<(), StoreError> {
        self.scalars(record.step, wall_time_s, &scalars_of(record))
    }

    /// Values by tag, as f32: that is what TensorBoard keeps.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalars(&mut self, step: u64, wall_time_s: f64, values: &[(&str, f64)]) -> Result<(), StoreError> {
        let summary = values
            .iter()
            .fold(Message::default(), |summary, (tag, value)| summary.message(1, &tagged(tag).float(2, *value as f32)));
        self.append(&event(step, wall_time_s).message(SUMMARY, &summary))
    }

    /// A picture: the bytes of a PNG file, and its width and height.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn picture(
        &mut self,
        step: u64,
        wall_time_s: f64,
        tag: &str,
        png: &[u8],
        [width, height]: [u32; 2],
    ) -> Result<(), StoreError> {
        let image = Message::default().varint(1, u64::from(height)).varint(2, u64::from(width)).varint(3, 3);
        let value = tagged(tag).message(4, &image.bytes(4, png));
        self.append(&event(step, wall_time_s).message(SUMMARY, &Message::default().message(1, &value)))
    }

    /// A text; TensorBoard shows it as Markdown.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn text(&mut self, step: u64, wall_time_s: f64, tag: &str, text: &str) -> Result<(), StoreError> {
        let plugin = Message::default().message(1, &Message::default().bytes(1, b"text"));
        // A tensor of one string: element type 7, one dimension of length 1.
        let shape = Message::default().message(2, &Message::default().varint(1, 1));
        let tensor = Message::default().varint(1, 7).message(2, &shape).bytes(8, text.as_bytes());
        let value = tagged(tag).message(8, &tensor).message(9, &plugin);
        self.append(&event(step, wall_time_s).message(SUMMARY, &Message::default().message(1, &value)))
    }

    fn append(&mut self, event: &Message) -> Result<(), StoreError> {
        let frame = event.framed();
        if let Err(error) = self.file.write_all(&frame) {
            // Best effort: readers stop at half a record, and so would never come to those behind it.
            let _ = self.file.set_len(self.len);
            return Err(StoreError::io("write", &self.path, error));
        }
        self.len += frame.len() as u64;
        Ok(())
    }
}

/// Everything that a record holds, by its tag in TensorBoard.
pub fn scalars_of(record: &Record) -> Vec<(&'static str, f64)> {
    let mut values = vec![
        ("loss/total", f64::from(record.loss)),
        ("loss/regulariser", f64::from(record.regulariser)),
        ("loss/grad_norm", record.grad_norm),
        ("schedule/lr", record.lr),
        ("schedule/weight_decay", record.weight_decay),
        ("schedule/tau", record.tau),
        ("schedule/epoch", record.epoch as f64),
        ("schedule/clips", record.clips as f64),
    ];
    if let Some(health) = &record.health {
        values.extend(match health.codes {
            None => vec![
                ("health/target_spread", health.target_spread),
                ("health/prediction_spread", health.prediction_spread),
                ("health/r2", health.r2),
            ],
            Some(codes) => vec![
                ("codes/in_use", health.target_spread),
                ("codes/in_use_by_predictions", health.prediction_spread),
                ("codes/explained", health.r2),
                ("codes/in_book", codes.n_codes as f64),
                ("codes/accuracy", codes.accuracy),
            ],
        });
        values.extend([
            ("health/context_spread", health.context_spread),
            ("health/dead_dimensions", health.dead_dimensions),
            ("health/rank_me", health.rank_me),
            ("health/participation_ratio", health.participation_ratio),
            ("health/between_clips", health.between_clips),
            ("health/between_positions", health.between_positions),
            ("health/flat_pictures", health.flat_pictures),
            ("health/repeated_pictures", health.repeated_pictures),
        ]);
    }
    values.extend(record.probe.map(|probe| ("probe/knn", probe.knn)));
    if let Some(speed) = &record.speed {
        values.extend([
            ("speed/clips_per_s", speed.clips_per_s),
            ("speed/data_wait", speed.data_wait),
            ("speed/step_s", speed.step_s),
        ]);
    }
    values
}

/// Fields of an event that say what it holds.
const FILE_VERSION: u32 = 3;
const SUMMARY: u32 = 5;
const SESSION_LOG: u32 = 7;

fn event(step: u64, wall_time_s: f64) -> Message {
    Message::default().double(1, wall_time_s).varint(2, step)
}

fn tagged(tag: &str) -> Message {
    Message::default().bytes(1, tag.as_bytes())
}

/// The second in the name of the newest event file of a folder.
fn newest_s(folder: &Path) -> std::io::Result<Option<u64>> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let second = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        newest = newest.max(second);
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_process_has_the_later_name_though_its_clock_is_behind() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<PathBuf> = [2_000.0, 2_000.0, 1_000.0, f64::NAN]
            .map(|now_s| EventWriter::create(dir.path(), now_s, 1).unwrap().path().to_owned())
            .into();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = EventWriter::create(&file, 0.0, 1).unwrap_err().to_string();
        assert!(error.starts_with("cannot create ") && error.contains(&*file.to_string_lossy()), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_of_every_write() {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut events = EventWriter { file, path, len: 0 };
        for step in 1..3 {
            let error = events.record(0.0, &Record { step, ..Record::default() }).unwrap_err();
            assert!(error.to_string().starts_with("cannot write /dev/full: "), "{error}");
        }
        assert_eq!(events.len, 0);
    }

    #[test]
    fn every_field_of_a_record_has_a_tag() {
        use crate::telemetry::{CodesHealth, Health, ProbeScores, Speed};
        for codes in [None, Some(CodesHealth::default())] {
            let record = Record {
                health: Some(Health { codes, ..Health::default() }),
                probe: Some(ProbeScores::default()),
                speed: Some(Speed::default()),
                ..Record::default()
            };
            // `step` is where a value stands and no value.
            assert_eq!(scalars_of(&record).len(), n_numbers(&serde_json::to_value(&record).unwrap()) - 1);
        }
    }

    fn n_numbers(value: &serde_json::Value) -> usize {
        value.as_object().map_or(1, |fields| fields.values().map(n_numbers).sum())
    }
}
