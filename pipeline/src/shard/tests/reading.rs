//! Bit rot is found before a row is seen (R4); files that change under the reader are errors (R6).

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float16Type;

use super::*;
use crate::shard::{Access, Manifest, ReadOptions, ShardError, ShardSet, verify};

const BOTH: [ReadOptions; 2] = [
    ReadOptions { verify: true, access: Access::Mapped, max_open: 256 },
    ReadOptions { verify: true, access: Access::Copied, max_open: 256 },
];

fn read_all(set: &ShardSet) -> Result<f64, ShardError> {
    let mut sum = 0.0;
    for part in 0..set.n_parts() {
        for batch in set.part(part)?.batches() {
            sum += touch(&batch?);
        }
    }
    Ok(sum)
}

/// Reads every number of every picture.
fn touch(batch: &RecordBatch) -> f64 {
    let mel = batch.column_by_name("mel").unwrap().as_fixed_size_list();
    mel.values().as_primitive::<Float16Type>().values().iter().map(|x| x.to_f64()).sum()
}

#[test]
fn one_flip_in_every_page_is_found_by_readers_and_by_verify() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[400, 30]));
    assert!(verify(dir.path()).unwrap().is_whole());
    let set = ShardSet::open(dir.path()).unwrap();
    let mut seed = 1u64;
    let mut n_flips = 0;
    for info in set.parts().to_vec() {
        let path = dir.path().join(&info.file);
        let bytes = std::fs::read(&path).unwrap();
        let n_pages = bytes.len().div_ceil(1 << 20);
        assert_eq!(n_pages, info.pages.0.len());
        for page in 0..n_pages {
            let (start, end) = (page << 20, bytes.len().min((page + 1) << 20));
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
            // First and last byte (magic, footer length), and one in between.
            for at in [start, end - 1, start + (seed >> 33) as usize % (end - start)] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (seed >> 60 & 7);
                std::fs::write(&path, &flipped).unwrap();
                for options in BOTH {
                    let set = ShardSet::open_with(dir.path(), options).unwrap();
                    let error = read_all(&set).unwrap_err();
                    let ShardError::Checksum { part, start: from, end: to } = &error else { panic!("{error}") };
                    assert!(*part == info.file && (*from..*to).contains(&(at as u64)), "{error}");
                }
                let report = verify(dir.path()).unwrap();
                assert_eq!(report.damaged.len(), 1);
                assert_eq!(report.damaged[0].pages, [(start as u64, end as u64)]);
                assert!(!report.damaged[0].rows.is_empty());
                n_flips += 1;
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(verify(dir.path()).unwrap().is_whole());
    assert!(n_flips >= 3 * 6, "{n_flips}");
}

#[test]
fn verify_names_the_clips_that_are_hit() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[256]));
    let path = dir.path().join("part-00000.arrow");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // The middle of the second of four pages: in the pictures of 256 rows of 12 KiB, with nothing else.
    file.write_all_at(&[0x55; 8], (1 << 20) + (1 << 19)).unwrap();
    let report = verify(dir.path()).unwrap();
    let damage = &report.damaged[0];
    assert_eq!((damage.part.as_str(), damage.pages.as_slice()), ("part-00000.arrow", &[(1 << 20, 2 << 20)][..]));
    let (first, last) = damage.rows[0];
    // A page of 1 MiB holds 85 and a third pictures.
    assert!((86..=87).contains(&(last - first)), "rows {first}..{last}");
    let names: Vec<String> = (first..last).map(|row| format!("clip-{row:06}")).collect();
    assert_eq!(damage.clip_ids, names);
    std::fs::remove_file(&path).unwrap();
    assert!(verify(dir.path()).unwrap().damaged[0].problem.contains("No such file"));
}

#[test]
fn pages_are_verified_only_when_their_rows_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[600]));
    let path = dir.path().join("part-00000.arrow");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0x55; 8], (4 << 20) + (1 << 19)).unwrap();
    let set = ShardSet::open(dir.path()).unwrap();
    assert_eq!(set.row(3).unwrap().index, 3);
    assert!(matches!(set.row(256), Err(ShardError::Checksum { .. })), "rows 256 to 511 lie from 3 to 6 MiB");
    assert!(set.row(3).is_ok());
    let trusting = ReadOptions { verify: false, ..ReadOptions::default() };
    assert!(ShardSet::open_with(dir.path(), trusting).unwrap().row(256).is_ok());
    assert!(matches!(set.row(600), Err(ShardError::OutOfRange { index: 600, len: 600, .. })));
}

#[test]
fn a_part_that_is_cut_short_is_an_error_and_kills_nobody() {
    for options in BOTH {
        for keep in [0, 4096, 1 << 20, (1 << 20) + 17, 3 << 20] {
            let dir = tempfile::tempdir().unwrap();
            write_set(dir.path(), &job(&[600]));
            let path = dir.path().join("part-00000.arrow");
            let set = ShardSet::open_with(dir.path(), options).unwrap();
            let part = set.part(0).unwrap();
            let held = part.batch(0).unwrap();
            let sum = touch(&held);
            OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
            // Read again from a batch that was handed out before: numbers of whatever value, but no SIGBUS.
            let sum_after = touch(&held);
            for batch in 0..part.n_batches() {
                assert!(matches!(part.batch(batch), Err(ShardError::Changed { .. })), "{options:?}, {keep} bytes kept");
            }
            assert!(matches!(set.row(599), Err(ShardError::Changed { .. })));
            if options.access == Access::Copied {
                assert_eq!(sum, sum_after);
            }
            let fresh = ShardSet::open_with(dir.path(), options).unwrap();
            assert!(matches!(fresh.part(0), Err(ShardError::Size { found, .. }) if found == keep));
        }
    }
}

#[test]
fn a_part_that_is_cut_short_in_the_middle_of_a_read_kills_nobody() {
    for options in BOTH {
        let dir = tempfile::tempdir().unwrap();
        write_set(dir.path(), &job(&[600]));
        let path = dir.path().join("part-00000.arrow");
        let bytes = std::fs::read(&path).unwrap();
        let (mut n_errors, mut n_whole) = (0, 0);
        for round in 0..200u64 {
            std::fs::write(&path, &bytes).unwrap();
            std::thread::scope(|scope| {
                let cutter = scope.spawn(|| {
                    std::thread::sleep(std::time::Duration::from_micros(round * 37 % 4000));
                    OpenOptions::new().write(true).open(&path).unwrap().set_len(round * 991).unwrap();
                });
                let set = ShardSet::open_with(dir.path(), options).unwrap();
                match read_all(&set).and_then(|sum| set.part(0)?.check().map(|()| sum)) {
                    Ok(sum) => {
                        n_whole += 1;
                        assert!((-8e7..-1e7).contains(&sum), "{sum}");
                    }
                    Err(ShardError::Changed { .. } | ShardError::Size { .. }) => n_errors += 1,
                    Err(error) => panic!("{error}"),
                }
                cutter.join().unwrap();
            });
        }
        assert!(n_errors > 20, "{n_errors} errors, {n_whole} whole");
    }
}

#[test]
fn a_part_that_is_written_over_is_an_error_and_one_that_is_unlinked_is_not() {
    for options in BOTH {
        let dir = tempfile::tempdir().unwrap();
        write_set(dir.path(), &job(&[600]));
        let path = dir.path().join("part-00000.arrow");
        let set = ShardSet::open_with(dir.path(), options).unwrap();
        let expected = read_all(&ShardSet::open(dir.path()).unwrap()).unwrap();
        let first = touch(&set.row(0).unwrap().batch);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_all(&set).unwrap(), expected, "what is open stays readable");
        // Another file of the same name is not looked at either.
        std::fs::write(&path, vec![0u8; bytes.len()]).unwrap();
        assert_eq!(read_all(&set).unwrap(), expected);
        std::fs::write(&path, &bytes).unwrap();
        let set = ShardSet::open_with(dir.path(), options).unwrap();
        assert_eq!(touch(&set.row(0).unwrap().batch), first);
        // File systems keep times in ticks of some milliseconds: the new time must be another.
        std::thread::sleep(std::time::Duration::from_millis(30));
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[1], 2 << 20).unwrap();
        assert!(matches!(set.row(0), Err(ShardError::Changed { .. })), "{options:?}");
    }
}

#[test]
fn few_open_parts_serve_many() {
    let dir = tempfile::tempdir().unwrap();
    let units = [3usize; 40];
    write_set(dir.path(), &job(&units));
    let set = ShardSet::open_with(dir.path(), ReadOptions { max_open: 2, ..ReadOptions::default() }).unwrap();
    let expected = |row: u64| format!("clip-{:06}", row / 3 * 1000 + row % 3);
    let held: Vec<_> = (0..120).map(|i| (i * 77 % 120, set.row(i * 77 % 120).unwrap())).collect();
    for (row, found) in held {
        assert_eq!(found.batch.column(0).as_string::<i32>().value(found.index), expected(row));
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let ours = |entry: &std::fs::DirEntry| std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(dir.path()));
    assert!(open.filter(ours).count() <= 2);
}

#[test]
fn threads_share_a_set() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[100, 100, 100]));
    let set = ShardSet::open_with(dir.path(), ReadOptions { max_open: 1, ..ReadOptions::default() }).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let set = &set;
            scope.spawn(move || {
                for i in 0..300 {
                    let row = (i * 7 + thread * 31) % 300;
                    let found = set.row(row).unwrap();
                    let id = found.batch.column(0).as_string::<i32>().value(found.index).to_owned();
                    assert_eq!(id, format!("clip-{:06}", row / 100 * 1000 + row % 100));
                }
            });
        }
    });
}

#[test]
fn some_columns_are_read_as_all_are_and_what_is_not_asked_for_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[400, 30]));
    for verify in [true, false] {
        let set = ShardSet::open_with(dir.path(), ReadOptions { verify, ..BOTH[0] }).unwrap();
        for number in 0..set.n_parts() {
            let part = set.part(number).unwrap();
            let schema = part.schema();
            let n_columns = schema.fields().len();
            let (tensors, light): (Vec<usize>, Vec<usize>) =
                (0..n_columns).partition(|&i| crate::shard::is_tensor(schema.field(i)));
            assert!(tensors.len() == 1 && light.len() > 3, "{schema:?}");
            for (batch, whole) in part.batches().enumerate() {
                let whole = whole.unwrap();
                let some = vec![light[0], light[light.len() / 2], light[light.len() - 1]];
                for wanted in [(0..n_columns).collect(), vec![light[1]], some, tensors.clone(), Vec::new()] {
                    let sparse = part.sparse(batch, &wanted).unwrap();
                    let (mut columns, mut tensors) = (sparse.columns.iter(), sparse.tensors.iter());
                    for &i in &wanted {
                        if light.contains(&i) {
                            assert_eq!(columns.next().unwrap(), whole.column(i), "column {i}");
                            continue;
                        }
                        let place = tensors.next().unwrap();
                        assert_eq!(&part.tensor_array(schema.field(i), place, None).unwrap(), whole.column(i));
                        let some = part.tensor_array(schema.field(i), place, Some(&[2, 0])).unwrap();
                        assert_eq!(some.slice(0, 1).as_ref(), whole.column(i).slice(2, 1).as_ref());
                        assert_eq!(some.slice(1, 1).as_ref(), whole.column(i).slice(0, 1).as_ref());
                        assert!(part.tensor_array(schema.field(i), place, Some(&[100_000])).is_err());
                    }
                    assert!(columns.next().is_none() && tensors.next().is_none());
                }
            }
        }
    }
}

#[test]
fn columns_beside_pictures_are_verified_without_them() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[400]));
    let set = ShardSet::open(dir.path()).unwrap();
    let info = set.parts()[0].clone();
    assert_eq!((info.light.0.len(), info.n_batches()), (3, 2), "one more for the footer");
    let path = dir.path().join(&info.file);
    let whole = std::fs::read(&path).unwrap();
    let schema = set.schema().unwrap();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let tensor = schema.fields().iter().position(|field| crate::shard::is_tensor(field)).unwrap();
    let place = set.part(0).unwrap().sparse(0, &all).unwrap().tensors[0];
    let pictures = place.start() as usize..(place.start() + place.n_rows() * place.row_bytes()) as usize;

    // Pictures that rotted from the first to the last byte: labels are read all the same, pictures are not.
    let mut bytes = whole.clone();
    pictures.clone().step_by(4096).for_each(|at| bytes[at] ^= 4);
    std::fs::write(&path, &bytes).unwrap();
    for options in BOTH {
        let set = ShardSet::open_with(dir.path(), options).unwrap();
        let part = set.part(0).unwrap();
        let sparse = part.sparse(0, &all).unwrap();
        assert_eq!(sparse.columns[0].len() as u64, info.rows_of_batch(0));
        for rows in [None, Some(&[0][..])] {
            let error = part.tensor_array(schema.field(tensor), &sparse.tensors[0], rows).unwrap_err();
            assert!(matches!(error, ShardError::Checksum { .. }), "{error}");
        }
    }

    // A flip anywhere else of the batch is found, whichever column is asked for, unless it is padding that nobody reads.
    let block = set.part(0).unwrap().place(0).unwrap();
    let (mut n_found, mut n_padding) = (0, 0);
    for at in (block.start as usize..block.end() as usize).filter(|at| !pictures.contains(at)).step_by(37) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        let set = ShardSet::open(dir.path()).unwrap();
        match set.part(0).unwrap().sparse(0, &[0]) {
            Ok(sparse) => {
                assert_eq!(sparse.columns[0].to_data(), set_column(&whole, &path, 0).to_data());
                n_padding += 1;
            }
            Err(ShardError::Checksum { start, end, .. }) => {
                assert!((start..end).contains(&(at as u64)), "{at} is not in {start}..{end}");
                n_found += 1;
            }
            Err(error) => panic!("a flip at {at}: {error}"),
        }
    }
    assert!(n_found > 100 && n_padding < n_found / 4, "{n_found} flips found, {n_padding} in padding");

    // In the footer, too.
    let at = whole.len() - 20;
    let mut bytes = whole.clone();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = ShardSet::open(dir.path()).unwrap().part(0).unwrap_err();
    assert!(matches!(error, ShardError::Checksum { end, .. } if end == whole.len() as u64), "{error}");

    // A checksum that is not that of the batch, in a manifest that is sealed: an error all the same.
    std::fs::write(&path, &whole).unwrap();
    let mut manifest = Manifest::read(dir.path()).unwrap();
    manifest.parts[0].light.0[0] ^= 1;
    std::fs::write(dir.path().join("manifest.json"), ajepa_store::seal(&manifest).unwrap()).unwrap();
    let error = ShardSet::open(dir.path()).unwrap().part(0).unwrap().sparse(0, &[0]).unwrap_err();
    assert!(error.to_string().contains("has a checksum of"), "{error}");
    // Sets written before there were such checksums are verified by their pages.
    manifest.parts[0].light.0.clear();
    std::fs::write(dir.path().join("manifest.json"), ajepa_store::seal(&manifest).unwrap()).unwrap();
    assert!(ShardSet::open(dir.path()).unwrap().part(0).unwrap().sparse(0, &[0]).is_ok());
}

/// Column `column` of the first record batch of the part when its file holds `bytes`.
fn set_column(bytes: &[u8], path: &std::path::Path, column: usize) -> arrow::array::ArrayRef {
    std::fs::write(path, bytes).unwrap();
    ShardSet::open(path.parent().unwrap()).unwrap().part(0).unwrap().batch(0).unwrap().column(column).clone()
}
