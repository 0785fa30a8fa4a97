//! What lies at a path, as tables.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::SessionContext;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Runtime;

use super::document;
use super::error::CatalogueError;
use super::file_table;
use super::session::TableInfo;
use super::shard_table::ShardTable;
use crate::stages::sink_embeddings;

const HELP: &str = "a table is a folder of shards, a training's folder, a checkpoint, or a file: .parquet (.pq), .csv, .tsv, \
                    .jsonl (.ndjson), .arrow (.ipc, .feather), .json";

/// A table that was found.
pub struct Found {
    /// What it is.
    pub info: TableInfo,
    /// What reads it.
    pub provider: Arc<dyn TableProvider>,
}

/// What is needed to look at a path.
pub struct Looking<'a> {
    /// The engine, for the types of Parquet.
    pub context: &'a SessionContext,
    /// Its threads.
    pub runtime: &'a Runtime,
    /// Whether checksums of shards are not verified.
    pub trusted: bool,
}

/// The name that a path gives its table: the last part without its extension, in lower case, with `_` for what no name in SQL
/// may have.
pub fn name_of(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let last = if path.is_dir() { whole.file_name() } else { whole.file_stem() };
    let last = last.unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    match name.chars().next() {
        None => "t".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{name}"),
        Some(_) => name,
    }
}

/// What lies at `path`, as tables called `name` and `name_...`.
///
/// # Errors
/// [`CatalogueError::Table`].
pub fn look(name: &str, path: &Path, looking: &Looking<'_>) -> std::result::Result<Vec<Found>, CatalogueError> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let about = std::fs::metadata(path).map_err(|error| {
        let problem = match error.kind() {
            std::io::ErrorKind::NotFound => format!("{}: there is no such file or folder", path.display()),
            _ => format!("{}: {error}", path.display()),
        };
        CatalogueError::table(problem, "check the path")
    })?;
    if about.is_dir() {
        return look_into(name, path, looking);
    }
    if !about.is_file() {
        return Err(CatalogueError::table(format!("{}: neither a file nor a folder", path.display()), HELP));
    }
    match extension.as_str() {
        "parquet" | "pq" => Ok(vec![parquet(name, path, looking)?]),
        "json" => document::report(name, path),
        "csv" | "tsv" | "jsonl" | "ndjson" | "arrow" | "ipc" | "feather" => Ok(vec![file(name, path, &extension)?]),
        _ => {
            let problem = format!("{}: a table of kind {extension:?} is not known", path.display());
            Err(CatalogueError::table(problem, HELP))
        }
    }
}

/// A folder: shards, a checkpoint, or a training with its checkpoints and its log.
fn look_into(name: &str, path: &Path, looking: &Looking<'_>) -> std::result::Result<Vec<Found>, CatalogueError> {
    let has = |file: &str| path.join(file).exists();
    if has(document::CHECKPOINT) {
        return Ok(vec![document::checkpoints(name, path, &[path.to_owned()])?]);
    }
    if has(document::RUN) {
        return training(name, path);
    }
    let mut found = vec![shards(name, path, looking.trusted)?];
    let rejects = path.join("rejects.parquet");
    if rejects.is_file() {
        let mut table = parquet(&format!("{name}_rejects"), &rejects, looking)?;
        "clips that were refused".clone_into(&mut table.info.kind);
        found.push(table);
    }
    Ok(found)
}

fn training(name: &str, path: &Path) -> std::result::Result<Vec<Found>, CatalogueError> {
    let mut found = Vec::new();
    let metrics = path.join("metrics.jsonl");
    // A run that was stopped at once has a log without a line.
    if metrics.metadata().is_ok_and(|about| about.len() > 0) {
        let mut table = file(name, &metrics, "jsonl")?;
        "metrics of a training, a row per logged step".clone_into(&mut table.info.kind);
        found.push(table);
    }
    let of_folder = |entry: std::io::Result<std::fs::DirEntry>| entry.ok().map(|entry| entry.path());
    let entries = path.join("checkpoints").read_dir().into_iter().flatten().filter_map(of_folder);
    let mut cards: Vec<PathBuf> = entries.filter(|folder| folder.join(document::CHECKPOINT).is_file()).collect();
    cards.sort_unstable();
    if !cards.is_empty() {
        found.push(document::checkpoints(&format!("{name}_checkpoints"), path, &cards)?);
    }
    if found.is_empty() {
        let problem = format!("{}: a training without a step that was logged", path.display());
        return Err(CatalogueError::table(problem, "run the graph again to go on with it"));
    }
    Ok(found)
}

fn shards(name: &str, path: &Path, trusted: bool) -> std::result::Result<Found, CatalogueError> {
    let table = ShardTable::open(path, trusted).map_err(|error| CatalogueError::table(error.to_string(), HELP))?;
    let info = info(name, path, "shards", table.schema_of(), Some(table.n_rows()));
    Ok(Found { info, provider: Arc::new(table) })
}

fn file(name: &str, path: &Path, extension: &str) -> std::result::Result<Found, CatalogueError> {
    let kind = match extension {
        "csv" => "table (CSV, every column text)",
        "tsv" => "table (TSV, every column text)",
        "jsonl" | "ndjson" => "table (JSON lines)",
        _ => "table (Arrow)",
    };
    let (schema, provider) = file_table::of(path)?;
    Ok(Found { info: info(name, path, kind, schema, None), provider })
}

fn parquet(name: &str, path: &Path, looking: &Looking<'_>) -> std::result::Result<Found, CatalogueError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        CatalogueError::table(format!("{}: not readable as Parquet: {error}", path.display()), "write the file anew")
    };
    let file = ajepa_store::open_regular(path).map_err(|error| unreadable(&error))?;
    let footer = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(&error))?;
    let rows = u64::try_from(footer.metadata().file_metadata().num_rows()).ok();
    let is_embeddings = sink_embeddings::read_about(path).is_ok_and(|about| about.is_some());
    let table = looking
        .runtime
        .block_on(listing(path, looking.context))
        .map_err(|error| unreadable(&error.strip_backtrace()))?;
    let kind = if is_embeddings { "embeddings (Parquet)" } else { "table (Parquet)" };
    let info = info(name, path, kind, table.schema(), rows);
    Ok(Found { info, provider: Arc::new(table) })
}

/// The engine's own reader: groups of rows are left out by their statistics, and shared between threads.
async fn listing(path: &Path, context: &SessionContext) -> Result<ListingTable> {
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
    let config = ListingTableConfig::new(ListingTableUrl::parse(url_of(path)?)?).with_listing_options(options);
    ListingTable::try_new(config.infer_schema(&context.state()).await?)
}

/// `file:///...`, with everything written out that a URL or a pattern could take for something else.
fn url_of(path: &Path) -> Result<String> {
    let whole = std::path::absolute(path)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let mut url = "file://".to_owned();
    for &byte in whole.as_os_str().as_encoded_bytes() {
        // Writing to a text cannot fail.
        let _ = if plain(byte) { write!(url, "{}", char::from(byte)) } else { write!(url, "%{byte:02X}") };
    }
    Ok(url)
}

/// What a catalogue says of a table.
pub(super) fn info(name: &str, path: &Path, kind: &str, schema: SchemaRef, rows: Option<u64>) -> TableInfo {
    TableInfo { name: name.to_owned(), path: path.to_owned(), kind: kind.to_owned(), rows, schema }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_sql_takes_without_quotes() {
        let names =
            ["a/Mel-2.v1.parquet", "esc50.csv", "2024 audio.tsv", "x/été.json"].map(|path| name_of(Path::new(path)));
        assert_eq!(names, ["mel_2_v1", "esc50", "_2024_audio", "_t_"]);
    }

    #[test]
    fn a_url_names_one_file_and_no_pattern() {
        assert_eq!(url_of(Path::new("/a b/[x]*?%.parquet")).unwrap(), "file:///a%20b/%5Bx%5D%2A%3F%25.parquet");
    }
}
