//! One text that names several files: `a-{000..012}.tar`, `{train,valid}/*.tar`, or a folder.

use std::path::{Path, PathBuf};

use ajepa_store::{About, is_url, join};

use crate::stage::BuildError;

/// A typing error must not become a list of a billion names.
const MAX_PLACES: usize = 100_000;

/// The files that `text` names, in its order; those of a folder or behind `*` and `?` sorted by name.
///
/// `extension` (lower case, no dot) is what is taken of a folder.
///
/// # Errors
/// [`BuildError`] when nothing is there, a brace is left open, or more than 100,000 places come out.
pub fn expand(text: &str, extension: &str) -> Result<Vec<PathBuf>, BuildError> {
    let mut places = Vec::new();
    for place in braces(text)? {
        let path = PathBuf::from(&place);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let suffix = format!(".{extension}");
        let is_wanted = |child: &str| child.to_ascii_lowercase().ends_with(&suffix);
        // What has no such ending is a folder in a store, where there are none to be asked.
        if path.is_dir() || (is_url(&path) && !is_wanted(&name) && !name.contains(['*', '?'])) {
            places.extend(children(&path, &is_wanted)?);
        } else if name.contains(['*', '?']) {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            places.extend(children(folder, &|child| matches(name.as_bytes(), child.as_bytes()))?);
        } else {
            places.push(path);
        }
        if places.len() > MAX_PLACES {
            return Err(too_many(text));
        }
    }
    if places.is_empty() {
        let help = format!(
            "give a .{extension} file, a folder that holds some, or a pattern like part-{{000..099}}.{extension}"
        );
        return Err(BuildError::new(format!("{text}: no .{extension} file is there"), help));
    }
    Ok(places)
}

fn too_many(text: &str) -> BuildError {
    BuildError::new(format!("{text}: more than {MAX_PLACES} places"), "check the range in braces")
}

fn children(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>, BuildError> {
    let unreadable = |error: std::io::Error| {
        BuildError::new(format!("{}: {error}", folder.display()), "check the path, and the permissions of the folder")
    };
    if is_url(folder) {
        let named = |(name, _): &(String, About)| !name.starts_with('.') && wanted(name);
        let found = ajepa_store::list(folder, usize::MAX).map_err(unreadable)?;
        return Ok(found.iter().filter(|one| named(one)).map(|(name, _)| join(folder, name)).collect());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with('.') && wanted(&name) && path.is_file() {
            found.push(path);
        }
    }
    found.sort_unstable_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(found)
}

/// `*` is any run of bytes, `?` any one byte: two cursors, with one place to come back to.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Expands the braces of a shell: lists, number ranges with leading zeros, nested.
fn braces(text: &str) -> Result<Vec<String>, BuildError> {
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(next) = open.pop() {
        let Some((head, inner, tail)) = first_brace(&next) else {
            if next.contains('{') {
                return Err(BuildError::new(format!("{text}: a brace is left open"), "close it: part-{000..099}.tar"));
            }
            done.push(next);
            continue;
        };
        let choices = range(inner).unwrap_or_else(|| split_top(inner));
        if done.len() + open.len() + choices.len() > MAX_PLACES {
            return Err(too_many(text));
        }
        // The list is worked from its end, so the first choice must be pushed last.
        open.extend(choices.iter().rev().map(|choice| format!("{head}{choice}{tail}")));
    }
    Ok(done)
}

fn first_brace(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find('{')?;
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..start], &text[start + 1..at], &text[at + 1..]));
        }
    }
    None
}

fn split_top(inner: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let mut parts = vec![String::new()];
    for letter in inner.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts
}

fn range(inner: &str) -> Option<Vec<String>> {
    let (first, last) = inner.split_once("..")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let width = if first.starts_with('0') || last.starts_with('0') { first.len().max(last.len()) } else { 0 };
    let (a, b): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    // One more than allowed is enough to be refused.
    let count = a.abs_diff(b).min(MAX_PLACES as u64);
    let number = |i: u64| format!("{:0width$}", if a <= b { a + i } else { a - i });
    Some((0..=count).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_as_a_shell_has_them() {
        assert_eq!(braces("p-{008..011}.tar").unwrap(), ["p-008.tar", "p-009.tar", "p-010.tar", "p-011.tar"]);
        assert_eq!(braces("{a,b{1..2}}/x{3..2}").unwrap(), ["a/x3", "a/x2", "b1/x3", "b1/x2", "b2/x3", "b2/x2"]);
        assert!(braces("a{1..2").unwrap_err().problem.contains("left open"));
        assert!(braces("{1..99999}{1..99999}").unwrap_err().problem.contains("more than"));
        assert!(braces("{0..18446744073709551615}").unwrap_err().problem.contains("more than"));
    }

    #[test]
    fn stars_match_runs() {
        assert!(matches(b"part-*-?.tar", b"part-a-b-7.tar"));
        assert!(!matches(b"part-*.tar", b"part-1.tar.gz"));
        assert!(matches(b"*", b"") && !matches(b"?", b"") && matches(b"a**b", b"ab"));
    }
}
