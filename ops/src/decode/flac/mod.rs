//! FLAC frames of one or two channels and up to 24 bits, which is nearly all there are; the rest is Symphonia's.
//!
//! Rice codes are read several from one 64-bit word, and only the nearest taps of a predictor wait for each other. Frames
//! come from Symphonia's reader of containers, which has compared their checksums where the container is FLAC.
//! Source: RFC 9639.

mod bits;
mod predict;
mod simd;
mod subframe;

use bits::{Bits, Damage};
use predict::Vectors;
use simd::Isa;

/// Bits of a sample that are decoded here; a side channel has one more.
const WIDTHS: std::ops::RangeInclusive<u32> = 4..=24;

/// How the two subframes of a frame make two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pairing {
    Apart,
    LeftSide,
    SideRight,
    MidSide,
}

/// A stream of one or two channels.
pub(super) struct FlacDecoder {
    rate_hz: u32,
    channels: usize,
    width: u32,
    max_block: usize,
    mono: bool,
    isa: Isa,
    planes: [Vec<i32>; 2],
}

/// What the header of a frame says.
struct Header {
    len: usize,
    width: u32,
    pairing: Pairing,
}

/// A frame behind its header, and where its samples go.
struct Frame<'a> {
    header: Header,
    body: &'a [u8],
    channels: usize,
    mono: bool,
    planes: &'a mut [Vec<i32>; 2],
    out: &'a mut Vec<f32>,
}

impl FlacDecoder {
    /// From the stream information block; `None` where the stream is one that is not decoded here.
    pub(super) fn new(info: &[u8], mono: bool) -> Option<Self> {
        let max_block = usize::from(u16::from_be_bytes([*info.get(2)?, *info.get(3)?]));
        let packed = u32::from_be_bytes(*info.get(10..14)?.first_chunk()?);
        let (rate_hz, channels, width) = (packed >> 12, (packed >> 9 & 7) as usize + 1, (packed >> 4 & 31) + 1);
        (channels <= 2 && WIDTHS.contains(&width)).then(|| Self {
            rate_hz,
            channels,
            width,
            max_block,
            mono,
            isa: Isa::detect(),
            planes: [Vec::new(), Vec::new()],
        })
    }

    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Channels of the file, whatever comes out.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Appends the samples of one frame to `out`; returns how many there are of each channel.
    pub(super) fn decode(&mut self, frame: &[u8], out: &mut Vec<f32>) -> Result<usize, Damage> {
        let (header, body) = self.header(frame)?;
        let n_frames = header.len;
        let (channels, mono) = (self.channels, self.mono);
        self.isa.run(Frame { header, body, channels, mono, planes: &mut self.planes, out })?;
        Ok(n_frames)
    }

    /// The header of a frame, and what follows it. Source: RFC 9639, 9.1.
    fn header<'a>(&self, frame: &'a [u8]) -> Result<(Header, &'a [u8]), Damage> {
        let &[0xFF, 0xF8 | 0xF9, sizes, layout, first, ..] = frame else { return Err("flac: no frame header") };
        // A number written as UTF-8 writes letters, in up to seven bytes.
        let mut at = 4 + match first.leading_ones() {
            0 => 1,
            n @ 2..=7 => n as usize,
            _ => return Err("flac: a frame without its number"),
        };
        let mut number = |n: usize| {
            let bytes = frame.get(at..at + n).ok_or("flac: the frame header ends early")?;
            at += n;
            Ok::<usize, Damage>(bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
        };
        let len = match sizes >> 4 {
            1 => 192,
            code @ 2..=5 => 576 << (code - 2),
            6 => number(1)? + 1,
            7 => number(2)? + 1,
            code @ 8..=15 => 256 << (code - 8),
            _ => return Err("flac: a reserved block size"),
        };
        // The rate is that of the stream.
        number(match sizes & 15 {
            12 => 1,
            13 | 14 => 2,
            15 => return Err("flac: a reserved rate"),
            _ => 0,
        })?;
        let width = match layout >> 1 & 7 {
            0 => self.width,
            1 => 8,
            2 => 12,
            4 => 16,
            5 => 20,
            6 => 24,
            _ => return Err("flac: a sample size that the stream does not announce"),
        };
        let (channels, pairing) = match layout >> 4 {
            n @ 0..=7 => (usize::from(n) + 1, Pairing::Apart),
            8 => (2, Pairing::LeftSide),
            9 => (2, Pairing::SideRight),
            10 => (2, Pairing::MidSide),
            _ => return Err("flac: a reserved channel assignment"),
        };
        if channels != self.channels || len > self.max_block {
            return Err("flac: a frame that the stream does not announce");
        }
        if frame.get(at).is_none_or(|&sum| sum != crc8(&frame[..at])) {
            return Err("flac: a damaged frame header");
        }
        Ok((Header { len, width, pairing }, &frame[at + 1..]))
    }
}

impl Frame<'_> {
    #[inline(always)]
    fn run<V: Vectors>(mut self) -> Result<(), Damage> {
        let bits = &mut Bits::new(self.body);
        // Which of the two has the extra bit of a difference.
        let extra = match self.header.pairing {
            Pairing::Apart => [0, 0],
            Pairing::LeftSide | Pairing::MidSide => [0, 1],
            Pairing::SideRight => [1, 0],
        };
        for (plane, extra) in self.planes.iter_mut().zip(extra).take(self.channels) {
            plane.resize(self.header.len, 0);
            subframe::read::<V>(bits, self.header.width + extra, plane)?;
        }
        self.emit();
        Ok(())
    }

    #[inline(always)]
    fn emit(&mut self) {
        if self.channels == 1 {
            let to_f32 = to_f32(self.header.width);
            return self.out.extend(self.planes[0].iter().map(|&x| to_f32(x)));
        }
        match self.header.pairing {
            Pairing::Apart => self.emit_pairs(|a, b| [a, b]),
            Pairing::LeftSide => self.emit_pairs(|left, side| [left, left.wrapping_sub(side)]),
            Pairing::SideRight => self.emit_pairs(|side, right| [side.wrapping_add(right), right]),
            Pairing::MidSide => self.emit_pairs(|mid, side| {
                let both = mid << 1 | side & 1;
                [both.wrapping_add(side) >> 1, both.wrapping_sub(side) >> 1]
            }),
        }
    }

    #[inline(always)]
    fn emit_pairs(&mut self, split: impl Fn(i32, i32) -> [i32; 2]) {
        let to_f32 = to_f32(self.header.width);
        let [a, b] = &*self.planes;
        let pairs = a.iter().zip(b).map(|(&a, &b)| split(a, b).map(&to_f32));
        if self.mono {
            self.out.extend(pairs.map(|[left, right]| (left + right) * 0.5));
            return;
        }
        let start = self.out.len();
        self.out.resize(start + 2 * a.len(), 0.0);
        self.out[start..].as_chunks_mut::<2>().0.iter_mut().zip(pairs).for_each(|(slot, pair)| *slot = pair);
    }
}

/// Samples of `width` bits on a scale of one. What a damaged frame has above its width is shifted out.
#[inline(always)]
fn to_f32(width: u32) -> impl Fn(i32) -> f32 {
    move |x| (x << (32 - width)) as f32 * (1.0 / 2_147_483_648.0)
}

/// Polynomial x^8 + x^2 + x + 1.
fn crc8(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 7 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 44.1 kHz, stereo, 16 bits, blocks of at most 192.
    fn decoder(mono: bool) -> FlacDecoder {
        let mut info = [0; 34];
        info[2..4].copy_from_slice(&192_u16.to_be_bytes());
        info[10..14].copy_from_slice(&(44_100_u32 << 12 | 1 << 9 | 15 << 4).to_be_bytes());
        FlacDecoder::new(&info, mono).unwrap()
    }

    /// A frame of two constants in 16 bits, or 17 for a difference.
    fn frame(layout: u8, [a, b]: [i32; 2]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xF8, 0x19, layout << 4 | 8, 0];
        bytes.push(crc8(&bytes));
        let (wide_a, wide_b) = (layout == 9, layout == 8 || layout == 10);
        let mut bits = 0_u128;
        let mut n = 0;
        for (value, wide) in [(a, wide_a), (b, wide_b)] {
            let width = 16 + u32::from(wide);
            bits = bits << (8 + width) | u128::from(value as u32 & ((1 << width) - 1));
            n += 8 + width;
        }
        bytes.extend((bits << (128 - n)).to_be_bytes());
        bytes
    }

    #[test]
    fn every_pairing_gives_both_channels_and_their_mean() {
        let (left, right) = (-32_768, 32_767);
        for (layout, coded) in
            [(1, [left, right]), (8, [left, left - right]), (9, [left - right, right]), (10, [-1, left - right])]
        {
            let mut out = Vec::new();
            assert_eq!(decoder(false).decode(&frame(layout, coded), &mut out), Ok(192));
            assert_eq!((out[0], out[383]), (-1.0, 32_767.0 / 32_768.0), "{layout}");
            out.clear();
            assert_eq!(decoder(true).decode(&frame(layout, coded), &mut out), Ok(192));
            assert_eq!((out.len(), out[191]), (192, -0.5 / 32_768.0), "{layout}");
        }
    }

    #[test]
    fn headers_are_checked() {
        let mut frame = frame(1, [0, 0]);
        assert!(decoder(true).header(&frame).is_ok());
        for i in 0..6 {
            frame[i] ^= 4;
            assert!(decoder(true).header(&frame).is_err(), "{i}");
            frame[i] ^= 4;
        }
        assert!(decoder(true).header(&frame[..5]).is_err());
    }
}
