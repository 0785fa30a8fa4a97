//! One op alone in another audio program: prints the log-mel picture of any recording to the terminal.
//!
//! `cargo run --release -p reuse_one_op -- some.mp3`; without a file it shows one of the shipped clips.
//! Nothing of the framework is used: decode, resample and log-mel are plain objects.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

use ajepa_ops::AudioRead;
use ajepa_ops::decode::DecodeConfig;
use ajepa_ops::mel::LogMelConfig;
use ajepa_ops::resample::ResampleConfig;

/// From silence to loud.
const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];

fn main() -> Result<(), Box<dyn Error>> {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/sample/animals/rooster.mp3");
    let path = std::env::args().nth(1).map_or_else(|| PathBuf::from(shipped), PathBuf::from);
    let hint = path.extension().map(|ext| ext.to_string_lossy().into_owned()).unwrap_or_default();

    let clip = DecodeConfig::default().build()?.open(Box::new(BufReader::new(File::open(&path)?)), &hint)?;
    let mut clip = ResampleConfig::new(16_000).build_cache()?.wrap(clip)?;
    let mut samples = Vec::new();
    clip.read_to_end(&mut samples, 60 * 16_000)?;

    // 60 pictures a second would be too many columns for a terminal: 25 frames a second, 24 bands.
    let config = LogMelConfig {
        rate_hz: Some(16_000),
        n_mels: Some(24),
        frame_shift_ms: Some(40.0),
        frame_length_ms: Some(64.0),
        extent: Some(ajepa_ops::mel::Extent::Clip),
        ..LogMelConfig::default()
    };
    let mut mel = config.build()?;
    let [n_frames, n_mels] = mel.shape(samples.len());
    let mut picture = vec![0.0; n_frames * n_mels];
    mel.process(&samples, &mut picture)?;

    let loudest = picture.iter().copied().fold(f32::MIN, f32::max);
    let mut out = std::io::stdout().lock();
    for band in (0..n_mels).rev() {
        write!(out, "{:>6.0} Hz |", mel.mel_centres_hz()[band])?;
        for frame in 0..n_frames.min(100) {
            // Nine nepers below the loudest is as good as silent here.
            let level = 1.0 - (loudest - picture[frame * n_mels + band]) / 9.0;
            let shade = (level.clamp(0.0, 1.0) * (SHADES.len() - 1) as f32).round() as usize;
            write!(out, "{}", SHADES[shade])?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}: {:.2} s", path.display(), samples.len() as f64 / 16_000.0)?;
    Ok(())
}
