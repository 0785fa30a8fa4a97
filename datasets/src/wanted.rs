//! [`Wanted`]: the rows a publisher lists, whoever holds which of them.

use polars::prelude::*;

use crate::error::DatasetError;
use crate::names::NameRule;

/// What a corpus is said to contain: a row per clip, before anybody looked for the audio.
///
/// | column | |
/// |---|---|
/// | `clip_id` | utf8, no two alike |
/// | `key` | utf8, what the clip is found by among what is held; see [`NameRule`] |
/// | `start_s`, `duration_s` | f64, the segment in the publisher's recording; null when it is all of it |
/// | `labels` | list of utf8: identifiers where the publisher has some, else names |
/// | `label_names` | list of utf8, in the order of `labels` |
/// | `split` | utf8 |
/// | `group` | utf8, the recording, speaker or uploader that must not be on two sides of a split; null when unknown |
#[derive(Debug, Clone)]
pub struct Wanted {
    pub(crate) frame: DataFrame,
    pub(crate) rule: NameRule,
    pub(crate) notes: Vec<String>,
}

impl Wanted {
    /// The rows.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// How its rows are found among what is held.
    pub fn rule(&self) -> NameRule {
        self.rule
    }

    /// What was odd in the publisher's files and does no harm, in words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The splits of its rows, sorted.
    ///
    /// # Errors
    /// [`DatasetError`] when the frame is not as documented.
    pub fn splits(&self) -> Result<Vec<String>, DatasetError> {
        let splits: std::collections::BTreeSet<&str> = self.frame.column("split")?.str()?.iter().flatten().collect();
        Ok(splits.into_iter().map(str::to_owned).collect())
    }

    /// The same with only the rows of the splits named.
    ///
    /// # Errors
    /// [`DatasetError`] when the frame is not as documented.
    pub fn of_splits(mut self, splits: &[&str]) -> Result<Self, DatasetError> {
        let split = self.frame.column("split")?.str()?.clone();
        let keep: BooleanChunked =
            split.iter().map(|split| split.is_some_and(|split| splits.contains(&split))).collect();
        self.frame = self.frame.filter(&keep)?;
        Ok(self)
    }
}

/// One row of [`Wanted`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WantedRow<'a> {
    pub clip_id: &'a str,
    pub start_s: Option<f64>,
    pub duration_s: Option<f64>,
    pub split: Option<&'a str>,
    pub group: Option<&'a str>,
}

/// Collects rows; column by column, for two million of them are a dozen buffers and not two million structs.
pub(crate) struct WantedBuilder {
    clip_id: StringChunkedBuilder,
    start_s: PrimitiveChunkedBuilder<Float64Type>,
    duration_s: PrimitiveChunkedBuilder<Float64Type>,
    labels: ListStringChunkedBuilder,
    label_names: ListStringChunkedBuilder,
    split: StringChunkedBuilder,
    group: StringChunkedBuilder,
}

impl WantedBuilder {
    pub fn with_capacity(rows: usize) -> Self {
        let list = |name: &'static str| ListStringChunkedBuilder::new(name.into(), rows, rows * 3);
        Self {
            clip_id: StringChunkedBuilder::new("clip_id".into(), rows),
            start_s: PrimitiveChunkedBuilder::new("start_s".into(), rows),
            duration_s: PrimitiveChunkedBuilder::new("duration_s".into(), rows),
            labels: list("labels"),
            label_names: list("label_names"),
            split: StringChunkedBuilder::new("split".into(), rows),
            group: StringChunkedBuilder::new("group".into(), rows),
        }
    }

    /// Adds a row, its labels and their names.
    pub fn push<'a>(
        &mut self,
        row: WantedRow<'_>,
        labels: impl Iterator<Item = &'a str>,
        names: impl Iterator<Item = &'a str>,
    ) {
        self.clip_id.append_value(row.clip_id);
        self.start_s.append_option(row.start_s);
        self.duration_s.append_option(row.duration_s);
        self.labels.append_values_iter(labels);
        self.label_names.append_values_iter(names);
        self.split.append_option(row.split);
        self.group.append_option(row.group);
    }

    /// The table; `keys` where they are not the names of the clips.
    pub fn finish(mut self, rule: NameRule, keys: Option<StringChunked>, notes: Vec<String>) -> PolarsResult<Wanted> {
        let clip_id = self.clip_id.finish();
        let key = keys.unwrap_or_else(|| clip_id.clone()).with_name("key".into());
        let frame = DataFrame::new(
            clip_id.len(),
            vec![
                clip_id.into_column(),
                key.into_column(),
                self.start_s.finish().into_column(),
                self.duration_s.finish().into_column(),
                self.labels.finish().into_column(),
                self.label_names.finish().into_column(),
                self.split.finish().into_column(),
                self.group.finish().into_column(),
            ],
        )?;
        Ok(Wanted { frame, rule, notes })
    }
}
