//! The predictor: from what was seen, what is hidden at given places.

use burn::tensor::{Device, Int, Tensor};

use crate::block::{Block, BlockSizes, Pass};
use crate::config::PredictorConfig;
use crate::linear::{LayerNorm, Linear};
use crate::params::{Id, Layout, Params, widened};
use crate::positions::{PositionTable, Positions};
use ajepa_ops::patch::PatchGrid;

/// A narrower transformer over context latents and one mask token per hidden place.
#[derive(Debug, Clone)]
pub struct Predictor {
    embed: Linear,
    mask_token: Id,
    blocks: Vec<Block>,
    norm: LayerNorm,
    project: Linear,
    width: usize,
    n_heads: usize,
    positions: Positions,
}

/// Sequences for the predictor: each the tokens of one context, then mask tokens at the places of one target block.
pub struct Question {
    /// For each row, which context latent stands there; one past the last for the mask token. [sequences * n_tokens].
    pub sources: Tensor<1, Int>,
    /// The place of each row's token on the grid. [sequences * n_tokens].
    pub places: Tensor<1, Int>,
    /// The rows that hold mask tokens, in the order in which they are answered.
    pub asked: Tensor<1, Int>,
    /// Tokens in a sequence.
    pub n_tokens: usize,
}

impl Predictor {
    /// Lays out a predictor from latents `n_in` wide to answers `n_out` wide.
    pub fn new(layout: &mut Layout, config: &PredictorConfig, positions: Positions, n_in: usize, n_out: usize) -> Self {
        let PredictorConfig { width, depth, n_heads, mlp_ratio, norm_eps } = *config;
        let sizes = BlockSizes { width, n_heads, mlp_ratio, norm_eps };
        Self {
            embed: Linear::new(layout, "predictor_embed", n_in, width),
            mask_token: layout.token("mask_token".to_owned(), width),
            blocks: (0..depth).map(|i| Block::new(layout, &format!("predictor_blocks.{i}"), sizes)).collect(),
            norm: LayerNorm::new(layout, "predictor_norm", width, norm_eps),
            project: Linear::new(layout, "predictor_proj", width, n_out),
            width,
            n_heads,
            positions,
        }
    }

    /// Positions for pictures of `grid`.
    pub fn positions(&self, grid: PatchGrid, device: &Device) -> PositionTable {
        PositionTable::new(self.positions, grid, self.width, self.width / self.n_heads, device)
    }

    /// Answers for the rows asked for.
    ///
    /// # Shapes
    /// `context` [contexts * n_context, latent width] -> [rows asked for, answer width].
    pub fn forward(&self, params: &Params, table: &PositionTable, context: Tensor<2>, question: Question) -> Tensor<2> {
        let Question { sources, places, asked, n_tokens } = question;
        let seen = widened(self.embed.forward(params, context));
        let known = Tensor::cat(vec![seen, params[self.mask_token].clone()], 0);
        let placed = table.at(&places);
        let mut x = placed.add_to(known.select(0, sources));
        let pass = Pass { params, n_tokens, placed: &placed };
        // Nobody asks what the last block would make of the context, so that its rows end there.
        let x = match self.blocks.split_last() {
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(&pass, x, None);
                }
                last.forward_kept(&pass, x, asked)
            }
            None => x.select(0, asked),
        };
        widened(self.project.forward(params, self.norm.forward(params, x)))
    }
}
