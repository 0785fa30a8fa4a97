//! One opened file as a stream of samples.

use std::fmt;

use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;

use super::aac::SbrVote;
use super::config::{Channels, DecodeConfig};
use super::names;
use super::open::{Headers, demux, open_track};
use super::packets::{Limits, Next, PacketStream, Promise};
use super::sniff::{Container, sniff};
use super::source::Source;
use super::wav::{self, Wav, WavPcm};
use crate::{AudioRead, OpError};

/// Rates taken for real.
const RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// Channels taken for real.
const MAX_CHANNELS: usize = 32;
/// Streams chained in one Ogg file; a radio recording has one a song.
const MAX_LINKS: u32 = 256;

/// What a file is, from its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioInfo {
    /// Container by its usual name, such as `MP4`.
    pub container: &'static str,
    /// Codec by its usual name, such as `AAC-LC`.
    pub codec: &'static str,
    /// Frames per second.
    pub rate_hz: u32,
    /// Channels in the file, whatever comes out.
    pub channels: usize,
    /// Frames as the headers state them: exact for lossless codecs, to some packets for lossy ones, unknown to many.
    pub n_frames: Option<u64>,
    /// Bits of a stored sample, where the codec has such a thing.
    pub bits: Option<u32>,
}

/// A file being decoded: an [`AudioRead`] that holds one packet, however long the file is.
///
/// `n_frames_left` is known for PCM, FLAC and ALAC: exactly so many frames come, or an error. For lossy codecs it is
/// `None`. `skip` seeks in PCM WAV and FLAC and decodes elsewhere.
pub struct Decoder {
    body: Body,
    info: AudioInfo,
    limits: Limits,
    /// Frames handed out or skipped.
    n_out: u64,
    max_frames: u64,
}

enum Body {
    Pcm(WavPcm),
    Packets {
        stream: Box<PacketStream>,
        /// Samples of the stream's block that are handed out.
        at: usize,
        container: Container,
        n_links: u32,
        /// Damaged packets of earlier links.
        n_bad_before: u64,
    },
    /// Ended or failed: nothing comes any more.
    Over {
        n_bad: u64,
    },
}

impl Decoder {
    pub(super) fn open(config: &DecodeConfig, mut source: Source, hint: &str) -> Result<Self, OpError> {
        let limits = Limits {
            mono: config.channels == Channels::Mono,
            max_bad_packets: config.max_bad_packets,
            max_seconds: config.max_seconds,
        };
        let container = sniff(&mut source, hint)?;
        if container == Container::Wav {
            match wav::open(source)? {
                Wav::Pcm(pcm) => return Self::with_pcm(pcm, limits),
                Wav::Tagged(0x02 | 0x06 | 0x07 | 0x11, again) => source = again,
                Wav::Tagged(tag, _) => return Err(OpError::UnsupportedCodec { codec: names::wav_tag(tag) }),
            }
        }
        Self::with_packets(source, container, limits)
    }

    fn with_pcm(pcm: WavPcm, limits: Limits) -> Result<Self, OpError> {
        let info = AudioInfo {
            container: Container::Wav.name(),
            codec: "PCM",
            rate_hz: pcm.rate_hz,
            channels: pcm.channels,
            n_frames: Some(pcm.n_left()),
            bits: Some(pcm.bits),
        };
        if pcm.n_left() == 0 {
            return Err(OpError::Empty);
        }
        Self::new(Body::Pcm(pcm), info, limits)
    }

    fn with_packets(mut source: Source, container: Container, limits: Limits) -> Result<Self, OpError> {
        let headers = Headers::read(&mut source, container)?;
        let format = demux(source, container, &headers)?;
        let (opened, params) = open_track(format, container, &headers, limits.mono)?;
        let mut stream = PacketStream::new(opened, limits);
        if params.codec == CODEC_ID_AAC && params.sample_rate.is_none_or(SbrVote::needed) {
            refuse_implicit_sbr(&mut stream)?;
        }
        // Rate and channels are taken from decoded audio: headers lie.
        let n_frames = match stream.promise() {
            Promise::Exact(n) | Promise::About(n) => Some(n),
            Promise::None => None,
        };
        match stream.advance()? {
            Next::Block => {}
            Next::Restart | Next::End => return Err(OpError::Empty),
        }
        let (rate_hz, channels) = stream.spec.ok_or(OpError::Empty)?;
        let info = AudioInfo {
            container: container.name(),
            codec: names::codec(params.codec),
            rate_hz,
            channels,
            n_frames,
            bits: params.bits_per_sample,
        };
        let body = Body::Packets { stream: Box::new(stream), at: 0, container, n_links: 1, n_bad_before: 0 };
        Self::new(body, info, limits)
    }

    fn new(body: Body, info: AudioInfo, limits: Limits) -> Result<Self, OpError> {
        if !RATES_HZ.contains(&info.rate_hz) {
            return Err(OpError::Corrupt { detail: format!("a rate of {} Hz", info.rate_hz) });
        }
        if !(1..=MAX_CHANNELS).contains(&info.channels) {
            return Err(OpError::Corrupt { detail: format!("{} channels", info.channels) });
        }
        let max_frames = (limits.max_seconds * f64::from(info.rate_hz)) as u64;
        let decoder = Self { body, info, limits, n_out: 0, max_frames };
        if decoder.n_frames_left().is_some_and(|n| n > max_frames) {
            return Err(OpError::TooLong { max_s: limits.max_seconds });
        }
        Ok(decoder)
    }

    /// What the file is.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Packets so far that could not be decoded and came out as silence.
    pub fn bad_packets(&self) -> u64 {
        match &self.body {
            Body::Pcm(_) => 0,
            Body::Packets { stream, n_bad_before, .. } => n_bad_before + stream.n_bad,
            Body::Over { n_bad } => *n_bad,
        }
    }

    fn over<T>(&mut self, result: Result<T, OpError>) -> Result<T, OpError> {
        if result.is_err() {
            self.body = Body::Over { n_bad: self.bad_packets() };
        }
        result
    }

    fn try_read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        let step = self.channels();
        let n_asked = out.len() / step;
        let mut n_done = 0;
        while n_done < n_asked {
            let n = match &mut self.body {
                Body::Over { .. } => break,
                Body::Pcm(pcm) => pcm.read(&mut out[n_done * step..n_asked * step], self.limits.mono)?,
                Body::Packets { stream, at, .. } => {
                    let ready = &stream.block()[*at..];
                    let n = ready.len().min((n_asked - n_done) * step);
                    out[n_done * step..n_done * step + n].copy_from_slice(&ready[..n]);
                    *at += n;
                    n / step
                }
            };
            n_done += n;
            self.n_out += n as u64;
            if self.n_out > self.max_frames {
                return Err(OpError::TooLong { max_s: self.limits.max_seconds });
            }
            if n_done < n_asked && !self.refill()? {
                break;
            }
        }
        Ok(n_done)
    }

    /// Decodes the next block; `false` at the end.
    fn refill(&mut self) -> Result<bool, OpError> {
        let Body::Packets { stream, at, .. } = &mut self.body else {
            self.body = Body::Over { n_bad: self.bad_packets() };
            return Ok(false);
        };
        *at = 0;
        match stream.advance()? {
            Next::Block => Ok(true),
            Next::Restart => self.next_link(),
            Next::End => {
                self.body = Body::Over { n_bad: self.bad_packets() };
                Ok(false)
            }
        }
    }

    /// Goes on with the stream that is chained behind the current one, if it is of the same kind.
    fn next_link(&mut self) -> Result<bool, OpError> {
        let n_bad = self.bad_packets();
        let Body::Packets { stream, container, n_links, .. } = std::mem::replace(&mut self.body, Body::Over { n_bad })
        else {
            return Ok(false);
        };
        if n_links >= MAX_LINKS {
            return Err(OpError::Corrupt { detail: format!("more than {MAX_LINKS} chained Ogg streams") });
        }
        let (opened, params) = open_track(stream.into_format(), container, &Headers::None, self.limits.mono)?;
        let mut stream = PacketStream::new(opened, self.limits);
        let next = stream.advance()?;
        let same = stream.spec.is_none_or(|spec| spec == (self.info.rate_hz, self.info.channels));
        if !same || names::codec(params.codec) != self.info.codec {
            return Err(OpError::Corrupt { detail: "chained Ogg streams of different rate, channels or codec".into() });
        }
        self.body =
            Body::Packets { stream: Box::new(stream), at: 0, container, n_links: n_links + 1, n_bad_before: n_bad };
        match next {
            Next::Block => Ok(true),
            Next::Restart => self.next_link(),
            Next::End => {
                self.body = Body::Over { n_bad };
                Ok(false)
            }
        }
    }

    /// Skips within the current block, then by seeking; the rest is left to reading. Returns the frames skipped.
    fn try_skip(&mut self, n: u64) -> Result<u64, OpError> {
        let step = self.channels();
        let n_out = self.n_out;
        let skipped = match &mut self.body {
            Body::Over { .. } => 0,
            Body::Pcm(pcm) => pcm.skip(n)?,
            Body::Packets { stream, at, .. } => {
                let ready = ((stream.block().len() - *at) / step) as u64;
                if n > ready && stream.seek(n_out + n)? {
                    *at = 0;
                    n
                } else {
                    let n = n.min(ready);
                    *at += n as usize * step;
                    n
                }
            }
        };
        self.n_out += skipped;
        Ok(skipped)
    }
}

/// Refuses AAC of a low rate whose packets carry band replication.
fn refuse_implicit_sbr(stream: &mut PacketStream) -> Result<(), OpError> {
    let mut vote = SbrVote::default();
    let mut i = 0;
    let he_aac = loop {
        match stream.peek(i)?.map(|packet| vote.cast(&packet.data)) {
            Some(Some(verdict)) => break verdict,
            Some(None) => i += 1,
            None => break vote.so_far(),
        }
    };
    if he_aac { Err(OpError::UnsupportedCodec { codec: names::he_aac() }) } else { Ok(()) }
}

impl AudioRead for Decoder {
    fn rate_hz(&self) -> u32 {
        self.info.rate_hz
    }

    fn channels(&self) -> usize {
        if self.limits.mono { 1 } else { self.info.channels }
    }

    fn info(&self) -> Option<&AudioInfo> {
        Some(&self.info)
    }

    fn n_frames_left(&self) -> Option<u64> {
        match &self.body {
            Body::Pcm(pcm) => Some(pcm.n_left()),
            Body::Packets { stream, .. } => match stream.promise() {
                Promise::Exact(n) => Some(n.saturating_sub(self.n_out)),
                Promise::About(_) | Promise::None => None,
            },
            Body::Over { .. } => Some(0),
        }
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        let result = self.try_read(out);
        self.over(result)
    }

    fn skip(&mut self, n: u64) -> Result<u64, OpError> {
        let mut done = 0;
        while done < n {
            let result = self.try_skip(n - done);
            let skipped = self.over(result)?;
            done += skipped;
            if skipped == 0 && done < n {
                let result = self.refill();
                if !self.over(result)? {
                    break;
                }
            }
        }
        Ok(done)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("info", &self.info).field("n_out", &self.n_out).finish_non_exhaustive()
    }
}
