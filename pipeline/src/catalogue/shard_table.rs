//! A shard set as a table: what a statement does not ask for is not read, and what a filter leaves out of a picture neither.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, Result, Statistics, stats::Precision};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::shard_scan::{Filter, ShardScan};
use crate::shard::{Access, Compression, Manifest, ReadOptions, ShardError, ShardSet};

/// Parts that are held open: a scan goes from front to back.
const MAX_OPEN: usize = 64;

/// The rows of a finished shard set.
#[derive(Debug)]
pub struct ShardTable {
    set: Arc<ShardSet>,
    schema: SchemaRef,
}

impl ShardTable {
    /// Opens the set at `path`, and its first part for the types of the columns; with `trusted`, checksums are not verified.
    ///
    /// # Errors
    /// As [`ShardSet::open_with`].
    pub fn open(path: &Path, trusted: bool) -> std::result::Result<Self, ShardError> {
        // A mapped part holds on to its decoded batches; of compressed ones these would be memory of this process.
        let compressed = Manifest::read(path)?.compression != Compression::None;
        let access = if compressed { Access::Copied } else { Access::Mapped };
        let set = ShardSet::open_with(path, ReadOptions { verify: !trusted, access, max_open: MAX_OPEN })?;
        let schema = set.schema()?;
        Ok(Self { set: Arc::new(set), schema })
    }

    /// Rows in all parts.
    pub fn n_rows(&self) -> u64 {
        self.set.n_rows()
    }

    /// Its columns.
    pub fn schema_of(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn is_tensor(&self, column: usize) -> bool {
        crate::shard::is_tensor(self.schema.field(column))
    }

    /// The columns of `filter`, ascending; `None` where one of them is a tensor, or none of this table, or more is asked than columns.
    fn light_columns(&self, filter: &Expr) -> Option<Vec<usize>> {
        let find = |column: &Column| self.schema.index_of(&column.name).ok().filter(|&i| !self.is_tensor(i));
        if filter.exists(|part| Ok(is_subquery(part))).unwrap_or(true) {
            return None;
        }
        let mut columns: Vec<usize> = filter.column_refs().into_iter().map(find).collect::<Option<_>>()?;
        columns.sort_unstable();
        columns.dedup();
        Some(columns)
    }

    fn filter(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Filter>> {
        let Some(all) = conjunction(filters.iter().cloned()) else { return Ok(None) };
        let columns = self.light_columns(&all).unwrap_or_default();
        let schema = Arc::new(self.schema.project(&columns)?);
        let predicate: Arc<dyn PhysicalExpr> =
            state.create_physical_expr(all, &DFSchema::try_from(schema.as_ref().clone())?)?;
        Ok(Some(Filter { columns, schema, predicate }))
    }
}

fn is_subquery(part: &Expr) -> bool {
    matches!(part, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))
}

#[async_trait]
impl TableProvider for ShardTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.light_columns(filter) {
            Some(columns) if !columns.is_empty() && !filter.is_volatile() => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let n_rows = Precision::Exact(usize::try_from(self.set.n_rows()).ok()?);
        Some(Statistics { num_rows: n_rows, ..Statistics::new_unknown(&self.schema) })
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let projection: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let filter = self.filter(state, filters)?;
        // The first rows in order: one partition finds them, and opens no part behind them.
        let n_partitions = if limit.is_some() { 1 } else { state.config().target_partitions() };
        Ok(Arc::new(ShardScan::new(self.set.clone(), &self.schema, projection, filter, limit, n_partitions)?))
    }
}
