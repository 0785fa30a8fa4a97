use proptest::prelude::*;

use super::*;
use crate::engine::{Chain, ChainSettings, FoldCx, Link};
use crate::row::Samples;
use crate::schema::{AudioType, list_of_utf8};
use crate::stage::{Fold, Map, Merge, StageError};

fn fold(name: &str, yaml: &str) -> Box<dyn Fold> {
    match build(name, yaml, &[plain_schema()], 7, 4) {
        Ok(Stage::Fold(fold)) => fold,
        other => panic!("{name}: {:?}", other.err()),
    }
}

fn merge(name: &str, yaml: &str, inputs: &[Schema]) -> Box<dyn Merge> {
    match build(name, yaml, inputs, 7, 4) {
        Ok(Stage::Merge(merge)) => merge,
        other => panic!("{name}: {:?}", other.err()),
    }
}

/// Cuts `prefix0..n` into batches of `size`.
fn cut(prefix: &str, n: u32, size: u32) -> Vec<RecordBatch> {
    (0..n).step_by(size as usize).map(|at| plain_rows(prefix, at..(at + size).min(n))).collect()
}

fn run_fold(fold: &mut dyn Fold, batches: Vec<RecordBatch>, unit: usize) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let mut emit = |rows: RecordBatch| {
        out.push(texts(&rows, "clip_id"));
        Ok(())
    };
    let mut rejects = Vec::new();
    let mut cx = FoldCx::new("fold", &mut rejects, &mut emit);
    for rows in batches {
        fold.push(rows, &mut cx).unwrap();
    }
    fold.end_unit(unit, &mut cx).unwrap();
    assert!(rejects.is_empty());
    out
}

/// As the engine does: asks which input is next, tells of an end only after that input was asked.
fn run_merge(merge: &mut dyn Merge, inputs: &[Vec<RecordBatch>]) -> Result<Vec<String>, StageError> {
    let mut queues: Vec<_> = inputs.iter().map(|batches| batches.iter()).collect();
    let mut open = vec![true; inputs.len()];
    let mut out = Vec::new();
    let mut emit = |rows: RecordBatch| {
        out.extend(texts(&rows, "clip_id"));
        Ok(())
    };
    while open.contains(&true) {
        let input = merge.next_input(&open);
        assert!(open[input], "it asks for an input that is over");
        match queues[input].next() {
            Some(rows) => merge.push(input, rows.clone(), &mut emit)?,
            None => open[input] = false,
        }
    }
    merge.end_unit(0, &mut emit)?;
    Ok(out)
}

#[test]
fn batches_have_exactly_the_rows_asked_for() {
    let mut fold = fold("batch", "rows: 5");
    for unit in 0..2 {
        let sizes: Vec<usize> = run_fold(fold.as_mut(), cut("a", 17, 3), unit).iter().map(Vec::len).collect();
        assert_eq!(sizes, [5, 5, 5, 2]);
    }
    let out = run_fold(fold.as_mut(), cut("a", 17, 16), 2).concat();
    assert_eq!(out, (0..17).map(|n| format!("a{n}")).collect::<Vec<_>>());
    assert!(build("batch", "rows: 0", &[plain_schema()], 7, 4).err().unwrap().contains("1 or more"));
}

#[test]
fn a_shuffle_loses_nothing_and_does_not_depend_on_batches_or_on_earlier_units() {
    let mut first = fold("shuffle", "rows: 20");
    let a = run_fold(first.as_mut(), cut("a", 50, 7), 0).concat();
    let again = run_fold(first.as_mut(), cut("a", 50, 16), 1).concat();
    assert_eq!(a, again, "a resumed run starts at any unit");
    let mut sorted = a.clone();
    sorted.sort_by_key(|id| id[1..].parse::<u32>().unwrap());
    assert_eq!(sorted, (0..50).map(|n| format!("a{n}")).collect::<Vec<_>>());
    assert_ne!(a, sorted);
    // A row leaves no earlier than it came: at place k at the earliest when k + 20 rows have come.
    assert!(a.iter().enumerate().all(|(place, id)| id[1..].parse::<usize>().unwrap() <= place + 20));
    assert_ne!(
        run_fold(first.as_mut(), cut("b", 50, 7), 0).concat()[..5],
        a[..5].iter().map(|id| id.replace('a', "b")).collect::<Vec<_>>()
    );
    assert_eq!(
        run_fold(fold("shuffle", "rows: 1").as_mut(), cut("a", 9, 4), 0).concat(),
        (0..9).map(|n| format!("a{n}")).collect::<Vec<_>>()
    );
}

#[test]
fn rows_interleave_in_turn_and_concatenate_in_order() {
    let schemas = [plain_schema(), plain_schema(), plain_schema()];
    let inputs = [cut("a", 4, 3), cut("b", 1, 1), cut("c", 2, 2)];
    let mut interleave = merge("interleave", "{}", &schemas);
    for _unit in 0..2 {
        assert_eq!(run_merge(interleave.as_mut(), &inputs).unwrap().concat(), "a0b0c0a1c1a2a3");
    }
    let mut concat = merge("concat", "{}", &schemas);
    assert_eq!(run_merge(concat.as_mut(), &inputs).unwrap().concat(), "a0a1a2a3b0c0c1");
}

proptest! {
    #[test]
    fn merges_do_not_depend_on_batches(counts in prop::array::uniform3(0_u32..60), sizes in prop::array::uniform3(1_u32..20)) {
        let schemas = [plain_schema(), plain_schema(), plain_schema()];
        for (name, yaml) in [("interleave", "{}"), ("mix", "weights: [1, 5, 0.3]")] {
            let cut_as = |sizes: [u32; 3]| [0, 1, 2].map(|i| cut(["a", "b", "c"][i], counts[i], sizes[i]));
            let whole = run_merge(merge(name, yaml, &schemas).as_mut(), &cut_as([1000; 3])).unwrap();
            let pieces = run_merge(merge(name, yaml, &schemas).as_mut(), &cut_as(sizes)).unwrap();
            prop_assert_eq!(&whole, &pieces);
            // Every row once, each input in its own order.
            for (input, prefix) in ["a", "b", "c"].iter().enumerate() {
                let own: Vec<String> = whole.iter().filter(|id| id.starts_with(prefix)).cloned().collect();
                prop_assert_eq!(own, (0..counts[input]).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_mix_follows_its_weights() {
    let schemas = [plain_schema(), plain_schema()];
    let mut mix = merge("mix", "weights: [3, 1]", &schemas);
    let out = run_merge(mix.as_mut(), &[cut("a", 4000, 16), cut("b", 4000, 16)]).unwrap();
    let from_a = out[..4000].iter().filter(|id| id.starts_with('a')).count();
    // 4,000 draws with p = 0.75: standard deviation 27.4, so 4 of them.
    assert!((2890..=3110).contains(&from_a), "{from_a}");
    for bad in ["[1]", "[1, 0]", "[1, -1]", "[1, .nan]", "[1, 0.0001]", "[.inf, 1]"] {
        assert!(build("mix", &format!("weights: {bad}"), &schemas, 7, 4).is_err(), "{bad}");
    }
}

#[test]
fn inputs_that_differ_are_refused_by_column() {
    let other = plain_schema().with("n", ColumnType::Plain(arrow::datatypes::DataType::Utf8));
    let error = build("concat", "{}", &[plain_schema(), other], 7, 4).err().unwrap();
    assert!(error.contains("column \"n\" is uint32 in input 1 and utf8 in input 2"), "{error}");
    assert!(build("interleave", "{}", &[plain_schema()], 7, 4).err().unwrap().contains("two or more"));
    assert!(build("shuffle", "{}", &[plain_schema(), plain_schema()], 7, 4).err().unwrap().contains("one input"));
}

#[test]
fn a_zip_puts_columns_side_by_side_and_stops_when_out_of_step() {
    let schemas = [plain_schema(), plain_schema()];
    let mut zip = merge("zip", "suffix: _b", &schemas);
    let mut joined = Vec::new();
    let mut emit = |rows: RecordBatch| {
        joined.push(rows);
        Ok(())
    };
    for rows in cut("a", 10, 4) {
        zip.push(0, rows, &mut emit).unwrap();
    }
    for rows in cut("a", 10, 3) {
        zip.push(1, rows, &mut emit).unwrap();
    }
    zip.end_unit(0, &mut emit).unwrap();
    let joined = arrow::compute::concat_batches(&joined[0].schema(), &joined).unwrap();
    assert_eq!(
        joined.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(),
        ["clip_id", "offset_s", "n", "n_b"]
    );
    assert_eq!(texts(&joined, "n"), texts(&joined, "n_b"));
    assert_eq!(joined.num_rows(), 10);

    let error = run_merge(merge("zip", "{}", &schemas).as_mut(), &[cut("a", 4, 4), cut("b", 4, 4)]).unwrap_err();
    assert!(error.to_string().contains("clip_id a0 and b0 stand side by side"), "{error}");
    let error = run_merge(merge("zip", "{}", &schemas).as_mut(), &[cut("a", 4, 4), cut("a", 3, 3)]).unwrap_err();
    assert!(error.to_string().contains("1 rows of the first input and 0 of the second"), "{error}");
}

fn filtered(yaml: &str, schema: &Schema, rows: &RecordBatch) -> (Vec<String>, Vec<String>) {
    let Ok(Stage::Map(map)) = build("filter", yaml, std::slice::from_ref(schema), 7, 4) else { panic!("{yaml}") };
    let settings = ChainSettings { seed: 0, epoch: 0, clip_cap_bytes: 1 << 20, clip_share_bytes: 1 << 20 };
    let link = Link { stage: 0, id: "filter".into() };
    let mut chain = Chain::new(vec![(link, map.fork() as Box<dyn Map>)], schema, schema, settings, Arc::default());
    let mut kept = Vec::new();
    let result = chain.run(rows.clone(), &mut |rows| {
        kept.extend(texts(&rows, "clip_id"));
        Ok(())
    });
    (kept, result.unwrap().rejects.into_iter().map(|reject| reject.reject.reason).collect())
}

#[test]
fn a_filter_keeps_rows_that_meet_all_conditions() {
    let root = tempfile::tempdir().unwrap();
    let csv = "clip_id,path,start,end,labels,split\na,a.wav,0,2,x;y,train\nb,b.wav,0,5,y,test\nc,c.wav,,,,\n";
    put(root.path(), "m.csv", csv.as_bytes());
    let rows = read_all(source("source_manifest", &format!("path: {}/m.csv", root.path().display()), 4).as_mut());
    let schema = Schema::of_media(true);
    let kept = |yaml: &str| filtered(yaml, &schema, &rows).0.concat();
    assert_eq!(kept("labels_any: [x, z]"), "a");
    assert_eq!(kept("labels_all: [y]"), "ab");
    assert_eq!(kept("labels_none: [x]"), "bc");
    assert_eq!(kept("column_in: { split: [test, valid] }"), "b");
    assert_eq!(kept("column_not_in: { split: [test] }"), "ac");
    assert_eq!(kept("{ labels_any: [y], column_not_in: { split: [test] } }"), "a");
    assert_eq!(
        filtered("min_duration_s: 3", &schema, &rows),
        (vec!["b".to_owned()], vec!["duration_unknown".to_owned()])
    );
    let refused = |yaml: &str| build("filter", yaml, std::slice::from_ref(&schema), 7, 4).err().unwrap_or_default();
    assert!(refused("{}").contains("no condition"));
    assert!(refused("min_rms_dbfs: -40").contains("needs a waveform"));
    assert!(refused("{ min_duration_s: 3, max_duration_s: 2 }").contains("no clip is both"));
    assert!(build("filter", "column_in: { n: [a] }", &[Schema::of_media(false)], 7, 4).is_err());
}

#[test]
fn a_filter_measures_the_waveform() {
    let (schema, rows) =
        audio_rows(&[("quiet", vec![0.001; 8000]), ("loud", vec![0.5; 8000]), ("short", vec![0.5; 80])]);
    // Constant 0.5 is -6.02 dB of a full-scale square wave, 0.001 is -60 dB.
    assert_eq!(filtered("min_rms_dbfs: -6.03", &schema, &rows).0, ["loud", "short"]);
    assert!(filtered("min_rms_dbfs: -6.01", &schema, &rows).0.is_empty());
    assert_eq!(filtered("{ min_duration_s: 1, max_duration_s: 1 }", &schema, &rows).0, ["quiet", "loud"]);
}

/// Rows as `decode` leaves them, at 8 kHz, mono.
pub(super) fn audio_rows(clips: &[(&str, Vec<f32>)]) -> (Schema, RecordBatch) {
    use crate::columns::RowBuilder;
    use crate::row::{Audio, Cell, Row};
    let audio = AudioType { rate_hz: Some(8000), channels: Some(1), max_s: None };
    let schema =
        plain_schema().with("labels", ColumnType::Plain(list_of_utf8())).with("audio", ColumnType::Audio(audio));
    let ids = StringArray::from_iter_values(clips.iter().map(|clip| clip.0));
    let origin = RecordBatch::try_from_iter([("clip_id", Arc::new(ids) as ArrayRef)]).unwrap();
    let origin = Arc::new(origin);
    let input = Schema::default().with("clip_id", ColumnType::Plain(arrow::datatypes::DataType::Utf8));
    let mut builder = RowBuilder::new(&input, &schema);
    for (index, (_, values)) in clips.iter().enumerate() {
        let mut row = Row::new(origin.clone(), index);
        row.set("labels", Cell::Strs(vec![format!("l{index}")]));
        row.set("audio", Cell::Audio(Audio::Samples(Samples { values: values.clone(), rate_hz: 8000, channels: 1 })));
        builder.push(row, 1 << 20, &mut |_| ()).unwrap();
    }
    (schema, builder.finish(&origin).unwrap())
}

/// Clips, crops and all, as `pad_together` gives them on: names, starts, samples.
fn padded(yaml: &str, clips: &[(&str, Vec<f32>)]) -> Vec<(String, f64, Vec<f32>)> {
    let (schema, rows) = audio_rows(clips);
    let Ok(Stage::Fold(mut fold)) = build("pad_together", yaml, &[schema], 7, 4) else { panic!("{yaml}") };
    let mut out = Vec::new();
    let mut emit = |rows: RecordBatch| {
        let rows = Arc::new(rows);
        for at in 0..rows.num_rows() {
            let mut row = crate::row::Row::new(rows.clone(), at);
            let samples = row.take_audio().unwrap().into_samples(Vec::new(), u64::MAX).unwrap();
            assert_eq!(row.f64("duration_s"), Some(samples.duration_s()));
            assert_eq!(row.labels().len(), 1);
            out.push((row.str("clip_id").to_owned(), row.f64("offset_s").unwrap(), samples.values));
        }
        Ok(())
    };
    let mut rejects = Vec::new();
    let mut cx = FoldCx::new("pad", &mut rejects, &mut emit);
    fold.push(rows, &mut cx).unwrap();
    fold.end_unit(0, &mut cx).unwrap();
    assert_eq!(rejects.len(), clips.iter().filter(|clip| clip.1.is_empty()).count());
    out
}

#[test]
fn clips_are_filled_up_to_the_longest_of_those_taken_together() {
    let clips = [("a", vec![1.0; 3]), ("b", vec![2.0; 5]), ("none", vec![]), ("c", vec![3.0; 1]), ("d", vec![4.0; 2])];
    let out = padded("clips: 2", &clips);
    let expected: Vec<(&str, Vec<f32>)> =
        vec![("a", vec![1.0, 1.0, 1.0, 0.0, 0.0]), ("b", vec![2.0; 5]), ("c", vec![3.0, 0.0]), ("d", vec![4.0; 2])];
    assert!(out.iter().map(|(id, _, values)| (id.as_str(), values.clone())).eq(expected));
    assert_eq!(padded("clips: 1", &clips).iter().map(|row| row.2.len()).collect::<Vec<_>>(), [3, 5, 1, 2]);
    assert!(build("pad_together", "clips: 0", &[audio_rows(&[]).0], 7, 4).err().unwrap().contains("1 or more"));
}

#[test]
fn of_crops_of_a_clip_that_are_taken_together_the_first_is_given_on() {
    // 8 samples a crop at 8,000 Hz: three crops and a tail, one filled up, two.
    let clips = [("a", (0..27).map(|n| n as f32).collect()), ("b", vec![5.0; 3]), ("c", vec![6.0; 16])];
    let shown = |yaml: &str| padded(yaml, &clips).into_iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(shown("{ clips: 1, crop_seconds: 0.001 }"), ["a@0", "a@0.001", "a@0.002", "b@0", "c@0", "c@0.001"]);
    // Taken together: a a | a b | c c.
    let out = padded("{ clips: 2, crop_seconds: 0.001 }", &clips);
    assert_eq!(shown("{ clips: 2, crop_seconds: 0.001 }"), ["a@0", "a@0.002", "b@0", "c@0"]);
    assert_eq!((out[1].1, &out[1].2), (0.002, &(16..24).map(|n| n as f32).collect()));
    assert_eq!(out[2].2, [5.0, 5.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}
