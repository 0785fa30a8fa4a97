//! Packet to samples, by whoever does it best.

use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::packet::Packet;

use super::downmix::append;
use super::mp3::Mp3;

/// The decoder of one track.
pub(super) enum Codec {
    /// Symphonia's, or libopus behind its trait.
    Symphonia(Box<dyn AudioDecoder>),
    /// Our own Layer III.
    Mp3 { decoder: Box<Mp3>, trim: bool },
}

/// Rate, channels and frames of a decoded packet.
pub(super) type Decoded = (u32, usize, usize);

impl Codec {
    /// Appends what `packet` holds to `block`, unless it is longer than `max_frames`.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        mono: bool,
        max_frames: usize,
        block: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
    ) -> Result<Decoded, SymphoniaError> {
        match self {
            Self::Symphonia(decoder) => decoder.decode(packet).map(|buf| {
                if !buf.is_empty() && buf.frames() <= max_frames {
                    append(&buf, mono, block, scratch);
                }
                (buf.spec().rate(), buf.num_planes(), buf.frames())
            }),
            Self::Mp3 { decoder, trim } => {
                let start = block.len();
                let frame = decoder.decode(&packet.data, block).map_err(SymphoniaError::DecodeError)?;
                let mut n_frames = frame.n_frames;
                if *trim {
                    let step = (block.len() - start) / n_frames.max(1);
                    let front = (packet.trim_start.get() as usize).min(n_frames);
                    let back = (packet.trim_end.get() as usize).min(n_frames - front);
                    block.truncate(block.len() - back * step);
                    block.drain(start..start + front * step);
                    n_frames -= front + back;
                }
                Ok((frame.rate_hz, frame.channels, n_frames))
            }
        }
    }

    /// Forgets what came before, after a seek.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Symphonia(decoder) => decoder.reset(),
            Self::Mp3 { decoder, .. } => decoder.reset(),
        }
    }
}
