//! What is trained, on what and how: the config a user writes, and the recipe it stands for.

use ajepa_ops::ConfigError;
use ajepa_ops::patch::{Patchify, PatchifyConfig, TimeAxis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::objective::{LossConfig, RegulariserConfig, TargetConfig};
use crate::optim::{AdamWConfig, ScheduleConfig};
use crate::params::{Compute, Init};
use crate::positions::Positions;

/// A recipe with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// Audio-JEPA as the paper prints it (arXiv 2507.02915): 256 frames x 128 mels, mean squared error. The rate of its moving
    /// average is not printed; the code's is taken.
    #[serde(rename = "paper-2025")]
    Paper2025,
    /// The authors' code at 225b816 as it ran: 512 frames x 96 mels, cosine loss on standardised targets.
    #[serde(rename = "code-225b816")]
    Code225b816,
    /// The first author's re-implementation behind `Audio-JEPA-base`: 128 mels x 256 frames, a wide predictor.
    #[serde(rename = "base-2026")]
    Base2026,
    /// 6 M parameters, for a laptop: 192 wide; latents held apart by a variance-covariance regulariser.
    #[default]
    #[serde(rename = "tiny")]
    Tiny,
    /// 24 M parameters, for a workstation: 384 wide, regularised as `tiny`.
    #[serde(rename = "small")]
    Small,
}

/// Sizes of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Numbers in a token's latent vector; a multiple of 4 and of `n_heads`.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Hidden width of the MLP over `width`. Default 4.
    #[serde(default = "four")]
    pub mlp_ratio: usize,
    /// What layer norm adds to the variance. Default 1e-5.
    #[serde(default = "norm_eps")]
    pub norm_eps: f32,
    /// Stochastic depth: how often the last block's branches are left out of a clip, in [0, 1). Default 0.
    #[serde(default)]
    pub drop_path: f64,
}

/// Sizes of the predictor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictorConfig {
    /// Numbers in a token's vector; a multiple of 4 and of `n_heads`.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Hidden width of the MLP over `width`. Default 4.
    #[serde(default = "four")]
    pub mlp_ratio: usize,
    /// What layer norm adds to the variance. Default 1e-5.
    #[serde(default = "norm_eps")]
    pub norm_eps: f32,
}

fn four() -> usize {
    4
}

fn norm_eps() -> f32 {
    1e-5
}

/// What a user writes: a preset, and the parts of it that are to be others.
///
/// # Example: the tiny preset with random-projection codes for targets
/// ```
/// use ajepa_model::{LossConfig, ModelConfig, TargetConfig};
/// let config = ModelConfig {
///     target: Some(TargetConfig::RandomProjection(Default::default())),
///     loss: Some(LossConfig::CrossEntropy),
///     ..ModelConfig::default()
/// };
/// assert_eq!(config.recipe()?.encoder.width, 192);
/// # Ok::<(), ajepa_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Where to start from. Default `tiny`.
    pub preset: Preset,
    /// Rows and columns of a training picture. Default: the preset's.
    pub picture: Option<[usize; 2]>,
    /// Which axis of the picture is time. Default: the preset's.
    pub time_axis: Option<TimeAxis>,
    /// Extent of a patch. Default: the preset's.
    pub patch: Option<PatchifyConfig>,
    /// How tokens know their place. Default: the preset's.
    pub positions: Option<Positions>,
    /// Sizes of the encoder. Default: the preset's.
    pub encoder: Option<EncoderConfig>,
    /// Sizes of the predictor. Default: the preset's.
    pub predictor: Option<PredictorConfig>,
    /// How parameters begin. Default: the preset's.
    pub init: Option<Init>,
    /// What products are computed in. Default: the preset's, which is f32.
    pub compute: Option<Compute>,
    /// What is predicted. Default: the preset's.
    pub target: Option<TargetConfig>,
    /// How far a prediction is from its target. Default: the preset's.
    pub loss: Option<LossConfig>,
    /// What keeps latents from collapsing, beside the moving average. Default: the preset's.
    pub regulariser: Option<RegulariserConfig>,
    /// The optimiser. Default: the preset's.
    pub optimiser: Option<AdamWConfig>,
    /// Learning rate by step. Default: the preset's.
    pub learning_rate: Option<ScheduleConfig>,
    /// Weight decay by step. Default: the preset's.
    pub weight_decay: Option<ScheduleConfig>,
    /// Share of the moving average that stays, by step. Default: the preset's.
    pub tau: Option<ScheduleConfig>,
}

/// A config with nothing left to be filled in: what a checkpoint says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Rows and columns of a training picture.
    pub picture: [usize; 2],
    /// Which axis of the picture is time.
    pub time_axis: TimeAxis,
    /// Extent of a patch.
    pub patch: PatchifyConfig,
    /// How tokens know their place.
    pub positions: Positions,
    /// Sizes of the encoder.
    pub encoder: EncoderConfig,
    /// Sizes of the predictor.
    pub predictor: PredictorConfig,
    /// How parameters begin.
    pub init: Init,
    /// What products are computed in.
    pub compute: Compute,
    /// What is predicted.
    pub target: TargetConfig,
    /// How far a prediction is from its target.
    pub loss: LossConfig,
    /// What keeps latents from collapsing.
    pub regulariser: RegulariserConfig,
    /// The optimiser.
    pub optimiser: AdamWConfig,
    /// Learning rate by step.
    pub learning_rate: ScheduleConfig,
    /// Weight decay by step.
    pub weight_decay: ScheduleConfig,
    /// Share of the moving average that stays, by step.
    pub tau: ScheduleConfig,
}

impl ModelConfig {
    /// A preset as it is.
    pub fn preset(preset: Preset) -> Self {
        Self { preset, ..Self::default() }
    }

    /// Fills in the preset's parts and proves the whole.
    ///
    /// # Errors
    /// [`ModelError::Config`] with every fault found.
    pub fn recipe(&self) -> Result<Recipe, ModelError> {
        self.filled(self.preset.recipe())
    }

    /// The same for a run of `steps` steps: schedules that are the preset's are stretched to it, warm-up and all.
    ///
    /// # Errors
    /// As [`ModelConfig::recipe`].
    ///
    /// # Example: a tenth of the preset's 20,000 steps
    /// ```
    /// use ajepa_model::ModelConfig;
    /// let recipe = ModelConfig::default().recipe_of(2000)?;
    /// assert_eq!((recipe.learning_rate.warmup_steps, recipe.learning_rate.steps, recipe.tau.steps), (100, 2000, 2000));
    /// # Ok::<(), ajepa_model::ModelError>(())
    /// ```
    pub fn recipe_of(&self, steps: u64) -> Result<Recipe, ModelError> {
        let mut base = self.preset.recipe();
        let preset_steps = base.steps();
        for schedule in [&mut base.learning_rate, &mut base.weight_decay, &mut base.tau] {
            *schedule = schedule.stretched(steps, preset_steps);
        }
        self.filled(base)
    }

    fn filled(&self, base: Recipe) -> Result<Recipe, ModelError> {
        let recipe = Recipe {
            picture: self.picture.unwrap_or(base.picture),
            time_axis: self.time_axis.unwrap_or(base.time_axis),
            patch: self.patch.clone().unwrap_or(base.patch),
            positions: self.positions.unwrap_or(base.positions),
            encoder: self.encoder.unwrap_or(base.encoder),
            predictor: self.predictor.unwrap_or(base.predictor),
            init: self.init.unwrap_or(base.init),
            compute: self.compute.unwrap_or(base.compute),
            target: self.target.unwrap_or(base.target),
            loss: self.loss.unwrap_or(base.loss),
            regulariser: self.regulariser.unwrap_or(base.regulariser),
            optimiser: self.optimiser.unwrap_or(base.optimiser),
            learning_rate: self.learning_rate.unwrap_or(base.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            tau: self.tau.unwrap_or(base.tau),
        };
        recipe.check()?;
        Ok(recipe)
    }
}

impl Recipe {
    /// Steps after which the learning rate stays as it is: how long the recipe trains. 0 where it never changes.
    pub fn steps(&self) -> u64 {
        self.learning_rate.steps
    }

    /// Patch geometry.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a picture that does not divide into patches.
    pub fn patchify(&self) -> Result<Patchify, ModelError> {
        self.patch.build(self.picture, self.time_axis).map_err(|fault| ModelError::Config { faults: vec![fault] })
    }

    /// Proves the recipe.
    ///
    /// # Errors
    /// [`ModelError::Config`] with every fault found.
    pub fn check(&self) -> Result<(), ModelError> {
        let mut faults = Faults::default();
        if let Err(fault) = self.patch.build(self.picture, self.time_axis) {
            faults.0.push(fault);
        }
        let EncoderConfig { width, depth, n_heads, mlp_ratio, norm_eps, drop_path } = self.encoder;
        let rope = self.positions == Positions::Rope2d;
        let names = ["encoder.width", "encoder.n_heads", "encoder.depth", "encoder.mlp_ratio", "encoder.norm_eps"];
        faults.stack(names, [width, n_heads, depth, mlp_ratio], norm_eps, rope);
        faults.within("encoder.drop_path", drop_path, 0.0, 0.999);
        let PredictorConfig { width, depth, n_heads, mlp_ratio, norm_eps } = self.predictor;
        let names =
            ["predictor.width", "predictor.n_heads", "predictor.depth", "predictor.mlp_ratio", "predictor.norm_eps"];
        faults.stack(names, [width, n_heads, depth, mlp_ratio], norm_eps, rope);
        self.target.check(self.encoder.depth, &mut faults);
        self.loss.check(&self.target, &mut faults);
        self.regulariser.check(&mut faults);
        self.optimiser.check(&mut faults);
        self.learning_rate.check("learning_rate", f64::MAX, &mut faults);
        self.weight_decay.check("weight_decay", f64::MAX, &mut faults);
        self.tau.check("tau", 1.0, &mut faults);
        if faults.0.is_empty() { Ok(()) } else { Err(ModelError::Config { faults: faults.0 }) }
    }
}

/// Faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub Vec<ConfigError>);

impl Faults {
    pub fn add(&mut self, field: &'static str, problem: impl Into<String>, help: impl Into<String>) {
        self.0.push(ConfigError::new(field, problem, help));
    }

    /// A fault unless `value` is in [low, high].
    pub fn within(&mut self, field: &'static str, value: f64, low: f64, high: f64) {
        if !(low..=high).contains(&value) || !value.is_finite() {
            let help = if high == f64::MAX { format!("{low} or more") } else { format!("{low} to {high}") };
            self.add(field, format!("{value} is out of range"), help);
        }
    }

    /// A fault if `value` is 0.
    pub fn positive(&mut self, field: &'static str, value: usize) {
        if value == 0 {
            self.add(field, "0 is too few", "1 or more");
        }
    }

    /// Faults of a stack of blocks.
    fn stack(&mut self, names: [&'static str; 5], sizes: [usize; 4], norm_eps: f32, rope: bool) {
        for (name, size) in names.into_iter().zip(sizes) {
            self.positive(name, size);
        }
        let [width, n_heads, ..] = sizes;
        let [width_name, heads_name, .., eps_name] = names;
        if !(norm_eps.is_finite() && norm_eps > 0.0) {
            self.add(eps_name, format!("{norm_eps} is not a positive number"), "1e-5 or 1e-6 are usual");
        }
        if width == 0 || n_heads == 0 {
            return;
        }
        if !width.is_multiple_of(4) {
            let near = width.next_multiple_of(4);
            self.add(width_name, format!("positions need a multiple of 4, got {width}"), format!("{near} would fit"));
        }
        if !width.is_multiple_of(n_heads) {
            let fits: Vec<String> =
                (1..=width.min(64)).filter(|n| width.is_multiple_of(*n)).map(|n| n.to_string()).collect();
            self.add(
                heads_name,
                format!("{width} does not divide into {n_heads} heads"),
                format!("one of {}", fits.join(", ")),
            );
        } else if rope && !(width / n_heads).is_multiple_of(4) {
            let problem = format!("rope_2d needs heads a multiple of 4 wide, got {}", width / n_heads);
            self.add(heads_name, problem, "fewer heads, or positions: sin_cos");
        }
    }
}
