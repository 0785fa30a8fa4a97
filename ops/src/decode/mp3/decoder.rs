//! Frames to samples.

use std::sync::LazyLock;

use super::super::bits::Bits;
use super::super::codec::Decoded;
use super::bands::LONG;
use super::header::{Block, Header, Side, SideInfo};
use super::huffman::{Codes, Target};
use super::imdct::{Imdct, Shape, Slots};
use super::layout::{LEN, Layout, Spectrum};
use super::reservoir::Reservoir;
use super::scale::{Factors, gains, read_lsf, read_mpeg1};
use super::simd::{Isa, Work};
use super::stereo::{Positions, intensity, mid_side};
use super::synth::{Bank, History};

/// Samples of a granule.
const GRANULE: usize = 576;

/// What all decoders share.
struct Tables {
    layouts: [[Layout; 3]; 9],
    codes: Codes,
    imdct: Imdct,
    bank: Bank,
}

static TABLES: LazyLock<Tables> =
    LazyLock::new(|| Tables { layouts: Layout::all(), codes: Codes::new(), imdct: Imdct::new(), bank: Bank::new() });

/// A Layer III decoder.
pub(in super::super) struct Mp3Decoder {
    tables: &'static Tables,
    isa: Isa,
    mono: bool,
    /// Rate and channels of the first frame; all others must agree.
    spec: Option<(u32, usize)>,
    reservoir: Reservoir,
    factors: [Factors; 2],
    lines: Box<[Spectrum; 2]>,
    slots: Box<[Slots; 2]>,
    overlap: Box<[Slots; 2]>,
    histories: [History; 2],
    /// The sound of one granule, by channel.
    sound: Box<[[f32; GRANULE]; 2]>,
}

/// How a granule's two channels become one sound or two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// One channel in the stream.
    Single,
    /// The mean of left and right, added among the lines.
    Sum,
    /// Middle and side, of which the mean is the middle.
    Middle,
    /// Left and right, each of its own.
    Pair,
}

/// What is known of a granule once its bits are read.
struct Granule {
    plan: Plan,
    /// Pairs of lines before the zeros.
    n_pairs: [usize; 2],
    /// Right bands without an intensity position.
    no_position: u64,
}

impl Mp3Decoder {
    pub(in super::super) fn new(mono: bool) -> Self {
        Self::with_isa(mono, Isa::detect())
    }

    fn with_isa(mono: bool, isa: Isa) -> Self {
        Self {
            tables: &TABLES,
            isa,
            mono,
            spec: None,
            reservoir: Reservoir::new(),
            factors: [[0; 40]; 2],
            lines: Box::new([[0.0; LEN]; 2]),
            slots: Box::new([[[0.0; 32]; 18]; 2]),
            overlap: Box::new([[[0.0; 32]; 18]; 2]),
            histories: [History::new(), History::new()],
            sound: Box::new([[0.0; GRANULE]; 2]),
        }
    }

    /// Forgets all that came before.
    pub(in super::super) fn reset(&mut self) {
        self.reservoir.clear();
        *self.overlap = [[[0.0; 32]; 18]; 2];
        self.histories = [History::new(), History::new()];
    }

    /// Appends the samples of one frame to `out`, interleaved or their mean; nothing if it is damaged.
    pub(in super::super) fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<Decoded, &'static str> {
        let before = out.len();
        let decoded = self.try_decode(packet, out);
        if decoded.is_err() {
            out.truncate(before);
        }
        decoded
    }

    fn try_decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<Decoded, &'static str> {
        let header = Header::parse(packet)?;
        if header.frame_len.is_some_and(|len| len != packet.len()) {
            return Err("a packet of another length than its frame");
        }
        let spec = (header.rate_hz(), header.channels);
        if *self.spec.get_or_insert(spec) != spec {
            return Err("a frame of another rate or number of channels");
        }
        let rest = packet.get(header.len..).unwrap_or_default();
        let Some((side_info, main)) = rest.split_at_checked(header.side_len()) else {
            return Err("a frame that ends in its side information");
        };
        let mut info = SideInfo::parse(side_info, &header, &LONG[header.rate])?;
        let missing = 8 * self.reservoir.add(main, info.main_data_begin)?;
        let mut at = 0;
        for granule in 0..header.granules() {
            let sides = &mut info.sides[granule];
            let n_bits: usize = sides[..header.channels].iter().map(|side| side.n_bits).sum();
            // A granule that begins in bytes which are not there is silent; the next one may be whole.
            let begin = at;
            at += n_bits;
            let reuse = if granule == 0 { [0; 2] } else { info.reuse };
            let read = match begin.checked_sub(missing) {
                Some(begin) => self.read(&header, sides, reuse, begin)?,
                None => self.silent(&header),
            };
            self.lines_to_slots(&header, sides, &read);
            self.sound(&header, out);
        }
        Ok(Decoded { rate_hz: spec.0, channels: spec.1, n_frames: header.granules() * GRANULE })
    }

    fn silent(&mut self, header: &Header) -> Granule {
        self.lines.iter_mut().for_each(|lines| lines.fill(0.0));
        let plan = if header.channels == 1 { Plan::Single } else { Plan::Pair };
        Granule { plan, n_pairs: [0; 2], no_position: 0 }
    }

    /// Reads the lines of all channels, from bit `at` of the main data on.
    fn read(
        &mut self,
        header: &Header,
        sides: &mut [Side; 2],
        reuse: [u32; 2],
        mut at: usize,
    ) -> Result<Granule, &'static str> {
        let joint = header.mid_side || header.intensity;
        if header.channels == 2 && joint && !sides[0].same_layout(&sides[1]) {
            return Err("a joint pair of a long and a short block");
        }
        let alike = self.mono && !header.intensity && sides[0].same_window(&sides[1]);
        let plan = match header.channels {
            1 => Plan::Single,
            _ if !alike => Plan::Pair,
            _ if header.mid_side => Plan::Middle,
            _ => Plan::Sum,
        };
        // Halving, and the root of one half, are a matter of exponents.
        let quarters = match plan {
            Plan::Sum => -4,
            _ if header.mid_side => -2,
            _ => 0,
        };
        let mut granule = Granule { plan, n_pairs: [0; 2], no_position: 0 };
        for channel in 0..header.channels {
            let side = &mut sides[channel];
            let end = at + side.n_bits;
            let main = self.reservoir.bytes();
            if end > 8 * main.len() {
                return Err("a granule that ends behind its frame");
            }
            let mut bits = Bits::new(main, at);
            let factors = &mut self.factors[channel];
            if header.lsf {
                let positions = channel == 1 && header.intensity;
                granule.no_position = read_lsf(&mut bits, side, positions, factors);
            } else {
                read_mpeg1(&mut bits, side, reuse[channel], factors);
            }
            if bits.at() > end {
                return Err("scale factors that end behind their granule");
            }
            at = end;
            if channel == 1 && plan == Plan::Middle {
                continue;
            }
            let layout = &self.tables.layouts[header.rate][Layout::kind(side)];
            let gains = gains(side, layout, factors, quarters);
            let add = channel == 1 && plan == Plan::Sum;
            let lines = &mut self.lines[if add { 0 } else { channel }];
            let codes = &self.tables.codes;
            granule.n_pairs[channel] = if add {
                codes.read::<true>(&mut bits, end, side, &mut Target { layout, gains: &gains, lines })
            } else {
                lines.fill(0.0);
                codes.read::<false>(&mut bits, end, side, &mut Target { layout, gains: &gains, lines })
            };
        }
        Ok(granule)
    }

    /// Makes subband samples of the lines: of one channel in `slots[0]`, or of two.
    fn lines_to_slots(&mut self, header: &Header, sides: &[Side; 2], granule: &Granule) {
        let layout = &self.tables.layouts[header.rate][Layout::kind(&sides[0])];
        let n_subbands = |channel: usize| {
            let layout = &self.tables.layouts[header.rate][Layout::kind(&sides[channel])];
            layout.subbands(granule.n_pairs[channel])
        };
        let mut reach = [n_subbands(0), n_subbands(1)];
        if granule.plan != Plan::Pair {
            self.transform(0, &sides[0], reach[0].max(reach[1]));
            return;
        }
        let [left, right] = &mut *self.lines;
        if header.intensity {
            let positions = Positions {
                factors: &self.factors[1],
                none: granule.no_position,
                lsf: header.lsf,
                coarse: sides[1].compress & 1 == 1,
            };
            intensity(left, right, layout, &positions, header.mid_side);
        } else if header.mid_side {
            mid_side(left, right);
        }
        if header.intensity || header.mid_side {
            reach = [reach[0].max(reach[1]); 2];
        }
        if !self.mono {
            self.transform(0, &sides[0], reach[0]);
            self.transform(1, &sides[1], reach[1]);
            return;
        }
        left.iter_mut().chain(&mut *right).for_each(|line| *line *= 0.5);
        if sides[0].same_window(&sides[1]) {
            left.iter_mut().zip(right).for_each(|(l, r)| *l += *r);
            self.transform(0, &sides[0], reach[0].max(reach[1]));
            return;
        }
        // Two windows: the right channel's samples and what it leaves are added to the left one's.
        self.overlap[1].iter_mut().for_each(|row| row.fill(0.0));
        self.transform(0, &sides[0], reach[0]);
        self.transform(1, &sides[1], reach[1]);
        for pair in [&mut *self.slots, &mut *self.overlap] {
            let [sum, added] = pair;
            sum.as_flattened_mut().iter_mut().zip(added.as_flattened()).for_each(|(sum, added)| *sum += added);
        }
    }

    fn transform(&mut self, channel: usize, side: &Side, n_subbands: usize) {
        // Only a granule of silence has no lines at all; whatever its block, nothing but the overlap comes of it.
        let block = if n_subbands == 0 { Block::Long } else { side.block };
        self.isa.run(Work::Imdct {
            imdct: &self.tables.imdct,
            lines: &mut self.lines[channel],
            shape: Shape { block, mixed: side.mixed, n_subbands },
            overlap: &mut self.overlap[channel],
            out: &mut self.slots[channel],
        });
    }

    /// Appends the sound of the subband samples.
    fn sound(&mut self, header: &Header, out: &mut Vec<f32>) {
        let n = if self.mono { 1 } else { header.channels };
        for channel in 0..n {
            self.isa.run(Work::Bank {
                bank: &self.tables.bank,
                slots: &self.slots[channel],
                history: &mut self.histories[channel],
                out: &mut self.sound[channel],
            });
        }
        let [left, right] = &*self.sound;
        if n == 1 {
            out.extend_from_slice(left);
        } else {
            out.extend(left.iter().zip(right).flat_map(|(&l, &r)| [l, r]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a file that has nothing between them.
    fn packets(bytes: &[u8]) -> Vec<&[u8]> {
        let mut packets = Vec::new();
        let mut rest = bytes;
        while let Some(packet) = Header::parse(rest).ok().and_then(|header| rest.get(..header.frame_len?)) {
            packets.push(packet);
            rest = &rest[packet.len()..];
        }
        packets
    }

    fn fixtures() -> Vec<Vec<u8>> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let synthetic = paths.filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("synthetic_")
        });
        synthetic.map(|path| std::fs::read(path).unwrap()).collect()
    }

    #[test]
    fn all_instructions_give_the_same_digits() {
        let files = fixtures();
        assert!(files.len() >= 10);
        for bytes in files {
            for mono in [true, false] {
                let sound = |isa| {
                    let (mut decoder, mut out) = (Mp3Decoder::with_isa(mono, isa), Vec::new());
                    for packet in packets(&bytes) {
                        assert!(decoder.decode(packet, &mut out).is_ok());
                    }
                    out
                };
                let wanted = sound(Isa::all()[0]);
                assert!(wanted.len() >= 5760 && Isa::all().into_iter().all(|isa| sound(isa) == wanted));
            }
        }
    }

    #[test]
    fn a_damaged_frame_gives_nothing_and_the_next_ones_sound() {
        let bytes = fixtures().remove(0);
        let frames = packets(&bytes);
        let (mut decoder, mut out) = (Mp3Decoder::new(true), Vec::new());
        assert_eq!(
            decoder.decode(&frames[0][..20], &mut out).unwrap_err(),
            "a packet of another length than its frame"
        );
        let n = decoder.decode(frames[0], &mut out).unwrap().n_frames;
        let mut damaged = frames[1].to_vec();
        damaged[4..36].fill(0xFF);
        assert!(decoder.decode(&damaged, &mut out).is_err());
        assert_eq!(out.len(), n);
        decoder.decode(frames[2], &mut out).unwrap();
        assert_eq!(out.len(), 2 * n);
        decoder.reset();
        let (mut again, mut fresh) = (Vec::new(), Vec::new());
        decoder.decode(frames[0], &mut again).unwrap();
        Mp3Decoder::new(true).decode(frames[0], &mut fresh).unwrap();
        assert!(again == fresh);
    }
}
