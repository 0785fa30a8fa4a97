//! The inner loop of the log-mel: eight frames in, their filter energies out.
//!
//! This is the one place that speed depends on; whatever replaces it keeps [`Kernel::energies`].

use super::filter_bank::FilterBank;
use crate::OpError;
use crate::stft::{Block, LANES, Stft};

/// Frames -> power spectra -> mel energies.
#[derive(Clone)]
pub(crate) struct Kernel {
    stft: Stft,
    bank: FilterBank,
    energies: Vec<[f32; LANES]>,
}

impl Kernel {
    pub fn new(stft: Stft, bank: FilterBank) -> Self {
        Self { energies: vec![[0.0; LANES]; bank.n_mels()], stft, bank }
    }

    pub fn bank(&self) -> &FilterBank {
        &self.bank
    }

    pub fn stft(&self) -> &Stft {
        &self.stft
    }

    /// Energies [`n_mels`][lanes] of one block. Frames that cannot reach `floor` in any filter may be given as 0.
    pub fn energies(&mut self, block: Block<'_>, floor: f32) -> Result<&[[f32; LANES]], OpError> {
        let powers = self.stft.powers(block, floor, self.bank.bins())?;
        self.bank.apply(powers, &mut self.energies);
        Ok(&self.energies)
    }
}
