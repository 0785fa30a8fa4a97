//! One ten-second clip through each preset on every vector path that the machine has, one thread.

use ajepa_ops::mel::{LogMelConfig, LogMelPreset};
use ajepa_ops::simd::Instructions;
use criterion::{Criterion, criterion_group, criterion_main};

fn log_mel(c: &mut Criterion) {
    let presets = [
        ("512x96", LogMelPreset::Code225b816),
        ("256x128", LogMelPreset::Paper2025),
        ("base-2026", LogMelPreset::Base2026),
    ];
    for instructions in Instructions::available() {
        for (size, preset) in presets {
            let mut mel = LogMelConfig::preset(preset).build().expect("presets build");
            mel.set_instructions(instructions);
            let n_samples = 10 * mel.rate_hz() as usize;
            // Noise, so that no frame is short-circuited.
            let clip: Vec<f32> =
                (0..n_samples as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e8 - 0.08).collect();
            let [rows, columns] = mel.shape(n_samples);
            let mut picture = vec![0.0; rows * columns];
            let name = format!("log_mel/{}/{size}", instructions.name());
            c.bench_function(&name, |b| b.iter(|| mel.process(&clip, &mut picture).map(|valid| (valid, picture[0]))));
        }
    }
}

criterion_group!(benches, log_mel);
criterion_main!(benches);
