//! Rates of this machine, printed: `cargo test --release -- --ignored --nocapture shard::tests::figures`.

use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::Float16Type;

use super::*;
use crate::schema::Column;
use crate::shard::{Access, ReadOptions, ShardSet, verify};

const N_UNITS: usize = 8;
const N_ROWS: usize = 1000;

#[test]
#[ignore = "prints rates, asserts nothing about time"]
fn rates() {
    let dir = tempfile::tempdir_in(std::env::var("AJEPA_FIGURES_DIR").unwrap_or_else(|_| "/tmp".into())).unwrap();
    let mut schema = stored(Dtype::F16);
    let ColumnType::Tensor(tensor) = &mut schema.columns[6].kind else { panic!("mel") };
    tensor.shape = vec![512, 96];
    let batch = big_rows(&schema.columns[6]);
    let run = job(&[N_ROWS; N_UNITS]);
    let start = Instant::now();
    let mut sink = ShardWriter::new(dir.path(), schema, Compression::None).unwrap();
    sink.open(&run).unwrap();
    for unit in 0..N_UNITS {
        for _ in 0..N_ROWS / 50 {
            sink.write(unit, batch.clone()).unwrap();
        }
        sink.end_unit(unit, tally(unit, N_ROWS)).unwrap();
    }
    let report = sink.finish().unwrap();
    let mb = report.bytes as f64 / 1e6;
    let written_s = start.elapsed().as_secs_f64();
    println!(
        "wrote {mb:.0} MB in {written_s:.2} s: {:.0} MB/s, {:.0} clips/s, fsync included",
        mb / written_s,
        report.rows as f64 / written_s
    );
    let start = Instant::now();
    assert!(verify(dir.path()).unwrap().is_whole());
    println!("verify: {:.0} MB/s", mb / start.elapsed().as_secs_f64());
    for (what, options) in [
        ("mapped, verified", ReadOptions::default()),
        ("mapped, trusted", ReadOptions { verify: false, ..ReadOptions::default() }),
        ("copied, verified", ReadOptions { access: Access::Copied, ..ReadOptions::default() }),
        ("copied, trusted", ReadOptions { access: Access::Copied, verify: false, ..ReadOptions::default() }),
    ] {
        let start = Instant::now();
        let set = ShardSet::open_with(dir.path(), options).unwrap();
        let opened_us = start.elapsed().as_secs_f64() * 1e6;
        for pass in ["first", "second"] {
            let start = Instant::now();
            let mut picture = vec![half::f16::ZERO; 512 * 96];
            for part in 0..set.n_parts() {
                for batch in set.part(part).unwrap().batches() {
                    let batch = batch.unwrap();
                    let values = batch.column(1).as_fixed_size_list().values().as_primitive::<Float16Type>().values();
                    for row in 0..batch.num_rows() {
                        // A trainer copies each picture once, into its own batch.
                        picture.copy_from_slice(&values[row * 512 * 96..(row + 1) * 512 * 96]);
                    }
                }
            }
            println!(
                "{what}: open {opened_us:.0} us, {pass} pass {:.0} clips/s",
                set.n_rows() as f64 / start.elapsed().as_secs_f64()
            );
        }
        let start = Instant::now();
        let mut sum = 0.0;
        let n = 20_000u64;
        if options.access == Access::Mapped {
            for i in 0..n {
                let row = set.row(i * 7_919 % set.n_rows()).unwrap();
                let mel = row.batch.column(1).as_fixed_size_list();
                sum += mel.values().as_primitive::<Float16Type>().value(row.index * 512 * 96).to_f64();
            }
            println!("{what}: row() at random {:.0} a second ({sum:.0})", n as f64 / start.elapsed().as_secs_f64());
        }
    }
}

fn big_rows(column: &Column) -> RecordBatch {
    let small = rows(0, 0, 50, Dtype::F16);
    let field = arrow_field(column);
    let DataType::FixedSizeList(item, width) = field.data_type().clone() else { panic!("mel") };
    let values: Vec<f16> = (0..50 * width as usize).map(|at| f16::from_f32(mel_value(3, at))).collect();
    let inner: ArrayRef = Arc::new(values.into_iter().map(Some).collect::<Float16Array>());
    let mut columns = small.columns().to_vec();
    columns[6] = Arc::new(FixedSizeListArray::new(item, width, inner, None));
    let mut fields: Vec<_> = small.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[6] = field;
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()
}
