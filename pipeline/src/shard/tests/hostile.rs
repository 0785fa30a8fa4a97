//! Mutated parts, manifests and records: typed errors, never a panic, a hang or memory without bound (R3).

use std::io::Write as _;

use ajepa_store::PageWriter;
use arrow::array::Array;

use super::*;
use crate::shard::decode::is_numbers;
use crate::shard::{Access, Checksums, Manifest, Part, ReadOptions, ShardError, ShardSet, verify};

type Lie<'a> = &'a dyn Fn(&mut Manifest);

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ (self.0 >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Flips, fills, cuts, swells; mostly near the places that steer a reader.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        let len = bytes.len();
        let near_end = len.saturating_sub(1 + rng.below(len.min(1500)));
        let at = [rng.below(len.min(1200)), near_end, rng.below(len)][rng.below(3)];
        match rng.below(7) {
            0 | 1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = [0, 0x7f, 0x80, 0xff][rng.below(4)],
            3 => {
                let value = [0, 1, -1, i64::MAX, i64::MIN, i64::from(i32::MAX), 1 << 40][rng.below(7)].to_le_bytes();
                let at = at & !7;
                let n = 8.min(len - at);
                bytes[at..at + n].copy_from_slice(&value[..n]);
            }
            4 => bytes.truncate(at.max(1)),
            5 => {
                let from = rng.below(len);
                let n = 64.min(len - at).min(len - from);
                bytes.copy_within(from..from + n, at);
            }
            _ => bytes.splice(at..at, vec![rng.next() as u8; 8]).for_each(drop),
        }
    }
}

/// Reads everything in both ways; only errors are allowed.
fn read_all(dir: &Path) -> Result<u64, ShardError> {
    let mut n_rows = 0;
    for access in [Access::Mapped, Access::Copied] {
        let set = ShardSet::open_with(dir, ReadOptions { access, ..ReadOptions::default() })?;
        for part in 0..set.n_parts() {
            let part = set.part(part)?;
            read_sparse(&part);
            for batch in part.batches() {
                let batch = batch?;
                n_rows += batch.num_rows() as u64;
                // Reads every offset and every text, as any user of the batch may.
                for column in batch.columns() {
                    column.to_data().validate_full().unwrap();
                }
            }
        }
    }
    Ok(n_rows)
}

/// Column by column: what is read without an error must be sound.
fn read_sparse(part: &Part) {
    let schema = part.schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    for batch in 0..part.n_batches() {
        let Ok(sparse) = part.sparse(batch, &all) else { continue };
        sparse.columns.iter().for_each(|column| column.to_data().validate_full().unwrap());
        let tensors = schema.fields().iter().filter(|field| is_numbers(field));
        for (field, place) in tensors.zip(&sparse.tensors) {
            if let Ok(column) = part.tensor_array(field, place, None) {
                column.to_data().validate_full().unwrap();
            }
        }
    }
}

/// Gives the part its right length and checksums again, as an attacker would.
fn forge(dir: &Path, manifest: &Manifest, part: usize, bytes: &[u8]) {
    let mut manifest = manifest.clone();
    let info = &mut manifest.parts[part];
    manifest.bytes = manifest.bytes - info.bytes + bytes.len() as u64;
    info.bytes = bytes.len() as u64;
    // Without it columns are verified by their pages, whose checksums are right.
    info.light = Checksums::default();
    info.pages = Checksums(bytes.chunks(manifest.page_bytes as usize).map(Checksums::of).collect());
    std::fs::write(dir.join(&info.file), bytes).unwrap();
    std::fs::write(dir.join("manifest.json"), ajepa_store::seal(&manifest).unwrap()).unwrap();
}

fn mutants(default: usize) -> usize {
    std::env::var("AJEPA_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn mutated_parts_with_forged_checksums_are_errors() {
    for compression in [Compression::None, Compression::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), compression).unwrap();
        drive(&mut sink, &job(&[5, 20]), 50, Dtype::F16).unwrap();
        let manifest = Manifest::read(dir.path()).unwrap();
        let originals: Vec<Vec<u8>> =
            manifest.parts.iter().map(|part| std::fs::read(dir.path().join(&part.file)).unwrap()).collect();
        let mut rng = Rng(7);
        let mut n_errors = 0;
        let n = mutants(500);
        for _ in 0..n {
            let part = rng.below(originals.len());
            let mut bytes = originals[part].clone();
            mutate(&mut rng, &mut bytes);
            forge(dir.path(), &manifest, part, &bytes);
            match read_all(dir.path()) {
                Ok(n_rows) => assert_eq!(n_rows, 50),
                Err(error) => {
                    n_errors += 1;
                    let text = error.to_string();
                    assert!(text.contains("part-"), "{text}");
                }
            }
            drop(verify(dir.path()).unwrap());
            std::fs::write(dir.path().join(&manifest.parts[part].file), &originals[part]).unwrap();
        }
        assert!(n_errors > n / 4, "{n_errors} of {n} mutants were refused with {compression:?}");
    }
}

#[test]
fn mutated_folders_are_errors_unless_they_are_whole() {
    let whole = tempfile::tempdir().unwrap();
    let run = job(&[5, 20]);
    write_set(whole.path(), &run);
    let original = files(whole.path());
    let expected = ShardSet::open(whole.path()).unwrap().row(24).unwrap().batch;
    let names: Vec<&String> = original.keys().collect();
    let mut rng = Rng(11);
    let dir = tempfile::tempdir().unwrap();
    copy_set(whole.path(), dir.path());
    for _ in 0..mutants(1000) {
        let name = names[rng.below(names.len())];
        let mut bytes = original[name].clone();
        mutate(&mut rng, &mut bytes);
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        match read_all(dir.path()) {
            Ok(_) => assert!(bytes == original[name] || !name.ends_with("arrow") && name != "manifest.json", "{name}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if bytes != original[name] && (name.starts_with("_units/g001/0") || name.ends_with("arrow")) {
            // A writer that finds this redoes what it must, and readers see the same rows again.
            let report = write_set(dir.path(), &run);
            assert!(report.complete);
            if !name.ends_with("arrow") || bytes.len() != original[name].len() {
                let set = ShardSet::open(dir.path()).unwrap();
                assert_eq!(set.row(24).unwrap().batch, expected, "{name}");
            }
        }
        for extra in files(dir.path()).keys().filter(|name| !original.contains_key(*name)) {
            std::fs::remove_file(dir.path().join(extra)).unwrap();
        }
        std::fs::write(&path, &original[name]).unwrap();
        std::fs::write(dir.path().join("manifest.json"), &original["manifest.json"]).unwrap();
    }
}

#[test]
fn manifests_that_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), &job(&[5, 20]));
    let truth = Manifest::read(dir.path()).unwrap();
    let lies: [(&str, Lie<'_>); 9] = [
        ("path out of the folder", &|m| m.parts[0].file = "../../etc/passwd".into()),
        ("rows beyond counting", &|m| m.parts[0].rows = u64::MAX),
        ("sum that overflows", &|m| m.parts.iter_mut().for_each(|part| part.bytes = u64::MAX / 2)),
        ("no rows", &|m| m.parts[0].rows = 0),
        ("batches of nothing", &|m| m.parts[0].batch_rows = 0),
        ("pages of nothing", &|m| m.page_bytes = 0),
        ("pages of an odd size", &|m| m.page_bytes = 5000),
        ("too few hashes", &|m| m.parts[0].pages.0.clear()),
        ("another sum of rows", &|m| m.rows += 1),
    ];
    for (what, lie) in lies {
        let mut manifest = truth.clone();
        lie(&mut manifest);
        std::fs::write(dir.path().join("manifest.json"), ajepa_store::seal(&manifest).unwrap()).unwrap();
        assert!(matches!(ShardSet::open(dir.path()), Err(ShardError::Manifest { .. })), "{what}");
    }
    let mut other_rows = truth.clone();
    other_rows.parts[0].rows -= 1;
    other_rows.parts[0].batch_rows -= 1;
    other_rows.rows -= 1;
    std::fs::write(dir.path().join("manifest.json"), ajepa_store::seal(&other_rows).unwrap()).unwrap();
    let error = ShardSet::open(dir.path()).unwrap().row(0).unwrap_err();
    assert!(matches!(&error, ShardError::Format { problem, .. } if problem.contains("the manifest says 4")), "{error}");
    let mut newer: serde_json::Value = serde_json::to_value(&truth).unwrap();
    newer["format"] = json!(2);
    std::fs::write(dir.path().join("manifest.json"), ajepa_store::seal(&newer).unwrap()).unwrap();
    assert!(ShardSet::open(dir.path()).unwrap_err().to_string().contains("format"));
    std::fs::remove_file(dir.path().join("manifest.json")).unwrap();
    let error = ShardSet::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("run the pipeline again"), "{error}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    for name in ["part-00000.arrow", "manifest.json", "_units/g001/00000.json"] {
        let dir = tempfile::tempdir().unwrap();
        let run = job(&[5]);
        write_set(dir.path(), &run);
        let path = dir.path().join(name);
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        if name != "_units/g001/00000.json" {
            let row = ShardSet::open(dir.path()).and_then(|set| set.row(0));
            assert!(row.unwrap_err().to_string().contains("not a regular file"), "{name}");
            assert!(verify(dir.path()).is_err() || !verify(dir.path()).unwrap().is_whole(), "{name}");
        }
        let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::None).unwrap();
        let result = drive(&mut sink, &run, 5, Dtype::F16);
        assert!(
            result.is_err_and(|error| error.to_string().contains("not a regular file"))
                || name != "_units/g001/00000.json"
        );
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = ShardWriter::new(dir.path(), stored(Dtype::F16), Compression::Zstd).unwrap();
    drive(&mut sink, &job(&[5]), 50, Dtype::F16).unwrap();
    let manifest = Manifest::read(dir.path()).unwrap();
    let part = std::fs::read(dir.path().join("part-00000.arrow")).unwrap();
    // The declared length of the pictures: 5 rows of 64 x 96 half floats.
    let declared = (5 * 64 * 96 * 2u64).to_le_bytes();
    let at = part.windows(8).position(|window| window == declared).unwrap();
    for lie in [1u64 << 40, 1 << 31, i64::MAX as u64] {
        let mut bytes = part.clone();
        bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
        forge(dir.path(), &manifest, 0, &bytes);
        let error = ShardSet::open(dir.path()).unwrap().row(0).unwrap_err().to_string();
        assert!(error.contains("a record batch of more than"), "{error}");
    }
}

#[test]
fn page_writer_sees_what_the_file_gets() {
    let mut out = PageWriter::new(Vec::new(), 1 << 12);
    out.write_all(&[7; 5000]).unwrap();
    let (bytes, n, pages) = out.finish();
    assert_eq!((bytes.len(), n, pages.0.len()), (5000, 5000, 2));
}
