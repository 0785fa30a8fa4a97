//! Packets through Symphonia: decoded, cut to their place, damage counted, work bounded.

use std::collections::VecDeque;

use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatReader, SeekMode, SeekTo};
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;

use super::codec::{Codec, Decoded, MAX_PACKET_FRAMES};
use super::downmix::{Bad, FLOAT_PEAK, LOSSY_PEAK, find_bad};
use super::source::{from_symphonia, guard};
use crate::OpError;

/// Packets in a row that may yield no sample (those of a video track included) before the file is given up.
const MAX_IDLE_PACKETS: u32 = 20_000;
/// Frames a lossy file may fall short of its header: encoders disagree about the last packets.
pub(super) const SHORTFALL: u64 = 4608;
/// Damaged packets that are borne before the share is looked at, so that one in the first second does not decide.
const GRACE: u64 = 8;
/// Frames from which on seeking costs less than decoding.
const MIN_SEEK: u64 = 16_384;

/// How many frames the container promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing dependable.
    None,
    /// About so many: much less means that the file is cut.
    About(u64),
    /// Exactly so many, or the file is damaged.
    Exact(u64),
}

/// Where the audio lies among the decoded frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Frames to drop in front.
    pub(super) delay: u64,
    /// Frames to keep after that; `None` keeps all.
    pub(super) len: Option<u64>,
    /// Frames to drop from the last packet.
    pub(super) padding: u64,
}

/// The two halves of a file, container and codec, and what to make of them.
pub(super) struct Opened {
    pub(super) format: Box<dyn FormatReader>,
    pub(super) codec: Codec,
    pub(super) track_id: u32,
    pub(super) lossless: bool,
    /// Whether the format seeks to packets whose time stamps count frames exactly.
    pub(super) seekable: bool,
    pub(super) gain: f32,
    pub(super) cut: Cut,
    pub(super) promise: Promise,
}

/// Limits from the config.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) mono: bool,
    pub(super) max_bad_packets: f64,
    pub(super) max_seconds: f64,
}

/// Decoded blocks of one track.
pub(super) struct PacketStream {
    opened: Opened,
    limits: Limits,
    /// Rate and channels of the first block; all others must agree.
    pub(super) spec: Option<(u32, usize)>,
    ahead: VecDeque<Packet>,
    block: Vec<f32>,
    scratch: Vec<f32>,
    n_packets: u64,
    pub(super) n_bad: u64,
    last_len: usize,
    /// Frames that have left the decoder, cut or not.
    n_decoded: u64,
    /// Position in the cut audio of the end of `block`.
    at: u64,
}

/// What fetching the next packet led to.
pub(super) enum Fetched {
    Packet(Packet),
    /// A chained Ogg stream begins: the caller must open its track.
    Restart,
    End,
}

/// What the next block is.
pub(super) enum Next {
    Block,
    Restart,
    End,
}

impl PacketStream {
    pub(super) fn new(opened: Opened, limits: Limits) -> Self {
        Self {
            opened,
            limits,
            spec: None,
            ahead: VecDeque::new(),
            block: Vec::new(),
            scratch: Vec::new(),
            n_packets: 0,
            n_bad: 0,
            last_len: 0,
            n_decoded: 0,
            at: 0,
        }
    }

    /// The current block, interleaved.
    pub(super) fn block(&self) -> &[f32] {
        &self.block
    }

    pub(super) fn promise(&self) -> Promise {
        self.opened.promise
    }

    /// Looks at the next packet without decoding it; `n` counts from the front.
    pub(super) fn peek(&mut self, n: usize) -> Result<Option<&Packet>, OpError> {
        while self.ahead.len() <= n {
            match self.fetch()? {
                Fetched::Packet(packet) => self.ahead.push_back(packet),
                Fetched::Restart | Fetched::End => return Ok(None),
            }
        }
        Ok(self.ahead.get(n))
    }

    /// Hands the demuxer over to be opened again at a chained stream.
    pub(super) fn into_format(self) -> Box<dyn FormatReader> {
        self.opened.format
    }

    /// The next packet of this track straight from the demuxer.
    fn fetch(&mut self) -> Result<Fetched, OpError> {
        for _ in 0..MAX_IDLE_PACKETS {
            let format = &mut self.opened.format;
            match guard(|| format.next_packet())? {
                Ok(Some(packet)) if packet.track_id == self.opened.track_id => return Ok(Fetched::Packet(packet)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Fetched::End),
                Err(SymphoniaError::ResetRequired) => return Ok(Fetched::Restart),
                Err(error) => return Err(from_symphonia(error)),
            }
        }
        Err(OpError::Corrupt { detail: format!("{MAX_IDLE_PACKETS} packets in a row are of other tracks") })
    }

    /// Decodes until there is a block with at least one frame.
    pub(super) fn advance(&mut self) -> Result<Next, OpError> {
        self.block.clear();
        for _ in 0..MAX_IDLE_PACKETS {
            if self.opened.cut.len == Some(self.at) {
                return self.finish().map(|()| Next::End);
            }
            let fetched = match self.ahead.pop_front() {
                Some(packet) => Fetched::Packet(packet),
                None => self.fetch()?,
            };
            match fetched {
                Fetched::Packet(packet) => self.decode(&packet)?,
                Fetched::Restart => return self.finish().map(|()| Next::Restart),
                Fetched::End => return self.finish().map(|()| Next::End),
            }
            self.cut_block()?;
            if !self.block.is_empty() {
                return Ok(Next::Block);
            }
        }
        Err(OpError::Corrupt { detail: format!("{MAX_IDLE_PACKETS} packets in a row hold no audio") })
    }

    /// Fills `block` from one packet; damage becomes silence and is counted.
    fn decode(&mut self, packet: &Packet) -> Result<(), OpError> {
        self.n_packets += 1;
        let Self { opened, block, scratch, .. } = self;
        let mono = self.limits.mono;
        match guard(|| opened.codec.decode(packet, mono, block, scratch))? {
            Ok(Decoded { n_frames: 0, .. }) => Ok(()),
            Ok(Decoded { rate_hz, channels, n_frames }) => {
                self.agree(rate_hz, channels, n_frames)?;
                self.check_samples(n_frames)
            }
            Err(SymphoniaError::DecodeError(what)) => self.bear(what),
            Err(SymphoniaError::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.bear("a packet ends early")
            }
            Err(SymphoniaError::ResetRequired) => Err(changed()),
            Err(error) => Err(from_symphonia(error)),
        }
    }

    fn agree(&mut self, rate_hz: u32, channels: usize, n_frames: usize) -> Result<(), OpError> {
        if n_frames > MAX_PACKET_FRAMES {
            return Err(OpError::Corrupt { detail: format!("a packet of {n_frames} frames") });
        }
        match self.spec.replace((rate_hz, channels)) {
            Some(before) if before != (rate_hz, channels) => Err(changed()),
            _ => Ok(()),
        }
    }

    fn check_samples(&mut self, n_frames: usize) -> Result<(), OpError> {
        if self.opened.gain != 1.0 {
            self.block.iter_mut().for_each(|x| *x *= self.opened.gain);
        }
        self.last_len = n_frames;
        let limit = if self.opened.lossless { FLOAT_PEAK } else { LOSSY_PEAK };
        match find_bad(&self.block, limit) {
            None => Ok(()),
            Some(Bad::NonFinite(i)) => Err(OpError::NonFinite { index: self.at as usize * self.step() + i }),
            Some(Bad::Loud(x)) if self.opened.lossless => {
                Err(OpError::Corrupt { detail: format!("a float sample of {x:e} (full scale is 1)") })
            }
            Some(Bad::Loud(_)) => self.bear("samples beyond four times full scale"),
        }
    }

    /// Samples of `block` to a frame.
    fn step(&self) -> usize {
        if self.limits.mono { 1 } else { self.spec.map_or(1, |(_, channels)| channels) }
    }

    /// Puts silence in the place of a damaged packet, or gives the file up.
    fn bear(&mut self, what: &str) -> Result<(), OpError> {
        self.n_bad += 1;
        self.block.clear();
        if self.opened.lossless {
            return Err(OpError::Corrupt { detail: format!("packet {} of a lossless file: {what}", self.n_packets) });
        }
        if self.n_bad > GRACE && self.too_many_bad() {
            return Err(self.damaged(what));
        }
        self.block.resize(self.last_len * self.step(), 0.0);
        Ok(())
    }

    fn too_many_bad(&self) -> bool {
        self.n_bad as f64 > self.limits.max_bad_packets * self.n_packets as f64
    }

    fn damaged(&self, what: &str) -> OpError {
        let (bad, all) = (self.n_bad, self.n_packets);
        OpError::Corrupt { detail: format!("{bad} of the first {all} packets are damaged, the last: {what}") }
    }

    /// Takes delay and padding off the block and moves the position on.
    fn cut_block(&mut self) -> Result<(), OpError> {
        let step = self.step();
        let n = (self.block.len() / step) as u64;
        self.n_decoded += n;
        if let Some((rate_hz, _)) = self.spec {
            // Ten seconds for delay and padding, which no header may stretch for ever.
            let max_s = self.limits.max_seconds;
            if self.n_decoded as f64 > (max_s + 10.0) * f64::from(rate_hz) {
                return Err(OpError::TooLong { max_s });
            }
        }
        let mut keep = n;
        if self.opened.cut.padding > 0 && n > 0 && self.peek(0)?.is_none() {
            keep = keep.saturating_sub(self.opened.cut.padding);
        }
        let cut = &mut self.opened.cut;
        let front = cut.delay.min(n);
        cut.delay -= front;
        keep = keep.saturating_sub(front);
        if let Some(len) = cut.len {
            keep = keep.min(len - self.at);
        }
        self.block.truncate((front + keep) as usize * step);
        self.block.drain(..(front as usize * step).min(self.block.len()));
        self.at += keep;
        Ok(())
    }

    /// Compares what came with what was promised.
    fn finish(&self) -> Result<(), OpError> {
        if self.n_bad > 0 && self.too_many_bad() {
            return Err(self.damaged("see the share max_bad_packets"));
        }
        let at = self.at;
        let short =
            |promised: u64| OpError::Truncated { detail: format!("{at} of {promised} promised frames are there") };
        match self.opened.promise {
            Promise::Exact(n) if at < n => Err(short(n)),
            Promise::Exact(n) if at > n => {
                Err(OpError::Corrupt { detail: format!("{at} frames are there, the header says {n}") })
            }
            Promise::About(n) if at.saturating_add(SHORTFALL) < n => Err(short(n)),
            _ => Ok(()),
        }
    }

    /// Moves to frame `target` by seeking; `false` where the format cannot do it exactly.
    pub(super) fn seek(&mut self, target: u64) -> Result<bool, OpError> {
        let Promise::Exact(n) = self.opened.promise else { return Ok(false) };
        if !self.opened.seekable || target >= n || target < self.at.saturating_add(MIN_SEEK) {
            return Ok(false);
        }
        let Ok(ts) = Timestamp::try_from(target) else { return Ok(false) };
        let opened = &mut self.opened;
        let to = SeekTo::Timestamp { ts, track_id: opened.track_id };
        let sought = guard(|| opened.format.seek(SeekMode::Accurate, to))?.map_err(from_symphonia)?;
        guard(|| opened.codec.reset())??;
        let actual = sought.actual_ts.get();
        let Some(ahead) = u64::try_from(actual).ok().and_then(|actual| target.checked_sub(actual)) else {
            return Err(OpError::Corrupt { detail: format!("sought frame {target}, got to {actual}") });
        };
        self.ahead.clear();
        self.block.clear();
        opened.cut.delay = ahead;
        self.at = target;
        Ok(true)
    }
}

fn changed() -> OpError {
    OpError::Corrupt { detail: "rate or channels change in the middle".into() }
}
