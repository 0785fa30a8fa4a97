//! Files as hubs ship them, files that were damaged, and files that lie.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::*;

/// Six rows in two groups: three with bytes, one with a path alone, one with neither, one that is null altogether.
fn usual() -> RecordBatch {
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"RIFF0"), Some(b"RIFF1"), None, None, None, Some(b"RIFF5")];
    let paths = vec![Some("a.wav"), None, Some("../held/c.flac"), None, Some("e.wav"), Some("f.mp3")];
    let fields =
        Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(BinaryArray::from(bytes)), Arc::new(StringArray::from(paths))];
    let nulls = NullBuffer::from(vec![true, true, true, true, false, true]);
    let audio = StructArray::new(fields, columns, Some(nulls));
    let mut labels = ListBuilder::new(StringBuilder::new());
    for row in [Some(vec!["dog", "bark"]), Some(vec![]), None, Some(vec!["cat"]), None, None] {
        match row {
            Some(row) => labels.append_value(row.into_iter().map(Some)),
            None => labels.append_null(),
        }
    }
    RecordBatch::try_from_iter_with_nullable([
        ("video_id", Arc::new(StringArray::from_iter_values((0..6).map(|i| format!("v{i}")))) as ArrayRef, true),
        ("audio", Arc::new(audio) as ArrayRef, true),
        ("labels", Arc::new(labels.finish()) as ArrayRef, true),
        ("fold", Arc::new(Int64Array::from_iter_values(0..6)) as ArrayRef, true),
        ("source", Arc::new(StringArray::from(vec!["is ours"; 6])) as ArrayRef, true),
    ])
    .unwrap()
}

struct Written {
    folder: tempfile::TempDir,
}

impl Written {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, rows: &RecordBatch, group_rows: usize, compression: Compression) -> PathBuf {
        let path = self.folder.path().join(name);
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group_rows))
            .set_compression(compression)
            .build();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), rows.schema(), Some(properties)).unwrap();
        writer.write(rows).unwrap();
        writer.close().unwrap();
        path
    }
}

fn open(paths: &[PathBuf], columns: &ParquetColumns, limit: Option<u64>, unit: usize) -> Result<ParquetClips, String> {
    ParquetClips::open(paths.to_vec(), columns, limit, unit)
        .map_err(|error| format!("{}; {}", error.problem, error.help))
}

/// All rows; also that each unit has as many as it says.
fn rows(clips: &mut ParquetClips) -> RecordBatch {
    let mut batches = Vec::new();
    for (number, unit) in clips.units().to_vec().iter().enumerate() {
        let before: usize = batches.iter().map(RecordBatch::num_rows).sum();
        clips
            .read(number, &mut |batch| {
                batches.push(batch);
                Ok(())
            })
            .unwrap();
        let n: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!((n - before) as u64, unit.n_clips);
    }
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    let show = |column: &ArrayRef, row| arrow::util::display::array_value_to_string(column, row).unwrap();
    let column = match name.strip_prefix("media.") {
        Some(field) => rows.column_by_name("media").unwrap().as_struct().column_by_name(field).unwrap(),
        None => rows.column_by_name(name).unwrap(),
    };
    (0..column.len()).map(|row| if column.is_null(row) { "-".to_owned() } else { show(column, row) }).collect()
}

#[test]
fn rows_of_a_hub_become_clips_whatever_the_units() {
    let written = Written::new();
    let path = written.write("d.parquet", &usual(), 4, Compression::UNCOMPRESSED);
    let columns = ParquetColumns { clip_id: Some("video_id".to_owned()), ..ParquetColumns::default() };
    for unit in [1, 4, 5, 100] {
        let mut clips = open(std::slice::from_ref(&path), &columns, None, unit).unwrap();
        assert_eq!(clips.units().len(), 6_usize.div_ceil(unit));
        let rows = rows(&mut clips);
        assert_eq!(texts(&rows, "clip_id"), ["v0", "v1", "v2", "v3", "v4", "v5"]);
        assert_eq!(texts(&rows, "source")[4..], ["d.parquet#4", "d.parquet#5"]);
        assert_eq!(texts(&rows, "labels"), ["[dog, bark]", "[]", "-", "[cat]", "-", "-"]);
        assert_eq!(texts(&rows, "fold"), ["0", "1", "2", "3", "4", "5"]);
        let bytes = rows.column_by_name("media").unwrap().as_struct().column_by_name("bytes").unwrap();
        let bytes: Vec<Option<&[u8]>> = bytes.as_binary::<i32>().iter().collect();
        assert_eq!(bytes, [Some(&b"RIFF0"[..]), Some(b"RIFF1"), None, None, None, Some(b"RIFF5")]);
        let faults = texts(&rows, "media.fault");
        assert!(faults[3].starts_with("missing: ") && faults[4].starts_with("missing: "), "{faults:?}");
        assert_eq!([&faults[0], &faults[2], &faults[5]], ["-", "-", "-"]);
        assert!(texts(&rows, "media.path")[2].ends_with("/../held/c.flac"));
    }
    let mut some = open(&[path.clone(), path.clone()], &ParquetColumns::default(), Some(9), 4).unwrap();
    assert_eq!(texts(&rows(&mut some), "clip_id")[4..8], ["d.parquet#4", "d.parquet#5", "d.parquet#0", "d.parquet#1"]);
}

#[test]
fn keys_of_units_tell_other_files_and_other_rows() {
    let written = Written::new();
    let path = written.write("d.parquet", &usual(), 4, Compression::UNCOMPRESSED);
    let keys = |path: &PathBuf, unit| -> Vec<[u8; 16]> {
        let clips = open(std::slice::from_ref(path), &ParquetColumns::default(), None, unit).unwrap();
        clips.units().iter().map(|unit| unit.key).collect()
    };
    let before = keys(&path, 3);
    assert_eq!(before, keys(&path, 3));
    assert_ne!(before[0], before[1]);
    let other = written.write("e.parquet", &usual(), 4, Compression::UNCOMPRESSED);
    assert_ne!(before, keys(&other, 3));
}

#[test]
fn a_column_of_bytes_serves_and_a_table_of_paths_does_not() {
    let written = Written::new();
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"RIFF0", b"RIFF1"]));
    let label: ArrayRef = Arc::new(StringArray::from(vec!["dog", "cat"]));
    let rows_of = RecordBatch::try_from_iter([("mp3", bytes), ("label", label.clone())]).unwrap();
    let path = written.write("b.parquet", &rows_of, 4, Compression::UNCOMPRESSED);
    assert!(has_audio(&path));
    let mut clips = open(std::slice::from_ref(&path), &ParquetColumns::default(), None, 10).unwrap();
    assert_eq!(texts(&rows(&mut clips), "labels"), ["[dog]", "[cat]"]);

    let table = RecordBatch::try_from_iter([("path", label)]).unwrap();
    let paths = written.write("t.parquet", &table, 4, Compression::UNCOMPRESSED);
    assert!(!has_audio(&paths));
    let refused = open(std::slice::from_ref(&paths), &ParquetColumns::default(), None, 10).err().unwrap();
    assert!(refused.contains("no column of encoded audio") && refused.contains("source_manifest"), "{refused}");
    let mixed = open(&[path.clone(), paths], &ParquetColumns::default(), None, 10).err().unwrap();
    assert!(mixed.contains("t.parquet"), "{mixed}");
    let wrong = ParquetColumns { audio: Some("label".to_owned()), ..ParquetColumns::default() };
    assert!(open(std::slice::from_ref(&path), &wrong, None, 10).err().unwrap().contains("label"));
    let twice = ParquetColumns { clip_id: Some("label".to_owned()), ..ParquetColumns::default() };
    let twice = open(&[path.clone(), path], &twice, None, 10).err().unwrap();
    assert!(twice.contains("rows 0 and 2 have one label"), "{twice}");
}

#[test]
fn what_is_no_parquet_is_refused_by_name() {
    let written = Written::new();
    let path = written.write("d.parquet", &usual(), 4, Compression::UNCOMPRESSED);
    let whole = std::fs::read(&path).unwrap();
    for len in [0, 3, 12, whole.len() / 2, whole.len() - 1] {
        let cut = written.folder.path().join("cut.parquet");
        std::fs::write(&cut, &whole[..len]).unwrap();
        let refused = open(&[cut], &ParquetColumns::default(), None, 4).err().unwrap();
        assert!(refused.contains("cut.parquet"), "{refused}");
    }
    let gone = open(&["gone.parquet".into()], &ParquetColumns::default(), None, 4).err().unwrap();
    assert!(gone.contains("gone.parquet"), "{gone}");
}

/// Twenty rows in groups of five, random enough that zstd finds nothing.
fn noise(written: &Written) -> PathBuf {
    let row = |i: u64| -> Vec<u8> {
        let mut state = i + 1;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..5_000).map(|_| draw()).collect()
    };
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..20).map(row)));
    let rows = RecordBatch::try_from_iter([("audio", bytes)]).unwrap();
    let level = ZstdLevel::try_new(1).unwrap();
    written.write("n.parquet", &rows, 5, Compression::ZSTD(level))
}

#[test]
fn a_damaged_row_group_costs_its_own_clips() {
    let written = Written::new();
    let path = noise(&written);
    let mut whole = std::fs::read(&path).unwrap();
    // The head of the first page of the second group.
    let at = {
        let file = super::file::AudioFile::open(path.clone()).unwrap();
        file.first_page(1, "audio")
    };
    whole[at..at + 40].fill(0xFF);
    std::fs::write(&path, &whole).unwrap();
    let mut clips = open(&[path], &ParquetColumns::default(), None, 7).unwrap();
    let faults = texts(&rows(&mut clips), "media.fault");
    let bad: Vec<usize> = (0..20).filter(|&row| faults[row] != "-").collect();
    assert_eq!(bad, [5, 6, 7, 8, 9]);
    assert!(faults[5].starts_with("corrupt: row group 1 of n.parquet: "), "{}", faults[5]);
}

#[test]
fn any_byte_may_be_wrong_and_nothing_worse_than_a_refusal_comes_of_it() {
    let written = Written::new();
    let path = noise(&written);
    let whole = std::fs::read(&path).unwrap();
    let mutant = written.folder.path().join("m.parquet");
    let (mut opened, mut refused, mut faulted) = (0, 0, 0);
    for i in 0..600_usize {
        let mut bytes = whole.clone();
        // Half of them in the footer, where lies are told.
        let from = if i % 2 == 0 { 0 } else { whole.len().saturating_sub(1_200) };
        let at = from + i.wrapping_mul(7_919) % (whole.len() - from);
        bytes[at] ^= 1 << (i % 8);
        std::fs::write(&mutant, &bytes).unwrap();
        match open(std::slice::from_ref(&mutant), &ParquetColumns::default(), None, 8) {
            Err(_) => refused += 1,
            // A count of rows that is a lie is believed, as long as it is a count that some list may have.
            Ok(clips) if clips.units().len() > 100 => refused += 1,
            Ok(mut clips) => {
                opened += 1;
                let faults = texts(&rows(&mut clips), "media.fault");
                faulted += usize::from(faults.iter().any(|fault| fault != "-"));
            }
        }
    }
    // Parquet has no checksums here: a wrong byte of audio is `decode`'s to find.
    assert!(opened > 100 && refused > 20 && faulted > 0, "{opened} {refused} {faulted}");
}

#[test]
fn what_shrinks_a_hundredfold_is_no_audio() {
    use super::file::is_bomb;
    assert!(is_bomb(1 << 31, 1 << 20));
    assert!(!is_bomb(1 << 31, 1 << 25));
    assert!(!is_bomb(200 << 20, 1));
}
