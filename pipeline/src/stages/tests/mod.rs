//! Sources, folds, merges and sinks, each built from YAML and driven as the engine drives it.

mod flow;
mod folders;
mod manifests;
mod tar_sink;
mod tars;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow::util::display::array_value_to_string;

use super::builtin;
use crate::schema::{ColumnType, Schema};
use crate::stage::{BuildCx, Source, Stage};

/// Plans and builds a stage from YAML, as `run` does; the error as a person sees it.
fn build(name: &str, yaml: &str, inputs: &[Schema], seed: u64, clips_per_unit: usize) -> Result<Stage, String> {
    let registry = builtin();
    let parsed = registry.get(name).expect("a known stage").parse_yaml(yaml).map_err(|error| error.to_string())?;
    let plan = parsed.config.plan(inputs).map_err(|error| format!("{}; {}", error.problem, error.help))?;
    let output = plan.output.or(plan.stored).expect("a schema");
    let cx = BuildCx { id: name, inputs, output: &output, seed, clips_per_unit, clip_cap_bytes: 1 << 30, fail: true };
    parsed.config.build(&cx).map_err(|error| format!("{}; {}", error.problem, error.help))
}

fn source(name: &str, yaml: &str, clips_per_unit: usize) -> Box<dyn Source> {
    match build(name, yaml, &[], 7, clips_per_unit).expect("the source builds") {
        Stage::Source(source) => source,
        _ => panic!("{name} is no source"),
    }
}

fn source_error(name: &str, yaml: &str) -> String {
    match build(name, yaml, &[], 7, 4) {
        Ok(_) => panic!("{name} builds from {yaml}"),
        Err(error) => error,
    }
}

/// All rows of all units; also that every batch has the same schema and units are as long as they say.
fn read_all(source: &mut dyn Source) -> RecordBatch {
    let units = source.units().to_vec();
    let mut batches = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let before = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        source
            .read(number, &mut |rows| {
                assert!((1..=16).contains(&rows.num_rows()));
                batches.push(rows);
                Ok(())
            })
            .expect("the unit reads");
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>() - before;
        assert_eq!(rows as u64, unit.n_clips);
    }
    arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema")
}

/// A column as texts; nulls as `-`.
fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = rows.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    let text = |row| array_value_to_string(column, row).expect("shows");
    (0..column.len()).map(|row| if column.is_null(row) { "-".to_owned() } else { text(row) }).collect()
}

/// A field of `media` as texts; nulls as `-`.
fn media(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = rows.column_by_name("media").expect("media").as_struct().column_by_name(name).expect("field").clone();
    texts(&RecordBatch::try_from_iter_with_nullable([(name, column, true)]).expect("one column"), name)
}

/// Mono 16-bit WAV of a ramp, with its header written by hand.
fn wav_bytes(n_samples: u32) -> Vec<u8> {
    let data_len = n_samples * 2;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data_len).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(data_len.to_le_bytes());
    (0..n_samples).for_each(|n| bytes.extend((n as i16).to_le_bytes()));
    bytes
}

fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

fn plain_schema() -> Schema {
    let utf8 = ColumnType::Plain(arrow::datatypes::DataType::Utf8);
    Schema::default()
        .with("clip_id", utf8)
        .with("offset_s", ColumnType::Plain(arrow::datatypes::DataType::Float64))
        .with("n", ColumnType::Plain(arrow::datatypes::DataType::UInt32))
}

/// Rows `prefix0`, `prefix1`, ... with their number.
fn plain_rows(prefix: &str, numbers: std::ops::Range<u32>) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("{prefix}{n}")))),
        Arc::new(Float64Array::from(vec![0.0; numbers.len()])),
        Arc::new(UInt32Array::from_iter_values(numbers)),
    ];
    RecordBatch::try_new(Arc::new(crate::columns::arrow_schema(&plain_schema())), columns).expect("as declared")
}

#[test]
fn every_example_in_the_registry_parses_and_has_a_schema_with_words_for_every_field() {
    for entry in builtin().entries() {
        // What the framework takes out of a stage before the config is parsed.
        let whole: serde_json::Value = serde_saphyr::from_str(entry.example).expect("YAML");
        let mut own = whole.as_object().expect("a mapping").clone();
        assert_eq!(own.remove("type").expect("a type"), entry.name);
        own.remove("id");
        own.remove("from");
        let yaml = serde_json::to_string(&own).expect("JSON is YAML");
        entry.parse_yaml(&yaml).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let schema = serde_json::to_value((entry.schema)()).expect("JSON");
        let fields = schema.get("properties").and_then(|p| p.as_object()).cloned().unwrap_or_default();
        for (field, about) in fields {
            assert!(about.get("description").is_some(), "{}.{field} has no words", entry.name);
        }
    }
}
