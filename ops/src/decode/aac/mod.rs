//! AAC-LC of one or two channels, for readers that mostly want one channel.
//!
//! Behind the code words everything is linear. Where both channels are windowed alike and no filter tells them apart, the
//! mean is taken among the lines and transformed once; of a middle and side pair the side is read over. What is sent is
//! told apart in `ics` and `huffman`, what becomes of the lines in `stereo`, `noise`, `pulse` and `tns`, and `synth` makes
//! sound of them. Packets come from Symphonia's demuxers. `refuse` names what must not be decoded as what it seems.
//! Source: ISO/IEC 14496-3, subpart 4.
//!
//! # Damage
//! A packet that cannot be right is an error and gives nothing; the overlap waits for the next one. Work is bounded by the
//! lines of a frame whatever the bits say, and nothing is allocated after `new` but what the samples take.

mod bands;
mod codes;
mod decoder;
mod huffman;
mod ics;
mod noise;
mod pulse;
#[cfg(test)]
mod random;
mod refuse;
mod stereo;
mod synth;
mod tns;

pub(super) use decoder::AacDecoder;
pub(super) use refuse::{SbrVote, core_hz, refuse_config};
