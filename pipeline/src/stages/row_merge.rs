//! The ground of `interleave` and `mix`: rows of several inputs into one stream, in an order that does not depend on how the
//! inputs happen to be cut into batches.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::columns::arrow_schema;
use crate::schema::Schema;
use crate::stage::{Merge, PlanError, StageError};

/// Says whose row is next.
pub trait Turn: Send {
    /// An input. It is asked again where that one has no rows left, so it must come to each in the end.
    fn next(&mut self) -> usize;

    /// The unit is over: forgets.
    fn reset(&mut self);
}

/// Rows by turns. Holds at most the batches that were read and not yet come to.
pub struct RowMerge<T> {
    turn: T,
    project: Projection,
    held: Vec<VecDeque<RecordBatch>>,
    over: Vec<bool>,
    pending: Option<usize>,
}

impl<T: Turn> RowMerge<T> {
    /// For `n_inputs` inputs whose declared columns are those of `output`.
    pub fn new(turn: T, n_inputs: usize, output: &Schema) -> Self {
        let held = (0..n_inputs).map(|_| VecDeque::new()).collect();
        Self { turn, project: Projection::new(output), held, over: vec![false; n_inputs], pending: None }
    }

    /// Gives rows until the input whose turn it is has none here, and may yet have some.
    fn drain(&mut self, emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>) -> Result<(), StageError> {
        let mut out = Vec::new();
        while !(0..self.held.len()).all(|input| self.over[input] && self.held[input].is_empty()) {
            let input = self.pending.take().unwrap_or_else(|| self.turn.next());
            if let Some(rows) = self.held[input].pop_front() {
                if rows.num_rows() > 1 {
                    self.held[input].push_front(rows.slice(1, rows.num_rows() - 1));
                }
                out.push(rows.slice(0, 1));
            } else if !self.over[input] {
                self.pending = Some(input);
                break;
            }
        }
        if out.is_empty() { Ok(()) } else { emit(concat_batches(&self.project.schema, &out)?) }
    }
}

impl<T: Turn> Merge for RowMerge<T> {
    fn next_input(&mut self, open: &[bool]) -> usize {
        for (over, open) in self.over.iter_mut().zip(open) {
            *over = !open;
        }
        let mut input = self.pending.unwrap_or_else(|| self.turn.next());
        // One that is over has no turn any more; the draw that found it is used up, whenever that was noticed.
        while self.over[input] && self.held[input].is_empty() && open.contains(&true) {
            input = self.turn.next();
        }
        self.pending = Some(input);
        let is_open = open.get(input).copied().unwrap_or(false);
        if is_open { input } else { open.iter().position(|&open| open).unwrap_or(0) }
    }

    fn push(
        &mut self,
        input: usize,
        rows: RecordBatch,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        if rows.num_rows() > 0 {
            self.held[input].push_back(self.project.apply(&rows)?);
        }
        self.drain(emit)
    }

    fn end_unit(
        &mut self,
        _unit: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        self.over.fill(true);
        self.drain(emit)?;
        self.over.fill(false);
        self.pending = None;
        self.turn.reset();
        Ok(())
    }
}

/// Brings batches of several inputs to one schema: the declared columns, in order.
pub struct Projection {
    schema: SchemaRef,
}

impl Projection {
    /// To the columns that `output` declares.
    pub fn new(output: &Schema) -> Self {
        Self { schema: Arc::new(arrow_schema(output)) }
    }

    /// The declared columns of `rows`.
    ///
    /// # Errors
    /// Only if a batch is not as it was planned.
    pub fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, StageError> {
        let column = |name: &String| {
            let missing = || StageError::Other(format!("a batch comes without its column {name}"));
            rows.column_by_name(name).cloned().ok_or_else(missing)
        };
        let columns = self.schema.fields().iter().map(|f| column(f.name())).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// The schema that rows of all inputs have in common.
///
/// # Errors
/// [`PlanError`] when two inputs differ in a declared column.
pub fn common_schema(inputs: &[Schema]) -> Result<Schema, PlanError> {
    super::checks::several_inputs(inputs)?;
    let first = &inputs[0];
    for (number, other) in inputs.iter().enumerate().skip(1) {
        let foreign = other.columns.iter().find(|c| first.get(&c.name) != Some(c));
        let lacking = first.columns.iter().find(|c| other.get(&c.name).is_none());
        if let Some(column) = foreign.or(lacking) {
            let of = |schema: &Schema| schema.get(&column.name).map_or("absent".to_owned(), |c| c.kind.to_string());
            let problem = format!(
                "column {:?} is {} in input 1 and {} in input {}",
                column.name,
                of(first),
                of(other),
                number + 1
            );
            return Err(PlanError::field(
                "from",
                problem,
                "merge where the inputs have come to one form: same rate, same mel",
            ));
        }
    }
    Ok(Schema { columns: first.columns.clone(), extra: false })
}
