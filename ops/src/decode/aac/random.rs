//! Packets that no encoder makes: random but valid, with every book, window and tool, against Symphonia's decoder.
//!
//! Left out is what Symphonia does otherwise than the standard says: noise that is the same in both channels, pulses.

use symphonia::core::audio::layouts::{CHANNEL_LAYOUT_MONO, CHANNEL_LAYOUT_STEREO};
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::bands::Bands;
use super::codes::{BOOKS, SCALE_CODES, SCALE_LENS};
use super::decoder::AacDecoder;
use crate::decode::downmix::append;
use crate::seed::{below, derive, rng};

/// A stream of random choices and the bits that come of them.
struct Writer {
    rng: rand_chacha::ChaCha8Rng,
    bits: Vec<bool>,
}

/// The windows of a channel.
#[derive(Clone, Copy)]
struct Shape {
    sequence: usize,
    kaiser: bool,
    max_sfb: usize,
    /// One bit for each short window but the first: whether it belongs to the group before.
    grouping: u32,
}

impl Shape {
    fn short(self) -> bool {
        self.sequence == 2
    }

    /// Windows of each group.
    fn groups(self) -> Vec<usize> {
        let mut groups = vec![1];
        for bit in (0..7).rev().filter(|_| self.short()) {
            if self.grouping >> bit & 1 == 1 {
                *groups.last_mut().unwrap() += 1;
            } else {
                groups.push(1);
            }
        }
        groups
    }

    fn edges(self, bands: &Bands) -> &'static [u16] {
        if self.short() { bands.short } else { bands.long }
    }
}

impl Writer {
    fn below(&mut self, n: usize) -> usize {
        below(&mut self.rng, n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn put(&mut self, value: usize, n: usize) {
        self.bits.extend((0..n).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        self.bits.chunks(8).map(|byte| (0..8).fold(0, |x, i| x << 1 | u8::from(byte.get(i) == Some(&true)))).collect()
    }

    fn shape(&mut self, bands: &Bands) -> Shape {
        let mut shape = Shape { sequence: self.below(4), kaiser: self.one_in(2), max_sfb: 0, grouping: 0 };
        shape.max_sfb = self.below(shape.edges(bands).len());
        shape.grouping = self.below(128) as u32;
        shape
    }

    fn info(&mut self, shape: Shape) {
        self.put(shape.sequence, 3);
        self.put(usize::from(shape.kaiser), 1);
        if shape.short() {
            self.put(shape.max_sfb, 4);
            self.put(shape.grouping as usize, 7);
        } else {
            self.put(shape.max_sfb << 1, 7);
        }
    }

    fn scale(&mut self, difference: i32) {
        let i = (difference + 60) as usize;
        self.put(SCALE_CODES[i] as usize, usize::from(SCALE_LENS[i]));
    }

    /// Books of all bands; runs of them are sections.
    fn books(&mut self, shape: Shape, second: bool, noise: bool) -> Vec<Vec<usize>> {
        let n_books = if second { 15 } else { 13 };
        let mut groups = Vec::new();
        for _ in shape.groups() {
            let mut books = Vec::new();
            while books.len() < shape.max_sfb {
                let book = match self.below(n_books) {
                    12 => 13 * usize::from(noise),
                    13 => 14,
                    14 => 15,
                    book => book,
                };
                let longest = if self.one_in(9) { 60 } else { 6 };
                let n = 1 + self.below(longest).min(shape.max_sfb - books.len() - 1);
                let n_bits = if shape.short() { 3 } else { 5 };
                let all = (1 << n_bits) - 1;
                self.put(book, 4);
                (0..n / all).for_each(|_| self.put(all, n_bits));
                self.put(n % all, n_bits);
                books.resize(books.len() + n, book);
            }
            groups.push(books);
        }
        groups
    }

    fn scales(&mut self, books: &[Vec<usize>], gain: i32) {
        let (mut scale, mut energy, mut position) = (gain, gain - 90, 0);
        let mut first = true;
        for &book in books.iter().flatten().filter(|&&book| book != 0) {
            let last = match book {
                13 => &mut energy,
                14 | 15 => &mut position,
                _ => &mut scale,
            };
            let target = match book {
                13 => 40,
                14 | 15 => 3,
                _ => gain,
            } + below(&mut self.rng, 13) as i32
                - 6;
            let difference = target - *last;
            *last = target;
            if book == 13 && std::mem::take(&mut first) {
                self.put((difference + 256) as usize, 9);
            } else {
                self.scale(difference);
            }
        }
    }

    fn tns(&mut self, shape: Shape) {
        let present = self.one_in(3);
        self.put(usize::from(present), 1);
        for _ in 0..if present { if shape.short() { 8 } else { 1 } } else { 0 } {
            let (count_bits, len_bits, order_bits, max_order) =
                if shape.short() { (1, 4, 3, 7) } else { (2, 6, 5, 12) };
            let n = self.below(1 << count_bits);
            self.put(n, count_bits);
            let fine = self.below(2);
            if n > 0 {
                self.put(fine, 1);
            }
            for _ in 0..n {
                let (len, order) = (self.below(1 << len_bits), self.below(max_order + 1));
                self.put(len, len_bits);
                self.put(order, order_bits);
                if order > 0 {
                    let (down, compressed) = (self.below(2), self.below(2));
                    self.put(down, 1);
                    self.put(compressed, 1);
                    for _ in 0..order {
                        // Small ones: the filters of encoders do not ring for ever.
                        let n_bits = 3 + fine - compressed;
                        let value = (self.below(3) + (1 << n_bits) - 1) % (1 << n_bits);
                        self.put(value, n_bits);
                    }
                }
            }
        }
    }

    fn spectrum(&mut self, shape: Shape, books: &[Vec<usize>], edges: &[u16]) {
        for (books, n_windows) in books.iter().zip(shape.groups()) {
            for (sfb, &book) in books.iter().enumerate().filter(|&(_, &book)| (1..12).contains(&book)) {
                let dims = if book < 5 { 4 } else { 2 };
                let n = n_windows * usize::from(edges[sfb + 1] - edges[sfb]) / dims;
                (0..n).for_each(|_| self.word(book, dims));
            }
        }
    }

    /// One code word with its signs and escapes.
    fn word(&mut self, book: usize, dims: usize) {
        let size = [3, 3, 3, 3, 9, 9, 8, 8, 13, 13, 17][book - 1];
        let (lens, codes) = (BOOKS[book - 1].lens, BOOKS[book - 1].codes);
        let i = self.below(lens.len());
        self.put(usize::from(codes[i]), usize::from(lens[i]));
        let digits: Vec<usize> = (0..dims).rev().map(|place| i / size_pow(size, place) % size).collect();
        if !matches!(book, 1 | 2 | 5 | 6) {
            for _ in digits.iter().filter(|&&digit| digit > 0) {
                let sign = self.below(2);
                self.put(sign, 1);
            }
        }
        for _ in digits.iter().filter(|&&digit| book == 11 && digit == 16) {
            let n = self.below(9).min(self.below(9));
            self.put((1 << n) - 1, n);
            let low = self.below(1 << (n + 4));
            self.put(low, n + 5);
        }
    }

    /// A channel; `second` of a pair with `common` windows, where there may be intensity.
    fn channel(&mut self, bands: &Bands, shape: Shape, common: bool, second: bool, noise: bool) {
        let gain = 100 + self.below(20) as i32;
        self.put(gain as usize, 8);
        if !common {
            self.info(shape);
        }
        let books = self.books(shape, second, noise);
        self.scales(&books, gain);
        self.put(0, 1);
        self.tns(shape);
        self.put(0, 1);
        self.spectrum(shape, &books, shape.edges(bands));
    }

    fn pair(&mut self, bands: &Bands) {
        self.put(1, 3);
        let tag = self.below(16);
        self.put(tag, 4);
        let common = !self.one_in(4);
        self.put(usize::from(common), 1);
        let shapes = [self.shape(bands), self.shape(bands)];
        if !common {
            self.channel(bands, shapes[0], false, false, true);
            // Often the same windows all the same.
            let second = if self.one_in(2) { shapes[0] } else { shapes[1] };
            self.channel(bands, second, false, false, true);
            return;
        }
        self.info(shapes[0]);
        let present = self.below(3);
        self.put(present, 2);
        if present == 1 {
            for _ in 0..shapes[0].groups().len() * shapes[0].max_sfb {
                let used = self.below(2);
                self.put(used, 1);
            }
        }
        self.channel(bands, shapes[0], true, false, true);
        self.channel(bands, shapes[0], true, true, present == 0);
    }

    /// A packet: fillings and data before a pair, or before single channels.
    fn packet(&mut self, bands: &Bands, channels: usize, pair: bool) -> Vec<u8> {
        self.bits.clear();
        if self.one_in(4) {
            let n = self.below(20);
            self.put(6, 3);
            self.put(n.min(15), 4);
            if n >= 15 {
                self.put(n - 14, 8);
            }
            self.put(0, 8 * n);
        }
        if self.one_in(4) {
            self.put(4 << 4, 7);
            self.put(1, 1);
            self.put(2, 8);
            self.bits.resize(self.bits.len().next_multiple_of(8), false);
            self.put(0xABCD, 16);
        }
        if pair {
            self.pair(bands);
        } else {
            for tag in 0..channels {
                self.put(tag, 7);
                let shape = self.shape(bands);
                // In Symphonia each element has a generator of noise of its own.
                self.channel(bands, shape, false, false, channels == 1);
            }
        }
        self.put(7, 3);
        self.bytes()
    }
}

fn size_pow(size: usize, place: usize) -> usize {
    size.pow(place as u32)
}

/// Symphonia's decoder of such a stream.
fn peer(rate_hz: u32, channels: usize) -> Box<dyn AudioDecoder> {
    let mut params = AudioCodecParameters::new();
    let layout = if channels == 2 { CHANNEL_LAYOUT_STEREO } else { CHANNEL_LAYOUT_MONO };
    params.for_codec(CODEC_ID_AAC).with_sample_rate(rate_hz).with_channels(layout);
    symphonia::default::get_codecs().make_audio_decoder(&params, &AudioDecoderOptions::default()).unwrap()
}

/// Power of the difference over that of `whole`, a frame of either, in dB.
fn relative_db(a: &[f32], b: &[f32], whole: &[f32]) -> f64 {
    let mean = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>() / a.len() as f64;
    let difference = mean(&mut a.iter().zip(b).map(|(a, b)| a - b));
    10.0 * ((difference + 1e-40) / (mean(&mut whole.iter().copied()) + 1e-20)).log10()
}

#[test]
fn random_packets_sound_as_in_symphonia_and_mono_is_the_mean() {
    let (mut packet_bytes, mut worst) = (0, [-300.0; 2]);
    for (stream, rate_hz) in [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 96_000].iter().enumerate()
    {
        for (kind, (channels, pair)) in [(1, false), (2, true), (2, true), (2, false)].into_iter().enumerate() {
            let mut writer = Writer { rng: rng(derive(&[stream as u64, kind as u64])), bits: Vec::new() };
            let mut ours = AacDecoder::new(&[], Some(*rate_hz), channels, false).unwrap();
            let mut mono = AacDecoder::new(&[], Some(*rate_hz), channels, true).unwrap();
            let mut peer = peer(*rate_hz, channels);
            for i in 0..60 {
                let data = writer.packet(Bands::of(*rate_hz), channels, pair);
                let (mut all, mut mean, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
                let what = format!("{rate_hz} Hz, {channels} channels, packet {i}");
                ours.decode(&data, &mut all).unwrap_or_else(|error| panic!("{what}: {error}"));
                mono.decode(&data, &mut mean).unwrap();
                packet_bytes += data.len();
                let packet = Packet::new(0, Timestamp::new(0), Duration::from(1024_u32), data);
                append(&peer.decode(&packet).unwrap(), false, &mut wanted, &mut Vec::new());
                assert_eq!((all.len(), mean.len()), (1024 * channels, 1024), "{what}");
                let means: Vec<f32> =
                    all.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect();
                // A mean may be small where its channels are not.
                let found = [relative_db(&all, &wanted, &all), relative_db(&mean, &means, &all)];
                for (worst, db) in worst.iter_mut().zip(found) {
                    assert!(db < -100.0, "{what}: {found:?} dB");
                    *worst = db.max(*worst);
                }
            }
        }
    }
    println!("{packet_bytes} bytes; worst {:.1} dB to Symphonia, {:.1} dB to the mean", worst[0], worst[1]);
}
