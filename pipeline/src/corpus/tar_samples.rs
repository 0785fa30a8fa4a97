//! Samples of `WebDataset` tars: members with one key, found from headers, read in place when their unit is read.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{ReadSeek, is_url};
use arrow::array::{
    Array, ArrayRef, Float64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema};
use blake3::Hasher;

use super::clip_table::{first_repeated, labels_field};
use super::length::guess_s;
use super::tar_index::{Member, MemberKind, ScanError, scan_tar};
use super::{Faults, Listing, Stamps, has_extension};
use crate::columns::{MediaPlace, arrow_field, media_array};
use crate::schema::Schema;
use crate::stage::{BuildError, StageError};

/// Text members that become columns.
const TEXTS: [&str; 3] = ["json", "cls", "txt"];

/// A text member larger than this is refused: sixteen are read at once.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Ends of names of audio members that are told apart: `flac`, `seg.flac`.
const MAX_ENDS: usize = 64;

/// A range of bytes in a tar; no length, no member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    offset: u64,
    len: u64,
}

#[derive(Debug, Clone, Default)]
struct Sample {
    tar: u32,
    audio: Option<Span>,
    /// What of the audio member's name is behind the key; a number in the list of such ends.
    end: Option<u16>,
    texts: [Option<Span>; 3],
    /// Why it cannot be used, as `reason: detail`.
    fault: Option<Box<str>>,
}

/// A sample, by its names and its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarParts {
    /// The tar's name.
    pub tar: String,
    /// What the names of its members have in common.
    pub key: String,
    /// Name of the audio member.
    pub audio: Option<String>,
    /// Text of the member `.json`.
    pub json: Option<String>,
    /// Why it cannot be used.
    pub fault: Option<String>,
}

/// The samples of a list of tars; 100 bytes each, and their keys.
pub struct TarSamples {
    tars: Vec<PathBuf>,
    /// Names of the clips.
    keys: StringArray,
    /// Keys of the samples: the same, unless tars share some.
    members: StringArray,
    samples: Vec<Sample>,
    ends: Vec<String>,
    has_text: [bool; 3],
    stamps: Stamps,
    open: Option<(u32, Box<dyn ReadSeek>)>,
}

impl TarSamples {
    /// Reads the headers of all tars. A key that several tars have becomes `tar name/key`.
    ///
    /// Samples that cannot be used, and the place where a torn tar ends, are faults; unless `strict`, they are listed as
    /// clips that `decode` refuses with the reason, and the rest is read.
    ///
    /// # Errors
    /// [`BuildError`] for a tar that is missing or compressed; when `strict`, as [`scan_tar`], and for links, keys that come
    /// again after another key, several audio members of one key, and texts of more than 1 MiB: up to ten of them by name.
    pub fn scan(tars: Vec<PathBuf>, extensions: &[String], strict: bool) -> Result<Self, BuildError> {
        let (mut keys, mut samples, mut ends) = (StringBuilder::new(), Vec::new(), Vec::new());
        for (number, tar) in tars.iter().enumerate() {
            let ends_before = std::mem::take(&mut ends);
            let mut groups =
                Groups { number: number as u32, extensions, strict, ends: ends_before, ..Groups::default() };
            match scan_tar(tar, &mut |member| groups.add(&member)) {
                Err(ScanError::Torn { fault, at, member }) if !strict => groups.tear(&fault.problem, at, member),
                ended => ended?,
            }
            groups.faults.into_result(
                &tar.display().to_string(),
                "pack the tar again: regular files, one key after the other; on_error: { policy: quarantine } puts them aside",
            )?;
            groups.keys.iter().for_each(|key| keys.append_value(key));
            samples.append(&mut groups.samples);
            ends = groups.ends;
        }
        let members = keys.finish();
        let keys = unique_keys(members.clone(), &samples, &tars)?;
        let has_text = [0, 1, 2].map(|kind| samples.iter().any(|sample: &Sample| sample.texts[kind].is_some()));
        Ok(Self { tars, keys, members, samples, ends, has_text, stamps: Stamps::default(), open: None })
    }

    /// `name.tar!member` of every sample with audio; nothing is read.
    pub fn audio_sources(&self) -> impl Iterator<Item = String> {
        let with_audio = (0..self.samples.len() as u32).filter(|&clip| self.samples[clip as usize].audio.is_some());
        with_audio.map(|clip| self.source(clip))
    }

    /// What each sample is made of, its JSON read.
    ///
    /// # Errors
    /// [`BuildError`] when a JSON cannot be read.
    pub fn parts(&mut self) -> impl Iterator<Item = Result<TarParts, BuildError>> {
        let unreadable = |error: StageError| BuildError::new(error.to_string(), "fetch the tar again");
        (0..self.samples.len() as u32).map(move |clip| self.parts_of(clip).map_err(unreadable))
    }

    fn parts_of(&mut self, clip: u32) -> Result<TarParts, StageError> {
        let json = self.text(clip, 0)?;
        let sample = &self.samples[clip as usize];
        let key = self.members.value(clip as usize).to_owned();
        let end = sample.end.and_then(|end| self.ends.get(usize::from(end)));
        let audio = sample.audio.and(end).map(|end| format!("{key}.{end}"));
        let fault = sample.fault.as_deref().map(str::to_owned);
        Ok(TarParts { tar: file_name(&self.tars[sample.tar as usize]), key, audio, json, fault })
    }

    fn text(&mut self, clip: u32, kind: usize) -> Result<Option<String>, StageError> {
        let sample = &self.samples[clip as usize];
        let (Some(span), tar) = (sample.texts[kind], sample.tar) else { return Ok(None) };
        let path = &self.tars[tar as usize];
        let io = |error| StageError::io(format!("reading {}", path.display()), error);
        let file = match &mut self.open {
            Some((open, file)) if *open == tar => file,
            open => &mut open.insert((tar, ajepa_store::open(path).map_err(io)?.reader)).1,
        };
        let mut bytes = vec![0; span.len as usize];
        file.seek(SeekFrom::Start(span.offset)).map_err(io)?;
        file.read_exact(&mut bytes).map_err(io)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn place(&self, clip: u32) -> MediaPlace {
        let sample = &self.samples[clip as usize];
        let Span { offset, len } = sample.audio.unwrap_or_default();
        let path = self.tars[sample.tar as usize].to_string_lossy().into_owned();
        let fault = sample.fault.as_deref().map(str::to_owned);
        MediaPlace { path, bytes: Some((offset, len)), fault, ..MediaPlace::default() }
    }

    /// `name.tar!member`; without audio, `name.tar!key`.
    fn source(&self, clip: u32) -> String {
        let sample = &self.samples[clip as usize];
        let tar = file_name(&self.tars[sample.tar as usize]);
        let key = self.members.value(clip as usize);
        match sample.end.and_then(|end| self.ends.get(usize::from(end))) {
            Some(end) => format!("{tar}!{key}.{end}"),
            None => format!("{tar}!{key}"),
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl Listing for TarSamples {
    fn n_clips(&self) -> usize {
        self.samples.len()
    }

    fn prepare(&mut self, _: &[u32]) -> std::io::Result<()> {
        self.stamps.learn(&self.tars.iter().cloned())
    }

    fn far_bytes(&self, clip: u32) -> Option<u64> {
        let sample = &self.samples[clip as usize];
        let len = sample.audio.map_or(0, |audio| audio.len);
        is_url(&self.tars[sample.tar as usize]).then_some(len)
    }

    fn hash(&mut self, clips: &[u32], into: &mut Hasher) -> Result<f64, StageError> {
        let mut seconds = 0.0;
        for &clip in clips {
            let sample = &self.samples[clip as usize];
            let key = self.keys.value(clip as usize);
            into.update(&(key.len() as u64).to_le_bytes()).update(key.as_bytes());
            for span in std::iter::once(sample.audio).chain(sample.texts) {
                let Span { offset, len } = span.unwrap_or_default();
                into.update(&[u8::from(span.is_some())]).update(&offset.to_le_bytes()).update(&len.to_le_bytes());
            }
            if let Some(fault) = &sample.fault {
                into.update(fault.as_bytes());
            }
            let tar = &self.tars[sample.tar as usize];
            into.update(file_name(tar).as_bytes());
            self.stamps.hash(Path::new(""), &tar.to_string_lossy(), into);
            let end = sample.end.and_then(|end| self.ends.get(usize::from(end)));
            seconds += guess_s(end.map_or("", String::as_str), sample.audio.map(|audio| audio.len), 0.0);
        }
        Ok(seconds)
    }

    fn rows(&mut self, clips: &[u32]) -> Result<RecordBatch, StageError> {
        let mut texts: [Vec<Option<String>>; 3] = Default::default();
        let has_text = self.has_text;
        let kinds = (0..TEXTS.len()).filter(|&kind| has_text[kind]);
        for kind in kinds.clone() {
            texts[kind] = clips.iter().map(|&clip| self.text(clip, kind)).collect::<Result<_, _>>()?;
        }
        let places: Vec<MediaPlace> = clips.iter().map(|&clip| self.place(clip)).collect();
        let declared = Schema::of_media(false);
        let mut fields: Vec<FieldRef> = declared.columns.iter().map(|column| Arc::new(arrow_field(column))).collect();
        let mut columns: Vec<ArrayRef> = vec![
            take(&self.keys, &UInt32Array::from(clips.to_vec()), None)?,
            Arc::new(StringArray::from_iter_values(clips.iter().map(|&clip| self.source(clip)))),
            Arc::new(Float64Array::from(vec![0.0; clips.len()])),
            new_null_array(&DataType::Float64, clips.len()),
            json_labels(&texts[0], clips.len()),
            media_array(&places)?,
        ];
        for kind in kinds {
            fields.push(Arc::new(Field::new(TEXTS[kind], DataType::Utf8, true)));
            columns.push(Arc::new(StringArray::from(std::mem::take(&mut texts[kind]))));
        }
        Ok(RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)?)
    }
}

/// `labels` of each JSON text, where it is a list of texts; null otherwise.
fn json_labels(texts: &[Option<String>], n_rows: usize) -> ArrayRef {
    let mut labels = ListBuilder::new(StringBuilder::new()).with_field(labels_field());
    for row in 0..n_rows {
        let json = texts.get(row).and_then(Option::as_deref).and_then(|text| serde_json::from_str(text).ok());
        let list = json.as_ref().and_then(|json: &serde_json::Value| json.get("labels")?.as_array().cloned());
        match list.filter(|list| list.iter().all(serde_json::Value::is_string)) {
            Some(list) => labels.append_value(list.iter().map(serde_json::Value::as_str)),
            None => labels.append_null(),
        }
    }
    Arc::new(labels.finish())
}

/// The samples of one tar while its headers are read.
#[derive(Default)]
struct Groups<'a> {
    number: u32,
    extensions: &'a [String],
    strict: bool,
    keys: Vec<String>,
    seen: HashSet<String>,
    samples: Vec<Sample>,
    ends: Vec<String>,
    faults: Faults,
}

impl Groups<'_> {
    fn add(&mut self, member: &Member) {
        let Some((key, field)) = key_and_field(&member.name) else { return };
        let text = TEXTS.iter().position(|text| *text == field);
        let is_audio = has_extension(&format!(".{field}"), self.extensions);
        match member.kind {
            MemberKind::Other(what) if is_audio || text.is_some() => {
                let problem = format!("{} is {what}, which has no bytes of its own", member.name);
                return self.refuse(&key, member.offset, "not_a_file", problem);
            }
            MemberKind::File => {}
            MemberKind::Other(_) | MemberKind::Folder => return,
        }
        if self.keys.last().is_none_or(|last| *last != key) {
            if self.seen.contains(&key) {
                let problem = format!("{}: the key {key} comes again, after other keys", member.name);
                return self.refuse(&key, member.offset, "repeated_key", problem);
            }
            self.open(key.clone());
        }
        let end = if is_audio { self.end(member, &key) } else { None };
        let Some(sample) = self.samples.last_mut() else { return };
        if is_audio {
            sample.end = end;
        }
        let span = Span { offset: member.offset, len: member.len };
        let place = match text {
            Some(_) if member.len > MAX_TEXT_BYTES => {
                let problem = format!("{} has {} bytes; 1 MiB is the most for a text", member.name, member.len);
                return self.refuse(&key, member.offset, "too_large", problem);
            }
            Some(kind) => &mut sample.texts[kind],
            None if is_audio => &mut sample.audio,
            None => return,
        };
        if place.replace(span).is_some() {
            let what = if is_audio { "audio member: name one kind in `extensions`" } else { "member of its name" };
            self.refuse(&key, member.offset, "repeated_member", format!("{} is the second {what}", member.name));
        }
    }

    /// The number of what is behind the key and its dot in a member's name, as it is written there. Few names end in many
    /// ways; of those that do, the rest is not known.
    fn end(&mut self, member: &Member, key: &str) -> Option<u16> {
        let name = member.name.strip_prefix("./").unwrap_or(&member.name);
        let end = name.get(key.len() + 1..)?;
        let known = self.ends.iter().position(|known| known == end);
        let at = known.unwrap_or_else(|| {
            if self.ends.len() < MAX_ENDS {
                self.ends.push(end.to_owned());
                return self.ends.len() - 1;
            }
            MAX_ENDS
        });
        (at < MAX_ENDS).then_some(at as u16)
    }

    /// Begins the sample of a key that has not been seen.
    fn open(&mut self, key: String) {
        self.seen.insert(key.clone());
        self.keys.push(key);
        self.samples.push(Sample { tar: self.number, ..Sample::default() });
    }

    /// A fault of the sample `key`: of the one that is being read when that has this key, else of one of its own.
    fn refuse(&mut self, key: &str, offset: u64, reason: &str, problem: String) {
        if self.strict {
            return self.faults.push(|| problem);
        }
        if self.keys.last().is_none_or(|last| last != key) {
            self.open(if self.seen.contains(key) { format!("{key}@{offset}") } else { key.to_owned() });
        }
        if let Some(sample) = self.samples.last_mut() {
            // Nothing of such a sample is read, its texts included.
            let fault = Some(format!("{reason}: {problem}").into_boxed_str());
            *sample = Sample { tar: self.number, fault, ..Sample::default() };
        }
    }

    /// The tar ends here: the clips before it stay, and how many were behind it nobody can tell.
    fn tear(&mut self, problem: &str, at: u64, member: Option<String>) {
        let key = member.and_then(|name| key_and_field(&name)).map(|(key, _)| key);
        let problem = format!("{problem}; what was behind it is lost");
        self.refuse(&key.unwrap_or_else(|| format!("torn@{at}")), at, "torn_tar", problem);
    }
}

/// `a/b.c/x.seg.flac` -> (`a/b.c/x`, `seg.flac`): the key ends at the first dot of the last part, as `WebDataset` has it.
fn key_and_field(name: &str) -> Option<(String, String)> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let base_at = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name[base_at..].find('.').filter(|&dot| dot > 0)?;
    Some((name[..base_at + dot].to_owned(), name[base_at + dot + 1..].to_ascii_lowercase()))
}

/// Where tars share keys, as many people number samples from zero in each, the tar's name tells them apart.
fn unique_keys(keys: StringArray, samples: &[Sample], tars: &[PathBuf]) -> Result<StringArray, BuildError> {
    if first_repeated(&keys).is_none() {
        return Ok(keys);
    }
    let mut uses: HashMap<&str, u32> = HashMap::with_capacity(keys.len());
    keys.iter().flatten().for_each(|key| *uses.entry(key).or_default() += 1);
    let stem = |tar: u32| tars[tar as usize].file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let unique = StringArray::from_iter_values(samples.iter().enumerate().map(|(row, sample)| match keys.value(row) {
        key if uses.get(key) == Some(&1) => key.to_owned(),
        key => format!("{}/{key}", stem(sample.tar)),
    }));
    match first_repeated(&unique) {
        None => Ok(unique),
        Some((_, row)) => {
            let problem = format!("two samples would be named {}", unique.value(row));
            Err(BuildError::new(problem, "two tars of one name share keys: rename one, or read them by two sources"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::key_and_field;

    #[test]
    fn keys_end_at_the_first_dot_of_the_last_part() {
        let of = |name: &str| key_and_field(name).map(|(key, field)| format!("{key}|{field}"));
        assert_eq!(of("./a/b.c/x.seg.FLAC").as_deref(), Some("a/b.c/x|seg.flac"));
        assert_eq!(of("../../etc/passwd.wav").as_deref(), Some("../../etc/passwd|wav"));
        assert_eq!(of("folder/"), None);
        assert_eq!(of("a/.hidden"), None);
    }
}
