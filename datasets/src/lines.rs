//! Publishers' text tables, a row a line.
//!
//! None of the corpora here has a field that goes over lines. So a quote that is not closed is a fault of its line,
//! named by its number, and cannot swallow the lines behind it, as it does where quoted text may hold line ends.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::{DatasetError, LineFaults};

/// The largest publisher's table is 100 MB; more than this is something else.
const MAX_BYTES: u64 = 2 << 30;

/// The text of a table, without its byte order mark.
#[derive(Debug)]
pub(crate) struct TextTable {
    pub path: PathBuf,
    text: String,
}

/// Takes the fields of a row, or says what is wrong with them.
pub(crate) type TakeRow<'a> = dyn FnMut(&[Cow<'_, str>]) -> Result<(), String> + 'a;

impl TextTable {
    /// Reads the file.
    ///
    /// # Errors
    /// [`DatasetError`] when it is not there, larger than 2 GiB, not UTF-8 (the line is named), or empty.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let len = std::fs::metadata(path).map_err(|error| DatasetError::io(path, error))?.len();
        if len > MAX_BYTES {
            let problem = format!("{len} bytes are no publisher's table");
            return Err(DatasetError::unusable(path.display(), problem, "name the table of clips"));
        }
        let bytes = std::fs::read(path).map_err(|error| DatasetError::io(path, error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
            let mut faults = LineFaults::default();
            let line = bytes[..at].split(|&byte| byte == b'\n').count();
            faults.push(line, || format!("the byte {:#04x} is not UTF-8", bytes[at]));
            faults.into_result(path).err().unwrap_or_else(|| DatasetError::argument("text", "bytes", "UTF-8"))
        })?;
        Self::of(path, text)
    }

    fn of(path: &Path, text: String) -> Result<Self, DatasetError> {
        let table = Self { path: path.to_owned(), text };
        if table.text().trim().is_empty() {
            let help = "fetch it from its publisher again";
            return Err(DatasetError::unusable(path.display(), "the file is empty", help));
        }
        Ok(table)
    }

    /// All of it.
    pub fn text(&self) -> &str {
        self.text.strip_prefix('\u{FEFF}').unwrap_or(&self.text)
    }

    /// The lines that hold something, by their numbers from 1, without their ends (`\n` or `\r\n`).
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text().split('\n').zip(1..);
        let whole = numbered.map(|(line, number)| (number, line.strip_suffix('\r').unwrap_or(line)));
        whole.filter(|(_, line)| !line.trim().is_empty())
    }

    /// Splits every line behind a header that names at least `wanted`, and hands over the fields of those, in that
    /// order.
    ///
    /// # Errors
    /// [`DatasetError`] for a header without one of them, and for lines that `row` or [`split_fields`] finds at fault.
    pub fn rows(&self, wanted: &[&str], row: &mut TakeRow<'_>) -> Result<(), DatasetError> {
        let mut lines = self.lines();
        let mut header = Vec::new();
        let (number, first) = lines.next().unwrap_or_default();
        let mut faults = LineFaults::default();
        if let Err(problem) = split_fields(first, &mut header) {
            faults.push(number, || problem.to_owned());
            return faults.into_result(&self.path);
        }
        let places: Result<Vec<usize>, &str> =
            wanted.iter().map(|name| header.iter().position(|field| field == name).ok_or(*name)).collect();
        let places = places.map_err(|name| {
            let problem = format!("there is no column {name:?} among {}", header.join(", "));
            DatasetError::unusable(self.path.display(), problem, "give the table as its publisher ships it")
        })?;
        let (mut fields, mut chosen) = (Vec::new(), Vec::new());
        for (number, line) in lines {
            let outcome = split_fields(line, &mut fields).map_err(str::to_owned).and_then(|()| {
                if fields.len() != header.len() {
                    return Err(format!("{} fields where the header has {}", fields.len(), header.len()));
                }
                chosen.clear();
                chosen.extend(places.iter().map(|&place| std::mem::take(&mut fields[place])));
                row(&chosen)
            });
            if let Err(problem) = outcome {
                faults.push(number, || problem);
            }
        }
        faults.into_result(&self.path)
    }
}

/// Splits a line at its commas. Blanks around a field do not count, and a field may stand in quotes (`""` is one quote
/// in it), whether or not a blank is before the quote: AudioSet has one there, which parsers of CSV do not expect.
pub(crate) fn split_fields<'a>(line: &'a str, fields: &mut Vec<Cow<'a, str>>) -> Result<(), &'static str> {
    fields.clear();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, behind) = unquote(quoted)?;
            fields.push(field);
            let behind = behind.trim_start_matches([' ', '\t']);
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None if behind.is_empty() => return Ok(()),
                None => return Err("text behind a closing quote"),
            }
        } else {
            let (field, next) = match rest.split_once(',') {
                Some((field, next)) => (field, Some(next)),
                None => (rest, None),
            };
            if field.contains('"') {
                return Err("a quote inside a field that does not begin with one");
            }
            fields.push(Cow::Borrowed(field.trim_end_matches([' ', '\t'])));
            match next {
                Some(next) => rest = next,
                None => return Ok(()),
            }
        }
    }
}

/// The text up to the closing quote, and what is behind it.
fn unquote(quoted: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let mut text = Cow::Borrowed("");
    let mut rest = quoted;
    loop {
        let (part, behind) = rest.split_once('"').ok_or("a quote that is not closed")?;
        let doubled = behind.strip_prefix('"');
        if text.is_empty() && doubled.is_none() {
            return Ok((Cow::Borrowed(part), behind));
        }
        let text = text.to_mut();
        text.push_str(part);
        match doubled {
            Some(next) => {
                text.push('"');
                rest = next;
            }
            None => return Ok((std::mem::take(text).into(), behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(line: &str) -> Result<Vec<String>, &'static str> {
        let mut fields = Vec::new();
        split_fields(line, &mut fields)?;
        Ok(fields.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn a_blank_before_the_quote_is_as_none() {
        let fields = split(r#"--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088""#).unwrap();
        assert_eq!(fields, ["--PJHxphWEs", "30.000", "40.000", "/m/09x0r,/t/dd00088"]);
        assert_eq!(split(r#"64760,"Guitar,Music",train"#).unwrap(), ["64760", "Guitar,Music", "train"]);
    }

    #[test]
    fn quotes_in_quotes_are_doubled() {
        assert_eq!(split(r#"1,"a ""b"" c",d"#).unwrap(), ["1", r#"a "b" c"#, "d"]);
        assert_eq!(split("\"\"\"\",").unwrap(), ["\"", ""]);
        assert_eq!(split("\"\"\"\",\"").unwrap_err(), "a quote that is not closed");
        assert_eq!(split("\"\"").unwrap(), [""]);
    }

    #[test]
    fn quotes_at_fault_are_told_apart() {
        assert_eq!(split(r#"a, "b,c"#).unwrap_err(), "a quote that is not closed");
        assert_eq!(split(r#"a, b,c""#).unwrap_err(), "a quote inside a field that does not begin with one");
        assert_eq!(split(r#"a, "b" c"#).unwrap_err(), "text behind a closing quote");
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_their_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, b"one\ntwo\nth\xFFree\n").unwrap();
        let error = TextTable::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("1 line is at fault\n  line 3: the byte 0xff is not UTF-8"), "{error}");
    }

    proptest! {
        #[test]
        fn what_was_quoted_comes_back(fields in prop::collection::vec("[ -~]{0,12}", 1..6)) {
            let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            prop_assert_eq!(split(&quoted.join(", ")).unwrap(), fields);
        }

        #[test]
        fn no_line_is_too_strange(line in "\\PC{0,40}") {
            let _ = split(&line);
        }
    }
}
