//! `query`: SQL over what is named; without SQL, what there is.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::datatypes::{DataType, Field};

use super::{fail, print, terminal_width};
use crate::catalogue::{Catalogue, CatalogueError, CatalogueOptions, TableInfo, documented};
use crate::cli::answer::{self, AnswerError};
use crate::cli::args::{AnswerFormat, QueryArgs};
use crate::cli::exit::{Exit, StopWatch};
use crate::cli::format::{counted, duration};
use crate::columns::FixedShape;

/// What the first signal is answered with.
const STOPPING: &str = "stopping: no file is written (once more to stop at once)";

/// Answers, or says what can be asked.
pub fn query(args: &QueryArgs) -> Exit {
    let started = Instant::now();
    // Columns of embeddings are decoded into buffers of megabytes, one after another: a third of the time went into their pages.
    #[cfg(feature = "train")]
    ajepa_model::keep_pages();
    let watch = match StopWatch::start_saying(STOPPING) {
        Ok(watch) => watch,
        Err(error) => return fail(error),
    };
    if let Err(why) = format(args).and_then(|_| writable(args)) {
        eprintln!("error: {why}");
        return Exit::Usage;
    }
    let options = CatalogueOptions {
        memory_bytes: args.memory,
        jobs: args.jobs,
        ontology: args.ontology.clone(),
        trusted: args.unverified,
        stop: Some(watch.stops().clone()),
    };
    let catalogue = match open(args, options) {
        Ok(catalogue) => catalogue,
        Err(error) => return tell(&error, ""),
    };
    if args.functions {
        return print(&functions(&catalogue));
    }
    let Some(sql) = &args.sql else { return what_there_is(&catalogue) };
    let sql = &match statement(sql) {
        Ok(sql) => sql,
        Err(why) => {
            eprintln!("error: {why}");
            return Exit::Usage;
        }
    };
    match answered(args, &catalogue, sql) {
        Ok(n_rows) => {
            eprintln!("{} in {}", counted(n_rows, "row"), duration(started.elapsed().as_secs_f64()));
            Exit::Done
        }
        Err(AnswerError::Catalogue(error)) => tell(&error, sql),
        Err(AnswerError::Output(why)) => fail(why),
        Err(AnswerError::Unheard) => Exit::Done,
    }
}

/// The statement itself; `-` is stdin, of which no more is read than a statement may have.
fn statement(sql: &str) -> Result<String, String> {
    const MAX_BYTES: u64 = 2 << 20;
    if sql != "-" {
        return Ok(sql.to_owned());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| format!("stdin cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "stdin is no UTF-8 text".to_owned())
}

fn open(args: &QueryArgs, options: CatalogueOptions) -> Result<Catalogue, CatalogueError> {
    let mut catalogue = Catalogue::new(options)?;
    for table in &args.tables {
        match &table.name {
            Some(name) => catalogue.add_as(name, &table.path)?,
            None => catalogue.add(&table.path)?,
        };
    }
    Ok(catalogue)
}

fn answered(args: &QueryArgs, catalogue: &Catalogue, sql: &str) -> Result<u64, AnswerError> {
    let rows = catalogue.query(sql)?;
    let format = format(args).map_err(AnswerError::Output)?;
    match &args.out {
        Some(path) => answer::to_file(rows, format, path),
        None if format == AnswerFormat::Table => answer::to_table(rows, args.rows, terminal_width()),
        None => answer::to_stdout(rows, format),
    }
}

/// The form that is asked for, in words of the command line where it cannot be.
fn format(args: &QueryArgs) -> Result<AnswerFormat, String> {
    let Some(out) = &args.out else {
        return match args.format {
            Some(AnswerFormat::Parquet) => Err("--format parquet is a file: name it by --out FILE.parquet".to_owned()),
            format => Ok(format.unwrap_or(AnswerFormat::Table)),
        };
    };
    let extension = out.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let by_name = match extension.as_str() {
        "csv" => Some(AnswerFormat::Csv),
        "json" | "jsonl" | "ndjson" => Some(AnswerFormat::Json),
        "parquet" | "pq" => Some(AnswerFormat::Parquet),
        _ => None,
    };
    match args.format.or(by_name) {
        Some(AnswerFormat::Table) => Err("--format table is for reading; --out writes csv, json or parquet".to_owned()),
        Some(format) => Ok(format),
        None => Err(format!("{}: end it in .csv, .jsonl or .parquet, or say --format", out.display())),
    }
}

/// Refuses to write over what is read.
fn writable(args: &QueryArgs) -> Result<(), String> {
    let Some(out) = &args.out else { return Ok(()) };
    if out.is_dir() {
        return Err(format!("{} is a folder: --out names a file", out.display()));
    }
    let whole = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    let Some(target) = whole(out) else { return Ok(()) };
    let read = args.tables.iter().find(|table| whole(&table.path).is_some_and(|path| target.starts_with(path)));
    read.map_or(Ok(()), |table| {
        Err(format!("{} is, or is in, what --at {} reads: write somewhere else", out.display(), table.path.display()))
    })
}

/// Says why there is no answer; points into the statement where it is at fault.
fn tell(error: &CatalogueError, sql: &str) -> Exit {
    if let CatalogueError::Stopped(signal) = error {
        return Exit::Stopped(*signal);
    }
    eprintln!("error: {}", error.to_string().trim_end());
    if let CatalogueError::Sql(fault) = error {
        if let Some((line, column)) = fault.place.filter(|_| sql.contains('\n')) {
            eprintln!("  in line {line} at letter {column}");
        }
        eprint!("{}", fault.excerpt(sql));
    }
    if !error.help().is_empty() {
        eprintln!("help: {}", error.help());
    }
    match error {
        CatalogueError::Sql(_) | CatalogueError::Table { .. } => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn what_there_is(catalogue: &Catalogue) -> Exit {
    let mut out = String::new();
    for table in catalogue.tables() {
        out.push_str(&words(table));
    }
    if out.is_empty() {
        eprintln!("error: nothing is named: --at PATH says what to read, and a SELECT asks it");
        eprintln!("help: ajepa-pipe query --at out/mel; `ajepa-pipe query --help` has examples");
        return Exit::Usage;
    }
    print(&out)
}

fn words(table: &TableInfo) -> String {
    let mut out = String::new();
    let rows = table.rows.map_or_else(String::new, |rows| format!(", {}", counted(rows, "row")));
    let _ = writeln!(out, "{}: {}{rows}, {}", table.name, table.kind, table.path.display());
    let widest = table.schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or(0).min(32);
    for field in table.schema.fields() {
        let _ = writeln!(out, "  {:<widest$}  {}", field.name(), type_words(field));
    }
    out
}

/// `utf8`, `list<utf8>`, `f16[512 frames x 96 mels]`.
fn type_words(field: &Field) -> String {
    picture_words(field).unwrap_or_else(|| kind_words(field.data_type()))
}

fn picture_words(field: &Field) -> Option<String> {
    let DataType::FixedSizeList(item, _) = field.data_type() else { return None };
    let shape = FixedShape::of(field)?;
    let axes: Vec<String> =
        shape.lengths.iter().zip(&shape.dim_names?).map(|(length, name)| format!("{length} {name}")).collect();
    Some(format!("{}[{}]", kind_words(item.data_type()), axes.join(" x ")))
}

fn kind_words(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "utf8".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::FixedSizeBinary(n) => format!("binary[{n}]"),
        DataType::Float16 => "f16".to_owned(),
        DataType::Float32 => "f32".to_owned(),
        DataType::Float64 => "f64".to_owned(),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            format!("list<{}>", kind_words(item.data_type()))
        }
        DataType::FixedSizeList(item, n) => format!("{}[{n}]", kind_words(item.data_type())),
        DataType::Struct(fields) => {
            let inner: Vec<String> =
                fields.iter().map(|field| format!("{}: {}", field.name(), kind_words(field.data_type()))).collect();
            format!("struct<{}>", inner.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

fn functions(catalogue: &Catalogue) -> String {
    let mut out = "for audio:\n".to_owned();
    let widest = documented().iter().map(|doc| doc.call.len()).max().unwrap_or(0);
    for doc in documented() {
        let _ = writeln!(out, "  {:<widest$}  {}", doc.call, doc.about);
    }
    out.push_str("\nof lists: array_has(labels, 'Music'), array_has_any, array_has_all, array_length, array_to_string, unnest, ...\n");
    out.push_str("\nall (https://datafusion.apache.org/user-guide/sql says what each does):\n");
    let mut line = String::new();
    for name in catalogue.functions() {
        if line.len() + name.len() > 96 {
            let _ = writeln!(out, "  {}", line.trim_end());
            line.clear();
        }
        let _ = write!(line, "{name} ");
    }
    let _ = writeln!(out, "  {}", line.trim_end());
    out
}
