//! Reading a shard set for a statement: light columns first, then the filter, then the pictures of the rows that are left.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{BatchCoalescer, filter, prep_null_mask_filter};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, stats::Precision};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
    StatisticsArgs,
};
use futures::stream;

use crate::shard::{Part, ShardError, ShardSet, Sparse, is_tensor};

/// A condition on columns that are no tensors.
#[derive(Debug, Clone)]
pub struct Filter {
    /// These columns of the table, ascending.
    pub columns: Vec<usize>,
    /// Their schema, which the predicate counts columns in.
    pub schema: SchemaRef,
    /// What must be true of a row.
    pub predicate: Arc<dyn PhysicalExpr>,
}

/// The plan of one scan.
#[derive(Debug)]
pub struct ShardScan {
    asked: Arc<Asked>,
    /// The parts of each partition.
    partitions: Vec<Range<usize>>,
    n_rows: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What is asked of every part.
#[derive(Debug)]
struct Asked {
    set: Arc<ShardSet>,
    table: SchemaRef,
    /// Columns of the table in the order of the answer.
    projection: Vec<usize>,
    output: SchemaRef,
    filter: Option<Filter>,
    limit: Option<usize>,
}

impl ShardScan {
    /// A scan of all parts, divided between up to `n_partitions`.
    pub fn new(
        set: Arc<ShardSet>,
        table: &SchemaRef,
        projection: Vec<usize>,
        filter: Option<Filter>,
        limit: Option<usize>,
        n_partitions: usize,
    ) -> Result<Self> {
        let output = Arc::new(table.project(&projection)?);
        let partitions = divide(&set, n_partitions);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output.clone()),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let n_rows = usize::try_from(set.n_rows()).unwrap_or(usize::MAX);
        let asked = Asked { set, table: table.clone(), projection, output, filter, limit };
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { asked: Arc::new(asked), partitions, n_rows, properties: Arc::new(properties), metrics })
    }
}

/// Consecutive parts for each partition, of about as many rows each; one empty partition where there are no parts.
fn divide(set: &ShardSet, n_partitions: usize) -> Vec<Range<usize>> {
    let n_partitions = n_partitions.clamp(1, set.n_parts().max(1)) as u64;
    let mut partitions = Vec::new();
    let mut start = 0;
    for at in 1..=n_partitions {
        let rows = set.n_rows() * at / n_partitions;
        let reaches = |part: &usize| set.first_row(*part) + set.parts()[*part].rows / 2 < rows;
        let end =
            if at == n_partitions { set.n_parts() } else { (start..set.n_parts()).take_while(reaches).count() + start };
        partitions.push(start..end);
        start = end;
    }
    partitions
}

impl DisplayAs for ShardScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.asked.output.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "ShardScan: {} parts in {}, columns=[{}]",
            self.asked.set.n_parts(),
            self.partitions.len(),
            names.join(", ")
        )?;
        if let Some(filter) = &self.asked.filter {
            write!(f, ", filter={}", filter.predicate)?;
        }
        self.asked.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for ShardScan {
    fn name(&self) -> &'static str {
        "ShardScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.asked.filter.as_ref().map_or(Ok(TreeNodeRecursion::Continue), |filter| visit(&filter.predicate))
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let parts = self.partitions.get(partition).cloned().unwrap_or(0..0);
        let count = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        let scan = Scan {
            parts,
            part: None,
            left: self.asked.limit.unwrap_or(usize::MAX),
            small: self.asked.small(),
            is_over: false,
            output_rows: MetricBuilder::new(&self.metrics).output_rows(partition),
            batches: count("batches_read"),
            tensor_rows: count("tensor_rows_read"),
            asked: self.asked.clone(),
        };
        let rows = stream::try_unfold(scan, |mut scan| async move {
            let batch = scan.next()?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, scan)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.asked.output.clone(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let n_rows = match args.partition().and_then(|partition| self.partitions.get(partition)) {
            Some(parts) => parts.clone().map(|part| self.asked.set.parts()[part].rows as usize).sum(),
            None => self.n_rows,
        };
        let n_rows = n_rows.min(self.asked.limit.unwrap_or(usize::MAX));
        let exact = self.asked.filter.is_none();
        let num_rows = if exact { Precision::Exact(n_rows) } else { Precision::Inexact(n_rows / 5) };
        Ok(Arc::new(Statistics { num_rows, ..Statistics::new_unknown(&self.asked.output) }))
    }
}

impl Asked {
    /// Whether most of a part is left where it is.
    fn is_sparse(&self) -> bool {
        self.filter.is_some() || !self.projection.iter().any(|&i| is_tensor(self.table.field(i)))
    }

    /// Where small batches are gathered into larger ones; pictures stay where they are instead.
    fn small(&self) -> Option<BatchCoalescer> {
        const ROWS: usize = 8192;
        let light = !self.projection.is_empty() && !self.projection.iter().any(|&i| is_tensor(self.table.field(i)));
        light.then(|| BatchCoalescer::new(self.output.clone(), ROWS))
    }
}

/// One partition on its way.
struct Scan {
    asked: Arc<Asked>,
    /// Those that are not begun.
    parts: Range<usize>,
    /// The part that is being read, and its next batch.
    part: Option<(Arc<Part>, usize)>,
    /// Rows that are still wanted.
    left: usize,
    small: Option<BatchCoalescer>,
    is_over: bool,
    output_rows: Count,
    batches: Count,
    tensor_rows: Count,
}

impl Scan {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(gathered) = self.small.as_mut().and_then(BatchCoalescer::next_completed_batch) {
                return Ok(Some(gathered));
            }
            if self.is_over {
                return Ok(None);
            }
            if let Some(rows) = self.rows()? {
                self.output_rows.add(rows.num_rows());
                match &mut self.small {
                    Some(small) => small.push_batch(rows)?,
                    None => return Ok(Some(rows)),
                }
            } else {
                self.is_over = true;
                if let Some(small) = &mut self.small {
                    small.finish_buffered_batch()?;
                }
            }
        }
    }

    /// The next rows that the filter lets through; `None` at the end.
    fn rows(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            let Some((part, batch)) = self.step().map_err(external)? else { return Ok(None) };
            self.batches.add(1);
            let rows = self.read(&part, batch)?;
            if rows.num_rows() > 0 {
                let rows = rows.slice(0, rows.num_rows().min(self.left));
                self.left -= rows.num_rows();
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> std::result::Result<Option<(Arc<Part>, usize)>, ShardError> {
        loop {
            if let Some((part, next)) = &mut self.part
                && *next < part.n_batches()
            {
                *next += 1;
                return Ok(Some((part.clone(), *next - 1)));
            }
            let Some(number) = self.parts.next() else { return Ok(None) };
            let part = self.asked.set.part(number)?;
            if self.asked.is_sparse() {
                part.will_be_sparse();
            }
            self.part = Some((part, 0));
        }
    }

    fn read(&self, part: &Part, batch: usize) -> Result<RecordBatch> {
        if part.is_mapped() { self.read_sparse(part, batch) } else { self.read_whole(part, batch) }
    }

    /// A part that cannot be read in place is decoded batch by batch.
    fn read_whole(&self, part: &Part, batch: usize) -> Result<RecordBatch> {
        let whole = part.batch(batch).map_err(external)?;
        let kept = match &self.asked.filter {
            None => None,
            Some(filter) => Some(kept(filter, &whole.project(&filter.columns)?)?),
        };
        let rows = whole.project(&self.asked.projection)?;
        Ok(match kept {
            Some(kept) => arrow::compute::filter_record_batch(&rows, &kept)?,
            None => rows,
        })
    }

    fn read_sparse(&self, part: &Part, batch: usize) -> Result<RecordBatch> {
        let asked = &self.asked;
        let filtered = asked.filter.as_ref().map_or(&[][..], |filter| filter.columns.as_slice());
        let mut wanted: Vec<usize> = asked.projection.iter().chain(filtered).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let n_rows = part.info().rows_of_batch(batch as u64) as usize;
        let sparse = part.sparse(batch, &wanted).map_err(external)?;
        let (tensors, light): (Vec<usize>, Vec<usize>) =
            wanted.iter().copied().partition(|&i| is_tensor(asked.table.field(i)));
        let column_of = |i: usize| light.binary_search(&i).ok().map(|at| sparse.columns[at].clone());
        let keep = match &asked.filter {
            None => None,
            Some(filter) => {
                let columns: Vec<ArrayRef> = filter.columns.iter().filter_map(|&i| column_of(i)).collect();
                let kept = kept(filter, &batch_of(filter.schema.clone(), columns, n_rows)?)?;
                (kept.true_count() < n_rows).then_some(kept)
            }
        };
        let n_kept = keep.as_ref().map_or(n_rows, BooleanArray::true_count);
        if n_kept == 0 {
            return Ok(RecordBatch::new_empty(asked.output.clone()));
        }
        let mut columns = Vec::with_capacity(asked.projection.len());
        for &i in &asked.projection {
            columns.push(match column_of(i) {
                Some(column) => keep.as_ref().map_or_else(|| Ok(column.clone()), |keep| filter(&column, keep))?,
                None => self.pictures(part, &sparse, (tensors.as_slice(), i), keep.as_ref())?,
            });
        }
        batch_of(asked.output.clone(), columns, n_kept)
    }

    /// The rows of tensor column `i` that are kept, and that are still wanted.
    fn pictures(
        &self,
        part: &Part,
        sparse: &Sparse,
        (tensors, i): (&[usize], usize),
        keep: Option<&BooleanArray>,
    ) -> Result<ArrayRef> {
        let unknown = || DataFusionError::Internal(format!("column {i} was not read"));
        let place = tensors.binary_search(&i).ok().and_then(|at| sparse.tensors.get(at)).ok_or_else(unknown)?;
        let rows: Option<Vec<u32>> = keep.map(|keep| keep.values().set_indices_u32().collect());
        self.tensor_rows.add(rows.as_ref().map_or(place.n_rows() as usize, Vec::len));
        part.tensor_array(self.asked.table.field(i), place, rows.as_deref()).map_err(external)
    }
}

/// Which rows the filter lets through; null counts as false.
fn kept(filter: &Filter, rows: &RecordBatch) -> Result<BooleanArray> {
    let kept = filter.predicate.evaluate(rows)?.into_array(rows.num_rows())?;
    let kept = kept.as_boolean();
    Ok(if kept.null_count() > 0 { prep_null_mask_filter(kept) } else { kept.clone() })
}

fn batch_of(schema: Arc<ArrowSchema>, columns: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

fn external(error: ShardError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
