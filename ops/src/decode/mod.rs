//! Bytes to samples: every container and codec people hold corpora in, streamed, exact in place and length.
//!
//! | container | codecs |
//! |---|---|
//! | WAV | PCM 8 to 32 bit and float (read directly), A-law, mu-law, MS and IMA ADPCM |
//! | AIFF, CAF | PCM, ALAC and what Symphonia knows of the rest |
//! | FLAC, Ogg | FLAC, Vorbis (1 or 2 channels), Opus (1 or 2 channels) |
//! | MP4, M4A | AAC-LC (1 or 2 channels), ALAC, FLAC, Opus |
//! | Matroska, `WebM` | Opus, Vorbis, AAC-LC, FLAC, MP3, PCM |
//! | MPEG | MP1, MP2, MP3, AAC-LC in ADTS |
//!
//! What is refused is refused by name ([`OpError::UnsupportedCodec`](crate::OpError::UnsupportedCodec)), with the
//! command that converts it where there is one. HE-AAC is recognised by its configuration and by the band-replication
//! payload in its packets, because decoding only its core halves the rate without a word.
//!
//! # Whose decoders
//! Containers are Symphonia's, and so are the codecs but for Opus (libopus), Layer III, Vorbis and AAC-LC of one or two
//! channels, FLAC of one or two channels and up to 24 bits, and PCM in WAV. Where [`Channels::Mono`] is wanted Opus, Layer III,
//! Vorbis and AAC mix before the inverse transform, which is the mean all the same.
//!
//! # Place and length
//! Encoder delay and padding never reach the caller: LAME tag (MP3), edit list (MP4), codec delay and discard padding
//! (Matroska), pre-skip and end granule (Ogg). The first sample out is the first sample that went into the encoder.
//!
//! # Hostile input
//! Any byte sequence gives samples or an error. A panic inside a codec is caught, decoded seconds are budgeted,
//! packets that yield nothing are counted, and no buffer grows with a number read from the file.

mod aac;
mod bits;
mod codec;
mod config;
mod decoder;
mod downmix;
mod flac;
mod imdct;
mod matroska;
mod mp3;
mod mp4;
mod names;
mod open;
mod opus;
mod packets;
mod sniff;
mod source;
mod vorbis;
mod wav;

pub use config::{Channels, Decode, DecodeConfig};
pub use decoder::{AudioInfo, Decoder};
pub use source::ReadSeek;
