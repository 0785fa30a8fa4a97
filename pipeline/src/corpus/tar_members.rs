//! Members of tars that a table names: where their bytes lie.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array, StringArray};

use super::tar_index::{Member, MemberKind, scan_tar};
use crate::stage::BuildError;

/// What is known of the clips of a table that may be members of tars.
#[derive(Debug, Default)]
pub struct Members {
    /// Offset and length of those that are.
    pub bytes: Option<Vec<Option<(u64, u64)>>>,
    /// Why some cannot be read, as `reason: detail`.
    pub faults: Option<StringArray>,
    /// `path!member`, and the path of all others.
    pub source: Option<StringArray>,
}

/// Finds the members named, by reading the headers of every tar once; `path` is under `root`, `member` is null for plain files.
pub fn find_members(root: &Path, path: &StringArray, member: &StringArray) -> Members {
    let mut of_tar: HashMap<&str, HashMap<&str, Vec<usize>>> = HashMap::new();
    for (row, member) in member.iter().enumerate() {
        if let Some(member) = member {
            of_tar.entry(path.value(row)).or_default().entry(plain(member)).or_default().push(row);
        }
    }
    let mut bytes = vec![None; path.len()];
    let mut faults: Vec<Option<String>> = vec![None; path.len()];
    for (tar, wanted) in &of_tar {
        let mut found = |member: Member| {
            for &row in wanted.get(plain(&member.name)).into_iter().flatten() {
                // Of two members of one name the last, as unpacking would have it.
                bytes[row] = Some((member.offset, member.len));
                faults[row] = match member.kind {
                    MemberKind::File => None,
                    MemberKind::Folder => Some(format!("not_a_file: {} is a folder", member.name)),
                    MemberKind::Other(what) => Some(format!("not_a_file: {} is {what}", member.name)),
                };
            }
        };
        let problem = match scan_tar(&ajepa_store::join(root, tar), &mut found) {
            Ok(()) => "it is not in the tar".to_owned(),
            Err(error) => BuildError::from(error).problem,
        };
        for &row in wanted.values().flatten().filter(|&&row| bytes[row].is_none()) {
            faults[row] = Some(format!("missing: {}: {problem}", member.value(row)));
        }
    }
    let source = |row: usize| {
        let path = path.value(row);
        if member.is_valid(row) { format!("{path}!{}", member.value(row)) } else { path.to_owned() }
    };
    Members {
        bytes: Some(bytes),
        faults: Some(StringArray::from(faults)),
        source: Some(StringArray::from_iter_values((0..path.len()).map(source))),
    }
}

fn plain(member: &str) -> &str {
    member.strip_prefix("./").unwrap_or(member)
}
