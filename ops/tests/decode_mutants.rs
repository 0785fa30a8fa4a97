//! Damaged files of every codec: samples or an error, never a panic, a hang or more audio than the budget.
//!
//! 2,000 mutants by default; `AJEPA_MUTANTS=10000` makes more of the same sequence.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ajepa_ops::decode::DecodeConfig;
use ajepa_ops::seed::{below, derive, rng};
use ajepa_ops::{AudioRead, OpError};

const MAX_SECONDS: f64 = 30.0;
/// A mutant takes milliseconds; this only has to tell a hang from a slow machine.
const WATCHDOG: Duration = Duration::from_secs(20);

fn originals() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode");
    let mut files: Vec<_> = [folder.clone(), folder.join("refused")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.is_file() && path.extension().is_some_and(|extension| extension != "sh" && extension != "py")
        })
        // Of what is refused by its first bytes a mutant teaches little; HE-AAC is refused after a look at its packets.
        .filter(|path| !path.parent().unwrap().ends_with("refused") || path.to_str().unwrap().contains("he_aac"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// One kind of damage, named; `other` is a second file to splice in.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], seed: u64) -> &'static str {
    let mut rng = rng(seed);
    let mut at = |n: usize| below(&mut rng, n.max(1) as u64) as usize;
    let len = bytes.len();
    // Headers are where the damage is interesting: half of all positions lie in the first kilobyte.
    let place = |at: &mut dyn FnMut(usize) -> usize| if at(2) == 0 { at(len.min(1024)) } else { at(len) };
    match at(6) {
        0 => {
            for _ in 0..=at(16) {
                let i = place(&mut at);
                bytes[i] ^= 1 << at(8);
            }
            "flips"
        }
        1 => {
            bytes.truncate(at(len));
            "truncation"
        }
        2 => {
            let (from, to) = (at(len), at(other.len()));
            bytes.truncate(from);
            bytes.extend_from_slice(&other[to..]);
            "splice"
        }
        3 => {
            let i = place(&mut at);
            let end = len.min(i + 1 + at(512));
            bytes[i..end].fill(0);
            "zeros"
        }
        4 => {
            let words = [0_u32, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_0000, 0x0001_0000, 0x0000_FFFF];
            for _ in 0..=at(3) {
                let i = place(&mut at).min(len.saturating_sub(4));
                let word = words[at(words.len())].to_be_bytes();
                let n = 4.min(len - i);
                bytes[i..i + n].copy_from_slice(&word[..n]);
            }
            "lengths"
        }
        _ => {
            let i = place(&mut at);
            let end = len.min(i + 1 + at(2048));
            let copy = bytes[i..end].to_vec();
            let to = at(len);
            bytes.splice(to..to, copy);
            "repetition"
        }
    }
}

/// Decodes all of `bytes`; the frames that came.
fn decode_all(bytes: Vec<u8>, hint: &str, skip: u64) -> Result<u64, OpError> {
    let config = DecodeConfig { max_seconds: MAX_SECONDS, ..Default::default() };
    let mut audio = config.build().unwrap().open(Box::new(Cursor::new(bytes)), hint)?;
    let bound = (MAX_SECONDS * f64::from(audio.rate_hz())) as u64;
    let promised = audio.n_frames_left();
    let mut n = audio.skip(skip)?;
    let mut block = [0.0; 4096];
    loop {
        let got = audio.read(&mut block)?;
        assert!(block[..got].iter().all(|x| x.is_finite()), "a sample is not finite");
        n += got as u64;
        assert!(n <= bound + 4096, "{n} frames, the budget is {bound}");
        if got == 0 {
            assert!(promised.is_none_or(|promised| promised == n), "promised {promised:?}, gave {n}");
            return Ok(n);
        }
    }
}

#[test]
fn mutants_give_samples_or_errors() {
    let n_mutants: u64 = std::env::var("AJEPA_MUTANTS").map_or(2_000, |n| n.parse().unwrap());
    let originals = originals();
    let current: Arc<Mutex<(String, Instant)>> = Arc::new(Mutex::new((String::new(), Instant::now())));
    let left = Arc::new(AtomicU64::new(n_mutants));
    let watched = (Arc::clone(&current), Arc::clone(&left));
    let watchdog = std::thread::spawn(move || {
        while watched.1.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(100));
            let (name, since) = watched.0.lock().unwrap().clone();
            if since.elapsed() > WATCHDOG {
                eprintln!("hang: {name} has been running for {:?}", since.elapsed());
                std::process::abort();
            }
        }
    });
    // Panics inside codecs are expected here and there, and caught; their messages would drown the summary.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut outcomes: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let mut escaped = Vec::new();
    for i in 0..n_mutants {
        let pick = |salt: u64| (derive(&[i, salt]) % originals.len() as u64) as usize;
        let (name, original) = &originals[pick(1)];
        let mut bytes = original.clone();
        let kind = mutate(&mut bytes, &originals[pick(2)].1, derive(&[i, 3]));
        let label = format!("mutant {i}: {name}, {kind}");
        *current.lock().unwrap() = (label.clone(), Instant::now());
        let hint = name.rsplit_once('.').map_or("", |(_, hint)| hint);
        let skip = if i % 4 == 0 { derive(&[i, 4]) % 20_000 } else { 0 };
        let outcome = match catch_unwind(AssertUnwindSafe(|| decode_all(bytes, hint, skip))) {
            Ok(Ok(_)) => "decoded".to_owned(),
            Ok(Err(error)) => error.code().to_owned(),
            Err(payload) => {
                let message = payload.downcast_ref::<String>().cloned().unwrap_or_default();
                escaped.push(format!("{label}: {message}"));
                "escaped".to_owned()
            }
        };
        *outcomes.entry((kind, outcome)).or_default() += 1;
        left.fetch_sub(1, Ordering::Relaxed);
    }
    std::panic::set_hook(hook);
    watchdog.join().unwrap();
    for ((kind, outcome), n) in &outcomes {
        println!("{kind:>12} {outcome:<24} {n:>6}");
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        let peak_kb: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
        println!("peak resident memory {peak_kb} kB");
        assert!(peak_kb < 512 * 1024, "a length field was believed: {peak}");
    }
    assert!(escaped.is_empty(), "{} panics: {escaped:#?}", escaped.len());
    // The mutator must damage some files beyond use and leave others alive, or it tests nothing.
    assert!(outcomes.iter().any(|((_, outcome), _)| outcome == "decoded"));
    assert!(outcomes.iter().any(|((_, outcome), _)| outcome == "corrupt"));
}
