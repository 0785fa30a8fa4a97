//! Why a question got no answer, in words of whoever asked it: where in the SQL, and what was probably meant.

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use thiserror::Error;

use crate::engine::StopSignal;
use crate::plan::nearest;

/// Longest line of SQL that is shown, in characters.
const SHOWN_LINE: usize = 120;

/// Names that a help lists; of the rest it says that there are more.
const SHOWN_NAMES: usize = 24;

/// Something wrong with a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlFault {
    /// What, in one clause.
    pub problem: String,
    /// Line and column, both from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// What to do about it; empty where nothing is known.
    pub help: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The statement is at fault.
    #[error("{}", .0.problem)]
    Sql(SqlFault),
    /// A table is not what it should be, or its name is taken.
    #[error("{problem}")]
    Table {
        /// What is wrong, with the path.
        problem: String,
        /// The cure.
        help: String,
    },
    /// The answer needs more memory, or more room for spills, than it may take.
    #[error("{problem}")]
    Exhausted {
        /// Who asked for how much.
        problem: String,
        /// The cure.
        help: String,
    },
    /// Reading or reckoning failed on the way.
    #[error("{0}")]
    Failed(String),
    /// Whoever asked does not want to know any more.
    #[error("stopped")]
    Stopped(StopSignal),
}

impl SqlFault {
    /// A fault of the whole statement.
    pub(super) fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), place: None, help: help.into() }
    }

    /// The line of `sql` at fault with a mark beneath; empty where the place is not known.
    pub fn excerpt(&self, sql: &str) -> String {
        let Some((line, column)) = self.place else { return String::new() };
        let Some(text) = sql.lines().nth(line.saturating_sub(1)) else { return String::new() };
        let calm: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let at = column.saturating_sub(1).min(calm.len());
        let from = at.saturating_sub(SHOWN_LINE / 2);
        let shown: String = calm.iter().skip(from).take(SHOWN_LINE).collect();
        format!("  {shown}\n  {}^\n", " ".repeat(at - from))
    }
}

impl CatalogueError {
    pub(super) fn table(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Table { problem: problem.into(), help: help.into() }
    }

    fn exhausted(problem: &str) -> Self {
        Self::Exhausted {
            problem: format!("the answer needs more than it may take: {problem}"),
            help: "give it more by `--memory` (spills may take four times as much), or ask for less at once".to_owned(),
        }
    }

    pub(super) fn sql(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Sql(SqlFault::new(problem, help))
    }

    /// What to do about it; empty where nothing is known.
    pub fn help(&self) -> &str {
        match self {
            Self::Sql(fault) => &fault.help,
            Self::Table { help, .. } | Self::Exhausted { help, .. } => help,
            Self::Failed(_) | Self::Stopped(_) => "",
        }
    }

    /// From the engine's words for a fault in `sql`; `tables` are those there are.
    pub(super) fn of(error: &DataFusionError, sql: &str, tables: &[String]) -> Self {
        match innermost(error) {
            DataFusionError::SQL(fault, _) => Self::Sql(of_parser(&fault.to_string())),
            DataFusionError::SchemaError(fault, _) => {
                let mut fault = of_schema(fault);
                fault.place = fault.place.or_else(|| place_of(error));
                Self::Sql(located(fault, sql))
            }
            DataFusionError::Plan(words) => {
                let mut fault = of_plan(words, tables);
                fault.place = fault.place.or_else(|| place_of(error));
                Self::Sql(located(fault, sql))
            }
            DataFusionError::NotImplemented(words) | DataFusionError::Configuration(words) => {
                Self::sql(first_line(words), "")
            }
            DataFusionError::ResourcesExhausted(words) => Self::exhausted(without_consumers(&first_line(words))),
            other => match words(other) {
                words if words.contains(SPILLS_ARE_FULL) => Self::exhausted("its spills are as large as they may be"),
                words => Self::Failed(words),
            },
        }
    }
}

/// The engine's words when spills have reached their limit: an input-output error as any other, which has no kind of its own.
const SPILLS_ARE_FULL: &str = "disk space during the spilling process has exceeded";

/// Without what was wrapped around it for programmers.
fn innermost(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => innermost(inner),
        DataFusionError::Shared(inner) => innermost(inner),
        DataFusionError::Collection(many) => many.first().map_or(error, innermost),
        DataFusionError::External(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, innermost),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            arrow::error::ArrowError::ExternalError(inner) => {
                inner.downcast_ref::<DataFusionError>().map_or(error, innermost)
            }
            _ => error,
        },
        _ => error,
    }
}

fn words(error: &DataFusionError) -> String {
    match error {
        DataFusionError::External(inner) => inner.to_string(),
        DataFusionError::Execution(words) => words.clone(),
        DataFusionError::ArrowError(inner, _) => inner.to_string(),
        DataFusionError::Internal(words) => format!("the SQL engine contradicts itself: {}", first_line(words)),
        other => other.strip_backtrace(),
    }
}

fn first_line(words: &str) -> String {
    words.lines().next().unwrap_or_default().trim().to_owned()
}

/// Who asked for memory, and not all others who hold some.
fn without_consumers(words: &str) -> &str {
    words.split(" with top memory consumers").next().unwrap_or(words)
}

fn place_of(error: &DataFusionError) -> Option<(usize, usize)> {
    let span = error.diagnostic()?.span?;
    Some((span.start.line as usize, span.start.column as usize)).filter(|(line, _)| *line > 0)
}

/// `... at Line: 1, Column: 15`.
fn of_parser(words: &str) -> SqlFault {
    let words = first_line(words);
    let words = words.strip_prefix("sql parser error: ").unwrap_or(&words);
    if words.contains("recursion limit") {
        return SqlFault::new("the statement is nested too deeply", "50 levels are read; name parts of it in a WITH");
    }
    let (problem, place) = match words.rsplit_once(" at Line: ") {
        Some((problem, place)) => {
            let numbers = place.split_once(", Column: ");
            (problem, numbers.and_then(|(line, column)| Some((line.parse().ok()?, column.trim().parse().ok()?))))
        }
        None => (words, None),
    };
    SqlFault { problem: problem.to_owned(), place, help: String::new() }
}

fn of_schema(fault: &SchemaError) -> SqlFault {
    match fault {
        SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => SqlFault::new(
            format!("`{}` is a column of several tables", field.name),
            format!("name the table too: a.{}", field.name),
        ),
        other => SqlFault::new(other.to_string(), "give one of them another name with AS"),
    }
}

fn no_column(field: &Column, valid: &[Column]) -> SqlFault {
    let names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    let problem = format!("there is no column `{}`", field.name);
    if let Some(exact) = names.iter().find(|name| name.eq_ignore_ascii_case(&field.name) && **name != field.name) {
        return SqlFault::new(problem, format!("the column has capital letters: write \"{exact}\", in double quotes"));
    }
    SqlFault::new(problem, choices(&field.name, &names, "columns"))
}

/// "did you mean `x`?", and what there is.
fn choices(word: &str, known: &[&str], what: &str) -> String {
    let mut known: Vec<&str> = known.to_vec();
    known.dedup();
    let near = nearest(word, known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    let more = if known.len() > SHOWN_NAMES { ", ..." } else { "" };
    if known.is_empty() {
        return format!("{near}there are no {what}");
    }
    format!("{near}{what}: {}{more}", known[..known.len().min(SHOWN_NAMES)].join(", "))
}

fn of_plan(words: &str, tables: &[String]) -> SqlFault {
    let line = first_line(words);
    let missing = line.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"));
    if let Some(name) = missing {
        let name = name.strip_prefix("datafusion.public.").unwrap_or(name);
        let known: Vec<&str> = tables.iter().map(String::as_str).collect();
        let help = format!("{}; only what --at names can be read", choices(name, &known, "tables"));
        return SqlFault::new(format!("there is no table `{name}`"), help);
    }
    let help = words.lines().nth(1).unwrap_or_default().trim().to_owned();
    SqlFault::new(line, help)
}

/// With the place of the name in backquotes, where it stands in the statement and no better place is known.
fn located(mut fault: SqlFault, sql: &str) -> SqlFault {
    if fault.place.is_none()
        && let Some(name) = fault.problem.split(['`', '\'']).nth(1)
    {
        fault.place = find_word(sql, name);
    }
    fault
}

fn find_word(sql: &str, name: &str) -> Option<(usize, usize)> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let found = tokens.iter().find(|token| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(name),
        _ => false,
    })?;
    Some((found.span.start.line as usize, found.span.start.column as usize))
}
