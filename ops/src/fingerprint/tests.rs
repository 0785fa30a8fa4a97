//! Lengths, times, and what bits must not depend on.

use super::*;

/// Noise whose colour wanders, so that its bands rise and fall.
fn sound(seed: u32, rate_hz: u32, seconds: f64) -> Vec<f32> {
    // Drawn at one rate for all, then read off at others: the same sound, sampled otherwise.
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) - 0.5
    };
    let partials: Vec<[f64; 4]> =
        (0..24).map(|_| [300.0 + 3_400.0 * (draw() + 0.5), draw() * 9.0, draw() * 7.0, draw()]).collect();
    let n = (seconds * f64::from(rate_hz)) as usize;
    let at = |i: usize| {
        let t = i as f64 / f64::from(rate_hz);
        let partial = |[hz, speed, phase, depth]: &[f64; 4]| {
            (std::f64::consts::TAU * (hz * t + phase)).sin() * (1.0 + depth * (speed * t + phase).sin())
        };
        (partials.iter().map(partial).sum::<f64>() / 24.0) as f32
    };
    (0..n).map(at).collect()
}

fn fingerprint(samples: &[f32], rate_hz: u32, block: usize) -> Vec<u32> {
    let mut maker = Fingerprinter::new(rate_hz).unwrap();
    samples.chunks(block).for_each(|block| maker.push(block).unwrap());
    maker.finish().unwrap()
}

#[test]
fn a_word_is_what_the_definition_says() {
    let mut before = [1.0; N_BANDS];
    let mut now = [1.0; N_BANDS];
    assert_eq!(word(&before, &now), 0);
    now[5] = 2.0;
    assert_eq!(word(&before, &now), 1 << 5);
    before[7] = 3.0;
    assert_eq!(word(&before, &now), 1 << 5 | 1 << 6);
    let quiet = [1e-30; N_BANDS];
    let mut rising = quiet;
    rising[0] = 2e-30;
    assert_eq!(word(&quiet, &rising), 1);
}

#[test]
fn eight_words_a_second_at_every_rate_and_blocks_do_not_matter() {
    for rate_hz in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000] {
        let samples = sound(1, rate_hz, 9.1);
        let whole = fingerprint(&samples, rate_hz, usize::MAX);
        // Frames of 0.375 s every 0.125 s, and one word less than frames.
        assert_eq!(whole.len(), 69, "{rate_hz}");
        for block in [1_000, 16_384] {
            assert_eq!(fingerprint(&samples, rate_hz, block), whole, "{rate_hz} in {block}");
        }
    }
}

#[test]
fn short_clips_have_a_word_and_empty_ones_none() {
    for (n, words) in [(0, 0), (1, 1), (800, 1), (8_000, 1), (8_500, 1), (10_000, 2), (32_000, 13), (35_200, 14)] {
        let samples = vec![0.5; n];
        assert_eq!(fingerprint(&samples, 16_000, usize::MAX).len(), words, "{n} samples");
    }
    let silence = fingerprint(&vec![0.0; 48_000], 16_000, 4_096);
    assert!(silence.iter().all(|&word| word == 0) && silence.len() == 21, "{silence:?}");
}

#[test]
fn one_maker_forgets_between_recordings() {
    let (a, b) = (sound(2, 16_000, 5.3), sound(3, 16_000, 2.2));
    let mut maker = Fingerprinter::new(16_000).unwrap();
    let mut of = |samples: &[f32]| {
        maker.push(samples).unwrap();
        maker.finish().unwrap()
    };
    let (first, second, again) = (of(&a), of(&b), of(&a));
    assert_eq!(first, again);
    assert_eq!(second, fingerprint(&b, 16_000, usize::MAX));
    let bad = [0.0, f32::NAN];
    let mut maker = Fingerprinter::new(16_000).unwrap();
    maker.push(&bad).unwrap();
    assert!(maker.finish().is_err());
    maker.push(&a).unwrap();
    assert_eq!(maker.finish().unwrap(), first);
}

#[test]
fn the_rate_does_not_matter_from_begin_to_end() {
    let reference = fingerprint(&sound(4, 48_000, 20.0), 48_000, 16_384);
    for rate_hz in [8_000, 16_000, 22_050, 32_000, 44_100] {
        let other = fingerprint(&sound(4, rate_hz, 20.0), rate_hz, 16_384);
        assert!(other.len().abs_diff(reference.len()) <= 1, "{rate_hz} Hz: {}", other.len());
        // Also at the end, where a frame that lasted half a sample too long would be far away.
        let end = reference.len() - 40;
        let rates = [bit_error_rate(&reference, &other), bit_error_rate(&reference[end..], &other[end..])];
        assert!(rates.iter().all(|&rate| rate < 0.06), "{rate_hz} Hz: {rates:?}");
    }
}

#[test]
fn gain_and_an_equaliser_change_nothing_and_another_sound_everything() {
    let clip = sound(5, 16_000, 10.0);
    let reference = fingerprint(&clip, 16_000, usize::MAX);
    // A first difference: 6 dB an octave.
    let treble: Vec<f32> = clip.windows(2).map(|pair| 0.05 * (pair[1] - 0.9 * pair[0])).collect();
    let rate = bit_error_rate(&reference, &fingerprint(&treble, 16_000, usize::MAX));
    assert!(rate < 0.1, "{rate}");
    let other = fingerprint(&sound(6, 16_000, 10.0), 16_000, usize::MAX);
    let rate = compare(&reference, &other, 16).unwrap();
    // More than copies differ in; what is drowned in both is alike.
    assert!(rate.bit_error_rate > 0.28, "{rate:?}");
}

#[test]
fn comparing_finds_the_shift_either_way() {
    let clip = sound(7, 16_000, 12.0);
    let whole = fingerprint(&clip, 16_000, usize::MAX);
    let late = fingerprint(&clip[3 * 2_000..], 16_000, usize::MAX);
    let found = compare(&whole, &late, 8).unwrap();
    assert_eq!((found.shift, found.n_words), (3, late.len()));
    assert!(found.bit_error_rate < 0.02, "{found:?}");
    assert_eq!(compare(&late, &whole, 8).unwrap().shift, -3);
    assert_eq!(compare(&whole, &[], 8), None);
    assert_eq!(bit_error_rate(&[], &whole), 1.0);
}

#[test]
fn rates_that_are_none_are_refused() {
    assert_eq!(Fingerprinter::new(0).err().map(|e| e.field), Some("rate_hz"));
    assert!(Fingerprinter::new(1_000).is_ok() && Fingerprinter::new(768_000).is_ok());
}
