//! Ten seconds of mono from one rate to another: `resample/IN-OUT`, beside rubato's FFT resampler at `rubato/IN-OUT`.

#![allow(missing_docs)]

use std::hint::black_box;

use ajepa_ops::resample::ResampleConfig;
use ajepa_ops::seed;
use criterion::{Criterion, criterion_group, criterion_main};
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// Rates, and the chunk with which rubato leaves no fractional delay.
const CASES: [(u32, u32, usize); 8] = [
    (44_100, 32_000, 1_764),
    (48_000, 32_000, 1_920),
    (44_100, 16_000, 1_764),
    (48_000, 16_000, 1_920),
    (22_050, 32_000, 1_764),
    (16_000, 32_000, 1_920),
    (8_000, 32_000, 1_920),
    (12_345, 32_000, 4_938),
];

fn clip(rate_hz: u32) -> Vec<f32> {
    let mut rng = seed::rng(0);
    (0..rate_hz * 10).map(|_| seed::unit(&mut rng) as f32 - 0.5).collect()
}

fn ours(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample");
    for (rate_in, rate_out, _) in CASES {
        let samples = clip(rate_in);
        let mut resampler = ResampleConfig::new(rate_out).build(rate_in).expect("rates are in range");
        let mut out = Vec::new();
        group.bench_function(format!("{rate_in}-{rate_out}"), |b| {
            b.iter(|| resampler.process(black_box(&samples), &mut out));
        });
    }
    group.finish();
}

fn planning(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    for (rate_in, rate_out) in [(44_100, 32_000), (12_345, 32_000), (44_101, 32_000)] {
        group.bench_function(format!("{rate_in}-{rate_out}"), |b| {
            b.iter(|| ResampleConfig::new(rate_out).build(black_box(rate_in)));
        });
    }
    group.finish();
}

fn peer(c: &mut Criterion) {
    let mut group = c.benchmark_group("rubato");
    for (rate_in, rate_out, chunk) in CASES {
        let samples = clip(rate_in);
        let mut resampler = Fft::<f32>::new(rate_in as usize, rate_out as usize, chunk, 1, FixedSync::Both)
            .expect("rubato takes these rates");
        let n_out = resampler.process_all_needed_output_len(samples.len());
        let mut out = vec![0.0; n_out];
        group.bench_function(format!("{rate_in}-{rate_out}"), |b| {
            b.iter(|| {
                resampler.reset();
                let input = SequentialSlice::new(black_box(&samples), 1, samples.len()).expect("mono");
                let mut output = SequentialSlice::new_mut(&mut out, 1, n_out).expect("mono");
                resampler.process_all_into_buffer(&input, &mut output, samples.len(), None).map(|(_, n)| n)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ours, planning, peer);
criterion_main!(benches);
