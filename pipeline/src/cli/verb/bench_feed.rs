//! `bench SHARDS`: how fast a folder of shards feeds a trainer, beside what copying as many bytes alone takes.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::buffer::Buffer;

use super::{fail, print};
use crate::cli::args::BenchArgs;
use crate::cli::exit::Exit;
use crate::cli::format::{NO_NUMBER, bytes, count, counted, percent, quantity};
use crate::engine::cpu_s;
use crate::feed::{Feed, FeedConfig, FeedError, FeedMetrics};
use crate::schema::Dtype;
use crate::shard::{ReadOptions, ShardError, ShardSet};
use crate::stages::mask::MaskStageConfig;

/// Clips of a batch, where there are as many.
const BATCH_CLIPS: u64 = 256;

/// How long each line is measured.
const LINE_S: f64 = 2.0;

/// Epochs after which a line of few clips is measured long enough.
const LINE_EPOCHS: u64 = 20;

/// What a trainer of the reference model (ViT-B, 128 tokens, half of them masked: 64 GFLOP a clip) eats on one H100 at 40 %
/// of its peak.
const H100_CLIPS_PER_S: f64 = 6_200.0;

/// Bytes of rows that the bare copy has at hand.
const BARE_BYTES: u64 = 1 << 30;

/// Measures the first epoch, one worker, all workers, and a bare copy.
pub fn bench(args: &BenchArgs) -> Exit {
    let dir = &args.graph.file;
    if !args.graph.overrides.is_empty() {
        eprintln!("error: --set changes a graph, and {} is a folder of shards", dir.display());
        return Exit::Usage;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = args.jobs.map_or(cores, std::num::NonZero::get);
    match measure(dir, jobs) {
        Ok(text) => print(&text),
        Err(error) => fail(error),
    }
}

fn measure(dir: &Path, jobs: usize) -> Result<String, FeedError> {
    let (mut feed, masks) = open(dir, 1)?;
    let mut out = heading(dir, &feed, masks);
    let _ = writeln!(out, "{:<22} {:>9} {:>8} {:>15} {:>15}", "", "clips/s", "GB/s", "CPU us a clip", "trainer waits");
    eprintln!("reading {} once ...", bytes(feed.n_rows() * row_bytes(&feed)));
    let per_epoch = feed.steps_per_epoch();
    line(&mut out, "first epoch", &run(&mut feed, per_epoch, f64::MAX, None)?);
    let most = LINE_EPOCHS * per_epoch;
    let one = run(&mut feed, most, LINE_S, None)?;
    line(&mut out, "1 worker", &one);
    let paced = run(&mut feed, most, LINE_S, Some(H100_CLIPS_PER_S))?;
    if jobs > 1 {
        drop(feed);
        let (mut feed, _) = open(dir, jobs)?;
        run(&mut feed, per_epoch, f64::MAX, None)?;
        line(&mut out, &counted(jobs as u64, "worker"), &run(&mut feed, most, LINE_S, None)?);
    }
    line(&mut out, "trainer on an H100", &paced);
    // Beside the last lines, as close in time as can be: other programs on the machine slow both.
    let bare_us = bare_copy_us(dir).map_err(|source| FeedError::Set { dir: dir.to_owned(), source })?;
    // The clock of a thread moves in ticks: a few rows are copied between two of them.
    let bare = match bare_us {
        0.0 => "a bare copy of the same rows takes too little to be measured: they are few".to_owned(),
        us => format!(
            "a bare copy of the same rows takes {} us a clip: {} of one worker's time",
            quantity(us),
            percent(us / one.cpu_us())
        ),
    };
    let _ = writeln!(out, "\n{bare}");
    let _ = writeln!(
        out,
        "an H100 eats about {} clips/s of the reference model: one worker feeds {}",
        count(H100_CLIPS_PER_S as u64),
        quantity(one.metrics.clips_per_s() / H100_CLIPS_PER_S)
    );
    Ok(out)
}

/// The feed, and what is said of its masks: the reference's, where its patches fit the picture.
fn open(dir: &Path, workers: usize) -> Result<(Feed, &'static str), FeedError> {
    let n_rows = ShardSet::open(dir).map_err(|source| FeedError::Set { dir: dir.to_owned(), source })?.n_rows();
    let plain = FeedConfig {
        batch_clips: n_rows.clamp(1, BATCH_CLIPS) as usize,
        workers,
        buffers: workers + 3,
        ..FeedConfig::default()
    };
    let masked = FeedConfig { masks: Some(MaskStageConfig::default()), ..plain.clone() };
    match masked.open(&[dir]) {
        Err(FeedError::Config(error)) if error.field.as_ref().is_none_or(|field| field.starts_with("masks")) => {
            Ok((plain.open(&[dir])?, "no masks (patches of 16 x 16 do not fit)"))
        }
        feed => Ok((feed?, "masks drawn")),
    }
}

/// What one line is made of.
struct Measured {
    metrics: FeedMetrics,
    cpu_s: f64,
}

impl Measured {
    fn cpu_us(&self) -> f64 {
        self.cpu_s * 1e6 / self.metrics.clips.max(1) as f64
    }
}

/// Takes batches until there were `most` or the time is over; as fast as they come, or so many clips a second.
fn run(feed: &mut Feed, most: u64, seconds: f64, pace: Option<f64>) -> Result<Measured, FeedError> {
    let (before, cpu_before, started) = (feed.metrics(), cpu_s(), Instant::now());
    let mut n_batches = 0;
    let mut clips = 0.0;
    while n_batches < most && started.elapsed().as_secs_f64() < seconds {
        let Some(batch) = feed.next() else { break };
        clips += batch?.n_clips() as f64;
        n_batches += 1;
        if let Some(per_s) = pace {
            std::thread::sleep(Duration::from_secs_f64(clips / per_s).saturating_sub(started.elapsed()));
        }
    }
    Ok(Measured { metrics: feed.metrics().since(&before), cpu_s: cpu_s() - cpu_before })
}

fn row_bytes(feed: &Feed) -> u64 {
    let tensor = feed.tensor();
    (tensor.shape.iter().product::<usize>() * tensor.dtype.size_bytes()) as u64
}

fn heading(dir: &Path, feed: &Feed, masks: &str) -> String {
    let tensor = feed.tensor();
    let dtype = if tensor.dtype == Dtype::F16 { "f16" } else { "f32" };
    let dims: Vec<String> = tensor.shape.iter().zip(&tensor.axes).map(|(n, axis)| format!("{n} {axis}")).collect();
    let n_clips = feed.n_rows().clamp(1, BATCH_CLIPS);
    format!(
        "{}: {} of {dtype}[{}], {}; random batches of {n_clips}, {masks}\n\n",
        dir.display(),
        counted(feed.n_rows(), "clip"),
        dims.join(" x "),
        bytes(feed.n_rows() * row_bytes(feed)),
    )
}

fn line(out: &mut String, what: &str, measured: &Measured) {
    let metrics = &measured.metrics;
    let gb_per_s = metrics.bytes as f64 / metrics.elapsed_s.max(1e-9) / 1e9;
    let cpu = if measured.cpu_s > 0.0 { quantity(measured.cpu_us()) } else { NO_NUMBER.to_owned() };
    let (rate, gb_per_s) = (quantity(metrics.clips_per_s()), quantity(gb_per_s));
    let _ = writeln!(out, "{what:<22} {rate:>9} {gb_per_s:>8} {cpu:>15} {:>15}", percent(metrics.wait_share()));
}

/// Processor time a clip of copying rows out of the maps into one buffer, with nothing looked at or looked up.
fn bare_copy_us(dir: &Path) -> Result<f64, ShardError> {
    let set = ShardSet::open_with(dir, ReadOptions { verify: false, ..ReadOptions::default() })?;
    let column = set.manifest().tensors.first().map(|tensor| tensor.column.clone()).unwrap_or_default();
    let mut rows = Vec::new();
    let mut n_bytes = 0;
    'parts: for part in 0..set.n_parts() {
        let part = set.part(part)?;
        for batch in 0..part.n_batches() {
            let (of_batch, _) = part.tensor_rows(batch, &column, &[])?;
            for row in 0..part.info().rows_of_batch(batch as u64) {
                let row = part.tensor_row(&of_batch, row)?;
                n_bytes += row.len() as u64;
                rows.push(row);
                if n_bytes > BARE_BYTES {
                    break 'parts;
                }
            }
        }
    }
    let row_bytes = rows.first().map_or(0, Buffer::len);
    let n_clips = (rows.len() as u64).min(BATCH_CLIPS);
    let mut buffers = vec![vec![1; row_bytes * n_clips as usize]; 4];
    let copy_all = |seed: u64, buffers: &mut Vec<Vec<u8>>| {
        let order = crate::feed::Permutation::new(seed, rows.len() as u64);
        for at in 0..rows.len() {
            let out = &mut buffers[at / n_clips as usize % 4][at % n_clips as usize * row_bytes..][..row_bytes];
            out.copy_from_slice(&rows[order.apply(at as u64) as usize]);
        }
    };
    copy_all(0, &mut buffers);
    let (before, started, mut n_copied) = (cpu_s(), Instant::now(), 0);
    for seed in 1..=LINE_EPOCHS {
        copy_all(seed, &mut buffers);
        n_copied += rows.len();
        if started.elapsed().as_secs_f64() > LINE_S / 2.0 {
            break;
        }
    }
    Ok((cpu_s() - before) * 1e6 / n_copied.max(1) as f64)
}
