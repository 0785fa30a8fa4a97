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
    fn next(&mut self) -> i16 {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.state >> 16) as i16
    }

    /// Adds noise whose squares sum to that of `gain`.
    pub(super) fn add(&mut self, lines: &mut [f32], gain: f32) {
        let mut values = [0; 128];
        for lines in lines.chunks_mut(values.len()) {
            let values = &mut values[..lines.len()];
            values.fill_with(|| self.next());
            let energy: u64 = values.iter().map(|&x| u64::from(i32::from(x).pow(2) as u32)).sum();
            if energy > 0 {
                let scale = gain / (energy as f64).sqrt() as f32;
                lines.iter_mut().zip(values).for_each(|(line, x)| *line += f32::from(*x) * scale);
            }
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
