//! Colours of a picture: dark for little, light for much, even to the eye.

/// Red, green, blue, 0 to 255 each, in sRGB.
pub type Rgb = [u8; 3];

/// The colour map *magma* at 17 even steps, of S. van der Walt and N. Smith for matplotlib (2015, CC0): its lightness rises
/// evenly, so that equal steps look equal, also in print and to the colour-blind. Straight lines between these stay within
/// 3 of 255 of the table of 256 (as matplotlib 3.11 has it).
const MAGMA: [Rgb; 17] = [
    [0, 0, 4],
    [10, 8, 34],
    [29, 17, 70],
    [54, 16, 106],
    [80, 18, 124],
    [105, 28, 129],
    [130, 38, 129],
    [156, 46, 127],
    [182, 55, 121],
    [207, 65, 112],
    [230, 81, 99],
    [245, 105, 92],
    [251, 135, 97],
    [254, 165, 113],
    [254, 195, 135],
    [253, 224, 162],
    [252, 253, 191],
];

/// The colour at `share` of the way from least to most; outside 0 to 1 it is the end's.
pub fn magma(share: f32) -> Rgb {
    let place = share.clamp(0.0, 1.0) * (MAGMA.len() - 1) as f32;
    let below = (place as usize).min(MAGMA.len() - 2);
    mix(MAGMA[below], MAGMA[below + 1], place - below as f32)
}

/// From `a` (0) to `b` (1) in a straight line.
pub(super) fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    std::array::from_fn(|i| (f32::from(a[i]) + (f32::from(b[i]) - f32::from(a[i])) * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_always_lighter() {
        let light = |c: Rgb| 0.2126 * f32::from(c[0]) + 0.7152 * f32::from(c[1]) + 0.0722 * f32::from(c[2]);
        let steps: Vec<f32> = (0..=64).map(|i| light(magma(i as f32 / 64.0))).collect();
        assert!(steps.windows(2).all(|w| w[0] < w[1]), "{steps:?}");
        assert_eq!([magma(-1.0), magma(0.5), magma(9.0)], [[0, 0, 4], [182, 55, 121], [252, 253, 191]]);
    }
}
