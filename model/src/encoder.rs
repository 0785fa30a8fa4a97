//! The encoder: patches of a picture in, one latent vector per token out.

use burn::tensor::{Device, Int, Tensor};

use crate::block::{Block, BlockSizes, DropPath, Pass};
use crate::config::EncoderConfig;
use crate::linear::{LayerNorm, Linear};
use crate::params::{Layout, Params, widened};
use crate::positions::{PositionTable, Positions};
use ajepa_ops::patch::PatchGrid;

/// A vision transformer over patches of a log-mel picture, without a class token.
#[derive(Debug, Clone)]
pub struct Encoder {
    embed: Linear,
    blocks: Vec<Block>,
    norm: LayerNorm,
    width: usize,
    n_heads: usize,
    positions: Positions,
    drop_path: f64,
}

/// Which patches an encoder is given.
pub struct Tokens {
    /// [sequences * n_tokens, numbers in a patch].
    pub patches: Tensor<2>,
    /// The place of each row's patch on the grid.
    pub places: Tensor<1, Int>,
    /// Tokens in a sequence.
    pub n_tokens: usize,
}

impl Encoder {
    /// Lays out an encoder of patches of [rows, cols] = `patch`.
    pub fn new(layout: &mut Layout, config: &EncoderConfig, positions: Positions, patch: [usize; 2]) -> Self {
        let EncoderConfig { width, depth, n_heads, mlp_ratio, norm_eps, drop_path } = *config;
        let sizes = BlockSizes { width, n_heads, mlp_ratio, norm_eps };
        Self {
            embed: Linear::shaped(layout, "patch_embed.proj", &[width, 1, patch[0], patch[1]]),
            blocks: (0..depth).map(|i| Block::new(layout, &format!("blocks.{i}"), sizes)).collect(),
            norm: LayerNorm::new(layout, "norm", width, norm_eps),
            width,
            n_heads,
            positions,
            drop_path,
        }
    }

    /// Numbers in a latent vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Blocks.
    pub fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// Positions for pictures of `grid`: any number of columns and rows, whatever the model was trained on.
    pub fn positions(&self, grid: PatchGrid, device: &Device) -> PositionTable {
        PositionTable::new(self.positions, grid, self.width, self.width / self.n_heads, device)
    }

    /// Latent vectors after the final norm, [sequences * n_tokens, width].
    pub fn forward(&self, params: &Params, table: &PositionTable, tokens: Tokens) -> Tensor<2> {
        let x = self.run(params, table, tokens, None, |_, _| ());
        self.norm.forward(params, x)
    }

    /// [`Encoder::forward`] while training: with stochastic depth, whose draws derive from `seed`.
    pub fn forward_train(&self, params: &Params, table: &PositionTable, tokens: Tokens, seed: u64) -> Tensor<2> {
        let drop = (self.drop_path > 0.0).then_some(DropPath { rate: self.drop_path, seed });
        let x = self.run(params, table, tokens, drop, |_, _| ());
        self.norm.forward(params, x)
    }

    /// What every block gives, the first first: as it is handed on to the next, and of the last behind the final norm, as
    /// [`Encoder::forward`] gives it.
    pub fn all_layers(&self, params: &Params, table: &PositionTable, tokens: Tokens) -> Vec<Tensor<2>> {
        let mut layers = self.layers(params, table, tokens, self.depth());
        if let Some(last) = layers.pop() {
            layers.push(self.norm.forward(params, last));
        }
        layers
    }

    /// Outputs of the last `n_layers` blocks, the deepest last, before the final norm.
    pub fn layers(&self, params: &Params, table: &PositionTable, tokens: Tokens, n_layers: usize) -> Vec<Tensor<2>> {
        let first = self.depth().saturating_sub(n_layers);
        let mut layers = Vec::with_capacity(n_layers);
        self.run(params, table, tokens, None, |index, x| {
            if index >= first {
                layers.push(x.clone());
            }
        });
        layers
    }

    fn run(
        &self,
        params: &Params,
        table: &PositionTable,
        tokens: Tokens,
        drop: Option<DropPath>,
        mut seen: impl FnMut(usize, &Tensor<2>),
    ) -> Tensor<2> {
        let Tokens { patches, places, n_tokens } = tokens;
        let (n_rows, device) = (patches.dims()[0], patches.device());
        let placed = table.at(&places);
        let mut x = placed.add_to(widened(self.embed.forward(params, patches)));
        let pass = Pass { params, n_tokens, placed: &placed };
        for (index, block) in self.blocks.iter().enumerate() {
            let at = [index, self.blocks.len()];
            let skips = drop.and_then(|drop| drop.scales(at, [n_rows / n_tokens, n_tokens], &device));
            x = block.forward(&pass, x, skips);
            seen(index, &x);
        }
        x
    }
}
