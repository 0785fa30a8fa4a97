//! Ten training steps against PyTorch, for each preset's combination of parts: outputs, loss, gradients, parameters and moving
//! average agree within 1e-4 of the largest number of each tensor.

use std::collections::HashMap;

use ajepa_model::objective::LatentTarget;
use ajepa_model::objective::Targets;
use ajepa_model::ops::without_kernels;
use ajepa_model::{
    EncoderConfig, Learner, LossConfig, Pictures, Positions, PredictorConfig, Preset, Recipe, RegulariserConfig,
    ScheduleConfig, StepReport, TargetConfig, TrainBatch,
};
use ajepa_ops::patch::{PatchifyConfig, TimeAxis};

use crate::fixture::{assert_close, learner, load, noise, numbers};

const CLIPS: usize = 3;
const STEPS: usize = 10;
const SHARE: f32 = 1e-4;

/// A preset's parts at toy sizes, with schedules that end within the ten steps.
fn shrunk(preset: Preset) -> Recipe {
    let recipe = preset.recipe();
    let picture = if recipe.time_axis == TimeAxis::Cols { [16, 32] } else { [32, 16] };
    let learning_rate =
        ScheduleConfig { start: 3e-3, end: 1e-4, warmup_from: 1e-6, warmup_steps: 3, steps: 8, ..recipe.learning_rate };
    Recipe {
        picture,
        patch: PatchifyConfig { patch_frames: 8, patch_mels: 4 },
        encoder: EncoderConfig { width: 16, depth: 2, n_heads: 2, drop_path: 0.0, ..recipe.encoder },
        predictor: PredictorConfig { width: 8, depth: 2, n_heads: 2, ..recipe.predictor },
        learning_rate,
        tau: ScheduleConfig { start: 0.9, end: 1.0, steps: 8, ..recipe.tau },
        ..recipe
    }
}

struct Case {
    name: &'static str,
    recipe: Recipe,
    n_masks: usize,
    n_blocks: usize,
    /// Clips of each batch whose gradients are averaged.
    parts: &'static [usize],
}

impl Case {
    fn new(name: &'static str, recipe: Recipe) -> Self {
        Self { name, recipe, n_masks: 1, n_blocks: 1, parts: &[CLIPS] }
    }

    /// Context and target tokens of a step.
    fn masks(&self, step: usize) -> [Vec<u32>; 2] {
        let mut lists = [Vec::new(), Vec::new()];
        for mask in 0..CLIPS * self.n_masks {
            let keys = noise(&format!("{}.mask.{step}.{mask}", self.name), 16);
            let mut order: Vec<u32> = (0..16).collect();
            order.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]));
            lists[0].extend(&order[..6]);
            lists[1].extend(&order[6..]);
        }
        lists
    }

    fn step(&self, learner: &mut Learner, step: usize) -> StepReport {
        let n = 32 * 16;
        let pictures = noise(&format!("{}.pictures.{step}", self.name), CLIPS * n);
        let pictures: Vec<f32> = pictures.into_iter().map(|x| 3.0 * x).collect();
        let [context, target] = self.masks(step);
        let mut batches = Vec::new();
        let mut first = 0;
        for &n_clips in self.parts {
            let clips = first..first + n_clips;
            let of = |per_clip: usize| clips.start * per_clip..clips.end * per_clip;
            batches.push(TrainBatch {
                pictures: Pictures::F32(&pictures[of(n)]),
                context: &context[of(6 * self.n_masks)],
                target: &target[of(10 * self.n_masks)],
                n_clips,
                n_masks: self.n_masks,
                n_blocks: self.n_blocks,
            });
            first += n_clips;
        }
        learner.step(&batches).unwrap()
    }

    fn check(&self) {
        let expected = load(self.name);
        let mut learner = learner(self.recipe.clone());
        for step in 0..STEPS {
            let report = self.step(&mut learner, step);
            assert_close(&format!("loss of step {step}"), &[report.loss], &expected[&format!("loss.{step}")], SHARE);
            if step == 0 {
                self.check_first(&report, &learner, &expected);
            }
            if step == 0 || step == STEPS - 1 {
                check_params(&learner, &expected, step + 1);
            }
        }
    }

    fn check_first(&self, report: &StepReport, learner: &Learner, expected: &HashMap<String, Vec<f32>>) {
        assert_close("context", &numbers(report.context.clone()), &expected["step0.context"], SHARE);
        assert_close("predictions", &numbers(report.predictions.clone()), &expected["step0.predictions"], SHARE);
        let Targets::Latents(targets) = &report.targets else { panic!("{}: latents are the target", self.name) };
        assert_close("targets", &numbers(targets.clone()), &expected["step0.targets"], SHARE);
        assert_close("norm", &[report.grad_norm as f32], &expected["step0.norm"], SHARE);
        // The first moment after one step is the clipped gradient times 1 - beta.
        let clipped =
            self.recipe.optimiser.clip_norm.map_or(1.0, |longest| (longest / (report.grad_norm + 1e-6)).min(1.0));
        let moments = [("encoder", &learner.encoder_moments), ("predictor", &learner.predictor_moments)];
        for (part, moments) in moments {
            for (spec, data) in moments.first.iter() {
                let name = format!("{part}.{}", spec.name);
                let grad: Vec<f32> = data.iter().map(|x| x / (0.1 * clipped as f32)).collect();
                let [grad, expected] = meaningful(&name, [grad, expected[&format!("grad.{name}")].clone()]);
                assert_close(&format!("gradient of {name}"), &grad, &expected, SHARE);
            }
        }
    }
}

fn check_params(learner: &Learner, expected: &HashMap<String, Vec<f32>>, steps: usize) {
    for (part, params) in learner.model.parts() {
        for (spec, data) in params.iter() {
            let stored = match part {
                "target_encoder" => format!("average{steps}.{}", spec.name),
                _ => format!("params{steps}.{part}.{}", spec.name),
            };
            let [data, expected] = meaningful(&spec.name, [data, expected[&stored].clone()]);
            assert_close(&stored, &data, &expected, SHARE);
        }
    }
}

/// Without the keys' part of an attention bias: softmax does not depend on it, its gradient is rounding noise around 0, and Adam
/// makes whole steps of that.
fn meaningful(name: &str, lists: [Vec<f32>; 2]) -> [Vec<f32>; 2] {
    if !name.ends_with("Wqkv.bias") {
        return lists;
    }
    lists.map(|list| {
        let third = list.len() / 3;
        [&list[..third], &list[2 * third..]].concat()
    })
}

fn paper() -> Case {
    Case::new("paper", shrunk(Preset::Paper2025))
}

fn code() -> Case {
    Case::new("code", shrunk(Preset::Code225b816))
}

fn base() -> Case {
    Case::new("base", shrunk(Preset::Base2026))
}

fn tiny() -> Case {
    let mut recipe = shrunk(Preset::Tiny);
    recipe.optimiser.clip_norm = Some(0.05);
    Case { n_masks: 2, n_blocks: 2, ..Case::new("tiny", recipe) }
}

fn smooth() -> Case {
    let mut recipe = Recipe {
        positions: Positions::Rope2d,
        target: TargetConfig::MovingAverage(LatentTarget { mean_of_last: Some(2), standardize: true }),
        loss: LossConfig::SmoothL1 { beta: 0.5 },
        regulariser: RegulariserConfig::None,
        ..shrunk(Preset::Small)
    };
    recipe.optimiser.clip_norm = None;
    Case { parts: &[1, 2], ..Case::new("smooth", recipe) }
}

#[test]
fn paper_2025() {
    paper().check();
}

#[test]
fn code_225b816() {
    code().check();
}

#[test]
fn base_2026() {
    base().check();
}

#[test]
fn tiny_with_several_masks_and_blocks_and_clipping() {
    tiny().check();
}

#[test]
fn rotary_positions_smooth_l1_on_the_mean_of_layers_and_accumulated_gradients() {
    smooth().check();
}

/// What a GPU is given: the operations composed of burn's, autodiff's own backward, the optimiser and the norm parameter by parameter.
#[test]
fn all_of_them_without_the_kernels_of_the_cpu() {
    without_kernels(|| [paper(), code(), base(), tiny(), smooth()].iter().for_each(Case::check));
}

/// The same steps by the kernels and without them: neither is the other in disguise, and they agree.
#[test]
fn the_kernels_and_what_stands_in_for_them_agree_and_differ() {
    let case = tiny();
    let run = || {
        let mut learner = learner(case.recipe.clone());
        let losses: Vec<f32> = (0..STEPS).map(|step| case.step(&mut learner, step).loss).collect();
        let tensors: Vec<Vec<f32>> = learner.lists().flat_map(|(_, params)| params.iter()).map(|(_, x)| x).collect();
        (losses, tensors)
    };
    let ((losses, tensors), (composed_losses, composed_tensors)) = (run(), without_kernels(run));
    assert_close("losses", &composed_losses, &losses, SHARE);
    assert_ne!(tensors, composed_tensors, "the switch does nothing");
    // And the switch is off again.
    assert_eq!(tensors, run().1);
}
