//! What is answered, and in which form.

use std::sync::Arc;

use ajepa_pipe::catalogue::{Catalogue, CatalogueError, CatalogueOptions};
use ajepa_pipe::shard::{Access, ReadOptions, ShardSet};
use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{ask, place, rows};
use crate::program::{Place, clip_ids, files};

#[test]
fn labels_are_counted_as_they_lie_in_the_folders() {
    let place = place();
    let sql = "SELECT unnest(labels) AS label, count(*) AS clips FROM mel GROUP BY label ORDER BY clips DESC, label";
    let wanted = ["speech,12", "notes,8", "animals,7", "drums,7", "music,7", "textures,4"];
    assert_eq!(rows(&place, "--at out/mel", sql), wanted);
    assert_eq!(rows(&place, "--at out/mel", "SELECT count(*) FROM mel"), ["45"]);
    let music = rows(&place, "--at out/mel", "SELECT clip_id FROM mel WHERE array_has(labels, 'music')");
    assert_eq!(music.len(), 7);
    assert!(music.iter().all(|id| id.starts_with("music/")), "{music:?}");
}

#[test]
fn rows_come_in_their_order_and_a_limit_takes_the_first() {
    let place = place();
    let all = clip_ids(&place.path("out/mel"));
    assert_eq!(rows(&place, "--at out/mel --jobs 1", "SELECT clip_id FROM mel"), all);
    assert_eq!(rows(&place, "--at out/mel", "SELECT clip_id FROM mel LIMIT 20"), all[..20]);
    let sql = "SELECT clip_id FROM mel WHERE n_frames > 0 LIMIT 3 OFFSET 17";
    assert_eq!(rows(&place, "--at out/mel", sql), all[17..20]);
    let plan = ask(
        &place,
        "--at out/mel --rows 0 --format json",
        "EXPLAIN SELECT clip_id FROM mel WHERE n_frames > 3 LIMIT 2",
    );
    assert!(plan.out.contains("ShardScan: 3 parts in 1, columns=[clip_id]"), "{}", plan.out);
}

#[test]
fn a_picture_is_read_as_it_lies_and_its_statistics_are_those_of_its_numbers() {
    let place = place();
    let set = ShardSet::open(place.path("out/mel")).expect("a set");
    let mut catalogue = Catalogue::new(CatalogueOptions::default()).expect("a catalogue");
    assert_eq!(catalogue.add(&place.path("out/mel")).expect("a table"), ["mel", "mel_rejects"]);
    let sql = "SELECT clip_id, mel, mel_mean(mel, n_frames) AS mean, mel_std_all(mel) AS std, n_frames FROM mel \
               WHERE array_has_any(labels, ['notes', 'drums']) ORDER BY clip_id";
    let batches: Vec<RecordBatch> = catalogue.query(sql).expect("sound").collect::<Result<_, _>>().expect("rows");
    let mut seen = 0;
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let id = batch.column(0).as_string::<i32>().value(row);
            let at = clip_ids(&place.path("out/mel")).iter().position(|known| known == id).expect("known") as u64;
            let numbers = set.row(at).expect("a row").tensor("mel").expect("a picture");
            let read = batch.column(1).as_fixed_size_list().value(row);
            assert_eq!(read.as_primitive::<Float32Type>().values().to_vec(), numbers, "{id}");
            let n_frames = batch.column(4).as_primitive::<UInt32Type>().value(row) as usize;
            let mean = batch.column(2).as_list::<i32>().value(row);
            let mean = mean.as_primitive::<Float64Type>().values().to_vec();
            for (bin, mean) in mean.iter().enumerate() {
                let of_bin = numbers.chunks_exact(96).take(n_frames).map(|frame| f64::from(frame[bin]));
                assert!((of_bin.sum::<f64>() / n_frames as f64 - mean).abs() < 1e-9, "{id}, bin {bin}");
            }
            let all: Vec<f64> = numbers.iter().map(|x| f64::from(*x)).collect();
            let centre = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / all.len() as f64;
            let std = batch.column(3).as_primitive::<Float64Type>().value(row);
            assert!((variance.sqrt() - std).abs() < 1e-9, "{id}: {std}");
            seen += 1;
        }
    }
    assert_eq!(seen, 15);
}

/// Changes a byte in every page that holds nothing but pictures; returns how many there are.
fn spoil_pictures(place: &Place) -> usize {
    let folder = place.path("out/mel");
    let set =
        ShardSet::open_with(&folder, ReadOptions { access: Access::Mapped, ..ReadOptions::default() }).expect("a set");
    let page_bytes = set.manifest().page_bytes as usize;
    let mut spoilt = 0;
    for number in 0..set.n_parts() {
        let part = set.part(number).expect("a part");
        let name = part.info().file.clone();
        let mut bytes = std::fs::read(folder.join(&name)).expect("bytes");
        // Where a picture lies is found by its content.
        for batch in part.batches() {
            let batch = batch.expect("a batch");
            let pictures = batch.column_by_name("mel").expect("mel").as_fixed_size_list().values().clone();
            let content = pictures.as_primitive::<Float32Type>().values().inner().as_slice().to_vec();
            let at = bytes.windows(64).step_by(64).position(|bytes| bytes == &content[..64]).expect("a picture") * 64;
            let pages = at.div_ceil(page_bytes)..(at + content.len()) / page_bytes;
            pages.for_each(|page| {
                bytes[page * page_bytes + 100] ^= 1;
                spoilt += 1;
            });
        }
        drop(part);
        std::fs::write(folder.join(&name), bytes).expect("write");
    }
    spoilt
}

#[test]
fn no_page_of_pictures_is_touched_unless_pictures_are_asked_for() {
    let place = place();
    let before = rows(&place, "--at out/mel", "SELECT clip_id, labels, n_frames FROM mel ORDER BY clip_id");
    assert!(spoil_pictures(&place) >= 4);
    let after = rows(&place, "--at out/mel", "SELECT clip_id, labels, n_frames FROM mel ORDER BY clip_id");
    assert_eq!(before, after);
    let none = "SELECT mel_mean_all(mel) FROM mel WHERE array_has(labels, 'whales')";
    assert_eq!(rows(&place, "--at out/mel", none), [""; 0]);
    let ended = ask(&place, "--at out/mel", "SELECT mel_mean_all(mel) FROM mel");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("part-0000") && ended.err.contains("checksum"), "{}", ended.err);
}

#[test]
fn without_a_statement_it_says_what_can_be_asked() {
    let place = place();
    let shown = place.done("query --at out/mel --at report.json").out;
    for line in [
        "mel: shards, 45 rows, out/mel",
        "  clip_id",
        "list<utf8>",
        "f32[512 frames x 96 mels]",
        "report: run report, 1 row",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let nothing = place.run("query");
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("--at PATH"), "{}", nothing.err);
    let functions = place.done("query --functions").out;
    assert!(functions.contains("cosine(a, b)") && functions.contains("array_has") && !functions.contains(" repeat "));
    let stages = rows(&place, "--at report.json", "SELECT id FROM report_stages ORDER BY id");
    assert!(stages.contains(&"mel".to_owned()), "{stages:?}");
}

#[test]
fn every_form_says_the_same() {
    let place = place();
    let sql = "SELECT clip_id, labels, n_frames FROM mel ORDER BY clip_id LIMIT 2";
    let csv = ask(&place, "--at out/mel --format csv", sql).out;
    assert!(csv.starts_with("clip_id,labels,n_frames\nanimals/cat,\"[\"\"animals\"\"]\","), "{csv}");
    let json = ask(&place, "--at out/mel --format json", sql).out;
    assert!(json.starts_with("{\"clip_id\":\"animals/cat\",\"labels\":[\"animals\"],\"n_frames\":"), "{json}");
    let table = ask(&place, "--at out/mel", sql);
    assert!(table.out.contains("animals/cat  [animals]") && table.out.ends_with("(2 rows)\n"), "{}", table.out);
    assert!(table.err.contains("2 rows in"), "{}", table.err);
    let wide = ask(&place, "--at out/mel --rows 1", "SELECT * FROM mel").out;
    assert!(wide.lines().all(|line| line.chars().count() <= 110) && wide.contains("(the first 1 row;"), "{wide}");
    let ended = ask(&place, "--at out/mel --out picked.parquet", "SELECT * FROM mel WHERE array_has(labels, 'drums')");
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
    let file = std::fs::File::open(place.path("picked.parquet")).expect("a file");
    let read = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("rows");
    assert_eq!(read.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), 7);
    assert_eq!(rows(&place, "--at picked.parquet", "SELECT count(*) FROM picked"), ["7"]);
}

#[test]
fn texts_of_a_csv_stay_texts_and_names_that_clash_have_a_cure() {
    let place = Place::new();
    place.write("a/clips.csv", "YTID,year\n00000000000,2001\n1e10aaaaaaa,\n");
    place.write("b/clips.tsv", "YTID\n00000000000\n");
    let sql = "SELECT \"YTID\", year FROM clips";
    assert_eq!(rows(&place, "--at a/clips.csv", sql), ["00000000000,2001", "1e10aaaaaaa,"]);
    let clash = ask(&place, "--at a/clips.csv --at b/clips.tsv", sql);
    assert_eq!(clash.code, Some(2));
    assert!(clash.err.contains("--at other=b/clips.tsv"), "{}", clash.err);
    let joined = "SELECT a.\"YTID\" FROM clips a JOIN other b ON a.\"YTID\" = b.\"YTID\"";
    assert_eq!(rows(&place, "--at a/clips.csv --at other=b/clips.tsv", joined), ["00000000000"]);
    let capital = ask(&place, "--at a/clips.csv", "SELECT ytid FROM clips");
    assert!(capital.err.contains("write \"YTID\", in double quotes"), "{}", capital.err);
}

/// A table of embeddings `e`: `n` rows of `width` numbers.
fn embeddings(place: &Place, width: i32, rows: &[&[f32]]) {
    let ids: Vec<String> = (0..rows.len()).map(|row| format!("c{row}")).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let numbers: Float32Array = rows.iter().flat_map(|row| row.iter().copied()).collect();
    let lists = FixedSizeListArray::new(item, width, Arc::new(numbers), None);
    let table = RecordBatch::try_from_iter([
        ("clip_id", Arc::new(StringArray::from(ids)) as ArrayRef),
        ("embedding", Arc::new(lists) as ArrayRef),
    ])
    .expect("a table");
    let file = std::fs::File::create(place.path("e.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, table.schema(), None).expect("a writer");
    writer.write(&table).expect("write");
    writer.close().expect("close");
}

#[test]
fn the_nearest_embeddings_come_first() {
    let place = Place::new();
    embeddings(&place, 2, &[&[1.0, 0.0], &[0.6, 0.8], &[-1.0, 0.0], &[0.0, 0.0]]);
    let near = "SELECT b.clip_id, round(cosine(a.embedding, b.embedding), 6) AS near FROM e a, e b \
                WHERE a.clip_id = 'c0' AND near IS NOT NULL ORDER BY near DESC LIMIT 2";
    let near = near.replace("near IS", "cosine(a.embedding, b.embedding) IS");
    assert_eq!(rows(&place, "--at e.parquet", &near), ["c0,1.0", "c1,0.6"]);
    let dot = "SELECT clip_id, dot(embedding, [2, 1]) AS d FROM e ORDER BY d DESC LIMIT 2";
    let dot = rows(&place, "--at e.parquet", dot);
    assert!(dot[0].starts_with("c0,2") || dot[0].starts_with("c1,2"), "{dot:?}");
    let null = "SELECT clip_id FROM e WHERE cosine(embedding, [1, 0]) IS NULL";
    assert_eq!(rows(&place, "--at e.parquet", null), ["c3"]);
    let wrong = ask(&place, "--at e.parquet", "SELECT dot(embedding, [1, 2, 3]) FROM e");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("embeddings of 2 and 3 dimensions"), "{}", wrong.err);
}

#[test]
fn the_ontology_is_found_beside_the_table() {
    let place = Place::new();
    place.write("c.jsonl", "{\"id\":\"a\",\"labels\":[\"/m/2\"]}\n{\"id\":\"b\",\"labels\":[\"/m/9\",\"/m/1\"]}\n{\"id\":\"c\",\"labels\":[\"/m/9\"]}\n");
    let under = "SELECT id FROM c WHERE array_has_any(labels, under('Music')) ORDER BY id";
    let without = ask(&place, "--at c.jsonl", under);
    assert!(without.err.contains("--ontology FILE"), "{}", without.err);
    let tree = r#"[{"id":"/m/1","name":"Music","child_ids":["/m/2"]},{"id":"/m/2","name":"Song","child_ids":[]},
                   {"id":"/m/9","name":"Speech","child_ids":[]}]"#;
    place.write("ontology.json", tree);
    assert_eq!(rows(&place, "--at c.jsonl", under), ["a", "b"]);
    let names =
        "SELECT label_name(l) AS name, count(*) FROM (SELECT unnest(labels) AS l FROM c) GROUP BY name ORDER BY name";
    assert_eq!(rows(&place, "--at c.jsonl", names), ["Music,1", "Song,1", "Speech,2"]);
    assert_eq!(rows(&place, "--at c.jsonl", "SELECT label_id('Song'), label_id('Sonk')"), ["/m/2,"]);
    let misspelt = ask(&place, "--at c.jsonl", "SELECT under('Musik')");
    assert!(misspelt.err.contains("did you mean 'Music'"), "{}", misspelt.err);
    std::fs::rename(place.path("ontology.json"), place.path("tree.json")).expect("rename");
    assert_eq!(rows(&place, "--at c.jsonl --ontology tree.json", under), ["a", "b"]);
}

#[test]
fn faults_have_their_place_and_their_nearest_name() {
    let place = place();
    let cases = [
        ("SELECT clip_id FORM mel", "^", ""),
        ("SELECT labls FROM mel", "       ^", "did you mean `labels`?"),
        ("SELECT m.labls FROM mel m", "^", "did you mean `labels`?"),
        ("SELECT * FROM mell", "              ^", "did you mean `mel`?"),
        ("SELECT clip_id FROM mel WHERE cosinus(mel, mel) > 0", "^", "cosin"),
        ("SELECT 'abc FROM mel", "^", ""),
        ("", "", "write a SELECT"),
        ("SELECT 1; SELECT 2", "", ""),
    ];
    for (sql, mark, help) in cases {
        let ended = ask(&place, "--at out/mel", sql);
        assert_eq!(ended.code, Some(2), "{sql}: {ended:?}");
        assert!(ended.out.is_empty() && ended.err.starts_with("error: "), "{sql}: {ended:?}");
        assert!(ended.err.contains(mark) && ended.err.contains(help), "{sql}: {}", ended.err);
    }
}

#[test]
fn an_answer_can_be_dropped_and_the_catalogue_asked_again() {
    let place = place();
    let mut catalogue = Catalogue::new(CatalogueOptions::default()).expect("a catalogue");
    catalogue.add(&place.path("out/mel")).expect("a table");
    let mut endless = catalogue.query("SELECT a.clip_id FROM mel a, mel b, mel c, mel d, mel e, mel f").expect("sound");
    assert!(endless.next().expect("rows").is_ok());
    drop(endless);
    let wrong = catalogue.query("SELECT nothing FROM mel").expect_err("no such column");
    assert!(matches!(wrong, CatalogueError::Sql(_)), "{wrong:?}");
    assert_eq!(
        catalogue.query("SELECT 1 FROM mel").expect("sound").map(|rows| rows.expect("rows").num_rows()).sum::<usize>(),
        45
    );
}

#[test]
fn compressed_shards_give_the_same_rows() {
    let place = place();
    place.done("run graph.yaml --progress off --set stages.sink_shards.path=out/small --set stages.sink_shards.compression=zstd");
    let sql = "SELECT clip_id, labels, mel_mean_all(mel) AS m FROM TABLE WHERE n_frames > 100 ORDER BY clip_id";
    let one = rows(&place, "--at out/mel", &sql.replace("TABLE", "mel"));
    assert!(one.len() > 5);
    assert_eq!(one, rows(&place, "--at out/small", &sql.replace("TABLE", "small")));
    assert!(!files(&place.path("out/small")).is_empty());
}

#[cfg(feature = "train")]
#[test]
fn a_training_is_its_log_and_its_checkpoints() {
    let place = Place::new();
    place.copies(20);
    place.write(
        "graph.yaml",
        "
stages:
  - { type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: crop, seconds: 1, position: sliding, hop_seconds: 0.5, tail: pad }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 1, frames: 64, n_mels: 32 }
  - type: sink_train
    path: out/model
    model:
      patch: { patch_frames: 8, patch_mels: 8 }
      encoder: { width: 32, depth: 1, n_heads: 2 }
      predictor: { width: 16, depth: 1, n_heads: 2 }
    steps: 6
    batch_clips: 4
    log_every: 1
    health_every: 3
    save_every: 3
resources: { memory: 256MiB }
",
    );
    place.done("run graph.yaml --progress off");
    let sql = "SELECT step, health['rank_me'] >= 1 FROM model WHERE health IS NOT NULL ORDER BY step";
    assert_eq!(rows(&place, "--at out/model", sql), ["3,true", "6,true"]);
    let sql = "SELECT checkpoint, steps, bytes > 1000 FROM model_checkpoints ORDER BY steps DESC LIMIT 1";
    assert_eq!(rows(&place, "--at out/model", sql), ["step-00000006,6,true"]);
    let one = rows(&place, "--at c=out/model/checkpoints/step-00000006", "SELECT steps, seed FROM c");
    assert_eq!(one, ["6,0"]);
}
