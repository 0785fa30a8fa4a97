//! Promises R4, R5 and R6 for batches, and resuming at any of them.

use std::fs::OpenOptions;
use std::hash::Hasher;
use std::os::unix::fs::FileExt;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::*;
use crate::schema::Dtype;
use crate::shard::tests::{SHAPE, copy_set, drive, job, mel_value, stored, write_set};
use crate::shard::{Access, ShardWriter};
use crate::stages::mask::MaskStageConfig;

/// Rows of the units of the set that is fed: 1,150 in all, in seven record batches.
const UNITS: [usize; 4] = [400, 30, 600, 120];

fn a_set() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&UNITS));
    dir
}

fn config() -> FeedConfig {
    FeedConfig { batch_clips: 32, seed: 11, masks: Some(MaskStageConfig::default()), ..FeedConfig::default() }
}

/// The clip that row `row` of the set is.
fn clip_of(row: u64) -> u64 {
    let mut row = row as usize;
    for (unit, n) in UNITS.iter().enumerate() {
        if row < *n {
            return (unit * 1000 + row) as u64;
        }
        row -= n;
    }
    panic!("no such row");
}

/// Everything that a clip of a batch is, as one number.
fn digests(batch: &Batch) -> Vec<u64> {
    let row_bytes = batch.bytes().len() / batch.n_clips();
    let one = |i: usize| {
        let mut hasher = XxHash3_64::new();
        hasher.write_u64(batch.rows()[i]);
        hasher.write(&batch.bytes()[i * row_bytes..][..row_bytes]);
        for mask in batch.masks() {
            for token in mask.context.row(i).iter().chain(mask.target.row(i)) {
                hasher.write_u32(*token);
            }
        }
        hasher.finish()
    };
    (0..batch.n_clips()).map(one).collect()
}

/// Digests of `n` batches, each with its place.
fn run(config: &FeedConfig, dir: &Path, place: FeedPlace, n: usize) -> Vec<((u64, u64), Vec<u64>)> {
    let mut feed = config.open_at(&[dir], place, &PageMemory).unwrap();
    let next = |_| {
        let batch = feed.next()?.unwrap();
        Some(((batch.epoch(), batch.step()), digests(&batch)))
    };
    (0..n).map_while(next).collect()
}

#[test]
fn a_batch_holds_the_rows_it_names() {
    let dir = a_set();
    for access in [Access::Mapped, Access::Copied] {
        let config = FeedConfig { access, epochs: Some(1), keep_last: true, ..config() };
        let mut feed = config.open(&[dir.path()]).unwrap();
        assert_eq!((feed.n_rows(), feed.steps_per_epoch()), (1150, 36));
        let mut seen = Vec::new();
        while let Some(batch) = feed.next() {
            let batch = batch.unwrap();
            let values = batch.f16s().unwrap();
            assert!(batch.f32s().is_none());
            assert_eq!(batch.bytes().as_ptr() as usize % 64, 0);
            for (i, row) in batch.rows().iter().enumerate() {
                let picture = &values[i * SHAPE[0] * SHAPE[1]..][..SHAPE[0] * SHAPE[1]];
                let whole = (0..picture.len()).all(|at| picture[at].to_f32() == mel_value(clip_of(*row), at));
                assert!(whole, "row {row}");
                assert_eq!(feed.clip_id(*row).unwrap().unwrap(), format!("clip-{:06}", clip_of(*row)));
            }
            let [mask] = batch.masks() else { panic!("one mask") };
            let (context, target) = (mask.context.width().unwrap(), mask.target.width().unwrap());
            assert!(context + target == 24 && (9..=14).contains(&context), "{context} of 24 tokens are seen");
            assert_eq!((mask.context.n_rows(), mask.n_blocks), (batch.n_clips(), 1));
            assert_eq!(mask.context.values().len(), context * batch.n_clips());
            seen.extend_from_slice(batch.rows());
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1150).collect::<Vec<_>>());
        assert_eq!((feed.metrics().clips, feed.metrics().batches), (1150, 36));
        assert!(feed.clip_id(1150).is_err());
    }
}

#[test]
fn workers_and_buffers_change_nothing() {
    let dir = a_set();
    let expected = run(&FeedConfig { workers: 0, ..config() }, dir.path(), FeedPlace::default(), 80);
    assert_eq!(expected[79].0, (2, 9));
    assert_ne!(expected[0].1, expected[35].1, "each epoch has an order of its own");
    for (workers, buffers, read_ahead) in [(1, 4, 2), (2, 2, 0), (8, 5, 7), (1, 2, 100)] {
        let config = FeedConfig { buffers, workers, read_ahead, ..config() };
        assert!(run(&config, dir.path(), FeedPlace::default(), 80) == expected, "{workers} workers");
    }
}

#[test]
fn ranks_share_the_same_batches() {
    let dir = a_set();
    let whole = run(&config(), dir.path(), FeedPlace::default(), 40);
    for ranks in [2, 4] {
        let of_rank = |rank| run(&FeedConfig { rank, ranks, ..config() }, dir.path(), FeedPlace::default(), 40);
        let parts: Vec<_> = (0..ranks).map(of_rank).collect();
        for (i, (place, expected)) in whole.iter().enumerate() {
            let union: Vec<u64> = parts.iter().flat_map(|part| part[i].1.clone()).collect();
            assert!(union == *expected && parts.iter().all(|part| part[i].0 == *place), "batch {i} of {ranks} ranks");
        }
    }
}

#[test]
fn any_batch_is_a_place_to_go_on_from() {
    let dir = a_set();
    let whole = run(&config(), dir.path(), FeedPlace::default(), 74);
    let mut feed = config().open(&[dir.path()]).unwrap();
    for k in 0..72 {
        let place = feed.place();
        assert_eq!((place.epoch, place.step), whole[k].0);
        let text = serde_json::to_string(&place).unwrap();
        let resumed = run(&config(), dir.path(), serde_json::from_str(&text).unwrap(), 2);
        assert!(resumed == whole[k..k + 2], "from batch {k}");
        assert_eq!(digests(&feed.next().unwrap().unwrap()), whole[k].1);
    }
    // A feed of two epochs ends where it ends, also for those who come later.
    let two = FeedConfig { epochs: Some(2), ..config() };
    assert_eq!(run(&two, dir.path(), FeedPlace { epoch: 1, step: 30 }, 99).len(), 5);
    assert_eq!(run(&two, dir.path(), FeedPlace { epoch: 7, step: 0 }, 99).len(), 0);
}

#[test]
fn masks_belong_to_clips_not_to_places() {
    let dir = a_set();
    let masks_of = |batch_clips, epoch| {
        let mask = serde_json::from_str(r#"{ "mask": { "size_per": "clip", "n_masks": 2 } }"#).unwrap();
        let config = FeedConfig { batch_clips, masks: Some(mask), ..config() };
        let place = FeedPlace { epoch, step: 0 };
        let mut feed = config.open_at(&[dir.path()], place, &PageMemory).unwrap();
        let mut masks = std::collections::BTreeMap::new();
        for _ in 0..feed.steps_per_epoch() {
            let batch = feed.next().unwrap().unwrap();
            for (i, row) in batch.rows().iter().enumerate() {
                let [a, b] = batch.masks() else { panic!("two masks") };
                assert_ne!(a.context.row(i), b.context.row(i));
                masks.insert(*row, (a.context.row(i).to_vec(), b.target.row(i).to_vec()));
            }
        }
        masks
    };
    let (large, small, later) = (masks_of(50, 0), masks_of(23, 0), masks_of(50, 1));
    assert_eq!((large.len(), small.len()), (1150, 1150));
    assert!(large == small, "another batch size, the same masks");
    assert!(large.iter().filter(|(row, masks)| later[row] == **masks).count() < 5, "each epoch draws anew");
}

/// What the batches of one epoch say, errors included.
fn epoch(feed: &mut Feed) -> Vec<Result<Vec<u64>, FeedError>> {
    (0..feed.steps_per_epoch()).map(|_| feed.next().unwrap().map(|batch| digests(&batch))).collect()
}

#[test]
fn a_flip_costs_the_batches_it_is_in_and_names_part_and_clip() {
    let dir = a_set();
    let clean = epoch(&mut config().open(&[dir.path()]).unwrap());
    let file = OpenOptions::new().write(true).open(dir.path().join("part-00002.arrow")).unwrap();
    // In the pictures of the first record batch of unit 2, behind the page that holds the names.
    file.write_all_at(&[0x55; 8], (1 << 20) + (1 << 19)).unwrap();
    for workers in [0, 2] {
        let mut feed = FeedConfig { workers, ..config() }.open(&[dir.path()]).unwrap();
        let mut n_lost = 0;
        for (found, expected) in epoch(&mut feed).into_iter().zip(&clean) {
            match found {
                Ok(digests) => assert_eq!(digests, *expected.as_ref().unwrap()),
                Err(FeedError::Rows { rows, source: ShardError::Checksum { part, start, end } }) => {
                    n_lost += 1;
                    assert_eq!((rows.part.as_str(), part.as_str()), ("part-00002.arrow", "part-00002.arrow"));
                    assert_eq!((start, end), (1 << 20, 2 << 20));
                    // Rows of 12 KiB: the second MiB begins in row 84 or 85 and ends in row 170.
                    assert!((430 + 84..=430 + 171).contains(&rows.row), "{rows}");
                    assert_eq!(rows.clip_id, Some(format!("clip-{:06}", clip_of(rows.row))));
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!((20..=35).contains(&n_lost), "86 rows of 1,150 in 35 batches: {n_lost} lost");
    }
}

#[test]
fn a_part_that_changes_under_the_feed_is_an_error_and_kills_nobody() {
    let clean = a_set();
    for access in [Access::Mapped, Access::Copied] {
        for change in ["cut", "cut to nothing", "written over"] {
            let dir = tempfile::tempdir().unwrap();
            copy_set(clean.path(), dir.path());
            let mut feed = FeedConfig { access, workers: 2, ..config() }.open(&[dir.path()]).unwrap();
            let before = epoch(&mut feed);
            assert!(before.iter().all(Result::is_ok));
            // File systems keep times in ticks of some milliseconds: the new time must be another.
            std::thread::sleep(std::time::Duration::from_millis(30));
            let file = OpenOptions::new().write(true).open(dir.path().join("part-00000.arrow")).unwrap();
            match change {
                "cut" => file.set_len(1 << 20).unwrap(),
                "cut to nothing" => file.set_len(0).unwrap(),
                _ => file.write_all_at(&[1], 2 << 20).unwrap(),
            }
            // Four batches may have been filled before.
            let after = epoch(&mut feed).split_off(4);
            assert!(after.iter().any(Result::is_err));
            for error in after.into_iter().filter_map(Result::err) {
                let FeedError::Rows { rows, source: ShardError::Changed { part, .. } } = &error else {
                    panic!("{change}, {access:?}: {error}")
                };
                assert_eq!((rows.part.as_str(), part.as_str()), ("part-00000.arrow", "part-00000.arrow"));
                // Its batches were touched in the epoch before: the names are known whatever the file says now.
                assert_eq!(rows.clip_id, Some(format!("clip-{:06}", clip_of(rows.row))));
                assert!(error.to_string().contains("wanted for clip \"clip-0"), "{error}");
            }
        }
    }
}

#[test]
fn a_part_cut_in_the_middle_of_a_copy_kills_nobody() {
    let clean = a_set();
    let whole = epoch(&mut config().open(&[clean.path()]).unwrap());
    let mut n_errors = 0;
    for round in 0..40u64 {
        let dir = tempfile::tempdir().unwrap();
        copy_set(clean.path(), dir.path());
        std::thread::scope(|scope| {
            let mut feed = FeedConfig { workers: 2, ..config() }.open(&[dir.path()]).unwrap();
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_micros(round * 101 % 3000));
                let file = OpenOptions::new().write(true).open(dir.path().join("part-00002.arrow")).unwrap();
                file.set_len(round << 14).unwrap();
            });
            for (found, expected) in epoch(&mut feed).into_iter().zip(&whole) {
                match found {
                    Ok(digests) => assert_eq!(digests, *expected.as_ref().unwrap()),
                    Err(FeedError::Rows { source: ShardError::Changed { .. } | ShardError::Size { .. }, .. }) => {
                        n_errors += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    assert!(n_errors > 100, "{n_errors}");
}

#[test]
fn an_unlinked_part_stays_readable() {
    let dir = a_set();
    let mut feed = config().open(&[dir.path()]).unwrap();
    let first = epoch(&mut feed);
    for part in 0..UNITS.len() {
        std::fs::remove_file(dir.path().join(format!("part-{part:05}.arrow"))).unwrap();
    }
    assert!(first.iter().chain(&epoch(&mut feed)).all(Result::is_ok));
    // What was never opened is missed by name.
    let mut late = config().open(&[dir.path()]).unwrap();
    let error = late.next().unwrap().err().unwrap().to_string();
    assert!(error.contains("cannot open") && error.contains("part-0000"), "{error}");
}

#[test]
fn several_sets_are_one() {
    let (a, b) = (a_set(), a_set());
    let config = FeedConfig { shuffle: false, batch_clips: 115, epochs: Some(1), ..config() };
    let mut feed = config.open(&[a.path(), b.path()]).unwrap();
    assert_eq!((feed.n_rows(), feed.steps_per_epoch()), (2300, 20));
    let batches: Vec<Batch> = (0..3).map(|_| feed.next().unwrap().unwrap()).collect();
    assert_eq!(batches[2].rows(), (230..345).collect::<Vec<_>>());
    let first = digests(&batches[0])[7];
    drop(batches);
    let later: Vec<Batch> = feed.by_ref().skip(7).take(1).map(Result::unwrap).collect();
    assert_eq!(later[0].rows()[7], 1157);
    assert_eq!(feed.clip_id(1157).unwrap(), feed.clip_id(7).unwrap());
    let row_bytes = SHAPE[0] * SHAPE[1] * 2;
    let seventh = later[0].bytes()[7 * row_bytes..][..row_bytes].to_vec();
    drop(later);
    let again = config.open(&[a.path()]).unwrap().next().unwrap().unwrap();
    assert_eq!(digests(&again)[7], first);
    assert_eq!(again.bytes()[7 * row_bytes..][..row_bytes], seventh);
}

#[test]
fn what_does_not_fit_is_refused_with_a_reason() {
    let dir = a_set();
    let zstd = tempfile::tempdir().unwrap();
    let mut sink = ShardWriter::new(zstd.path(), stored(Dtype::F16), Compression::Zstd).unwrap();
    drive(&mut sink, &job(&[40]), 50, Dtype::F16).unwrap();
    let single = tempfile::tempdir().unwrap();
    let mut sink = ShardWriter::new(single.path(), stored(Dtype::F32), Compression::None).unwrap();
    drive(&mut sink, &job(&[40]), 50, Dtype::F32).unwrap();
    let says = |config: FeedConfig, dirs: &[&Path]| match config.open(dirs) {
        Ok(_) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    };
    let dirs = &[dir.path()][..];
    let cases = [
        (FeedConfig { rank: 2, ranks: 2, ..config() }, dirs, "rank: rank 2 of 2"),
        (FeedConfig { ranks: 3, ..config() }, dirs, "a multiple of `ranks`"),
        (FeedConfig { batch_clips: 0, ..config() }, dirs, "a multiple of `ranks`"),
        (FeedConfig { buffers: 1, ..config() }, dirs, "2 to 1024"),
        (FeedConfig { batch_clips: 2000, ..config() }, dirs, "1150 rows do not make one batch of 2000"),
        (FeedConfig { column: "wave".into(), ..config() }, dirs, "no such tensor; it has: mel"),
        (config(), &[], "no shard set was named"),
        (config(), &[zstd.path()], "`compression: none`"),
        (config(), &[dir.path(), single.path()], "F32[64, 96], but F16[64, 96]"),
        (config(), &[Path::new("nowhere")], "nowhere"),
    ];
    for (config, dirs, expected) in cases {
        let said = says(config, dirs);
        assert!(said.contains(expected), "{said:?} should say {expected:?}");
    }
    let odd = serde_json::from_str(r#"{ "patch": { "patch_frames": 15 } }"#).unwrap();
    let said = says(FeedConfig { masks: Some(odd), ..config() }, dirs);
    assert!(said.starts_with("masks.patch.patch_frames: "), "{said}");
    assert!(FeedConfig { ..config() }.open(&[single.path()]).unwrap().next().unwrap().unwrap().f32s().is_some());
}
