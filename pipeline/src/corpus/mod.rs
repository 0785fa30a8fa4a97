//! Lists of clips: folders, manifests and tars cut into units. All sources stand on this ground.

mod ahead;
mod clip_table;
mod condition;
mod faults;
mod length;
mod listing;
mod manifest;
mod parquet_clips;
mod places;
mod stamps;
mod table_file;
mod tar_index;
mod tar_members;
mod tar_samples;

pub use clip_table::{ClipTable, clip_ids, first_repeated, hash_column};
pub use condition::{Condition, check_condition};
pub use faults::Faults;
pub use listing::{Listed, Listing, Selection};
pub use manifest::{ManifestColumns, clips_of_table};
pub use parquet_clips::{ParquetClips, ParquetColumns, has_audio};
pub use places::expand;
pub use stamps::Stamps;
pub use table_file::{TableReader, footer_text, in_order, open_columns, open_table, read_table};
pub use tar_index::{Member, MemberKind, ScanError, scan_tar};
pub use tar_samples::{TarParts, TarSamples};

/// File name extensions that are taken for audio unless a config says otherwise; lower case, no dot.
pub const AUDIO_EXTENSIONS: &[&str] = &[
    "aac", "aif", "aifc", "aiff", "caf", "flac", "m4a", "m4b", "mka", "mkv", "mp1", "mp2", "mp3", "mp4", "oga", "ogg",
    "opus", "wav", "wave", "webm",
];

/// The default of every `extensions` field.
pub fn audio_extensions() -> Vec<String> {
    AUDIO_EXTENSIONS.iter().map(|&extension| extension.to_owned()).collect()
}

/// Whether the last dotted part of `name` is one of `extensions`, in any case.
pub fn has_extension(name: &str, extensions: &[String]) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.rsplit_once('.').is_some_and(|(_, last)| extensions.iter().any(|e| e.eq_ignore_ascii_case(last)))
}
