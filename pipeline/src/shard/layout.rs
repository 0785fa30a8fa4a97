//! Names inside a shard set.
//!
//! ```text
//! manifest.json                  names the generation that readers get; the last thing to be renamed
//! manifest.g001.json             what manifest.json was before a newer generation took its place
//! part-00000.arrow               rows of unit 0, generation 1
//! part-g002-00000.arrow          the same unit, generation 2
//! rejects.parquet                clips that could not be used, when bad clips are quarantined
//! _units/g001/job.json           whose generation this is: fingerprint, graph, units
//! _units/g001/00000.json         commit record of unit 0
//! .NAME.tmp-SCOPE-PID-N          a file on its way to NAME
//! ```

use std::path::{Path, PathBuf};

/// Name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// Name of the table of rejected clips.
pub const REJECTS: &str = "rejects.parquet";
/// Name of the folder of the generations.
pub const UNITS: &str = "_units";

/// File name of the part of a unit.
pub fn part_name(generation: u32, unit: usize) -> String {
    match generation {
        1 => format!("part-{unit:05}.arrow"),
        g => format!("part-g{g:03}-{unit:05}.arrow"),
    }
}

/// Whether `name` is a part of any generation: so a manifest cannot point out of its folder.
pub fn is_part_name(name: &str) -> bool {
    let Some(stem) = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".arrow")) else { return false };
    let digits = |text: &str, at_least: usize| {
        (at_least..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match stem.strip_prefix('g').map(|rest| rest.split_once('-')) {
        None => digits(stem, 5),
        Some(Some((generation, unit))) => digits(generation, 3) && digits(unit, 5),
        Some(None) => false,
    }
}

/// The generation that a part is of; `None` for what is no part.
pub fn generation_of_part(name: &str) -> Option<u32> {
    match name.strip_prefix("part-g") {
        _ if !is_part_name(name) => None,
        Some(rest) => rest.split('-').next()?.parse().ok(),
        None => Some(1),
    }
}

/// Whether a run may write a file of this name into the folder of a set.
pub fn is_file_of_a_set(name: &str) -> bool {
    let old = name.strip_prefix("manifest.").and_then(|rest| rest.strip_suffix(".json"));
    name == MANIFEST || name == REJECTS || is_part_name(name) || old.is_some_and(|g| parse_generation(g).is_some())
}

/// Where the manifest of an earlier generation is kept.
pub fn old_manifest_name(generation: u32) -> String {
    format!("manifest.g{generation:03}.json")
}

/// Folder of the generations.
pub fn units_dir(dir: &Path) -> PathBuf {
    dir.join(UNITS)
}

/// Folder of one generation's records.
pub fn generation_dir(dir: &Path, generation: u32) -> PathBuf {
    units_dir(dir).join(format!("g{generation:03}"))
}

/// The generation a folder under `_units` is of.
pub fn parse_generation(name: &str) -> Option<u32> {
    let number = name.strip_prefix('g')?;
    (number.len() >= 3 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.parse().ok())?
}

/// File name of the claim on a generation.
pub const JOB: &str = "job.json";

/// File name of a unit's commit record.
pub fn record_name(unit: usize) -> String {
    format!("{unit:05}.json")
}

/// Whether `name` is that of a unit's commit record.
pub fn is_record_name(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|unit| unit.len() >= 5 && unit.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_names_stay_in_their_folder() {
        assert_eq!(part_name(1, 3), "part-00003.arrow");
        assert_eq!(part_name(12, 123_456), "part-g012-123456.arrow");
        for name in [part_name(1, 0), part_name(1, 999_999), part_name(2, 7), part_name(1000, 7)] {
            assert!(is_part_name(&name), "{name}");
        }
        for name in
            ["../part-00000.arrow", "part-../../x.arrow", "part-1.arrow", "part-g2-00000.arrow", "manifest.json"]
        {
            assert!(!is_part_name(name), "{name}");
        }
        for name in ["manifest.json", "manifest.g001.json", "rejects.parquet", "part-g002-00000.arrow"] {
            assert!(is_file_of_a_set(name), "{name}");
        }
        for name in ["manifest.json.torn-1", "manifest.old.json", "notes.txt", "part-a.arrow", ".manifest.json.tmp-1"] {
            assert!(!is_file_of_a_set(name), "{name}");
        }
        assert_eq!(parse_generation("g002"), Some(2));
        assert_eq!(parse_generation("g99999999999"), None);
        assert_eq!(parse_generation("g2"), None);
    }
}
