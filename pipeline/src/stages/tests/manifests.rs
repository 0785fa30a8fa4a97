use arrow::array::{Int16Array, LargeListBuilder, LargeStringArray, ListBuilder, StringBuilder, StringViewBuilder};
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;

use super::*;

/// Writes `text` as `name`, and reads it with `more` config.
fn read(name: &str, text: &str, more: &str) -> RecordBatch {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), name, text.as_bytes());
    let yaml = format!("path: {}\n{more}", root.path().join(name).display());
    read_all(source("source_manifest", &yaml, 4).as_mut())
}

fn error(name: &str, text: &str, more: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), name, text.as_bytes());
    let yaml = format!("path: {}\n{more}", root.path().join(name).display());
    source_error("source_manifest", &yaml).replace(&format!("{}/", root.path().display()), "")
}

#[test]
fn csv_keeps_texts_as_they_are() {
    let csv = "\u{FEFF}clip_id,path,start,end,labels,package,year\n\
               00000000000,a/b.wav,,,Speech; Music,x,007\n\
               1e10aaaaaaa,\"c, d.wav\",1.5,4,,\"say \"\"hi\"\"\",\n\
               -abc_def-00,/abs/e.wav,2,,Speech,NULL,1e3\n";
    let rows = read("m.csv", csv, "root: /data");
    assert_eq!(texts(&rows, "clip_id"), ["00000000000", "1e10aaaaaaa", "-abc_def-00"]);
    assert_eq!(media(&rows, "path"), ["/data/a/b.wav", "/data/c, d.wav", "/abs/e.wav"]);
    assert_eq!(texts(&rows, "source"), ["a/b.wav", "c, d.wav", "/abs/e.wav"]);
    assert_eq!(media(&rows, "start_s"), ["-", "1.5", "2.0"]);
    assert_eq!(media(&rows, "end_s"), ["-", "4.0", "-"]);
    assert_eq!(texts(&rows, "offset_s"), ["0.0", "1.5", "2.0"]);
    assert_eq!(texts(&rows, "duration_s"), ["-", "2.5", "-"]);
    assert_eq!(texts(&rows, "labels"), ["[Speech, Music]", "-", "[Speech]"]);
    assert_eq!(texts(&rows, "package"), ["x", "say \"hi\"", "NULL"]);
    assert_eq!(texts(&rows, "year"), ["007", "-", "1e3"]);
}

#[test]
fn names_come_from_paths_where_there_are_none() {
    let csv = "path\na/x.wav\na/x.flac\ny.tar.wav\nq.d/noext\n";
    let rows = read("m.csv", csv, "");
    assert_eq!(texts(&rows, "clip_id"), ["a/x.wav", "a/x.flac", "y.tar", "q.d/noext"]);
    // Windows of one file, with the columns of a task list.
    let tsv = "file\toffset_s\tdur_s\nt.ogg\t0\t5\nt.ogg\t2.5\t5\n";
    let rows = read("m.tsv", tsv, "columns: { path: file, duration: dur_s }");
    assert_eq!(texts(&rows, "clip_id"), ["t@0", "t@2.5"]);
    assert_eq!(media(&rows, "end_s"), ["5.0", "7.5"]);
    assert_eq!(texts(&rows, "duration_s"), ["5.0", "5.0"]);
}

#[test]
fn paths_are_under_the_folder_of_the_table() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "m.csv", b"path\na.wav\n");
    let yaml = format!("path: {}/m.csv", root.path().display());
    let rows = read_all(source("source_manifest", &yaml, 4).as_mut());
    assert_eq!(media(&rows, "path"), [root.path().join("a.wav").to_str().unwrap()]);
}

#[test]
fn json_lines_keep_their_types() {
    let jsonl = "{\"path\": \"a.wav\", \"clip_id\": 12, \"labels\": [\"x, y\", \"z\"], \"snr\": 1.5}\n\
                 {\"path\": \"b.wav\", \"clip_id\": 13, \"labels\": null, \"more\": {\"k\": 1}}\n";
    let rows = read("m.jsonl", jsonl, "");
    assert_eq!(texts(&rows, "clip_id"), ["12", "13"]);
    assert_eq!(texts(&rows, "labels"), ["[x, y, z]", "-"]);
    assert_eq!(texts(&rows, "snr"), ["1.5", "-"]);
    assert_eq!(texts(&rows, "more"), ["-", "{k: 1}"]);
}

#[test]
fn parquet_columns_travel_with_their_type() {
    let root = tempfile::tempdir().unwrap();
    let mut labels = ListBuilder::new(StringBuilder::new());
    labels.append_value([Some("x")]);
    labels.append_value([Some("y"), Some("z")]);
    let table = RecordBatch::try_from_iter([
        ("path", Arc::new(LargeStringArray::from(vec!["a.wav", "b.wav"])) as ArrayRef),
        ("labels", Arc::new(labels.finish())),
        ("fold", Arc::new(Int16Array::from(vec![3, 4]))),
    ]);
    let table = table.unwrap();
    let file = std::fs::File::create(root.path().join("m.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, table.schema(), None).unwrap();
    writer.write(&table).unwrap();
    writer.close().unwrap();
    let yaml = format!("path: {}/m.parquet", root.path().display());
    let rows = read_all(source("source_manifest", &yaml, 1).as_mut());
    assert_eq!(texts(&rows, "labels"), ["[x]", "[y, z]"]);
    assert_eq!(*rows.column_by_name("fold").unwrap().data_type(), DataType::Int16);
    assert_eq!(texts(&rows, "fold"), ["3", "4"]);
}

#[test]
fn lists_and_texts_as_polars_writes_them_become_what_shards_hold() {
    let root = tempfile::tempdir().unwrap();
    let mut names = LargeListBuilder::new(StringViewBuilder::new());
    names.append_value([Some("Domestic animals, pets"), None]);
    names.append_null();
    let table = RecordBatch::try_from_iter([
        ("path", Arc::new(LargeStringArray::from(vec!["a.wav", "b.wav"])) as ArrayRef),
        ("label_names", Arc::new(names.finish())),
        ("split", Arc::new(LargeStringArray::from(vec![Some("eval"), None]))),
    ]);
    let table = table.unwrap();
    let file = std::fs::File::create(root.path().join("m.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, table.schema(), None).unwrap();
    writer.write(&table).unwrap();
    writer.close().unwrap();
    let yaml = format!("path: {}/m.parquet", root.path().display());
    let rows = read_all(source("source_manifest", &yaml, 2).as_mut());
    let names = rows.column_by_name("label_names").unwrap();
    assert!(matches!(names.data_type(), DataType::List(item) if *item.data_type() == DataType::Utf8));
    assert_eq!(texts(&rows, "label_names"), ["[Domestic animals, pets, ]", "-"]);
    assert_eq!(*rows.column_by_name("split").unwrap().data_type(), DataType::Utf8);
}

#[test]
fn rows_at_fault_are_named_all_at_once() {
    let csv = "clip_id,path,start,end\n\
               a,a.wav,0,1\n\
               a,b.wav,,\n\
               ,c.wav,,\n\
               d,,,\n\
               e,e.wav,2,2\n\
               f,f.wav,-1,\n\
               g,g.wav,soon,\n\
               h,h.wav,nan,\n";
    insta::assert_snapshot!(error("m.csv", csv, ""), @r#"
    m.csv:
      row 2: clip_id "a" is that of row 1 too
      row 3: no clip_id
      row 4: no path
      row 5: the end 2 s is not behind the start 2 s
      row 6: -1 s is not a time in a file
      row 7: start "soon" is not a number
      row 8: NaN s is not a time in a file; mend these rows; rows are counted from 1, the header not among them
    "#);
    let many = format!("clip_id,path\n{}", "a,a.wav\n".repeat(100));
    assert!(error("m.csv", &many, "").contains("and 89 more"));
}

#[test]
fn a_table_that_does_not_fit_says_what_would() {
    insta::assert_snapshot!(error("m.csv", "file,n\na.wav,1\n", ""), @r#"m.csv: there is no column "path" among file, n; say which column holds it: columns: { path: NAME }"#);
    insta::assert_snapshot!(error("m.csv", "path,n\na.wav,1\n", "columns: { labels: tag }"), @r#"m.csv: there is no column "tag" among path, n; say which column holds it: columns: { labels: NAME }"#);
    insta::assert_snapshot!(error("m.csv", "path,media\na.wav,1\n", ""), @r#"m.csv: the column "media" has a name that the pipeline uses itself; rename it in the table"#);
    insta::assert_snapshot!(error("m.csv", "path,n\na.wav\n", ""), @"m.csv: not readable as csv: Csv error: incorrect number of fields for line 2, expected 2 got 1; mend the file, or write it anew");
    insta::assert_snapshot!(error("m.csv", "path,path\na.wav,b\n", ""), @r#"m.csv: two columns are named "path"; rename one of them"#);
    insta::assert_snapshot!(error("m.xlsx", "PK", ""), @r#"m.xlsx: a table of kind "xlsx" is not read; give a .csv, .tsv, .parquet or .jsonl file, not compressed"#);
    insta::assert_snapshot!(error("m.parquet", "PAR1, or not", ""), @"m.parquet: not readable as parquet: Parquet argument error: Parquet error: Invalid Parquet file. Corrupt footer; mend the file, or write it anew");
    insta::assert_snapshot!(error("m.jsonl", "{\"path\": [1]}\n", ""), @"m.jsonl: the column for path holds List(Field { data_type: Int64, nullable: true }); it must hold texts");
    insta::assert_snapshot!(error("m.csv", "path\n", ""), @"m.csv: no clips; check the table, and `exclude`");
    assert!(error("m.csv", "path\na.wav\n", "clumns: {}").contains("clumns"));
}

#[test]
fn rejects_of_an_earlier_run_are_left_out() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "m.csv", b"path\na.wav\nb.wav\nc.wav\n");
    put(root.path(), "bad.csv", b"clip_id,reason\nb,corrupt\nunknown,corrupt\n");
    let yaml = format!("path: {0}/m.csv\nexclude: {0}/bad.csv", root.path().display());
    let rows = read_all(source("source_manifest", &yaml, 4).as_mut());
    assert_eq!(texts(&rows, "clip_id"), ["a", "c"]);
    put(root.path(), "bad.csv", b"clip_id\na\nb\nc\n");
    assert!(source_error("source_manifest", &yaml).contains("no clips"));
}

#[test]
fn keys_see_values_and_files_but_not_how_the_table_is_stored() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "a.wav", &wav_bytes(3));
    let key = |name: &str, table: &str| {
        put(root.path(), name, table.as_bytes());
        let yaml = format!("path: {}/{name}", root.path().display());
        source("source_manifest", &yaml, 4).units()[0].key
    };
    let csv = key("m.csv", "path,labels,tag\na.wav,x;y,t\n");
    let jsonl = "{\"labels\": [\"x\", \"y\"], \"path\": \"a.wav\", \"tag\": \"t\"}\n";
    assert_eq!(csv, key("m.jsonl", jsonl));
    assert_ne!(csv, key("m.csv", "path,labels,tag\na.wav,x,t\n"));
    assert_ne!(csv, key("m.csv", "path,labels,tag\na.wav,x;y,u\n"));
    assert_ne!(csv, key("m.csv", "path,labels,gat\na.wav,x;y,t\n"));
    put(root.path(), "a.wav", &wav_bytes(4));
    let edited = key("m.jsonl", jsonl);
    assert_ne!(csv, edited);
    std::fs::remove_file(root.path().join("a.wav")).unwrap();
    assert_ne!(edited, key("m.jsonl", jsonl));
}

#[test]
fn tables_that_are_none_say_what_they_are() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("folder.csv")).unwrap();
    put(root.path(), "empty.csv", b"");
    put(root.path(), "semicolons.csv", b"path;start\na.wav;0\n");
    put(root.path(), "tabs.csv", b"path\tstart\na.wav\t0\n");
    put(root.path(), "torn.jsonl", b"{\"path\": \"a.wav\"}\n\n{\"path\": \"b.wav\"}\n{\"path\": \"c.w\n");
    put(root.path(), "list.jsonl", b"{\"path\": \"a.wav\"}\n[1]\n");
    for (name, said) in [
        ("folder.csv", "this is a folder"),
        ("empty.csv", "the file is empty"),
        ("semicolons.csv", "parted by ';': part the columns by commas"),
        ("tabs.csv", "name the file .tsv"),
        ("torn.jsonl", "line 4: "),
        ("list.jsonl", "line 2: not an object"),
    ] {
        let error = source_error("source_manifest", &format!("path: {}/{name}", root.path().display()));
        assert!(error.contains(said), "{name}: {error}");
    }
}
