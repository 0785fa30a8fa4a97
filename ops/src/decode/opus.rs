//! Opus through libopus, which is told what is wanted: for one channel it mixes before the inverse transform.
//!
//! That halves the synthesis and is exact: past the range decoder everything in CELT is linear (the post-filter and the
//! de-emphasis are the same for both channels), and SILK codes the mid channel itself. Only rounding (SILK works in 16
//! bit) and what is concealed where the mode changes without a redundant frame can differ from the mean of a stereo
//! decode. One default must be undone: a mono decoder plays intensity stereo without the phase inversion that the
//! encoder asked for, which is kinder to the ear and not the mean. Source: RFC 6716, 4.3.4.4; libopus 1.6.

use opusic_c::{Channels, Decoder, ErrorCode, SampleRate};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::packet::Packet;

use crate::OpError;

/// Opus always decodes at 48 kHz; the header's rate is that of the encoder's input.
pub(super) const RATE_HZ: u32 = 48_000;

/// A stream of one or two channels.
pub(super) struct OpusDecoder {
    inner: Decoder,
    /// Channels of the file.
    channels: usize,
    /// Channels that come out.
    step: usize,
}

impl OpusDecoder {
    /// For a stream of one or two `channels`, all of them or (`mono`) their mean.
    pub(super) fn new(channels: usize, mono: bool) -> Result<Self, OpError> {
        let step = if mono { 1 } else { channels };
        let layout = if step == 1 { Channels::Mono } else { Channels::Stereo };
        let failed = |code: ErrorCode| OpError::Corrupt { detail: format!("libopus: {}", code.message()) };
        let mut inner = Decoder::new(layout, SampleRate::Hz48000).map_err(failed)?;
        inner.set_phase_inversion_disabled(false).map_err(failed)?;
        Ok(Self { inner, channels, step })
    }

    /// Channels of the file, whatever comes out.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Appends the samples of one packet to `out`; returns the frames.
    pub(super) fn decode(&mut self, packet: &Packet, out: &mut Vec<f32>) -> Result<usize, SymphoniaError> {
        let failed = |code: ErrorCode| SymphoniaError::DecodeError(code.message());
        let step = self.step;
        // At most 120 ms: libopus refuses packets that say they are longer.
        let n = self.inner.get_nb_samples(&packet.data).map_err(failed)?;
        let start = out.len();
        out.resize(start + n * step, 0.0);
        let n = self.inner.decode_float_to_slice(&packet.data, &mut out[start..], false).map_err(failed)?;
        let front = (packet.trim_start.get() as usize).min(n);
        let keep = (n - front).saturating_sub(packet.trim_end.get() as usize);
        out.truncate(start + (front + keep) * step);
        out.drain(start..start + front * step);
        Ok(keep)
    }

    /// Forgets what came before, as after a seek.
    pub(super) fn reset(&mut self) -> Result<(), OpError> {
        self.inner.reset().map_err(|code| OpError::Corrupt { detail: format!("libopus: {}", code.message()) })
    }
}
