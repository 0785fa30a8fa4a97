//! `shuffle`: rows of a unit in random order, through a buffer of fixed size.

use ajepa_ops::seed;
use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Float64Type;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::FoldCx;
use crate::schema::Schema;
use crate::stage::{BuildCx, BuildError, Fold, PlanError, Stage, StageConfig, StageError, StageKind, StagePlan};

/// Mixes rows within a unit (one shard): a buffer is filled, and from then on each row that comes takes the place of a random
/// one, which goes on. With `rows` as large as a unit every order is equally likely.
///
/// The order is a function of the run's seed, this stage's id and the rows: not of how many workers there are.
/// `shuffle: true` of a source mixes the whole list instead, and costs no memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShuffleConfig {
    /// Rows that are held: 1 or more; 1 changes nothing. Each holds its tensors in memory. Default: 1000.
    #[serde(default = "default_rows")]
    pub rows: usize,
}

fn default_rows() -> usize {
    1000
}

impl StageConfig for ShuffleConfig {
    fn plan(&self, inputs: &[Schema]) -> Result<StagePlan, PlanError> {
        super::checks::at_least_one("rows", self.rows)?;
        Ok(StagePlan::new(StageKind::Fold, super::checks::one_input(inputs)?.clone()))
    }

    fn validate(&self) -> Result<(), PlanError> {
        super::checks::at_least_one("rows", self.rows)
    }

    fn build(&self, cx: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let seed = seed::derive(&[cx.seed, seed::hash_str(cx.id)]);
        Ok(Stage::Fold(Box::new(Shuffle { rows: self.rows, seed, unit_seed: None, n_drawn: 0, held: Vec::new() })))
    }
}

struct Shuffle {
    rows: usize,
    seed: u64,
    /// Of the unit that is being read: made from its first row, for a resumed run starts at any unit.
    unit_seed: Option<u64>,
    n_drawn: u64,
    /// Batches of one row, copied out: a slice would keep its whole batch in memory.
    held: Vec<RecordBatch>,
}

impl Shuffle {
    fn draw(&mut self, n: usize) -> usize {
        self.n_drawn += 1;
        let seed = seed::derive(&[self.unit_seed.unwrap_or(self.seed), self.n_drawn]);
        seed::below(&mut seed::rng(seed), n as u64) as usize
    }
}

/// A seed for the unit whose first row heads `rows`.
pub(super) fn unit_seed(seed: u64, rows: &RecordBatch) -> u64 {
    let id = rows.column_by_name("clip_id").and_then(|column| column.as_string_opt::<i32>());
    let id = id.filter(|ids| ids.is_valid(0)).map_or("", |ids| ids.value(0));
    let offset_s = rows.column_by_name("offset_s").and_then(|column| column.as_primitive_opt::<Float64Type>());
    let offset_s = offset_s.filter(|offsets| offsets.is_valid(0)).map_or(0.0, |offsets| offsets.value(0));
    seed::derive(&[seed, seed::hash_str(id), offset_s.to_bits()])
}

impl Fold for Shuffle {
    fn push(&mut self, rows: RecordBatch, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.unit_seed.get_or_insert_with(|| unit_seed(self.seed, &rows));
        let mut out = Vec::new();
        for row in 0..rows.num_rows() as u32 {
            let one = take_record_batch(&rows, &UInt32Array::from(vec![row]))?;
            if self.held.len() < self.rows {
                self.held.push(one);
            } else {
                let at = self.draw(self.rows);
                out.push(std::mem::replace(&mut self.held[at], one));
            }
        }
        if out.is_empty() { Ok(()) } else { cx.emit(concat_batches(rows.schema_ref(), &out)?) }
    }

    fn end_unit(&mut self, _unit: usize, cx: &mut FoldCx<'_>) -> Result<(), StageError> {
        for last in (1..self.held.len()).rev() {
            let at = self.draw(last + 1);
            self.held.swap(last, at);
        }
        let held = std::mem::take(&mut self.held);
        (self.unit_seed, self.n_drawn) = (None, 0);
        for rows in held.chunks(64) {
            cx.emit(concat_batches(rows[0].schema_ref(), rows)?)?;
        }
        Ok(())
    }
}
