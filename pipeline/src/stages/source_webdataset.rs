//! `source_webdataset`: audio in `WebDataset` tars, decoded in place.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::corpus::{Condition, Listed, Listing, Selection, TarSamples, audio_extensions, check_condition, expand};
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, PlanError, Stage, StageConfig, StageKind, StagePlan};

/// The samples of `WebDataset` tars: members whose names agree up to the first dot of the last part, one after the other.
///
/// The audio member becomes a range of bytes that `decode` reads in place; nothing is unpacked. Members `.json`, `.cls` and
/// `.txt` (at most 1 MiB each) become columns of text, and `labels` is what the JSON has under that name when that is a list
/// of texts. Other members are not read. `clip_id` is the key, with the tar's name before it where tars share keys. A sample
/// without audio stays in the list, and `decode` rejects it. Names that begin with a dot (`._a.wav`) are left out.
///
/// A link, a second member of one kind, a key that comes again cost their sample; a torn tar costs what is behind the tear,
/// which counts as one reject that names it, for nobody can tell how many clips were there. With `on_error: { policy: fail }`
/// each of these is refused before the run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceWebdatasetConfig {
    /// A plain .tar, a folder of them, or a pattern: `part-{000..012}.tar`, `{train,valid}/*.tar`.
    pub path: String,
    /// Extensions of the audio member, without the dot, in any case. Default: as `source_folder`.
    #[serde(default = "audio_extensions")]
    pub extensions: Vec<String>,
    /// Which clips are taken: a condition in SQL over the columns clip_id, source, labels, json, cls
    /// and txt, such as "array_has(labels, 'Music')"; counted before
    /// shuffle and limit. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,
    /// Whether the clips come in one random order, a function of the run's seed and this stage's id. Default: false, which
    /// reads the tars from front to back.
    #[serde(default)]
    pub shuffle: bool,
    /// At most so many clips, counted after the shuffle: 1 or more. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl StageConfig for SourceWebdatasetConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::no_input(inputs)?;
        super::checks::limit(self.limit)?;
        check_condition(self.r#where.as_deref(), true)?;
        super::checks::extensions(&self.extensions)?;
        Ok(StagePlan::new(StageKind::Source, Schema::of_media(true)))
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let samples = TarSamples::scan(expand(&self.path, "tar")?, &self.extensions, cx.fail)?;
        if samples.n_clips() == 0 {
            let help = "members of a sample are named key.extension, such as 000017.flac and 000017.json";
            return Err(BuildError::new(format!("{}: the tars hold no samples", self.path), help));
        }
        let condition = Condition::new(self.r#where.as_deref(), None);
        let selection = Selection { condition, shuffle: self.shuffle, limit: self.limit };
        Ok(Stage::Source(Box::new(Listed::new(samples, &selection, cx)?)))
    }

    /// A pattern or a tar is not a folder whose new files would be read.
    fn folder(&self) -> Option<&Path> {
        let path = Path::new(&self.path);
        let is_tar = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"));
        (!is_tar && !self.path.contains(['{', '*', '?'])).then_some(path)
    }

    fn takes_addresses(&self) -> bool {
        true
    }
}
