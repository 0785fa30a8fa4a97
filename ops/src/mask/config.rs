//! What a user says about masks, and the proof that it can be done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::inverse_block::InverseBlock;
use super::masker::{Mask, Masker, Strategy};
use super::multi_block::{MultiBlock, MultiBlockOptions};
use super::random::{Random, Ratio};
use super::spans::{Along, Spans};
use crate::ConfigError;
use crate::patch::{MAX_TOKENS, PatchGrid, TimeAxis};

/// Most masks of one clip, and most target blocks of one mask.
const MAX_MASKS: u32 = 64;

/// How tokens are chosen to be hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskStrategy {
    /// Tokens drawn without replacement: floor(N (1 - ratio)) are context, all the rest target. Audio-JEPA (arXiv 2507.02915).
    #[default]
    Random,
    /// `n_targets` rectangles are targets; the context is one large rectangle less the targets. I-JEPA (Assran 2023, arXiv
    /// 2301.08243): 4 targets of scale 0.15 to 0.2 and aspect 0.75 to 1.5, context of scale 0.85 to 1 and aspect 1.
    MultiBlock,
    /// Square blocks of `block_len` are kept as context, all the rest is target. data2vec 2.0 (Baevski 2022, arXiv
    /// 2212.07525): ratio 0.8, blocks of 3 x 3 for pictures. EAT (Chen 2024, arXiv 2401.03497): 5 x 5 for log-mel.
    InverseBlock,
    /// `n_spans` stretches of time are hidden over all mels. After `SpecAugment`'s time masks (Park 2019, arXiv 1904.08779).
    Time,
    /// `n_spans` bands of mels are hidden over all time. After `SpecAugment`'s frequency masks.
    Frequency,
}

impl MaskStrategy {
    fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::MultiBlock => "multi_block",
            Self::InverseBlock => "inverse_block",
            Self::Time => "time",
            Self::Frequency => "frequency",
        }
    }
}

/// What shares one draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All clips of a batch.
    Batch,
    /// Each clip has its own.
    Clip,
}

/// The masks of a published Audio-JEPA. All three draw random tokens with a ratio from [0.4, 0.6] per batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MaskPreset {
    /// The paper (arXiv 2507.02915): a permutation per clip.
    #[serde(rename = "paper-2025")]
    Paper2025,
    /// The authors' code at 225b816: as the paper.
    #[serde(rename = "code-225b816")]
    Code225b816,
    /// The re-implementation behind the published weights `Audio-JEPA-base`: one permutation per batch. (Its code rounds the
    /// *hidden* tokens down where the others round the *kept* ones; here the kept ones are, one token apart at most.)
    #[serde(rename = "base-2026")]
    Base2026,
}

/// Chooses which tokens of a clip are context and which are target.
///
/// All fields may be left out; a field of another strategy than the chosen one is an error rather than ignored.
///
/// # Example: the masks of I-JEPA, thinned to 60 context tokens so that clips stack
/// ```
/// use ajepa_ops::mask::MaskConfig;
/// use ajepa_ops::patch::{PatchGrid, TimeAxis};
/// let config: MaskConfig = serde_json::from_str(r#"{ "strategy": "multi_block", "n_context": 60 }"#)?;
/// let mut masker = config.build(PatchGrid { rows: 32, cols: 6 }, TimeAxis::Rows)?;
/// let mask = &masker.draw(0, 1)[0];
/// assert_eq!((mask.context.len(), mask.target_blocks().len()), (60, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// Published masks to start from; fields set beside it take precedence. Default: none, which is the same as `paper-2025`.
    /// Active only if `strategy` is `random` or left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<MaskPreset>,
    /// How tokens are chosen. Default `random`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<MaskStrategy>,
    /// Masks per clip, 1 to 64, all of one size: several contexts against one pass of the target encoder. Default 1; data2vec
    /// 2.0 draws 8 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_masks: Option<u32>,
    /// Who shares the drawn size (ratio, or size of the blocks). Default `batch`, so that the clips of a batch stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_per: Option<Scope>,
    /// Who shares the drawn places. Default `clip`, but `batch` with preset `base-2026`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout_per: Option<Scope>,
    /// Share of tokens (`random`, `inverse_block`), of time (`time`) or of bands (`frequency`) to hide, drawn uniformly from
    /// [min, max] within (0, 1). Default [0.4, 0.6], and [0.8, 0.8] for `inverse_block`. Not active for `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<[f64; 2]>,
    /// Side of a kept block in tokens, 1 to the longer side of the grid. Default 3. Active only if strategy is
    /// `inverse_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_len: Option<u32>,
    /// Separate spans to cut the hidden part into, 1 or more. Default 2, as `SpecAugment`'s LD policy. Active only if
    /// strategy is `time` or `frequency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_spans: Option<u32>,
    /// Target blocks, 1 to 64, all of one size. Default 4. Active only if strategy is `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_targets: Option<u32>,
    /// Share of the grid that a target block covers, [min, max] within (0, 1]. Default [0.15, 0.2]. Active only if strategy is
    /// `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_scale: Option<[f64; 2]>,
    /// Time over mel extent of a target block in tokens, [min, max] within [0.01, 100]. Default [0.75, 1.5]. Active only if
    /// strategy is `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_aspect: Option<[f64; 2]>,
    /// Share of the grid that the context block covers before targets are taken out, [min, max] within (0, 1]. Default
    /// [0.85, 1.0]. Active only if strategy is `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_scale: Option<[f64; 2]>,
    /// Time over mel extent of the context block in tokens, [min, max] within [0.01, 100]. Default [1.0, 1.0]. Active only if
    /// strategy is `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_aspect: Option<[f64; 2]>,
    /// Context tokens that every mask has at least. Default 10. Active only if strategy is `multi_block` and `n_context` is
    /// left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_keep: Option<u32>,
    /// Context tokens that every mask has exactly, the surplus dropped at random, so that clips stack. (I-JEPA's code cuts
    /// to the smallest of the batch instead, always the last tokens.) Default: as many as are left. Active only if strategy
    /// is `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_context: Option<u32>,
    /// Leave target tokens in the context. Default false. Active only if strategy is `multi_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_overlap: Option<bool>,
}

impl MaskConfig {
    /// The masks of a published Audio-JEPA.
    pub fn preset(preset: MaskPreset) -> Self {
        Self { preset: Some(preset), ..Self::default() }
    }

    /// Proves the masks possible on `grid`, whatever the seed, and plans them.
    ///
    /// # Errors
    /// A field of another strategy; a value out of its range; and whatever could, for some seed, leave a mask without context
    /// or without target, with what would fit this grid.
    pub fn build(&self, grid: PatchGrid, time_axis: TimeAxis) -> Result<Masker, ConfigError> {
        let strategy = self.strategy.unwrap_or_default();
        self.check_active(strategy)?;
        let n_masks = self.n_masks.unwrap_or(1);
        if !(1..=MAX_MASKS).contains(&n_masks) {
            return Err(ConfigError::new("n_masks", format!("{n_masks} masks per clip"), format!("1 to {MAX_MASKS}")));
        }
        if !grid.rows.checked_mul(grid.cols).is_some_and(|n| (2..=MAX_TOKENS).contains(&n)) {
            let problem = format!("a grid of {} x {} tokens cannot be masked", grid.rows, grid.cols);
            return Err(ConfigError::new("strategy", problem, format!("grids of 2 to {MAX_TOKENS} tokens")));
        }
        let (size_per, layout_per) = self.scopes()?;
        Ok(Masker {
            strategy: self.build_strategy(strategy, time_axis.time_mel([grid.rows, grid.cols]))?,
            size_per,
            layout_per,
            grid,
            time_axis,
            canvas: Canvas::new(grid, time_axis),
            masks: vec![Mask::default(); n_masks as usize],
        })
    }

    fn build_strategy(&self, strategy: MaskStrategy, time_mel: [usize; 2]) -> Result<Strategy, ConfigError> {
        let usual_ratio = if strategy == MaskStrategy::InverseBlock { [0.8, 0.8] } else { [0.4, 0.6] };
        let ratio = Ratio::new(self.ratio.unwrap_or(usual_ratio))?;
        let spans = |along| Spans::new(along, ratio, self.n_spans.unwrap_or(2), time_mel).map(Strategy::Spans);
        match strategy {
            MaskStrategy::Random => Random::new(ratio, time_mel[0] * time_mel[1]).map(Strategy::Random),
            MaskStrategy::MultiBlock => MultiBlock::new(self.multi_block_options(), time_mel).map(Strategy::MultiBlock),
            MaskStrategy::InverseBlock => {
                InverseBlock::new(ratio, self.block_len.unwrap_or(3), time_mel).map(Strategy::InverseBlock)
            }
            MaskStrategy::Time => spans(Along::Time),
            MaskStrategy::Frequency => spans(Along::Mel),
        }
    }

    fn multi_block_options(&self) -> MultiBlockOptions {
        MultiBlockOptions {
            n_targets: self.n_targets.unwrap_or(4),
            target_scale: self.target_scale.unwrap_or([0.15, 0.2]),
            target_aspect: self.target_aspect.unwrap_or([0.75, 1.5]),
            context_scale: self.context_scale.unwrap_or([0.85, 1.0]),
            context_aspect: self.context_aspect.unwrap_or([1.0, 1.0]),
            min_keep: self.min_keep.unwrap_or(10),
            n_context: self.n_context,
            allow_overlap: self.allow_overlap.unwrap_or(false),
        }
    }

    /// Refuses fields that the chosen strategy would ignore.
    fn check_active(&self, chosen: MaskStrategy) -> Result<(), ConfigError> {
        use MaskStrategy::{Frequency, InverseBlock, MultiBlock, Random, Time};
        let fields: [(&'static str, bool, &[MaskStrategy]); 12] = [
            ("preset", self.preset.is_some(), &[Random]),
            ("ratio", self.ratio.is_some(), &[Random, InverseBlock, Time, Frequency]),
            ("block_len", self.block_len.is_some(), &[InverseBlock]),
            ("n_spans", self.n_spans.is_some(), &[Time, Frequency]),
            ("n_targets", self.n_targets.is_some(), &[MultiBlock]),
            ("target_scale", self.target_scale.is_some(), &[MultiBlock]),
            ("target_aspect", self.target_aspect.is_some(), &[MultiBlock]),
            ("context_scale", self.context_scale.is_some(), &[MultiBlock]),
            ("context_aspect", self.context_aspect.is_some(), &[MultiBlock]),
            ("min_keep", self.min_keep.is_some(), &[MultiBlock]),
            ("n_context", self.n_context.is_some(), &[MultiBlock]),
            ("allow_overlap", self.allow_overlap.is_some(), &[MultiBlock]),
        ];
        for (field, is_set, active) in fields {
            if is_set && !active.contains(&chosen) {
                let names: Vec<&str> = active.iter().map(|strategy| strategy.name()).collect();
                return Err(ConfigError::new(
                    field,
                    format!("has no meaning for strategy {}", chosen.name()),
                    format!("leave it out, or choose strategy {}", names.join(", ")),
                ));
            }
        }
        if self.min_keep.is_some() && self.n_context.is_some() {
            return Err(ConfigError::new("min_keep", "has no meaning beside n_context", "leave one of the two out"));
        }
        Ok(())
    }

    fn scopes(&self) -> Result<(Scope, Scope), ConfigError> {
        let usual_layout = if self.preset == Some(MaskPreset::Base2026) { Scope::Batch } else { Scope::Clip };
        let scopes = (self.size_per.unwrap_or(Scope::Batch), self.layout_per.unwrap_or(usual_layout));
        if scopes == (Scope::Clip, Scope::Batch) {
            let problem = "sizes drawn per clip cannot share a layout per batch";
            return Err(ConfigError::new("size_per", problem, "size_per: batch, or layout_per: clip"));
        }
        Ok(scopes)
    }
}
