//! Packets to samples.

use std::sync::LazyLock;

use symphonia::core::errors::Error as SymphoniaError;

use super::super::bits::Bits;
use super::super::codec::Decoded;
use super::bands::Bands;
use super::huffman::{CODES, Codes, Lines};
use super::ics::{Ics, Info};
use super::noise::Noise;
use super::refuse::plain_lc;
use super::stereo::{Joint, Mask, halve_left};
use super::synth::{Block, FRAME, Synth, Windows};

static SYNTH: LazyLock<Synth> = LazyLock::new(Synth::new);

/// A stream of one or two channels.
pub(in super::super) struct AacDecoder {
    rate_hz: u32,
    channels: usize,
    mono: bool,
    bands: &'static Bands,
    codes: &'static Codes,
    synth: &'static Synth,
    noise: Noise,
    ics: Box<[Ics; 2]>,
    lines: Box<[Lines; 2]>,
    /// By channel of the stream, whether the last window was Kaiser-Bessel derived.
    kaiser: [bool; 2],
    /// By channel that comes out.
    overlap: Box<[Lines; 2]>,
    block: Block,
    /// A packet with zeros behind it, so that only damage is read beyond the end.
    padded: Vec<u8>,
    /// Both channels of a frame, before they are interleaved.
    planes: Vec<f32>,
}

/// What the lines are after a packet was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// So many channels, each of its own.
    Channels(usize),
    /// The mean of two.
    Mean,
}

impl AacDecoder {
    /// From an `AudioSpecificConfig`, or where there is none (ADTS) from what the frames say. `None` where the stream is one
    /// that is not decoded here.
    pub(in super::super) fn new(config: &[u8], rate_hz: Option<u32>, channels: usize, mono: bool) -> Option<Self> {
        let (rate_hz, channels) = if config.is_empty() { (rate_hz?, channels) } else { plain_lc(config)? };
        if !(1..=2).contains(&channels) || rate_hz == 0 {
            return None;
        }
        Some(Self {
            rate_hz,
            channels,
            mono,
            bands: Bands::of(rate_hz),
            codes: &CODES,
            synth: &SYNTH,
            noise: Noise::default(),
            ics: Box::default(),
            lines: Box::new([[0.0; FRAME]; 2]),
            kaiser: [false; 2],
            overlap: Box::new([[0.0; FRAME]; 2]),
            block: Block::new(),
            padded: Vec::new(),
            planes: Vec::new(),
        })
    }

    /// Forgets what came before, as after a seek.
    pub(in super::super) fn reset(&mut self) {
        self.noise = Noise::default();
        self.kaiser = [false; 2];
        self.overlap.as_flattened_mut().fill(0.0);
    }

    /// Appends the samples of one packet to `out`, interleaved or their mean; nothing if it is damaged.
    pub(in super::super) fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<Decoded, SymphoniaError> {
        let mut padded = std::mem::take(&mut self.padded);
        padded.clear();
        padded.extend_from_slice(packet);
        padded.extend_from_slice(&[0; 16]);
        let held = self.read(&padded, 8 * packet.len());
        self.padded = padded;
        let held = held?;
        self.sound(held, out);
        Ok(Decoded { rate_hz: self.rate_hz, channels: self.channels, n_frames: FRAME })
    }

    /// Reads the elements of a packet that ends at bit `end`.
    fn read(&mut self, packet: &[u8], end: usize) -> Result<Held, SymphoniaError> {
        let mut bits = Bits::new(packet, 0);
        let (mut n, mut mean) = (0, false);
        while bits.at() + 3 < end {
            match bits.take(3) {
                // A single channel, or one of low frequencies.
                0 | 3 => {
                    self.room_for(n + 1)?;
                    self.read_single(&mut bits, n).map_err(SymphoniaError::DecodeError)?;
                    n += 1;
                }
                1 => {
                    self.room_for(n + 2)?;
                    mean = self.read_pair(&mut bits).map_err(SymphoniaError::DecodeError)?;
                    n += 2;
                }
                2 => return Err(SymphoniaError::Unsupported("aac: a coupling channel")),
                4 => skip_data(&mut bits, packet),
                5 => return Err(SymphoniaError::Unsupported("aac: a program configuration")),
                6 => skip_fill(&mut bits, packet),
                _ => break,
            }
            if bits.at() > end {
                return Err(SymphoniaError::DecodeError("aac: an element that ends behind its packet"));
            }
        }
        match n {
            0 => Err(SymphoniaError::DecodeError("aac: a packet without a channel")),
            n => Ok(if mean { Held::Mean } else { Held::Channels(n) }),
        }
    }

    fn room_for(&self, n: usize) -> Result<(), SymphoniaError> {
        if n <= self.channels {
            Ok(())
        } else {
            Err(SymphoniaError::DecodeError("aac: more channels than the stream has"))
        }
    }

    fn read_single(&mut self, bits: &mut Bits<'_>, channel: usize) -> Result<(), &'static str> {
        bits.take(4);
        let Self { ics, lines, .. } = self;
        let (ics, lines) = (&mut ics[channel], &mut lines[channel]);
        ics.read(bits, self.bands, None)?;
        // One of two channels is half of a mean.
        let gains = ics.gains(if self.mono && self.channels == 2 { -4 } else { 0 });
        lines.fill(0.0);
        read_lines(self.codes, bits, ics, &gains, &mut self.noise, lines)
    }

    /// Reads a pair; whether its mean is what is held.
    fn read_pair(&mut self, bits: &mut Bits<'_>) -> Result<bool, &'static str> {
        bits.take(4);
        let Self { bands, codes, noise, mono, .. } = self;
        let ([left, right], [left_lines, right_lines]) = (&mut *self.ics, &mut *self.lines);
        let (mut common, mut mask) = (None, Mask::none());
        if bits.take(1) == 1 {
            let info = Info::read(bits, bands)?;
            mask = Mask::read(bits, &info)?;
            common = Some(info);
        }
        left.read(bits, bands, common)?;
        let mut gains = left.gains(0);
        if *mono {
            halve_left(&mask, left, &mut gains);
        }
        left_lines.fill(0.0);
        read_lines(codes, bits, left, &gains, noise, left_lines)?;
        right.read(bits, bands, common)?;
        let joint = if common.is_some() { Joint::new(&mask, left, right) } else { Joint::apart() };
        let windows = [Windows::new(&left.info, self.kaiser[0]), Windows::new(&right.info, self.kaiser[1])];
        let alike = windows[0] == windows[1] && left.tns == right.tns && right.pulses.is_none();
        let mean = *mono && alike;
        if *mono {
            joint.mend_left(&mask, left, mean, left_lines);
        }
        let mut gains = right.gains(0);
        if mean {
            joint.drop_sides(&mut gains);
            read_lines(codes, bits, right, &gains, noise, left_lines)?;
            return Ok(true);
        }
        if *mono {
            joint.halve_right(&mut gains);
        }
        right_lines.fill(0.0);
        read_lines(codes, bits, right, &gains, noise, right_lines)?;
        joint.separate(&left.info, if *mono { 0.5 } else { 1.0 }, left_lines, right_lines);
        Ok(false)
    }

    /// Appends the sound of the lines.
    fn sound(&mut self, held: Held, out: &mut Vec<f32>) {
        let Self { ics, lines, overlap, block, synth, .. } = self;
        let n = if held == Held::Channels(1) { 1 } else { 2 };
        let n_lines = if held == Held::Channels(2) { 2 } else { 1 };
        for (ics, lines) in ics.iter().zip(lines.iter_mut()).take(n_lines) {
            if let Some(tns) = &ics.tns {
                tns.run(lines);
            }
        }
        let [left, right] = [0, 1].map(|c| Windows::new(&ics[c].info, self.kaiser[c]));
        let ([left_lines, right_lines], [left_overlap, right_overlap]) = (&mut **lines, &mut **overlap);
        let start = out.len();
        if !self.mono && self.channels == 2 {
            if n_lines == 1 {
                right_lines.fill(0.0);
            }
            self.planes.clear();
            synth.run(left_lines, left, block, left_overlap, &mut self.planes);
            synth.run(right_lines, right, block, right_overlap, &mut self.planes);
            let (left, right) = self.planes.split_at(FRAME);
            out.extend(left.iter().zip(right).flat_map(|(&l, &r)| [l, r]));
        } else if n_lines == 2 && left == right {
            left_lines.iter_mut().zip(&*right_lines).for_each(|(l, r)| *l += r);
            synth.run(left_lines, left, block, left_overlap, out);
        } else {
            synth.run(left_lines, left, block, left_overlap, out);
            if n_lines == 2 {
                synth.add(right_lines, right, block, left_overlap, &mut out[start..]);
            }
        }
        for (kaiser, ics) in self.kaiser.iter_mut().zip(ics.iter()).take(n) {
            *kaiser = ics.info.kaiser;
        }
    }
}

/// Adds the lines of a channel to `lines`.
fn read_lines(
    codes: &Codes,
    bits: &mut Bits<'_>,
    ics: &Ics,
    gains: &[f32; 128],
    noise: &mut Noise,
    lines: &mut Lines,
) -> Result<(), &'static str> {
    codes.read(bits, ics, gains, noise, lines).ok_or("aac: a value without an end")?;
    if let Some(pulses) = &ics.pulses {
        pulses.add(&ics.info, &ics.books, gains, lines);
    }
    Ok(())
}

/// Skips data that is not sound.
fn skip_data<'a>(bits: &mut Bits<'a>, packet: &'a [u8]) {
    bits.take(4);
    let aligned = bits.take(1) == 1;
    let mut n = bits.take(8) as usize;
    if n == 255 {
        n += bits.take(8) as usize;
    }
    let at = if aligned { bits.at().next_multiple_of(8) } else { bits.at() };
    *bits = Bits::new(packet, at + 8 * n);
}

/// Skips a filling, which may be anything but sound of LC.
fn skip_fill<'a>(bits: &mut Bits<'a>, packet: &'a [u8]) {
    let mut n = bits.take(4) as usize;
    if n == 15 {
        n = 14 + bits.take(8) as usize;
    }
    *bits = Bits::new(packet, bits.at() + 8 * n);
}
