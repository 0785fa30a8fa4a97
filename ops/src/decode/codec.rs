//! One packet to samples, whichever library knows its codec.

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::packet::Packet;

use super::aac::AacDecoder;
use super::downmix::append;
use super::flac::FlacDecoder;
use super::mp3::Mp3Decoder;
use super::opus::{self, OpusDecoder};
use super::vorbis::VorbisDecoder;
use crate::OpError;

/// Frames a packet may decode to; FLAC's longest block is 65,535, Opus' 5,760.
pub(super) const MAX_PACKET_FRAMES: usize = 1 << 18;

/// A decoder of packets.
pub(super) enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(OpusDecoder),
    Vorbis(Box<VorbisDecoder>),
    Flac(Box<FlacDecoder>),
    Aac(Box<AacDecoder>),
    /// Layer III; whether what the container says is delay and padding is cut off.
    Mp3(Box<Mp3Decoder>, bool),
}

/// What a packet held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) rate_hz: u32,
    /// Channels of the file, whatever came out.
    pub(super) channels: usize,
    pub(super) n_frames: usize,
}

impl Codec {
    /// Appends the samples of `packet` to `out`: the mean of the channels (`mono`) or all, interleaved. A packet of more
    /// than [`MAX_PACKET_FRAMES`] is counted and not appended. `scratch` is a buffer to work in.
    pub(super) fn decode(
        &mut self,
        packet: &Packet,
        mono: bool,
        out: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
    ) -> Result<Decoded, SymphoniaError> {
        // libopus takes an empty packet for a lost one and invents audio.
        if packet.data.is_empty() {
            return Err(SymphoniaError::DecodeError("an empty packet"));
        }
        match self {
            Self::Opus(decoder) => {
                let n_frames = decoder.decode(packet, out)?;
                Ok(Decoded { rate_hz: opus::RATE_HZ, channels: decoder.channels(), n_frames })
            }
            Self::Vorbis(decoder) => {
                let n_frames =
                    decoder.decode(packet, out).ok_or(SymphoniaError::DecodeError("vorbis: no packet of audio"))?;
                Ok(Decoded { rate_hz: decoder.rate_hz(), channels: decoder.channels(), n_frames })
            }
            Self::Flac(decoder) => {
                let n_frames = decoder.decode(&packet.data, out).map_err(SymphoniaError::DecodeError)?;
                Ok(Decoded { rate_hz: decoder.rate_hz(), channels: decoder.channels(), n_frames })
            }
            Self::Aac(decoder) => decoder.decode(&packet.data, out),
            Self::Mp3(decoder, trim) => {
                let start = out.len();
                let mut decoded = decoder.decode(&packet.data, out).map_err(SymphoniaError::DecodeError)?;
                if *trim {
                    decoded.n_frames = cut(packet, decoded.n_frames, start, out);
                }
                Ok(decoded)
            }
            Self::Symphonia(decoder) => decoder.decode(packet).map(|buf| {
                if !buf.is_empty() && buf.frames() <= MAX_PACKET_FRAMES {
                    append(&buf, mono, out, scratch);
                }
                described(&buf)
            }),
        }
    }

    /// Forgets what came before, as after a seek.
    pub(super) fn reset(&mut self) -> Result<(), OpError> {
        match self {
            Self::Opus(decoder) => return decoder.reset(),
            Self::Vorbis(decoder) => decoder.reset(),
            Self::Mp3(decoder, _) => decoder.reset(),
            Self::Aac(decoder) => decoder.reset(),
            // Frames stand alone.
            Self::Flac(_) => {}
            Self::Symphonia(decoder) => decoder.reset(),
        }
        Ok(())
    }
}

fn described(buf: &GenericAudioBufferRef<'_>) -> Decoded {
    Decoded { rate_hz: buf.spec().rate(), channels: buf.num_planes(), n_frames: buf.frames() }
}

/// Takes off what `packet` says is no sound of the `n_frames` that lie in `out` from `start` on; returns how many stay.
fn cut(packet: &Packet, n_frames: usize, start: usize, out: &mut Vec<f32>) -> usize {
    let step = (out.len() - start) / n_frames.max(1);
    let front = (packet.trim_start.get() as usize).min(n_frames);
    let back = (packet.trim_end.get() as usize).min(n_frames - front);
    out.truncate(out.len() - back * step);
    out.drain(start..start + front * step);
    n_frames - front - back
}
