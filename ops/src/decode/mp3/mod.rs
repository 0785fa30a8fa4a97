//! MPEG-1, 2 and 2.5 Layer III, for readers that mostly want one channel.
//!
//! Behind the decoding of stereo everything is linear. Where both channels were windowed alike, their mean is taken
//! among the lines and transformed once; of a middle and side pair the side is not even read. What is sent and how it is
//! laid out is told apart in `header`, `scale`, `huffman` and `stereo`; `imdct` and `synth` are the two halves of the
//! hybrid filter bank, which `simd` runs. Packets come from Symphonia's demuxers.
//!
//! # Damage
//! A frame that cannot be right is an error and gives nothing; its bytes stay at hand for those that point back to them.
//! Frames that lack the main data of earlier ones, as at the start of a cut file, are silent in the granules they lack.
//! Work is bounded by the lines of a granule whatever the bits say, and nothing is allocated after `new`.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over lanes and rows of several arrays are what becomes vector code"
)]
#![allow(clippy::excessive_precision, reason = "constants are given as the formulas have them, whatever an f32 keeps")]

mod bands;
mod codes;
mod decoder;
mod header;
mod huffman;
mod imdct;
mod layout;
mod reservoir;
mod scale;
mod simd;
mod stereo;
mod synth;
mod window;

pub(super) use decoder::Mp3Decoder;
