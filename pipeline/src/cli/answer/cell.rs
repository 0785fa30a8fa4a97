//! One value as a person reads it: long lists and texts are cut, control characters cannot reach the terminal.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Items of a list that are shown.
const ITEMS: usize = 4;

/// Longest value, in characters.
pub const MAX_CHARS: usize = 64;

/// Value `row` of a column; empty where it is null.
pub fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    cut(&calm(&value(column, row)))
}

fn value(column: &ArrayRef, row: usize) -> String {
    let items = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(row),
        DataType::LargeList(_) => column.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => column.as_fixed_size_list().value(row),
        DataType::Float32 | DataType::Float64 | DataType::Float16 => return number(column, row),
        _ => return formatted(column, row),
    };
    let item = |i: usize| if items.is_null(i) { "null".to_owned() } else { value(&items, i) };
    let shown: Vec<String> = (0..items.len().min(ITEMS)).map(item).collect();
    let more = if items.len() > ITEMS { format!(", ... {} in all", items.len()) } else { String::new() };
    format!("[{}{more}]", shown.join(", "))
}

fn formatted(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default().with_null("null").with_display_error(true);
    ArrayFormatter::try_new(column.as_ref(), &options)
        .map_or_else(|error| error.to_string(), |f| f.value(row).to_string())
}

/// Six digits are enough for reading; CSV and JSON have all.
fn number(column: &ArrayRef, row: usize) -> String {
    let text = formatted(column, row);
    let Ok(number) = text.parse::<f64>() else { return text };
    let whole = number.abs().log10().floor();
    if text.len() <= 8 || !number.is_finite() || !(-4.0..12.0).contains(&whole) {
        return text;
    }
    let decimals = (5.0 - whole).clamp(1.0, 9.0) as usize;
    let short = format!("{number:.decimals$}");
    short.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn calm(text: &str) -> String {
    let calm = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    };
    text.chars().map(calm).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some(_) => format!("{}...", text.chars().take(MAX_CHARS - 3).collect::<String>()),
        None => text.to_owned(),
    }
}
