//! Shards without audio, to try a feed or a trainer on: `make_mels DIR [CLIPS [FRAMES [MELS]]]`.

#[path = "../benches/mels/mod.rs"]
mod mels;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: make_mels DIR [CLIPS [FRAMES [MELS]]]")?);
    let mut number = |otherwise: usize| args.next().map_or(Ok(otherwise), |text| text.parse());
    let (n_clips, frames, mels) = (number(20_000)?, number(256)?, number(128)?);
    mels::write(&dir, n_clips, [frames, mels])?;
    Ok(())
}
