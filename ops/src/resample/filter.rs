//! The low-pass between two rates: a Kaiser-windowed sinc, described in units of the lower rate.

use realfft::RealFftPlanner;

use super::Quality;

/// A Kaiser-windowed sinc of finite support. Time is counted in samples of the *lower* of the two rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prototype {
    /// The -6 dB point as a fraction of the lower Nyquist frequency.
    cutoff: f64,
    /// Kaiser's shape parameter; 13.04 leaves ripples of -127 dB.
    beta: f64,
    /// The kernel is zero from here on, on both sides.
    pub(super) half_len: f64,
}

impl Prototype {
    /// The prototype of `quality` for a conversion by `num / den` in lowest terms.
    ///
    /// The numbers of [`Quality::SoxrHq`] are fitted to the impulse responses of soxr 1.1 at "HQ": its single-stage
    /// ratios (2/3, 2/1, 1/3, ...) are met to -133 dB, its two-stage ones (320/441, 640/441, 6400/2469, ...) to -70 dB, all of it in the transition band.
    pub(super) fn new(quality: Quality, num: usize, den: usize) -> Self {
        /// Largest term of a ratio that soxr converts in a single stage.
        const SINGLE_STAGE_MAX: usize = 4;
        match quality {
            Quality::SoxrHq if num.max(den) <= SINGLE_STAGE_MAX => {
                Self { cutoff: 0.956_872, beta: 13.04, half_len: 97.0 }
            }
            Quality::SoxrHq => Self { cutoff: 0.956_843, beta: 14.0, half_len: 102.6 },
            Quality::Steep => Self::with_cutoff(0.985),
            Quality::Gentle => Self::with_cutoff(0.9),
        }
    }

    /// A transition centred on `cutoff` that ends at the lower Nyquist frequency, with ripples of -127 dB.
    fn with_cutoff(cutoff: f64) -> Self {
        // Length times transition width is constant for one shape parameter: 97 at the width of soxr HQ.
        Self { cutoff, beta: 13.04, half_len: 4.184 / (1.0 - cutoff) }
    }

    /// The kernel at time `t`.
    fn at(&self, t: f64) -> f64 {
        let x = t / self.half_len;
        if x.abs() >= 1.0 {
            return 0.0;
        }
        let window = bessel_i0(self.beta * (1.0 - x * x).sqrt()) / bessel_i0(self.beta);
        self.cutoff * sinc(self.cutoff * t) * window
    }

    /// The kernel's transfer function on the first `n_bins` bins of an FFT of `n_fft` points at the *higher* rate, which is
    /// `ratio` times the lower one. Real, because the kernel is symmetric about time zero; `gain` at DC.
    pub(super) fn response(&self, n_fft: usize, ratio: f64, n_bins: usize, gain: f64) -> Vec<f32> {
        let fft = RealFftPlanner::<f64>::new().plan_fft_forward(n_fft);
        let mut kernel = fft.make_input_vec();
        let reach = ((self.half_len * ratio) as usize).min((n_fft - 1) / 2);
        for i in 0..=reach {
            let tap = self.at(i as f64 / ratio);
            kernel[i] = tap;
            kernel[(n_fft - i) % n_fft] = tap;
        }
        let mut spectrum = fft.make_output_vec();
        fft.process(&mut kernel, &mut spectrum).expect("buffers come from the plan itself");
        let scale = gain / spectrum[0].re;
        spectrum[..n_bins].iter().map(|bin| (bin.re * scale) as f32).collect()
    }
}

/// `sin(pi x) / (pi x)`.
fn sinc(x: f64) -> f64 {
    let y = std::f64::consts::PI * x;
    if y.abs() < 1e-9 { 1.0 } else { y.sin() / y }
}

/// The modified Bessel function of order zero, by its power series; exact to rounding for the arguments of a window.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bessel_matches_its_table() {
        // Abramowitz and Stegun, table 9.8: e^-x I0(x) at x = 1 and 10.
        assert!((bessel_i0(1.0) * (-1.0_f64).exp() - 0.465_759_607_7).abs() < 1e-9);
        assert!((bessel_i0(10.0) * (-10.0_f64).exp() - 0.127_833_337_1).abs() < 1e-9);
    }

    #[test]
    fn half_of_the_amplitude_at_the_cutoff() {
        let prototype = Prototype::new(Quality::SoxrHq, 2, 3);
        let response = prototype.response(3 * 4096, 1.5, 4097, 1.0);
        // Bin i of 3 * 4096 points at 3/2 of the lower rate lies at i / 4096 of the lower Nyquist frequency.
        let at = |fraction: f64| f64::from(response[(fraction * 4096.0).round() as usize]);
        assert_eq!(response[0], 1.0);
        assert!((at(0.956_872) - 0.5).abs() < 5e-3, "{}", at(0.956_872));
        assert!(at(0.913) > 0.999 && at(1.0) < 1e-6);
    }
}
