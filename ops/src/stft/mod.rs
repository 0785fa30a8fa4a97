//! Short-time power spectra: where the frames lie, what is done to each, and the FFT.
//!
//! Two conventions, because features in use come from both: Kaldi's (frames inside the clip only, each freed of its mean
//! and pre-emphasised) and the centred STFT (frame `t` centred at `t * hop_len`, edges reflected).

mod framing;
mod lanes;
mod op;
mod taps;
mod window;

pub use framing::Edges;
pub(crate) use lanes::LANES;
pub(crate) use op::Block;
pub use op::{Stft, StftConfig};
pub use window::Window;
