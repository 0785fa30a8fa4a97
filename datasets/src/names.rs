//! What people call the files of a corpus.

/// Extensions that are taken off a file's name; a dot before anything else belongs to the name (`YTID_30.000`).
pub(crate) const AUDIO_EXTENSIONS: [&str; 24] = [
    "aac", "aif", "aifc", "aiff", "alac", "caf", "flac", "m4a", "m4b", "mka", "mkv", "mov", "mp2", "mp3", "mp4",
    "mpga", "oga", "ogg", "opus", "sox", "wav", "wave", "webm", "wma",
];

/// How a row of a corpus is found among what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameRule {
    /// By a video's identifier, as the usual downloaders write it: `YTID`, `YYTID` (a `Y` before it), each alone or
    /// with the start behind it in seconds or milliseconds, with or without the end (`YTID_30`, `YTID_30.000`,
    /// `YTID_30000`, `YTID_30000_40000`), `any title [YTID]` and `any title-YTID`.
    YouTube,
    /// By the file's name without its extension.
    Stem,
    /// By the path, from the corpus' folder on.
    Path,
    /// By the names of the tar and of its member, whatever folder the tar is in.
    Member,
}

/// A `source`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    pub path: &'a str,
    pub member: Option<&'a str>,
    pub row: Option<u64>,
}

impl<'a> Source<'a> {
    /// `file`, `tar!member` or `parquet#row`. A `!` or `#` in any other name is a letter as others.
    pub fn of(source: &'a str) -> Self {
        let plain = Self { path: source, member: None, row: None };
        if let Some(at) = find_ignoring_case(source, ".tar!") {
            return Self { path: &source[..at + 4], member: Some(&source[at + 5..]), ..plain };
        }
        let Some((path, row)) = source.rsplit_once('#') else { return plain };
        let is_table = [".parquet", ".pq"].iter().any(|end| {
            path.len()
                .checked_sub(end.len())
                .is_some_and(|at| path.as_bytes()[at..].eq_ignore_ascii_case(end.as_bytes()))
        });
        match row.parse() {
            Ok(row) if is_table => Self { path, row: Some(row), ..plain },
            _ => plain,
        }
    }

    /// The last part of the name of the file or member.
    pub fn file_name(&self) -> &'a str {
        last_part(self.member.unwrap_or(self.path))
    }
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    // Most names have no `!` at all.
    if !text.contains('!') {
        return None;
    }
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

pub(crate) fn last_part(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// A file's name without an extension of audio.
pub(crate) fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && is_audio(extension) => stem,
        _ => name,
    }
}

pub(crate) fn is_audio(extension: &str) -> bool {
    AUDIO_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// An identifier that a name may hold, and what it says of the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Held<'a> {
    pub id: &'a str,
    pub start: Option<Start>,
}

/// A start as names have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Start {
    /// With a fraction: seconds.
    Seconds(f64),
    /// A whole number: seconds or milliseconds, whichever fits.
    Number(u64),
}

impl Start {
    fn of(text: &str) -> Option<Self> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.split_once('.') {
            None if digits(text) => text.parse().ok().map(Self::Number),
            Some((whole, part)) if digits(whole) && digits(part) => text.parse().ok().map(Self::Seconds),
            _ => None,
        }
    }

    /// Whether a segment from `start_s` may be called so. Seconds may have been cut or rounded to whole ones.
    pub fn fits(self, start_s: f64) -> bool {
        match self {
            Self::Seconds(seconds) => (seconds - start_s).abs() < 0.0015,
            Self::Number(number) => {
                let number = number as f64;
                number == start_s.floor() || number == start_s.round() || number == (start_s * 1000.0).round()
            }
        }
    }
}

/// Letters of a video's identifier; they may be `-` and `_`, the first as any other.
const ID_LEN: usize = 11;

/// What `name` (without extension) may be, the likeliest first. Which it is, only the corpus knows: `Yabcdefghij_30`
/// begins with an identifier of eleven letters that happens to begin with `Y`.
pub(crate) fn youtube(name: &str) -> impl Iterator<Item = Held<'_>> {
    let bracketed = name.strip_suffix(']').and_then(|name| name.rsplit_once('[')).map(|(_, id)| id);
    let bracketed = bracketed.filter(|id| id.len() == ID_LEN && is_id(id)).map(|id| Held { id, start: None });
    let after_y = name.strip_prefix('Y').and_then(id_and_start);
    let at = name.len().checked_sub(ID_LEN).filter(|at| name.is_char_boundary(*at));
    let (title, id) = at.map_or(("", ""), |at| name.split_at(at));
    let dashed = (title.len() > 1 && title.ends_with('-') && is_id(id)).then_some(Held { id, start: None });
    [id_and_start(name), after_y, bracketed, dashed].into_iter().flatten()
}

fn id_and_start(name: &str) -> Option<Held<'_>> {
    let (id, rest) = (name.get(..ID_LEN)?, &name[ID_LEN..]);
    if !is_id(id) {
        return None;
    }
    if rest.is_empty() {
        return Some(Held { id, start: None });
    }
    let times = rest.strip_prefix('_')?;
    let (start, end) = match times.split_once('_') {
        Some((start, end)) => (Start::of(start)?, Some(Start::of(end)?)),
        None => (Start::of(times)?, None),
    };
    let in_order = match (start, end) {
        (Start::Number(start), Some(Start::Number(end))) => start < end,
        (Start::Seconds(start), Some(Start::Seconds(end))) => start < end,
        (_, None) => true,
        _ => false,
    };
    in_order.then_some(Held { id, start: Some(start) })
}

/// Whether `id` has the letters of a video's identifier.
pub(crate) fn is_id(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(name: &str) -> Vec<(&str, Option<Start>)> {
        youtube(name).map(|held| (held.id, held.start)).collect()
    }

    #[test]
    fn the_names_that_downloaders_write() {
        let id = "-_a_30_0Bcd";
        assert_eq!(all(id), [(id, None)]);
        assert_eq!(all("Y-_a_30_0Bcd"), [(id, None)]);
        assert_eq!(all("-_a_30_0Bcd_30"), [(id, Some(Start::Number(30)))]);
        assert_eq!(all("-_a_30_0Bcd_30.000"), [(id, Some(Start::Seconds(30.0)))]);
        assert_eq!(all("-_a_30_0Bcd_30000_40000"), [(id, Some(Start::Number(30_000)))]);
        assert_eq!(all("Y-_a_30_0Bcd_30.5_40.5"), [(id, Some(Start::Seconds(30.5)))]);
        assert_eq!(all("A song [-_a_30_0Bcd]"), [(id, None)]);
        assert_eq!(all("Ein Lied für é--_a_30_0Bcd"), [(id, None)]);
        assert_eq!(all("00000000000"), [("00000000000", None)]);
    }

    #[test]
    fn what_is_no_name_of_a_video() {
        for name in ["", "short", "twelveletter", "-_a_30_0Bcd_", "-_a_30_0Bcd_x", "-_a_30_0Bcd_40_30", "é234567890ab"]
        {
            assert_eq!(all(name), [], "{name}");
        }
    }

    #[test]
    fn a_y_may_be_the_first_letter_or_stand_before_it() {
        assert_eq!(all("Yabcdefghij_30"), [("Yabcdefghij", Some(Start::Number(30)))]);
        assert_eq!(all("Yabcdefghij__30"), [("abcdefghij_", Some(Start::Number(30)))]);
    }

    #[test]
    fn a_whole_number_is_seconds_or_milliseconds() {
        assert!(Start::Number(30).fits(30.0) && Start::Number(30_000).fits(30.0) && Start::Number(30).fits(30.7));
        assert!(
            !Start::Number(30).fits(40.0) && Start::Seconds(30.0).fits(30.001) && !Start::Seconds(30.0).fits(30.01)
        );
    }

    #[test]
    fn sources_are_taken_apart() {
        let of = |text| Source::of(text);
        assert_eq!(of("a/b!c.wav"), Source { path: "a/b!c.wav", member: None, row: None });
        assert_eq!(of("x/p.TAR!k/a.flac"), Source { path: "x/p.TAR", member: Some("k/a.flac"), row: None });
        assert_eq!(of("x/p.parquet#17"), Source { path: "x/p.parquet", member: None, row: Some(17) });
        assert_eq!(of("C#7"), Source { path: "C#7", member: None, row: None });
        assert_eq!(of("x/p.TAR!k/a.flac").file_name(), "a.flac");
    }

    #[test]
    fn only_extensions_of_audio_are_taken_off() {
        assert_eq!(stem("id_30.000.M4A"), "id_30.000");
        assert_eq!(stem("id_30.000"), "id_30.000");
        assert_eq!(stem(".wav"), ".wav");
    }

    proptest! {
        #[test]
        fn every_form_of_every_id_is_found(id in "[A-Za-z0-9_-]{11}", start in 0_u32..36_000, y in any::<bool>()) {
            let y = if y { "Y" } else { "" };
            let s = f64::from(start);
            for name in [
                format!("{y}{id}_{start}"),
                format!("{y}{id}_{start}.000"),
                format!("{y}{id}_{}", start * 1000),
                format!("{y}{id}_{}_{}", start * 1000, start * 1000 + 10_000),
                format!("{y}{id}_{start}.000_{}.000", start + 10),
            ] {
                prop_assert!(
                    youtube(&name).any(|held| held.id == id && held.start.is_some_and(|start| start.fits(s))),
                    "{}", name
                );
            }
            let bare = format!("{y}{id}");
            prop_assert!(youtube(&bare).any(|held| held.id == id && held.start.is_none()));
        }

        #[test]
        fn no_name_is_too_strange(name in "\\PC{0,30}") {
            let _ = youtube(&name).count();
            let _ = Source::of(&name).file_name();
        }
    }
}
