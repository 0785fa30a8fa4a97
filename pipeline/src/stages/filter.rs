//! `filter`: keeps the rows that meet every condition.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::MapCx;
use crate::row::{Audio, Cell, Row};
use crate::schema::Schema;
use crate::stage::{
    BuildCx, BuildError, ClipError, Map, MapError, PlanError, Stage, StageConfig, StageKind, StagePlan,
};

/// Keeps the rows that meet every condition given; the others are left out, counted as filtered, not as rejects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// At least one of these is among the row's labels. Default: none asked for.
    #[serde(default)]
    pub labels_any: Vec<String>,
    /// All of these are among the row's labels. Default: none asked for.
    #[serde(default)]
    pub labels_all: Vec<String>,
    /// None of these is among the row's labels. Default: none ruled out.
    #[serde(default)]
    pub labels_none: Vec<String>,
    /// Column name to texts: the value, as text, is one of them. A null is none. Default: nothing asked for.
    #[serde(default)]
    pub column_in: BTreeMap<String, Vec<String>>,
    /// Column name to texts: the value, as text, is none of them. A null passes. Default: nothing ruled out.
    #[serde(default)]
    pub column_not_in: BTreeMap<String, Vec<String>>,
    /// Shortest length in seconds, 0 or more: of the waveform where there is one, else of `duration_s`. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_duration_s: Option<f64>,
    /// Longest length in seconds, likewise. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration_s: Option<f64>,
    /// Lowest level in dB below a full-scale square wave, 0 or less: of all samples of the waveform, root mean square.
    /// Needs `decode` before it. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rms_dbfs: Option<f64>,
}

impl StageConfig for FilterConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        let input = super::checks::one_input(inputs)?;
        self.validate()?;
        for name in self.column_in.keys().chain(self.column_not_in.keys()) {
            if input.get(name).is_none() && !input.extra {
                let field = if self.column_in.contains_key(name) { "column_in" } else { "column_not_in" };
                let problem = format!("there is no column {name:?}");
                return Err(PlanError::field(field, problem, format!("what comes in: {input}")));
            }
        }
        self.check_numbers()?;
        if self.min_rms_dbfs.is_some() && input.audio().is_none() {
            let problem = "a level needs a waveform, and none comes in";
            return Err(PlanError::field("min_rms_dbfs", problem, "put the filter between decode and the front end"));
        }
        Ok(StagePlan::new(StageKind::Map, input.clone()))
    }

    fn validate(&self) -> Result<(), PlanError> {
        if *self != Self::default() {
            return Ok(());
        }
        Err(PlanError::new("it has no condition", "give one, such as min_duration_s: 1, or take the stage out"))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let has_audio = cx.inputs.iter().any(|input| input.audio().is_some());
        Ok(Stage::Map(Box::new(Filter { config: self.clone(), has_audio })))
    }
}

impl FilterConfig {
    fn check_numbers(&self) -> Result<(), PlanError> {
        let durations = [("min_duration_s", self.min_duration_s), ("max_duration_s", self.max_duration_s)];
        for (field, value) in durations {
            if let Some(bad) = value.filter(|s| !(s.is_finite() && *s >= 0.0)) {
                return Err(PlanError::field(field, format!("{bad} is no length"), "seconds, 0 or more"));
            }
        }
        if let (Some(min), Some(max)) = (self.min_duration_s, self.max_duration_s)
            && min > max
        {
            let problem = format!("no clip is both {min} s or longer and {max} s or shorter");
            return Err(PlanError::field("max_duration_s", problem, "min_duration_s <= max_duration_s"));
        }
        match self.min_rms_dbfs.filter(|db| !(db.is_finite() && *db <= 0.0)) {
            Some(bad) => Err(PlanError::field("min_rms_dbfs", format!("{bad} dB"), "0 or less: -60 is very quiet")),
            None => Ok(()),
        }
    }
}

#[derive(Clone)]
struct Filter {
    config: FilterConfig,
    has_audio: bool,
}

impl Map for Filter {
    fn fork(&self) -> Box<dyn Map> {
        Box::new(self.clone())
    }

    fn map(&mut self, mut row: Row, cx: &mut MapCx<'_>) -> Result<(), MapError> {
        // The cheap conditions first: a waveform is decoded only for rows that met them.
        if self.labels_fit(&row) && self.columns_fit(&row)? && self.sound_fits(&mut row, cx)? {
            cx.emit(row)?;
        } else if let Some(Cell::Audio(Audio::Samples(samples))) = row.take("audio") {
            cx.recycle(samples.values);
        }
        Ok(())
    }
}

impl Filter {
    fn labels_fit(&self, row: &Row) -> bool {
        let FilterConfig { labels_any, labels_all, labels_none, .. } = &self.config;
        if labels_any.is_empty() && labels_all.is_empty() && labels_none.is_empty() {
            return true;
        }
        let labels = labels_of(row);
        (labels_any.is_empty() || labels_any.iter().any(|label| labels.contains(label)))
            && labels_all.iter().all(|label| labels.contains(label))
            && !labels_none.iter().any(|label| labels.contains(label))
    }

    fn columns_fit(&self, row: &Row) -> Result<bool, ClipError> {
        for (name, texts) in &self.config.column_in {
            if !text_of(row, name)?.is_some_and(|text| texts.contains(&text)) {
                return Ok(false);
            }
        }
        for (name, texts) in &self.config.column_not_in {
            if text_of(row, name)?.is_some_and(|text| texts.contains(&text)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn sound_fits(&self, row: &mut Row, cx: &mut MapCx<'_>) -> Result<bool, ClipError> {
        let FilterConfig { min_duration_s, max_duration_s, min_rms_dbfs, .. } = self.config;
        if min_duration_s.is_some() || max_duration_s.is_some() {
            let duration_s = self.duration_s(row, cx)?;
            if min_duration_s.is_some_and(|min| duration_s < min) || max_duration_s.is_some_and(|max| duration_s > max)
            {
                return Ok(false);
            }
        }
        let Some(min_rms_dbfs) = min_rms_dbfs else { return Ok(true) };
        let samples = cx.samples(row)?;
        let power: f64 = samples.values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let rms_dbfs = 10.0 * (power / samples.values.len().max(1) as f64).log10();
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        Ok(rms_dbfs >= min_rms_dbfs)
    }

    fn duration_s(&self, row: &mut Row, cx: &mut MapCx<'_>) -> Result<f64, ClipError> {
        if !self.has_audio {
            let unknown = || ClipError::new("duration_unknown", "`duration_s` is null: put the filter behind decode");
            return row.f64("duration_s").ok_or_else(unknown);
        }
        if let Some(Cell::Audio(Audio::Stream(stream))) = row.cell("audio")
            && let Some(n_frames) = stream.n_frames_left()
        {
            return Ok(n_frames as f64 / f64::from(stream.rate_hz().max(1)));
        }
        let samples = cx.samples(row)?;
        let duration_s = samples.duration_s();
        row.set("audio", Cell::Audio(Audio::Samples(samples)));
        Ok(duration_s)
    }
}

fn labels_of(row: &Row) -> Vec<String> {
    if let Some(Cell::Strs(labels)) = row.cell("labels") {
        return labels.clone();
    }
    let (_, index) = row.origin();
    let list = row.carried("labels").and_then(|labels| labels.as_list_opt::<i32>()).map(|lists| lists.value(index));
    let texts = list.as_ref().and_then(|list| list.as_string_opt::<i32>());
    texts.map_or_else(Vec::new, |texts| texts.iter().flatten().map(str::to_owned).collect())
}

/// The value as text; `None` for a null.
fn text_of(row: &Row, name: &str) -> Result<Option<String>, ClipError> {
    let (batch, index) = row.origin();
    match row.cell(name) {
        Some(Cell::Str(text)) => return Ok(Some(text.clone())),
        Some(Cell::F64(value)) => return Ok(Some(value.to_string())),
        Some(Cell::U32(value)) => return Ok(Some(value.to_string())),
        Some(Cell::U64(value)) => return Ok(Some(value.to_string())),
        Some(Cell::Bool(value)) => return Ok(Some(value.to_string())),
        _ => {}
    }
    let column = batch.column_by_name(name).ok_or_else(|| ClipError::missing_column(name))?;
    if column.is_null(index) {
        return Ok(None);
    }
    let text = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default())
        .and_then(|formatter| formatter.value(index).try_to_string());
    text.map(Some).map_err(|error| ClipError::new("missing_column", format!("{name}: {error}")))
}
