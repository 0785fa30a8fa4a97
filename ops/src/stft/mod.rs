//! Short-time power spectra: where the frames lie, what is done to each, and the FFT.
//!
//! Two conventions, because features in use come from both: Kaldi's (frames inside the clip only, each freed of its mean
//! and pre-emphasised) and the centred STFT (frame `t` centred at `t * hop_len`, edges reflected).
//!
//! Frames stand side by side in vector lanes ([`crate::simd`]): `columns` transposes the clip, `taps` writes the windowed
//! frames, `fft` turns them into powers where they lie.

mod columns;
mod fft;
mod framing;
mod op;
mod spectrum;
mod taps;
mod window;

pub(crate) use columns::Block;
pub use framing::Edges;
pub(crate) use op::Powers;
pub use op::{Stft, StftConfig};
pub(crate) use taps::Tilt;
pub use window::Window;
