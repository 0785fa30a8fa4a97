//! Decodes one file to 32-bit floats on standard output, interleaved or (`mono`) their mean; what it is goes to standard
//! error.
//!
//! `cargo run --release --example decode_raw -- FILE [mono] > samples.f32`: the half of `tests/compare_ffmpeg.py` that is
//! ours.

use std::io::{BufWriter, Write, stdout};

use ajepa_ops::AudioRead;
use ajepa_ops::decode::{Channels, DecodeConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: decode_raw FILE [mono]")?;
    let hint = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let channels = if std::env::args().nth(2).as_deref() == Some("mono") { Channels::Mono } else { Channels::All };
    let decode = DecodeConfig { channels, ..Default::default() }.build()?;
    let mut audio = decode.open(Box::new(std::fs::File::open(&path)?), hint)?;
    eprintln!("{:?}", audio.info());
    let mut out = BufWriter::new(stdout().lock());
    let mut block = vec![0.0; 4096 * audio.channels()];
    loop {
        let n = audio.read(&mut block)? * audio.channels();
        if n == 0 {
            return Ok(out.flush()?);
        }
        for x in &block[..n] {
            out.write_all(&x.to_le_bytes())?;
        }
    }
}
