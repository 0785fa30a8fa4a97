//! Scale factor bands of ISO/IEC 14496-3, tables 4.129 to 4.147, and how far TNS reaches (table 4.155, for LC).

/// What depends on the rate alone.
pub(super) struct Bands {
    /// The lowest rate these are used for; the nominal ones are those of 4.5.1.1.
    from_hz: u32,
    /// First lines of the bands of a long window, and their end.
    pub(super) long: &'static [u16],
    /// The same of a short one.
    pub(super) short: &'static [u16],
    /// Bands of long and short windows that TNS reaches.
    pub(super) tns: [usize; 2],
}

impl Bands {
    pub(super) fn of(rate_hz: u32) -> &'static Self {
        ALL.iter().find(|bands| rate_hz >= bands.from_hz).unwrap_or(&ALL[11])
    }
}

const ALL: [Bands; 12] = [
    Bands { from_hz: 92_017, long: &LONG_96, short: &SHORT_64, tns: [31, 9] },
    Bands { from_hz: 75_132, long: &LONG_96, short: &SHORT_64, tns: [31, 9] },
    Bands { from_hz: 55_426, long: &LONG_64, short: &SHORT_64, tns: [34, 10] },
    Bands { from_hz: 46_009, long: &LONG_48, short: &SHORT_48, tns: [40, 14] },
    Bands { from_hz: 37_566, long: &LONG_48, short: &SHORT_48, tns: [42, 14] },
    Bands { from_hz: 27_713, long: &LONG_32, short: &SHORT_48, tns: [51, 14] },
    Bands { from_hz: 23_004, long: &LONG_24, short: &SHORT_24, tns: [46, 14] },
    Bands { from_hz: 18_783, long: &LONG_24, short: &SHORT_24, tns: [46, 14] },
    Bands { from_hz: 13_856, long: &LONG_16, short: &SHORT_16, tns: [42, 14] },
    Bands { from_hz: 11_502, long: &LONG_16, short: &SHORT_16, tns: [42, 14] },
    Bands { from_hz: 9_391, long: &LONG_16, short: &SHORT_16, tns: [42, 14] },
    Bands { from_hz: 0, long: &LONG_8, short: &SHORT_8, tns: [39, 14] },
];

#[rustfmt::skip]
const LONG_96: [u16; 42] = [
    0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 88, 96, 108, 120, 132, 144, 156, 172, 188,
    212, 240, 276, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1024,
];
#[rustfmt::skip]
const LONG_64: [u16; 48] = [
    0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 88, 100, 112, 124, 140, 156, 172, 192, 216,
    240, 268, 304, 344, 384, 424, 464, 504, 544, 584, 624, 664, 704, 744, 784, 824, 864, 904, 944, 984, 1024,
];
#[rustfmt::skip]
const LONG_48: [u16; 50] = [
    0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 88, 96, 108, 120, 132, 144, 160, 176, 196, 216, 240,
    264, 292, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800, 832, 864, 896, 928,
    1024,
];
#[rustfmt::skip]
const LONG_32: [u16; 52] = [
    0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 88, 96, 108, 120, 132, 144, 160, 176, 196, 216, 240,
    264, 292, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800, 832, 864, 896, 928,
    960, 992, 1024,
];
#[rustfmt::skip]
const LONG_24: [u16; 48] = [
    0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 52, 60, 68, 76, 84, 92, 100, 108, 116, 124, 136, 148, 160, 172, 188,
    204, 220, 240, 260, 284, 308, 336, 364, 396, 432, 468, 508, 552, 600, 652, 704, 768, 832, 896, 960, 1024,
];
#[rustfmt::skip]
const LONG_16: [u16; 44] = [
    0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 100, 112, 124, 136, 148, 160, 172, 184, 196, 212, 228, 244, 260,
    280, 300, 320, 344, 368, 396, 424, 456, 492, 532, 572, 616, 664, 716, 772, 832, 896, 960, 1024,
];
#[rustfmt::skip]
const LONG_8: [u16; 41] = [
    0, 12, 24, 36, 48, 60, 72, 84, 96, 108, 120, 132, 144, 156, 172, 188, 204, 220, 236, 252, 268, 288, 308, 328,
    348, 372, 396, 420, 448, 476, 508, 544, 580, 620, 664, 712, 764, 820, 880, 944, 1024,
];
#[rustfmt::skip]
const SHORT_64: [u16; 13] = [
    0, 4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 92, 128,
];
#[rustfmt::skip]
const SHORT_48: [u16; 15] = [
    0, 4, 8, 12, 16, 20, 28, 36, 44, 56, 68, 80, 96, 112, 128,
];
#[rustfmt::skip]
const SHORT_24: [u16; 16] = [
    0, 4, 8, 12, 16, 20, 24, 28, 36, 44, 52, 64, 76, 92, 108, 128,
];
#[rustfmt::skip]
const SHORT_16: [u16; 16] = [
    0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 60, 72, 88, 108, 128,
];
#[rustfmt::skip]
const SHORT_8: [u16; 16] = [
    0, 4, 8, 12, 16, 20, 24, 28, 36, 44, 52, 60, 72, 88, 108, 128,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_the_window_in_fours() {
        for bands in &ALL {
            for (edges, n) in [(bands.long, 1024), (bands.short, 128)] {
                assert_eq!((edges[0], edges.last()), (0, Some(&n)));
                assert!(edges.windows(2).all(|pair| pair[0] < pair[1] && (pair[1] - pair[0]).is_multiple_of(4)));
            }
            assert!(bands.tns[0] < bands.long.len() && bands.tns[1] < bands.short.len());
        }
        let numbers = |hz| (Bands::of(hz).long.len() - 1, Bands::of(hz).short.len() - 1);
        assert_eq!([8_000, 22_050, 44_100, 96_000].map(numbers), [(40, 15), (47, 15), (49, 14), (41, 12)]);
    }
}
