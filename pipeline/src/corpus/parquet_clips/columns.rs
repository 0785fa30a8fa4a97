//! Which column is what.

use std::path::Path;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema as ArrowSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::AudioFile;
use crate::schema::Schema;
use crate::stage::BuildError;

/// Names of the columns of a Parquet file with audio, where they are not the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetColumns {
    /// The encoded audio: a struct with a field `bytes`, or bytes. Default: `audio`, else the first column of that form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// Name of the clip, no two alike. Default: `clip_id`; without it `file#row`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_id: Option<String>,
    /// Labels: a list of texts, or a text. Default: `labels`, else `label` where it is of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
}

/// The columns of the files, each with its part. All files have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    pub audio: String,
    /// Whether the audio is a struct, with its bytes in a field.
    pub nested: bool,
    pub id: Option<String>,
    pub labels: Option<String>,
    /// Columns that travel along.
    pub extra: Vec<(String, DataType)>,
}

fn is_bytes(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_texts(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) | DataType::LargeList(item) => is_text(item.data_type()),
        kind => is_text(kind),
    }
}

fn has_bytes(fields: &Fields) -> bool {
    fields.iter().any(|field| field.name() == "bytes" && is_bytes(field.data_type()))
}

/// Whether audio lies in a column of this type, and then whether in a field of it.
fn audio_form(kind: &DataType) -> Option<bool> {
    match kind {
        DataType::Struct(fields) => has_bytes(fields).then_some(true),
        kind => is_bytes(kind).then_some(false),
    }
}

/// Types that travel along: those that any sink can hold.
fn travels(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => is_text(item.data_type()) || item.data_type().is_primitive(),
        DataType::Boolean => true,
        kind => is_text(kind) || kind.is_primitive(),
    }
}

/// Whether the file at `path` is Parquet with a column of audio rather than a table of paths.
pub fn has_audio(path: &Path) -> bool {
    let Ok(file) = AudioFile::open(path.to_owned()) else { return false };
    Roles::new("", file.schema(), &ParquetColumns::default()).is_ok()
}

impl Roles {
    pub fn new(shown: &str, schema: &ArrowSchema, columns: &ParquetColumns) -> Result<Self, BuildError> {
        let names = || schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
        let find = |role: &str, named: &Option<String>, usual: &[&str], fits: fn(&DataType) -> bool| {
            let wanted: Vec<&str> = named.as_deref().map_or(usual.to_vec(), |named| vec![named]);
            let there =
                wanted.iter().find_map(|name| schema.field_with_name(name).ok().filter(|f| fits(f.data_type())));
            match (there, named) {
                (None, Some(named)) => {
                    let problem = format!("{shown}: no column {named:?} that can be {role} is among {}", names());
                    Err(BuildError::new(problem, format!("name another: columns: {{ {role}: NAME }}")))
                }
                (there, _) => Ok(there.map(|field| field.name().clone())),
            }
        };
        let is_audio = |kind: &DataType| audio_form(kind).is_some();
        // Our own tables, which may lie beside the audio, have bytes too.
        let may_be = |field: &&FieldRef| is_audio(field.data_type()) && field.name() != "content_hash";
        let any = schema.fields().iter().find(may_be).map(|field| field.name().clone());
        let audio = find("audio", &columns.audio, &["audio"], is_audio)?.or(any).ok_or_else(|| {
            let problem = format!("{shown}: no column of encoded audio is among {}", names());
            BuildError::new(
                problem,
                "a table of paths is read by `source_manifest`; audio is a struct with `bytes`, or bytes",
            )
        })?;
        let nested =
            schema.field_with_name(&audio).ok().and_then(|field| audio_form(field.data_type())).unwrap_or(false);
        let is_id = |kind: &DataType| is_text(kind) || kind.is_integer();
        let id = find("clip_id", &columns.clip_id, &["clip_id"], is_id)?;
        let labels = find("labels", &columns.labels, &["labels", "label"], is_texts)?;
        let declared = Schema::of_media(false);
        let is_used = |name: &String| *name == audio || Some(name) == labels.as_ref() || declared.get(name).is_some();
        let extra = schema.fields().iter().filter(|field| !is_used(field.name()) && travels(field.data_type()));
        let extra = extra.map(|field| (field.name().clone(), field.data_type().clone())).collect();
        Ok(Self { audio, nested, id, labels, extra })
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Refuses a file that lacks one of these columns.
    pub fn fit(&self, shown: &str, schema: &ArrowSchema) -> Result<(), BuildError> {
        let columns =
            ParquetColumns { audio: Some(self.audio.clone()), clip_id: self.id.clone(), labels: self.labels.clone() };
        let other = Self::new(shown, schema, &columns)?;
        let differs = other.nested != self.nested || other.extra != self.extra;
        if differs {
            let problem = format!("{shown}: it has other columns than the files before it");
            return Err(BuildError::new(problem, "read files of one form together, others by another source"));
        }
        Ok(())
    }

    /// All columns to be read.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let extra = self.extra.iter().map(|(name, _)| name.as_str());
        [Some(self.audio.as_str()), self.labels.as_deref()].into_iter().flatten().chain(extra)
    }
}
