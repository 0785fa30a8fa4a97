//! Multi-block: several target rectangles, and one large context rectangle less what they cover.
//!
//! A block of scale s and aspect a on N tokens has n = floor(s N) tokens, about sqrt(n a) long in time and sqrt(n / a)
//! in mel. A side that would not fit is cut to the grid and the other grown to keep the area, so that a context of scale
//! 0.85 is 0.85 of a grid that is far from square too (I-JEPA's grids are square, and its code only cuts).
//! Further apart from that code: scale and aspect are drawn apart, not from one number; a block may touch the far border; and
//! a context that comes out too small is never mended by letting it see targets.

use rand_chacha::ChaCha8Rng;

use super::canvas::{Block, CONTEXT, Canvas, TARGET};
use super::masker::{BatchCounts, MaskCounts};
use crate::{ConfigError, seed};

/// Placements tried before targets are gathered in one place; I-JEPA's patience too.
const MAX_TRIES: usize = 20;

/// What the config says about `multi_block`, defaults filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct MultiBlockOptions {
    pub n_targets: u32,
    pub target_scale: [f64; 2],
    pub target_aspect: [f64; 2],
    pub context_scale: [f64; 2],
    pub context_aspect: [f64; 2],
    pub min_keep: u32,
    pub n_context: Option<u32>,
    pub allow_overlap: bool,
}

/// The shapes that one kind of block can take.
#[derive(Debug, Clone, Copy)]
struct Shapes {
    scale: [f64; 2],
    aspect: [f64; 2],
    dims: [usize; 2],
}

impl Shapes {
    fn new(
        fields: [&'static str; 2],
        scale: [f64; 2],
        aspect: [f64; 2],
        dims: [usize; 2],
    ) -> Result<Self, ConfigError> {
        if !(scale[0] > 0.0 && scale[0] <= scale[1] && scale[1] <= 1.0) {
            let help = "[min, max] with 0 < min <= max <= 1, as shares of the grid";
            return Err(ConfigError::new(fields[0], format!("{scale:?} is not a range of scales"), help));
        }
        if !(aspect[0] >= 0.01 && aspect[0] <= aspect[1] && aspect[1] <= 100.0) {
            let help = "[min, max] with 0.01 <= min <= max <= 100, as time extent over mel extent in tokens";
            return Err(ConfigError::new(fields[1], format!("{aspect:?} is not a range of aspects"), help));
        }
        Ok(Self { scale, aspect, dims })
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> [usize; 2] {
        let scale = uniform(self.scale, rng);
        let aspect = uniform(self.aspect, rng);
        let n = self.area(scale);
        self.sides(n, self.length(n, aspect))
    }

    fn area(&self, scale: f64) -> usize {
        let n_tokens = self.dims[0] * self.dims[1];
        ((n_tokens as f64 * scale + 1e-9).floor() as usize).clamp(1, n_tokens)
    }

    /// Extent in time of a block of about `n` tokens: such that the extent in mel fits, too.
    fn length(&self, n: usize, aspect: f64) -> usize {
        let [n_time, n_mel] = self.dims;
        let wanted = (n as f64 * aspect).sqrt().round() as usize;
        wanted.clamp(n.div_ceil(n_mel), n_time.min(n))
    }

    fn sides(&self, n: usize, length: usize) -> [usize; 2] {
        [length, ((n + length / 2) / length).clamp(1, self.dims[1])]
    }

    /// Fewest and most tokens of any shape: all of them are looked at, for rounding follows no simple rule.
    fn area_bounds(&self) -> [usize; 2] {
        let mut bounds = [usize::MAX, 0];
        for n in self.area(self.scale[0])..=self.area(self.scale[1]) {
            for length in self.length(n, self.aspect[0])..=self.length(n, self.aspect[1]) {
                let [n_time, n_mel] = self.sides(n, length);
                bounds = [bounds[0].min(n_time * n_mel), bounds[1].max(n_time * n_mel)];
            }
        }
        bounds
    }
}

fn uniform([min, max]: [f64; 2], rng: &mut ChaCha8Rng) -> f64 {
    min + (max - min) * seed::unit(rng)
}

/// Draws target blocks of one size, and a context around them.
#[derive(Debug, Clone)]
pub(super) struct MultiBlock {
    target: Shapes,
    context: Shapes,
    n_targets: usize,
    /// Context tokens that every mask has at least.
    need: usize,
    /// Thin the context to exactly `need`.
    exact: bool,
    allow_overlap: bool,
    counts: MaskCounts,
}

impl MultiBlock {
    pub fn new(options: MultiBlockOptions, dims: [usize; 2]) -> Result<Self, ConfigError> {
        if options.n_targets == 0 || options.n_targets > 64 {
            return Err(ConfigError::new("n_targets", format!("{} target blocks", options.n_targets), "1 to 64"));
        }
        let target = Shapes::new(["target_scale", "target_aspect"], options.target_scale, options.target_aspect, dims)?;
        let context =
            Shapes::new(["context_scale", "context_aspect"], options.context_scale, options.context_aspect, dims)?;
        let (field, need) = match options.n_context {
            Some(n) => ("n_context", n as usize),
            None => ("min_keep", options.min_keep as usize),
        };
        let exact = options.n_context.is_some();
        let (target_area, context_area) = (target.area_bounds(), context.area_bounds());
        check_need(field, need, target_area, context_area, options.allow_overlap)?;
        let n_tokens = dims[0] * dims[1];
        let n_targets = options.n_targets as usize;
        let (free_of_targets, free_of_context) =
            if options.allow_overlap { (n_tokens, n_tokens) } else { (n_tokens - target_area[0], n_tokens - need) };
        let most = if exact { need } else { context_area[1].min(free_of_targets) };
        let counts = MaskCounts {
            context: need..=most,
            target: target_area[0]..=(n_targets * target_area[1]).min(free_of_context),
        };
        Ok(Self { target, context, n_targets, need, exact, allow_overlap: options.allow_overlap, counts })
    }

    pub fn counts(&self) -> MaskCounts {
        self.counts.clone()
    }

    pub fn batch_counts(&self, size: &mut ChaCha8Rng) -> BatchCounts {
        let [n_time, n_mel] = self.target.draw(size);
        let target = (self.n_targets == 1).then_some(n_time * n_mel);
        BatchCounts { context: self.exact.then_some(self.need), target, target_block: Some(n_time * n_mel) }
    }

    pub fn draw(&self, size: &mut ChaCha8Rng, place: &mut ChaCha8Rng, canvas: &mut Canvas) {
        let target = self.target.draw(size);
        let context = self.context.draw(size);
        let mut kept = 0;
        let mut around = Block { time: 0, mel: 0, n_time: 0, n_mel: 0 };
        for _ in 0..MAX_TRIES {
            canvas.blocks.clear();
            for _ in 0..self.n_targets {
                canvas.blocks.push(self.place(target, place));
            }
            around = self.place(context, place);
            kept = self.paint(around, canvas);
            if kept >= self.need {
                break;
            }
        }
        // Out of luck: targets go, one by one, where the first one is. All in one place always leave enough, see `check_need`.
        for i in (1..self.n_targets).rev() {
            if kept >= self.need {
                break;
            }
            canvas.blocks[i] = canvas.blocks[0];
            kept = self.paint(around, canvas);
        }
        if self.exact {
            thin(kept - self.need, place, canvas);
        }
    }

    /// A block of `sides` anywhere on the grid.
    fn place(&self, [n_time, n_mel]: [usize; 2], rng: &mut ChaCha8Rng) -> Block {
        let [grid_time, grid_mel] = self.target.dims;
        let time = seed::below(rng, (grid_time - n_time + 1) as u64) as usize;
        let mel = seed::below(rng, (grid_mel - n_mel + 1) as u64) as usize;
        Block { time, mel, n_time, n_mel }
    }

    /// Paints the context, then the target blocks; returns the context tokens that remain.
    fn paint(&self, context: Block, canvas: &mut Canvas) -> usize {
        canvas.roles.fill(0);
        canvas.paint(context, |_| CONTEXT);
        let keep = if self.allow_overlap { CONTEXT } else { 0 };
        for i in 0..canvas.blocks.len() {
            canvas.paint(canvas.blocks[i], |role| (role & keep) | TARGET);
        }
        canvas.count(CONTEXT)
    }
}

/// Refuses a `need` that the smallest context cannot meet with the largest target inside it.
fn check_need(
    field: &'static str,
    need: usize,
    target_area: [usize; 2],
    context_area: [usize; 2],
    allow_overlap: bool,
) -> Result<(), ConfigError> {
    let hidden = if allow_overlap { 0 } else { target_area[1] };
    let sure = context_area[0].saturating_sub(hidden);
    if sure == 0 {
        let problem = format!("a target of {hidden} tokens can cover a context of {} whole", context_area[0]);
        return Err(ConfigError::new("target_scale", problem, "a smaller target_scale or a larger context_scale"));
    }
    if (1..=sure).contains(&need) {
        return Ok(());
    }
    let problem = format!("a context of {need} tokens; {sure} are sure to be left by the largest target");
    Err(ConfigError::new(field, problem, format!("1 to {sure}")))
}

/// Takes the context role from `surplus` tokens, each as likely as the other.
fn thin(surplus: usize, rng: &mut ChaCha8Rng, canvas: &mut Canvas) {
    canvas.order.clear();
    canvas.order.extend((0_u32..).zip(&canvas.roles).filter(|(_, role)| **role & CONTEXT != 0).map(|(token, _)| token));
    seed::shuffle(rng, &mut canvas.order);
    for &token in &canvas.order[..surplus] {
        canvas.roles[token as usize] &= !CONTEXT;
    }
}
