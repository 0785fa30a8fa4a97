//! `where:` of a source: one expression over the columns of a list of clips, without tables, functions of many rows or chance.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ExprWithAlias, Ident, visit_expressions, visit_relations};

use super::admit::admit_text;
use super::error::CatalogueError;
use super::functions::{self, OntologyPlace};
use super::session::bare_context;

/// Whether the expression is sound, as far as `known` columns say: one that names another column is proven when the list is
/// read, where `open` is set, and refused else.
///
/// # Errors
/// [`CatalogueError::Sql`].
pub fn check(text: &str, known: &ArrowSchema, open: bool) -> Result<(), CatalogueError> {
    let context = bare_context(&OntologyPlace::default());
    let parsed = parse(text)?;
    let named = columns(&parsed.expr);
    if open && named.iter().any(|name| known.index_of(name).is_err()) {
        return Ok(());
    }
    plan(&context, text, parsed, known).map(|_| ())
}

/// An expression that is ready to be asked of rows.
#[derive(Debug)]
pub struct Prepared {
    predicate: Arc<dyn PhysicalExpr>,
    text: String,
}

impl Prepared {
    /// For rows of `schema`; an ontology is looked for beside `list`.
    ///
    /// # Errors
    /// [`CatalogueError::Sql`].
    pub fn new(text: &str, schema: &ArrowSchema, list: Option<&Path>) -> Result<Self, CatalogueError> {
        let ontology = OntologyPlace::default();
        if let Some(file) = list.and_then(functions::beside) {
            ontology.offer(file);
        }
        let context = bare_context(&ontology);
        let predicate = plan(&context, text, parse(text)?, schema)?;
        Ok(Self { predicate, text: text.to_owned() })
    }

    /// Which of the rows are meant; null counts as false.
    ///
    /// # Errors
    /// [`CatalogueError`] when the expression cannot be reckoned for one of them.
    pub fn of(&self, rows: &RecordBatch) -> Result<BooleanArray, CatalogueError> {
        let of = |error: DataFusionError| CatalogueError::of(&error, &self.text, &[]);
        let values = self.predicate.evaluate(rows).and_then(|values| values.into_array(rows.num_rows())).map_err(of)?;
        let chosen = values.as_boolean_opt();
        let chosen = chosen.ok_or_else(|| CatalogueError::Failed("the expression gave no truth".to_owned()))?;
        Ok(if chosen.null_count() > 0 { prep_null_mask_filter(chosen) } else { chosen.clone() })
    }
}

fn parse(text: &str) -> Result<ExprWithAlias, CatalogueError> {
    admit_text(text)?;
    let parsed = DFParserBuilder::new(text).build().and_then(|mut parser| parser.parse_into_expr());
    let parsed = parsed.map_err(|error| CatalogueError::of(&error, text, &[]))?;
    let names_tables = visit_relations(&parsed.expr, |_| ControlFlow::Break(())).is_break();
    let asks = |expr: &SqlExpr| {
        let is_query = matches!(expr, SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. });
        if is_query { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if names_tables || visit_expressions(&parsed.expr, asks).is_break() {
        let help = "it is an expression over the columns of one row, such as array_has(labels, 'Music')";
        return Err(CatalogueError::sql("it asks other tables", help));
    }
    if parsed.alias.is_some() {
        return Err(CatalogueError::sql("it gives a name with AS", "leave the name away: it is a condition"));
    }
    Ok(parsed)
}

/// Names of columns, as the engine looks for them.
fn columns(expr: &SqlExpr) -> Vec<String> {
    let normal =
        |ident: &Ident| if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    let mut names = Vec::new();
    let _ = visit_expressions(expr, |expr| {
        match expr {
            SqlExpr::Identifier(ident) => names.push(normal(ident)),
            SqlExpr::CompoundIdentifier(parts) => names.extend(parts.first().map(normal)),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

fn plan(
    context: &SessionContext,
    text: &str,
    parsed: ExprWithAlias,
    columns: &ArrowSchema,
) -> Result<Arc<dyn PhysicalExpr>, CatalogueError> {
    let of = |error: DataFusionError| CatalogueError::of(&error, text, &[]);
    let schema = DFSchema::try_from(columns.clone()).map_err(of)?;
    let state = context.state();
    let expr = state.create_logical_expr_from_sql_expr(parsed, &schema).map_err(of)?;
    if let Some(words) = unfit(&expr) {
        return Err(CatalogueError::sql(
            words,
            "it must say of one row whether it is meant, and say the same every time",
        ));
    }
    let predicate = state.create_physical_expr(expr, &schema).map_err(of)?;
    match predicate.data_type(columns).map_err(of)? {
        DataType::Boolean => Ok(predicate),
        other => {
            let help = "a comparison, array_has, LIKE, IN or any other condition is";
            Err(CatalogueError::sql(format!("it gives {other}, which is neither true nor false"), help))
        }
    }
}

/// What a condition on one row cannot hold.
fn unfit(expr: &Expr) -> Option<String> {
    let mut words = None;
    let _ = expr.apply(|expr| {
        words = match expr {
            Expr::AggregateFunction(call) => Some(format!("{} is a function of many rows", call.func.name())),
            Expr::WindowFunction(call) => Some(format!("{} is a function of many rows", call.fun.name())),
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Some(format!("{} gives something else every time", call.func.name()))
            }
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..) => {
                Some("it asks other tables".to_owned())
            }
            Expr::Placeholder(_) | Expr::ScalarVariable(..) => Some("it has a variable".to_owned()),
            _ => None,
        };
        Ok(if words.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    words
}
