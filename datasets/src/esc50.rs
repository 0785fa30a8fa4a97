//! ESC-50: two thousand clips of five seconds in five folds.

use std::collections::HashSet;
use std::path::Path;

use crate::error::DatasetError;
use crate::lines::TextTable;
use crate::names::{NameRule, stem};
use crate::wanted::{Wanted, WantedBuilder, WantedRow};

/// Reads ESC-50's `meta/esc50.csv` (`filename,fold,target,category,esc10,src_file,take`).
///
/// A clip's name is its file's without `.wav`; its split is `fold1` to `fold5`, its label the category, its group the
/// recording (`src_file`) that it was cut from.
///
/// # Errors
/// [`DatasetError`] when the file is not in `dir` or in `dir/meta`, and for lines at fault.
pub fn esc50(dir: &Path) -> Result<Wanted, DatasetError> {
    let paths = [dir.join("meta").join("esc50.csv"), dir.join("esc50.csv")];
    let path = paths.iter().find(|path| path.is_file()).unwrap_or(&paths[0]);
    let mut rows = WantedBuilder::with_capacity(2000);
    let mut seen = HashSet::new();
    TextTable::read(path)?.rows(&["filename", "fold", "category", "src_file"], &mut |fields| {
        let [file, fold, category, recording] = fields else { return Ok(()) };
        if [file, category, recording].iter().any(|field| field.is_empty()) || fold.parse::<u8>().is_err() {
            return Err("filename, fold, category or src_file is not what it should be".to_owned());
        }
        let clip_id = stem(file);
        if !seen.insert(clip_id.to_owned()) {
            return Err(format!("the clip {clip_id:?} is there twice"));
        }
        let split = format!("fold{fold}");
        let row = WantedRow { clip_id, split: Some(&split), group: Some(&**recording), ..WantedRow::default() };
        let label = [&**category];
        rows.push(row, label.into_iter(), label.into_iter());
        Ok(())
    })?;
    Ok(rows.finish(NameRule::Stem, None, Vec::new())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_and_recordings() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("meta")).unwrap();
        let text = "filename,fold,target,category,esc10,src_file,take\n1-100032-A-0.wav,1,0,dog,True,100032,A\n\
                    5-9032-B-14.wav,5,14,chirping_birds,False,9032,B\n";
        std::fs::write(dir.path().join("meta/esc50.csv"), text).unwrap();
        let wanted = esc50(dir.path()).unwrap();
        let texts = |column: &str| -> Vec<String> {
            let column = wanted.frame().column(column).unwrap().str().unwrap().clone();
            column.iter().flatten().map(str::to_owned).collect()
        };
        assert_eq!(texts("clip_id"), ["1-100032-A-0", "5-9032-B-14"]);
        assert_eq!(texts("split"), ["fold1", "fold5"]);
        assert_eq!(texts("group"), ["100032", "9032"]);
    }

    #[test]
    fn a_header_of_something_else_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("esc50.csv"), "file,label\na,b\n").unwrap();
        let error = esc50(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("there is no column \"filename\" among file, label"), "{error}");
    }
}
