//! One transformer block: what each token learns from the others, then what it makes of it.

use ajepa_ops::seed;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::linear::{LayerNorm, Linear};
use crate::ops;
use crate::params::{Layout, Params, widened};
use crate::positions::Placed;

/// Sizes of a stack of blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSizes {
    pub width: usize,
    pub n_heads: usize,
    pub mlp_ratio: usize,
    pub norm_eps: f32,
}

/// Pre-norm block: x + attention(norm(x)), then x + MLP(norm(x)) with an exact GELU (ViT, Dosovitskiy 2021, arXiv 2010.11929).
#[derive(Debug, Clone)]
pub(crate) struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    n_heads: usize,
}

/// What the blocks of one pass share.
pub(crate) struct Pass<'a> {
    pub params: &'a Params,
    /// Tokens in a sequence.
    pub n_tokens: usize,
    /// Where each row's token lies.
    pub placed: &'a Placed,
}

impl Block {
    pub fn new(layout: &mut Layout, name: &str, sizes: BlockSizes) -> Self {
        let BlockSizes { width, n_heads, mlp_ratio, norm_eps } = sizes;
        Self {
            norm1: LayerNorm::new(layout, &format!("{name}.norm1"), width, norm_eps),
            qkv: Linear::new(layout, &format!("{name}.attn.Wqkv"), width, 3 * width),
            out: Linear::new(layout, &format!("{name}.attn.out_proj"), width, width),
            norm2: LayerNorm::new(layout, &format!("{name}.norm2"), width, norm_eps),
            fc1: Linear::new(layout, &format!("{name}.mlp.fc1"), width, mlp_ratio * width),
            fc2: Linear::new(layout, &format!("{name}.mlp.fc2"), mlp_ratio * width, width),
            n_heads,
        }
    }

    /// # Shapes
    /// [rows, width] -> [rows, width], rows being whole sequences.
    pub fn forward(&self, pass: &Pass<'_>, x: Tensor<2>, skips: Option<[Tensor<2>; 2]>) -> Tensor<2> {
        let [attention, mlp] = skips.map_or([None, None], |skips| skips.map(Some));
        let mixed = self.out.forward(pass.params, self.mix(pass, x.clone()));
        let x = x + scaled(mixed, attention);
        x.clone() + scaled(self.think(pass.params, x), mlp)
    }

    /// The block's output for the rows `kept` alone: the others are mixed in as keys and values, and not followed further.
    pub fn forward_kept(&self, pass: &Pass<'_>, x: Tensor<2>, kept: Tensor<1, Int>) -> Tensor<2> {
        let mixed = self.mix(pass, x.clone()).select(0, kept.clone());
        let x = x.select(0, kept) + widened(self.out.forward(pass.params, mixed));
        x.clone() + widened(self.think(pass.params, x))
    }

    /// Attention without its output projection.
    fn mix(&self, pass: &Pass<'_>, x: Tensor<2>) -> Tensor<2> {
        let mut qkv = self.qkv.forward(pass.params, self.norm1.forward(pass.params, x));
        if let Some([cos, sin]) = &pass.placed.rotation {
            qkv = ops::rotate(qkv, cos.clone(), sin.clone(), self.n_heads);
        }
        ops::attention(qkv, pass.n_tokens, self.n_heads)
    }

    fn think(&self, params: &Params, x: Tensor<2>) -> Tensor<2> {
        let hidden = self.fc1.forward(params, self.norm2.forward(params, x));
        self.fc2.forward(params, ops::gelu(hidden))
    }
}

fn scaled(branch: Tensor<2>, scale: Option<Tensor<2>>) -> Tensor<2> {
    let branch = widened(branch);
    match scale {
        Some(scale) => branch * scale,
        None => branch,
    }
}

/// Stochastic depth (Huang 2016, arXiv 1603.09382): a branch is left out for whole sequences, the more often the deeper it is, and
/// counts for more where it stays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropPath {
    /// Rate of the last block, from 0 at the first.
    pub rate: f64,
    /// What the draws derive from: one seed per step.
    pub seed: u64,
}

impl DropPath {
    /// Scales [rows, 1] of the attention and MLP branches of block `index` of `depth`; none where nothing is dropped.
    pub fn scales(
        self,
        [index, depth]: [usize; 2],
        [n_sequences, n_tokens]: [usize; 2],
        device: &Device,
    ) -> Option<[Tensor<2>; 2]> {
        let rate = self.rate * index as f64 / (depth.max(2) - 1) as f64;
        if rate <= 0.0 {
            return None;
        }
        let draw = |branch: u64| {
            let rng = &mut seed::rng(seed::derive(&[self.seed, seed::hash_str("drop_path"), index as u64, branch]));
            let kept = (0..n_sequences).map(|_| seed::unit(rng) >= rate).collect::<Vec<_>>();
            let scale = (1.0 / (1.0 - rate)) as f32;
            let rows = kept.into_iter().flat_map(|kept| std::iter::repeat_n(if kept { scale } else { 0.0 }, n_tokens));
            let rows: Vec<f32> = rows.collect();
            Tensor::from_data(TensorData::new(rows, [n_sequences * n_tokens, 1]), device)
        };
        Some([draw(0), draw(1)])
    }
}
