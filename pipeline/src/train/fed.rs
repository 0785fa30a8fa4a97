//! Batches of the feed, as the trainer takes them.

use ajepa_model::train::{Batches, FedBatch};
use ajepa_model::{Pictures, TrainBatch};
use serde_json::Value;

use crate::feed::{Batch, BatchMask, Feed};

/// A feed that masks are drawn for.
pub struct Fed(pub Feed);

/// A batch on loan from the feed, with its masks as tables.
pub struct Lent {
    batch: Batch,
    /// [clips, masks, n_context].
    context: Vec<u32>,
    /// [clips, masks, blocks, n_target].
    target: Vec<u32>,
    n_blocks: usize,
}

impl Lent {
    fn new(batch: Batch) -> Result<Self, String> {
        let masks = batch.masks();
        let n_blocks = masks.first().map_or(1, |mask| mask.n_blocks);
        if !masks.iter().all(stacks) {
            let words = "the clips of a batch have masks of different sizes, which do not stack: leave `mask.size_per` at \
                         `batch`; for `multi_block` give `mask.n_context`";
            return Err(words.to_owned());
        }
        let (mut context, mut target) = (Vec::new(), Vec::new());
        for clip in 0..batch.n_clips() {
            for mask in masks {
                context.extend_from_slice(mask.context.row(clip));
                if n_blocks == 1 {
                    target.extend_from_slice(mask.target.row(clip));
                } else {
                    (0..n_blocks).for_each(|block| target.extend_from_slice(mask.blocks.row(clip * n_blocks + block)));
                }
            }
        }
        Ok(Self { batch, context, target, n_blocks })
    }

    /// Rows of its clips in the feed.
    pub fn rows(&self) -> &[u64] {
        self.batch.rows()
    }
}

fn stacks(mask: &BatchMask) -> bool {
    let target = if mask.n_blocks > 1 { &mask.blocks } else { &mask.target };
    mask.context.width().is_some() && target.width().is_some()
}

impl FedBatch for Lent {
    fn batch(&self) -> TrainBatch<'_> {
        let pictures = match (self.batch.f16s(), self.batch.f32s()) {
            (Some(halves), _) => Pictures::F16(halves),
            (None, singles) => Pictures::F32(singles.unwrap_or_default()),
        };
        let n_masks = self.batch.masks().len();
        let (context, target) = (&self.context[..], &self.target[..]);
        TrainBatch { pictures, context, target, n_clips: self.batch.n_clips(), n_masks, n_blocks: self.n_blocks }
    }

    fn epoch(&self) -> u64 {
        self.batch.epoch()
    }
}

impl Batches for Fed {
    type Batch = Lent;

    fn next(&mut self) -> Result<Option<Lent>, String> {
        match self.0.next() {
            None => Ok(None),
            Some(Ok(batch)) => Lent::new(batch).map(Some),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    fn clips(&self, batch: &Lent) -> Vec<String> {
        let name = |&row: &u64| self.0.clip_id(row).ok().flatten().unwrap_or_else(|| format!("row {row}"));
        batch.rows().iter().map(name).collect()
    }

    fn place(&self) -> Value {
        serde_json::to_value(self.0.place()).unwrap_or_default()
    }

    fn waited_s(&self) -> f64 {
        self.0.metrics().consumer_wait_s
    }
}
