//! Where the ticks of a mel picture go.

use crate::front_end::find;

/// How mel bins lie over frequency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FrequencyAxis {
    /// Triangles evenly spaced in mel = 1127 ln(1 + f/700) (HTK, Kaldi) between two frequencies in Hz.
    Htk {
        /// Lower edge of the lowest filter in Hz.
        min_hz: f64,
        /// Upper edge of the highest filter in Hz.
        max_hz: f64,
    },
    /// Triangles evenly spaced in the mel scale of Slaney's Auditory Toolbox: linear to 1 kHz, then logarithmic.
    Slaney {
        /// Lower edge of the lowest filter in Hz.
        min_hz: f64,
        /// Upper edge of the highest filter in Hz.
        max_hz: f64,
    },
    /// Nothing is known of frequencies: the bins are numbered.
    Bins,
}

impl FrequencyAxis {
    /// By what a front end says of itself: the edges of the filter bank from its centres, which are evenly spaced in mel.
    pub fn of_front_end(front_end: &serde_json::Value) -> Self {
        let centres = find(front_end, "mel_centres_hz").and_then(serde_json::Value::as_array);
        let centres: Vec<f64> = centres.into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
        let [first, second, .., last] = centres[..] else { return Self::Bins };
        let mel = |hz: f64| 1127.0 * (hz / 700.0).ln_1p();
        let hz = |mel: f64| 700.0 * (mel / 1127.0).exp_m1();
        let step = mel(second) - mel(first);
        Self::Htk { min_hz: hz(mel(first) - step).max(0.0), max_hz: hz(mel(last) + step) }
    }

    /// Ticks in order of their importance: where (in bins; the centre of bin k is at k) and what it says.
    pub(super) fn ticks(self, n_mels: usize) -> Vec<(f64, String)> {
        let (min_hz, max_hz, to_mel): (f64, f64, fn(f64) -> f64) = match self {
            Self::Htk { min_hz, max_hz } => (min_hz, max_hz, htk),
            Self::Slaney { min_hz, max_hz } => (min_hz, max_hz, slaney),
            Self::Bins => {
                let step = [1, 2, 4, 8, 16, 32, 64].into_iter().find(|s| n_mels / s <= 8).unwrap_or(n_mels.div_ceil(8));
                return (0..n_mels).step_by(step).map(|k| (k as f64, k.to_string())).collect();
            }
        };
        let (low, high) = (to_mel(min_hz), to_mel(max_hz));
        // The edges of the outer filters lie one bin beyond their centres.
        let bin = |hz: f64| (to_mel(hz) - low) / (high - low) * (n_mels + 1) as f64 - 1.0;
        let octaves = [1_000, 4_000, 250, 16_000, 500, 2_000, 8_000, 125, 32_000, 62];
        let inside = |b: f64| b.is_finite() && b >= 0.0 && b <= n_mels as f64 - 1.0;
        let name = |hz: u32| if hz >= 1_000 { format!("{} kHz", hz / 1_000) } else { format!("{hz} Hz") };
        octaves.into_iter().map(|hz| (bin(f64::from(hz)), name(hz))).filter(|tick| inside(tick.0)).collect()
    }
}

fn htk(hz: f64) -> f64 {
    1_127.0 * (hz / 700.0).ln_1p()
}

fn slaney(hz: f64) -> f64 {
    if hz < 1_000.0 { hz * 3.0 / 200.0 } else { 15.0 + 27.0 * (hz / 1_000.0).ln() / 6.4_f64.ln() }
}

/// Round moments that leave room for about one label in `min_gap_s`; seconds, and what stands there.
pub(super) fn time_ticks(duration_s: f64, min_gap_s: f64) -> Vec<(f64, String)> {
    const STEPS_S: [f64; 12] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
    let step = STEPS_S.into_iter().find(|s| *s >= min_gap_s).unwrap_or((min_gap_s / 60.0).ceil() * 60.0);
    let decimals = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
    let count = (duration_s / step * (1.0 + 1e-9)).floor().min(1_000.0) as usize;
    (0..=count).map(|i| (i as f64 * step, format!("{:.decimals$} s", i as f64 * step))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_stand_at_their_bins() {
        // Kaldi, 20 Hz to 16 kHz, 96 bins: mel(1 kHz) = 999.99, mel(20) = 31.75, mel(16 kHz) = 3575.4.
        let ticks = FrequencyAxis::Htk { min_hz: 20.0, max_hz: 16_000.0 }.ticks(96);
        assert_eq!(ticks[0].1, "1 kHz");
        assert!((ticks[0].0 - ((999.99 - 31.75) / (3_575.4 - 31.75) * 97.0 - 1.0)).abs() < 0.02, "{}", ticks[0].0);
        assert!(ticks.iter().all(|t| t.1 != "16 kHz"), "the upper edge is no bin's centre");
        // Slaney: 15 at 1 kHz, 0 at 0 Hz; 8 kHz is 15 + 27 ln 8 / ln 6.4 = 45.246.
        let ticks = FrequencyAxis::Slaney { min_hz: 0.0, max_hz: 8_000.0 }.ticks(128);
        assert!((ticks[0].0 - (15.0 / 45.246 * 129.0 - 1.0)).abs() < 0.01);
    }

    #[test]
    fn times_are_round_and_do_not_crowd() {
        let names = |d, gap| time_ticks(d, gap).into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(names(10.0, 1.2), ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]);
        assert_eq!(names(0.5, 0.12), ["0.0 s", "0.2 s", "0.4 s"]);
    }

    #[test]
    fn nonsense_gives_no_ticks() {
        assert!(FrequencyAxis::Htk { min_hz: f64::NAN, max_hz: 0.0 }.ticks(96).is_empty());
        assert_eq!(FrequencyAxis::Bins.ticks(0), []);
        assert!(time_ticks(f64::NAN, f64::NAN).len() <= 1_001);
    }
}
