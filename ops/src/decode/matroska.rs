//! What Symphonia does not tell of a Matroska file: codec delay and discard padding.
//!
//! `CodecDelay` (in the track) is cut from the front, `DiscardPadding` (in the last block) from the end; both are in
//! nanoseconds. Only the last cluster is searched for padding: that is where encoders put it. Source: RFC 9559, 5.1.4.

use std::io;
use std::ops::Range;

use super::source::Source;

/// Elements visited at most. With clusters of known size a ten-hour file has some 10,000; a live recording one a packet.
const MAX_ELEMENTS: usize = 4_000_000;
/// Levels of elements in elements.
const MAX_DEPTH: usize = 6;

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const CODEC_ID: u32 = 0x86;
const CODEC_DELAY: u32 = 0x56AA;
const CLUSTER: u32 = 0x1F43_B675;
const BLOCK_GROUP: u32 = 0xA0;
const BLOCK: u32 = 0xA1;
const SIMPLE_BLOCK: u32 = 0xA3;
const DISCARD_PADDING: u32 = 0x75A2;

/// A track as its headers describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MkvTrack {
    pub(super) number: u64,
    /// Such as `A_OPUS`.
    pub(super) codec: String,
    pub(super) delay_ns: u64,
    /// Of the track's last block.
    pub(super) padding_ns: u64,
}

/// The tracks of a file.
#[derive(Debug, Default)]
pub(super) struct Matroska {
    pub(super) tracks: Vec<MkvTrack>,
    last_cluster: Option<Range<u64>>,
    /// Track of the block that a `DiscardPadding` would belong to.
    block_track: u64,
}

impl Matroska {
    /// Walks the headers and the last cluster of `source`.
    pub(super) fn read(source: &mut Source) -> io::Result<Self> {
        let mut mkv = Self::default();
        let mut budget = MAX_ELEMENTS;
        let end = source.len();
        mkv.walk(source, 0..end, MAX_DEPTH, &mut budget)?;
        if let Some(range) = mkv.last_cluster.take() {
            mkv.walk(source, range, MAX_DEPTH, &mut budget)?;
        }
        Ok(mkv)
    }

    pub(super) fn track(&self, number: u32) -> Option<&MkvTrack> {
        self.tracks.iter().find(|track| track.number == u64::from(number))
    }

    fn walk(&mut self, source: &mut Source, range: Range<u64>, depth: usize, budget: &mut usize) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end && *budget > 0 {
            *budget -= 1;
            let Some((id, body, size)) = next_element(source, at)? else { break };
            let known_end = size.map(|size| body.saturating_add(size));
            let end = known_end.unwrap_or(range.end).min(range.end);
            match id {
                // A cluster of known size is stepped over and remembered; one of unknown size is walked in line.
                CLUSTER if known_end.is_some() => self.last_cluster = Some(body..end),
                SEGMENT | CLUSTER | TRACKS | TRACK_ENTRY | BLOCK_GROUP if depth > 0 => {
                    if id == TRACK_ENTRY {
                        self.tracks.push(MkvTrack::default());
                    }
                    if known_end.is_none() {
                        at = body;
                        continue;
                    }
                    self.walk(source, body..end, depth - 1, budget)?;
                }
                _ => self.read_leaf(source, id, body, end - body)?,
            }
            at = end;
        }
        Ok(())
    }

    fn read_leaf(&mut self, source: &mut Source, id: u32, body: u64, size: u64) -> io::Result<()> {
        match (id, self.tracks.last_mut()) {
            (BLOCK | SIMPLE_BLOCK, _) => {
                self.block_track = vint(source, body, true)?.map_or(0, |(number, _)| number);
                let block_track = self.block_track;
                // A later block without padding takes back what an earlier one said.
                self.tracks.iter_mut().filter(|t| t.number == block_track).for_each(|t| t.padding_ns = 0);
            }
            (DISCARD_PADDING, _) => {
                let padding = unsigned(source, body, size)?;
                let block_track = self.block_track;
                self.tracks.iter_mut().filter(|t| t.number == block_track).for_each(|t| t.padding_ns = padding);
            }
            (TRACK_NUMBER, Some(track)) => track.number = unsigned(source, body, size)?,
            (CODEC_DELAY, Some(track)) => track.delay_ns = unsigned(source, body, size)?,
            (CODEC_ID, Some(track)) => track.codec = text(source, body, size)?,
            _ => {}
        }
        Ok(())
    }
}

/// Nanoseconds as the nearest number of samples.
pub(super) fn samples(ns: u64, rate_hz: u32) -> u64 {
    ((u128::from(ns) * u128::from(rate_hz) + 500_000_000) / 1_000_000_000).min(u128::from(u64::MAX)) as u64
}

/// Identifier, start of the body, and size (`None` when unknown) of the element at `at`.
fn next_element(source: &mut Source, at: u64) -> io::Result<Option<(u32, u64, Option<u64>)>> {
    let Some((id, id_len)) = vint(source, at, false)? else { return Ok(None) };
    let Some((size, size_len)) = vint(source, at + id_len, true)? else { return Ok(None) };
    let unknown = size == (1 << (7 * size_len)) - 1;
    Ok(u32::try_from(id).ok().map(|id| (id, at + id_len + size_len, (!unknown).then_some(size))))
}

/// A number of 1 to 8 bytes whose leading zeros tell its length; `strip` drops the length marker. Value and length.
fn vint(source: &mut Source, at: u64, strip: bool) -> io::Result<Option<(u64, u64)>> {
    let Some([first]) = source.bytes_at::<1>(at)? else { return Ok(None) };
    let len = u64::from(first.leading_zeros()) + 1;
    if len > 8 {
        return Ok(None);
    }
    let marker = if strip { 1_u64 << (7 * len) } else { 0 };
    Ok(big_endian(source, at, len)?.map(|value| (value & !marker, len)))
}

fn big_endian(source: &mut Source, at: u64, len: u64) -> io::Result<Option<u64>> {
    if at.saturating_add(len) > source.len() {
        return Ok(None);
    }
    let mut value = 0;
    for i in 0..len {
        let Some([byte]) = source.bytes_at::<1>(at + i)? else { return Ok(None) };
        value = value << 8 | u64::from(byte);
    }
    Ok(Some(value))
}

fn unsigned(source: &mut Source, body: u64, size: u64) -> io::Result<u64> {
    Ok(if size <= 8 { big_endian(source, body, size)?.unwrap_or(0) } else { 0 })
}

fn text(source: &mut Source, body: u64, size: u64) -> io::Result<String> {
    let mut text = String::new();
    for i in 0..size.min(32) {
        if let Some([byte @ 0x20..=0x7E]) = source.bytes_at::<1>(body + i)? {
            text.push(char::from(byte));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn element(id: u32, body: &[u8]) -> Vec<u8> {
        let id = id.to_be_bytes();
        let id = &id[id.iter().position(|&b| b != 0).unwrap()..];
        [id, &[0x40 | (body.len() >> 8) as u8, body.len() as u8], body].concat()
    }

    fn parse(file: Vec<u8>) -> Vec<MkvTrack> {
        Matroska::read(&mut Source::new(Box::new(Cursor::new(file))).unwrap()).unwrap().tracks
    }

    fn file(last_block: &[u8]) -> Vec<u8> {
        let delay = element(CODEC_DELAY, &6_500_000_u32.to_be_bytes());
        let entry = [element(TRACK_NUMBER, &[1]), element(CODEC_ID, b"A_OPUS"), delay].concat();
        let first = element(CLUSTER, &element(BLOCK_GROUP, &[element(BLOCK, &[0x81, 0, 0, 0]), padding(9)].concat()));
        let body = [element(TRACKS, &element(TRACK_ENTRY, &entry)), first, element(CLUSTER, last_block)].concat();
        element(SEGMENT, &body)
    }

    fn padding(ns: u32) -> Vec<u8> {
        element(DISCARD_PADDING, &ns.to_be_bytes())
    }

    #[test]
    fn delay_and_padding() {
        let last = element(BLOCK_GROUP, &[element(BLOCK, &[0x81, 0, 0, 0]), padding(13_500_000)].concat());
        let track = &parse(file(&last))[0];
        assert_eq!((track.number, track.codec.as_str()), (1, "A_OPUS"));
        assert_eq!((samples(track.delay_ns, 48_000), samples(track.padding_ns, 48_000)), (312, 648));
    }

    #[test]
    fn only_the_last_block_counts() {
        let padded = element(BLOCK_GROUP, &[element(BLOCK, &[0x81, 0, 0, 0]), padding(7)].concat());
        let plain = element(SIMPLE_BLOCK, &[0x81, 0, 0, 0]);
        assert_eq!(parse(file(&[padded.clone(), plain.clone()].concat()))[0].padding_ns, 0);
        let other = element(SIMPLE_BLOCK, &[0x82, 0, 0, 0]);
        assert_eq!(parse(file(&[padded, other].concat()))[0].padding_ns, 7);
    }

    #[test]
    fn rubbish_ends() {
        assert!(parse(vec![0; 4096]).is_empty());
        parse([0x18, 0x53, 0x80, 0x67, 0xFF].repeat(5000));
    }
}
