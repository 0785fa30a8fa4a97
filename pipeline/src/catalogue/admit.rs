//! What is asked of a statement before anybody plans it: that it only reads, and that it is of a size that can be planned.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Statement as Ansi, visit_relations};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::error::{CatalogueError, SqlFault};

/// Longest statement, in bytes: room for a list of some 50,000 clips.
const MAX_BYTES: usize = 1 << 20;

/// Most operators and set operations: the tree of a chain of them is as deep as the chain is long.
const MAX_OPERATORS: usize = 2_000;

/// Most names of tables.
const MAX_RELATIONS: usize = 100;

/// Refuses texts that would make a tree too deep or too large.
///
/// # Errors
/// [`CatalogueError::Sql`].
pub fn admit_text(sql: &str) -> Result<(), CatalogueError> {
    if sql.trim().is_empty() {
        return Err(CatalogueError::sql("the statement is empty", "write a SELECT"));
    }
    if sql.len() > MAX_BYTES {
        let help = "put long lists of clips into a table of their own, and join it";
        return Err(CatalogueError::sql(format!("a statement of {} bytes", sql.len()), help));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| {
        let place = (error.location.line > 0).then_some((error.location.line as usize, error.location.column as usize));
        CatalogueError::Sql(SqlFault { problem: error.message, place, help: String::new() })
    })?;
    let mut n_operators = 0;
    let mut operand_before = false;
    for token in tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))) {
        let joins = is_operator(token);
        // A minus in front of a number is none.
        n_operators += usize::from(joins && operand_before);
        operand_before = !joins && !matches!(token, Token::Comma | Token::LParen);
    }
    if n_operators > MAX_OPERATORS {
        let problem = format!("a statement with {n_operators} operators, {MAX_OPERATORS} are read");
        return Err(CatalogueError::sql(problem, "`x IN (a, b, c)` takes long lists, and a table takes longer ones"));
    }
    Ok(())
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::XOR
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::IS
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::JOIN
                | Keyword::COLLATE
        ),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::LBrace
        | Token::RBrace
        | Token::Period
        | Token::SemiColon
        | Token::EOF => false,
        // Whatever else there is joins two values, or follows one, as `::` and `[` do.
        _ => true,
    }
}

/// Lets through what reads: SELECT, VALUES, EXPLAIN, DESCRIBE, SHOW.
///
/// # Errors
/// [`CatalogueError::Sql`] for anything that would write, define or set.
pub fn admit_statement(statement: &Statement) -> Result<(), CatalogueError> {
    let refused = |what: &str| {
        let help = "SELECT, EXPLAIN, DESCRIBE and SHOW are; `--out FILE` writes an answer, `--at PATH` names a table";
        Err(CatalogueError::sql(format!("{what} is not allowed here: nothing is written, defined or set"), help))
    };
    match statement {
        Statement::Statement(ansi) => match ansi.as_ref() {
            Ansi::Query(_) => admit_relations(ansi),
            Ansi::Explain { statement, .. } => admit_statement(&Statement::Statement(statement.clone())),
            Ansi::ExplainTable { .. }
            | Ansi::ShowTables { .. }
            | Ansi::ShowColumns { .. }
            | Ansi::ShowFunctions { .. }
            | Ansi::ShowVariable { .. }
            | Ansi::ShowVariables { .. } => Ok(()),
            other => refused(&first_words(&other.to_string())),
        },
        Statement::Explain(explain) => admit_statement(&explain.statement),
        Statement::CreateExternalTable(_) => refused("CREATE EXTERNAL TABLE"),
        Statement::CopyTo(_) => refused("COPY"),
        Statement::Reset(_) => refused("RESET"),
    }
}

fn admit_relations(query: &Ansi) -> Result<(), CatalogueError> {
    let mut n_relations = 0;
    let counted = visit_relations(query, |_| {
        n_relations += 1;
        if n_relations > MAX_RELATIONS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if counted.is_continue() {
        return Ok(());
    }
    let problem = format!("a statement that names tables more than {MAX_RELATIONS} times");
    Err(CatalogueError::sql(problem, "name intermediate results by --out FILE and go on from there"))
}

/// `CREATE TABLE`, `INSERT INTO`, `SET`: up to two words in capitals.
fn first_words(statement: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase());
    let words: Vec<&str> = statement.split_whitespace().take_while(is_word).take(2).collect();
    if words.is_empty() { "this statement".to_owned() } else { words.join(" ") }
}
