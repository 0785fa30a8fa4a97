//! What a frame says of itself: the four bytes in front and the side information behind them.
//!
//! Source: ISO/IEC 11172-3, 2.4.1.3 and 2.4.1.7; 13818-3, 2.4.1.7 for the low sampling frequencies.

use super::super::bits::Bits;

const RATES_HZ: [u32; 9] = [44_100, 48_000, 32_000, 22_050, 24_000, 16_000, 11_025, 12_000, 8_000];
const KBIT_S: [[usize; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// The header of a Layer III frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// MPEG-2 and 2.5: one granule a frame and their own scale factors.
    pub(super) lsf: bool,
    /// Index into the tables by rate: MPEG-1, 2, 2.5, three each.
    pub(super) rate: usize,
    pub(super) channels: usize,
    pub(super) mid_side: bool,
    pub(super) intensity: bool,
    /// Bytes before the side information: the header and, where there is one, its CRC.
    pub(super) len: usize,
    /// Bytes of the frame; `None` in free format, where the frame does not say.
    pub(super) frame_len: Option<usize>,
}

impl Header {
    /// Reads the header at the front of `packet`, or says why it is none.
    pub(super) fn parse(packet: &[u8]) -> Result<Self, &'static str> {
        let Some(&[a, b, c, d]) = packet.first_chunk() else { return Err("a packet without a frame header") };
        if a != 0xFF || b & 0xE0 != 0xE0 {
            return Err("a packet that does not begin with a frame header");
        }
        if b >> 1 & 3 != 1 {
            return Err("a frame of another layer");
        }
        let first_rate = match b >> 3 & 3 {
            0 => 6,
            2 => 3,
            3 => 0,
            _ => return Err("an MPEG version that does not exist"),
        };
        let (bit_rate, rate) = (usize::from(c >> 4), usize::from(c >> 2 & 3));
        if rate == 3 || bit_rate == 15 {
            return Err("a rate that does not exist");
        }
        let rate = first_rate + rate;
        let lsf = first_rate > 0;
        let mode = d >> 6;
        let bytes = |kbit_s| if lsf { 72_000 } else { 144_000 } * kbit_s / RATES_HZ[rate] as usize;
        let kbit_s = KBIT_S[usize::from(lsf)][bit_rate];
        Ok(Self {
            lsf,
            rate,
            channels: if mode == 3 { 1 } else { 2 },
            mid_side: mode == 1 && d & 0x20 != 0,
            intensity: mode == 1 && d & 0x10 != 0,
            len: if b & 1 == 0 { 6 } else { 4 },
            frame_len: (kbit_s > 0).then(|| bytes(kbit_s) + usize::from(c >> 1 & 1)),
        })
    }

    pub(super) fn rate_hz(&self) -> u32 {
        RATES_HZ[self.rate]
    }

    pub(super) fn granules(&self) -> usize {
        if self.lsf { 1 } else { 2 }
    }

    /// Bytes of the side information.
    pub(super) fn side_len(&self) -> usize {
        match (self.lsf, self.channels) {
            (false, 1) => 17,
            (false, _) => 32,
            (true, 1) => 9,
            (true, _) => 17,
        }
    }
}

/// Which window a granule of a channel was transformed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Block {
    #[default]
    Long,
    Start,
    Short,
    Stop,
}

/// The side information of one channel in one granule.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Side {
    /// Bits of scale factors and spectrum.
    pub(super) n_bits: usize,
    /// Pairs of values in the three regions, at most 288.
    pub(super) n_pairs: usize,
    pub(super) gain: i32,
    pub(super) compress: u32,
    pub(super) block: Block,
    /// The two lowest subbands are a long block whatever `block` says.
    pub(super) mixed: bool,
    pub(super) tables: [usize; 3],
    pub(super) window_gains: [i32; 3],
    /// Pairs before the second and third region.
    pub(super) regions: [usize; 2],
    pub(super) preflag: bool,
    /// Binary digits a scale factor is shifted by, in quarters of a power of two.
    pub(super) scale_shift: u32,
    pub(super) quads: usize,
}

impl Side {
    /// Whether both were windowed alike, so that their spectra may be added.
    pub(super) fn same_window(&self, other: &Self) -> bool {
        (self.block, self.mixed) == (other.block, other.mixed)
    }

    /// Whether both have their lines in the same places.
    pub(super) fn same_layout(&self, other: &Self) -> bool {
        let short = |side: &Self| (side.block == Block::Short, side.block == Block::Short && side.mixed);
        short(self) == short(other)
    }

    fn parse(bits: &mut Bits<'_>, header: &Header, long_bands: &[u16; 23]) -> Result<Self, &'static str> {
        let mut side = Self {
            n_bits: bits.take(12) as usize,
            n_pairs: bits.take(9) as usize,
            gain: bits.take(8) as i32,
            compress: bits.take(if header.lsf { 9 } else { 4 }),
            ..Self::default()
        };
        if side.n_pairs > 288 {
            return Err("more spectral values than a granule has");
        }
        if bits.take(1) == 1 {
            side.block = match bits.take(2) {
                1 => Block::Start,
                2 => Block::Short,
                3 => Block::Stop,
                _ => return Err("window switching to a long block"),
            };
            side.mixed = bits.take(1) == 1;
            side.tables[..2].fill_with(|| bits.take(5) as usize);
            side.window_gains.fill_with(|| bits.take(3) as i32);
            // Eight long bands or nine short ones belong to the first region, all others to the second.
            let first = match (side.block, header.rate) {
                (Block::Short, 8) => 72,
                (Block::Short, _) => 36,
                _ => long_bands[8],
            };
            side.regions = [usize::from(first) / 2, 288];
        } else {
            side.tables.fill_with(|| bits.take(5) as usize);
            let first = bits.take(4) as usize + 1;
            let second = first + bits.take(3) as usize + 1;
            side.regions = [first, second].map(|band| usize::from(long_bands[band.min(22)]) / 2);
        }
        side.preflag = !header.lsf && bits.take(1) == 1;
        side.scale_shift = 1 + bits.take(1);
        side.quads = bits.take(1) as usize;
        Ok(side)
    }
}

/// The side information of a frame.
#[derive(Debug, Default)]
pub(super) struct SideInfo {
    /// Bytes before this frame at which its main data begins.
    pub(super) main_data_begin: usize,
    /// Groups of bands, from the highest bit, whose scale factors the second granule takes over; by channel.
    pub(super) reuse: [u32; 2],
    /// By granule and channel.
    pub(super) sides: [[Side; 2]; 2],
}

impl SideInfo {
    pub(super) fn parse(bytes: &[u8], header: &Header, long_bands: &[u16; 23]) -> Result<Self, &'static str> {
        let mut bits = Bits::new(bytes, 0);
        let mut info = Self { main_data_begin: bits.take(if header.lsf { 8 } else { 9 }) as usize, ..Self::default() };
        let private = match (header.lsf, header.channels) {
            (false, 1) => 5,
            (false, _) => 3,
            (true, channels) => channels as u32,
        };
        bits.take(private);
        if !header.lsf {
            info.reuse[..header.channels].fill_with(|| bits.take(4));
        }
        for granule in &mut info.sides[..header.granules()] {
            for side in &mut granule[..header.channels] {
                *side = Side::parse(&mut bits, header, long_bands)?;
            }
        }
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_by_hand() {
        // MPEG-1 Layer III, no CRC, 128 kbit/s, 44.1 kHz, padded, joint stereo with both modes.
        let header = Header::parse(&[0xFF, 0xFB, 0x92, 0x70]).unwrap();
        assert_eq!((header.lsf, header.rate_hz(), header.channels, header.len), (false, 44_100, 2, 4));
        assert_eq!((header.mid_side, header.intensity), (true, true));
        assert_eq!((header.frame_len, header.side_len(), header.granules()), (Some(418), 32, 2));
        // MPEG-2.5, CRC, 8 kbit/s, 8 kHz, mono.
        let header = Header::parse(&[0xFF, 0xE2, 0x18, 0xC0]).unwrap();
        assert_eq!((header.lsf, header.rate_hz(), header.channels, header.len), (true, 8_000, 1, 6));
        assert_eq!((header.frame_len, header.side_len(), header.granules()), (Some(72), 9, 1));
        // Free format says no length; Layer II, bit rate 15, rate 3 and version 1 are refused.
        assert_eq!(Header::parse(&[0xFF, 0xFB, 0x00, 0x00]).unwrap().frame_len, None);
        for bytes in [[0xFF, 0xFD, 0x90, 0], [0xFF, 0xFB, 0xF0, 0], [0xFF, 0xFB, 0x9C, 0], [0xFF, 0xEB, 0x90, 0]] {
            assert!(Header::parse(&bytes).is_err(), "{bytes:X?}");
        }
        assert!(Header::parse(&[0xFF, 0xFB, 0x90]).is_err());
    }
}
