//! Bands of noise instead of lines. Source: ISO/IEC 14496-3, 4.6.13.

/// The generator: any will do, the standard asks for the energy alone. This one (Numerical Recipes, 7.1) and its seed are
/// what Symphonia and ffmpeg use, so that decodes can be compared.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    state: u32,
}

impl Default for Noise {
    fn default() -> Self {
        Self { state: 0x1F2E_3D4C }
    }
}

impl Noise {
    fn next(&mut self) -> f32 {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((self.state >> 16) as i16)
    }

    /// Adds noise whose squares sum to that of `gain`.
    pub(super) fn add(&mut self, lines: &mut [f32], gain: f32) {
        let mut twin = self.clone();
        let energy: f32 = lines.iter().map(|_| twin.next().powi(2)).sum();
        if energy > 0.0 {
            let scale = gain / energy.sqrt();
            lines.iter_mut().for_each(|line| *line += self.next() * scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_energy_it_is_told() {
        let mut noise = Noise::default();
        for n in [4, 32, 128] {
            let mut lines = vec![0.0; n];
            noise.add(&mut lines, 3.0);
            let energy: f32 = lines.iter().map(|x| x * x).sum();
            assert!((energy - 9.0).abs() < 1e-4, "{energy}");
        }
    }
}
