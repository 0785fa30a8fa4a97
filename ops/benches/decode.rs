//! Ten-second stereo clips from encoded bytes in memory to mono: `decode/CODEC`, one clip after the other.
//!
//! `FE_CORPUS` names a folder with one folder of clips for each codec (`wav`, `flac`, `m4a`, `ogg`, `opus`, ...); without
//! it the fixtures of the tests stand in, which are shorter: half a second.

#![allow(missing_docs)]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_ops::AudioRead;
use ajepa_ops::decode::DecodeConfig;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};

/// Clips of a codec that are decoded; more would only take longer.
const N_CLIPS: usize = 20;

/// Bytes that every iteration shares, as the readers of a file do.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The files of a folder, spread evenly over it: a corpus is often sorted by kind.
fn files(folder: &Path, keep: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file() && keep(path)).collect();
    all.sort();
    let step = all.len().div_ceil(N_CLIPS).max(1);
    all.into_iter().step_by(step).collect()
}

fn codec(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, paths: &[PathBuf]) {
    let extension = paths.first().and_then(|path| path.extension()).map(|ext| ext.to_string_lossy().into_owned());
    let Some(hint) = extension else { return };
    let clips: Vec<Arc<Vec<u8>>> =
        paths.iter().map(|path| Arc::new(fs::read(path).expect("the clip is readable"))).collect();
    let decode = DecodeConfig::default().build().expect("the defaults are in range");
    let mut samples = Vec::new();
    let mut next = clips.iter().cycle();
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |b| {
        b.iter(|| {
            let clip = Shared(next.next().expect("there is a clip").clone());
            let mut audio = decode.open_bytes(clip, &hint).expect("the clip is sound");
            samples.clear();
            black_box(audio.read_to_end(&mut samples, 1 << 24)).expect("the clip is sound")
        });
    });
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    if let Some(corpus) = std::env::var_os("FE_CORPUS") {
        let mut folders: Vec<PathBuf> =
            fs::read_dir(&corpus).into_iter().flatten().flatten().map(|e| e.path()).collect();
        folders.sort();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            codec(&mut group, &name, &files(folder, |_| true));
        }
    } else {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode");
        for name in ["pcm16.wav", "flac16.flac", "stereo.m4a", "stereo.ogg", "stereo.opus", "stereo.mp3"] {
            let paths = files(&fixtures, |path| path.ends_with(name));
            codec(&mut group, name.rsplit('.').next().unwrap_or(name), &paths);
        }
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
