//! An aligned table, no wider than the terminal.

use std::io::Write as _;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use super::AnswerError;
use super::cell::cell;
use crate::catalogue::Rows;
use crate::cli::format::counted;

/// Characters between two columns.
const GAP: usize = 2;

/// Narrowest that a column is made, in characters.
const NARROWEST: usize = 8;

/// Prints the first `n_shown` rows (0: all) in `width` characters; gives the number of rows printed. Behind these no row is asked for.
pub fn to_table(rows: Rows, n_shown: usize, width: usize) -> Result<u64, AnswerError> {
    let n_shown = if n_shown == 0 { usize::MAX } else { n_shown };
    let schema = rows.schema();
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut more = false;
    for batch in rows {
        let batch = batch?;
        let room = n_shown - lines.len();
        lines.extend((0..batch.num_rows().min(room)).map(|row| cells(&batch, row)));
        if batch.num_rows() > room {
            more = true;
            break;
        }
    }
    let mut text = drawn(&schema, &lines, width);
    text.push_str(&ending(lines.len() as u64, more));
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(lines.len() as u64),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(AnswerError::Unheard),
        Err(error) => Err(AnswerError::Output(format!("cannot write to stdout: {error}"))),
    }
}

fn ending(n_rows: u64, more: bool) -> String {
    if more {
        return format!(
            "(the first {}; --rows 0 shows all, --format csv and json have them whole)\n",
            counted(n_rows, "row")
        );
    }
    format!("({})\n", counted(n_rows, "row"))
}

fn cells(batch: &RecordBatch, row: usize) -> Vec<String> {
    batch.columns().iter().map(|column| cell(column, row)).collect()
}

fn drawn(schema: &SchemaRef, lines: &[Vec<String>], width: usize) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut widths: Vec<usize> = names.iter().map(|name| letters(name)).collect();
    for line in lines {
        widths.iter_mut().zip(line).for_each(|(width, cell)| *width = (*width).max(letters(cell)));
    }
    narrow(&mut widths, width);
    let right: Vec<bool> = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut out = String::new();
    for line in [&names, &rule].into_iter().chain(lines) {
        let mut text = String::new();
        for (i, cell) in line.iter().enumerate() {
            let cell = fitted(cell, widths[i]);
            let fill = " ".repeat(widths[i] - letters(&cell));
            text.push_str(&" ".repeat(if i > 0 { GAP } else { 0 }));
            text.push_str(&if right[i] { fill + &cell } else { cell + &fill });
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

fn is_number(kind: &DataType) -> bool {
    kind.is_numeric()
}

fn letters(text: &str) -> usize {
    text.chars().count()
}

/// Takes from the widest columns until the line fits, or nothing can be taken any more.
fn narrow(widths: &mut [usize], line: usize) {
    let room = line.saturating_sub(GAP * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max() else { return };
        if *widest <= NARROWEST {
            return;
        }
        *widest -= 1;
    }
}

fn fitted(cell: &str, width: usize) -> String {
    if letters(cell) <= width {
        return cell.to_owned();
    }
    let kept = width.saturating_sub(2);
    format!("{}..", cell.chars().take(kept).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder};

    use super::*;

    fn batch() -> RecordBatch {
        let mut labels = ListBuilder::new(StringBuilder::new());
        labels.append_value(["a", "b", "c", "d", "e", "f"].map(Some));
        labels.append_value([Some("x\u{1b}[31m")]);
        RecordBatch::try_from_iter_with_nullable([
            ("clip_id", Arc::new(StringArray::from(vec!["one", "a much longer name of a clip"])) as ArrayRef, true),
            ("n", Arc::new(Int64Array::from(vec![Some(5), None])) as ArrayRef, true),
            ("level", Arc::new(Float64Array::from(vec![-1.234_567_891, 2.0])) as ArrayRef, true),
            ("labels", Arc::new(labels.finish()) as ArrayRef, true),
        ])
        .unwrap()
    }

    fn text(width: usize) -> String {
        let batch = batch();
        let lines: Vec<Vec<String>> = (0..2).map(|row| cells(&batch, row)).collect();
        drawn(&batch.schema(), &lines, width)
    }

    #[test]
    fn columns_are_aligned_and_lists_short() {
        let wanted = "\
clip_id                       n     level  labels
----------------------------  -  --------  --------------------------
one                           5  -1.23457  [a, b, c, d, ... 6 in all]
a much longer name of a clip          2.0  [x\u{FFFD}[31m]
";
        assert_eq!(text(110), wanted);
    }

    #[test]
    fn a_line_is_no_wider_than_the_terminal() {
        let shown = text(40);
        assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
        assert!(shown.contains("a much") && shown.contains(".."), "{shown}");
    }
}
