//! Ten seconds of one coded file to samples, one thread: `decode/mp3`, its mean alone, and `decode/mp3-stereo`.

#![allow(missing_docs)]

use std::io::Cursor;

use ajepa_ops::AudioRead;
use ajepa_ops::decode::{Channels, DecodeConfig};
use criterion::{Criterion, criterion_group, criterion_main};

/// The music among the fixtures, over and over until ten seconds are full: 441,000 frames and some.
fn mp3() -> Vec<u8> {
    let bytes = include_bytes!("../tests/fixtures/decode/stereo.mp3");
    // What lies before the second frame header is the LAME tag, which would say that the file ends after one round.
    let headers = |from: usize| (from..bytes.len()).find(|&i| bytes[i] == 0xFF && bytes[i + 1] == 0xFB);
    let sound = headers(0).and_then(|first| headers(first + 40)).unwrap_or(0);
    bytes[sound..].repeat(24)
}

fn decode(c: &mut Criterion) {
    let bytes = mp3();
    for (name, channels) in [("decode/mp3", Channels::Mono), ("decode/mp3-stereo", Channels::All)] {
        let config = DecodeConfig { channels, max_bad_packets: 1.0, ..Default::default() };
        let decode = config.build().expect("the defaults are valid");
        let mut samples = Vec::new();
        c.bench_function(name, |b| {
            b.iter(|| {
                samples.clear();
                let mut audio = decode.open(Box::new(Cursor::new(bytes.clone())), "mp3")?;
                audio.read_to_end(&mut samples, 1 << 20)
            });
        });
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
