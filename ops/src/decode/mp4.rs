//! What Symphonia does not tell of an MP4 file: its edit list, and the name of what it does not decode.
//!
//! An encoder's delay (1024 samples for most AAC, 2112 for Apple's) is hidden by `moov/trak/edts/elst`. Symphonia parses
//! and ignores it, so the few boxes needed are walked here. Source: ISO/IEC 14496-12, 8.6.6.

use std::io;
use std::ops::Range;

use super::source::Source;

/// Boxes visited at most; a moov has some dozens.
const MAX_BOXES: usize = 4096;
/// Levels of boxes in boxes; moov/trak/mdia/minf/stbl is the deepest path of use.
const MAX_DEPTH: usize = 6;
/// Entries of an edit list looked at; more than one with media is refused anyway.
const MAX_EDITS: u64 = 64;

/// An audio track as its headers describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mp4Track {
    pub(super) id: u32,
    /// Ticks per second of the media timeline.
    pub(super) timescale: u32,
    /// Four-character code of the sample entry, such as `mp4a`.
    pub(super) entry: [u8; 4],
    /// Rate in the sample entry: of the decoded audio, where that differs from the core's.
    pub(super) entry_rate_hz: u32,
    /// Ticks of all packets together, from `stts`.
    pub(super) n_ticks: u64,
    edits: Vec<Edit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edit {
    /// In ticks of the movie; 0 means "to the end" in fragmented files.
    duration: u64,
    /// In ticks of the media; -1 is an empty edit.
    media_time: i64,
}

/// The audio tracks of a file, and the movie's own timescale.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mp4 {
    pub(super) tracks: Vec<Mp4Track>,
    movie_timescale: u32,
    /// Whether a `moov` was found at all.
    pub(super) has_moov: bool,
    /// Whether packets are described by `moof` boxes, so that `stts` is silent.
    fragmented: bool,
}

/// The stretch of a track that is to be heard, in ticks of its media timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Presentation {
    pub(super) start: u64,
    pub(super) len: Option<u64>,
}

impl Mp4 {
    /// Walks the boxes of `source`.
    pub(super) fn read(source: &mut Source) -> io::Result<Self> {
        let mut mp4 = Self::default();
        let mut budget = MAX_BOXES;
        let end = source.len();
        mp4.walk(source, 0..end, MAX_DEPTH, &mut budget)?;
        Ok(mp4)
    }

    fn walk(&mut self, source: &mut Source, range: Range<u64>, depth: usize, budget: &mut usize) -> io::Result<()> {
        let mut at = range.start;
        while let Some((kind, body, next)) = next_box(source, at, range.end, budget)? {
            match &kind {
                b"moov" => self.has_moov = true,
                b"trak" => self.tracks.push(Mp4Track::default()),
                b"mvex" => self.fragmented = true,
                b"mvhd" => self.movie_timescale = timescale(source, body)?.unwrap_or(0),
                _ => {
                    if let Some(track) = self.tracks.last_mut() {
                        track.read_leaf(source, kind, body, next)?;
                    }
                }
            }
            if depth > 0 && matches!(&kind, b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"edts") {
                self.walk(source, body..next, depth - 1, budget)?;
            }
            at = next;
        }
        Ok(())
    }

    pub(super) fn track(&self, id: u32) -> Option<&Mp4Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// What the edit list of `track` leaves to be heard; an error names what is not supported.
    pub(super) fn presentation(&self, track: &Mp4Track) -> Result<Presentation, String> {
        let total = (!self.fragmented).then_some(track.n_ticks);
        let mut media = track.edits.iter().filter(|edit| edit.media_time >= 0);
        let Some(edit) = media.next() else {
            return Ok(Presentation { start: 0, len: total });
        };
        if media.next().is_some() {
            let n = track.edits.len();
            return Err(format!(
                "MP4 with an edit list of {n} parts (flatten it: ffmpeg -i in.m4a -c:a flac out.flac)"
            ));
        }
        let start = edit.media_time as u64;
        let left = total.map(|total| total.saturating_sub(start));
        if edit.duration == 0 || self.movie_timescale == 0 || track.timescale == 0 {
            return Ok(Presentation { start, len: left });
        }
        // The edit's length is in movie ticks, often milliseconds. Where it agrees with the packets to one such tick
        // the packets' own sum is the finer truth; a tick more or less is rounding.
        let scale =
            |ticks: u64| (u128::from(ticks) * u128::from(track.timescale)).div_ceil(u128::from(self.movie_timescale));
        let stated = scale(edit.duration).min(u128::from(u64::MAX)) as u64;
        let tick = scale(1).max(1) as u64;
        let len = match left {
            Some(left) if left.abs_diff(stated) <= tick => left,
            Some(left) => stated.min(left),
            None => stated,
        };
        Ok(Presentation { start, len: Some(len) })
    }
}

impl Mp4Track {
    fn read_leaf(&mut self, source: &mut Source, kind: [u8; 4], body: u64, end: u64) -> io::Result<()> {
        match &kind {
            b"tkhd" => {
                let wide = source.bytes_at::<1>(body)? == Some([1]);
                self.id = source.bytes_at::<4>(body + if wide { 20 } else { 12 })?.map_or(0, u32::from_be_bytes);
            }
            b"mdhd" => self.timescale = timescale(source, body)?.unwrap_or(0),
            // Version, flags and count; then the first entry: size, code, 24 bytes to the rate in 16.16 fixed point.
            b"stsd" => {
                self.entry = source.bytes_at::<4>(body + 12)?.unwrap_or_default();
                self.entry_rate_hz = source.bytes_at::<4>(body + 40)?.map_or(0, |b| u32::from_be_bytes(b) >> 16);
            }
            b"stts" => self.n_ticks = sum_stts(source, body, end)?,
            b"elst" => self.edits = read_elst(source, body, end)?,
            _ => {}
        }
        Ok(())
    }
}

/// The box at `at`: its code, where its body starts, where the next box starts.
fn next_box(source: &mut Source, at: u64, end: u64, budget: &mut usize) -> io::Result<Option<([u8; 4], u64, u64)>> {
    if *budget == 0 || at.saturating_add(8) > end {
        return Ok(None);
    }
    *budget -= 1;
    let Some(head) = source.bytes_at::<8>(at)? else { return Ok(None) };
    let [a, b, c, d, kind @ ..] = head;
    let (len, header) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (end - at, 8),
        1 => match source.bytes_at::<8>(at + 8)? {
            Some(bytes) => (u64::from_be_bytes(bytes), 16),
            None => return Ok(None),
        },
        len => (u64::from(len), 8),
    };
    // A box that claims more than its parent has is cut to it.
    let next = at.saturating_add(len).min(end);
    Ok((len >= header).then_some((kind, at + header, next)))
}

/// The timescale of `mvhd` and `mdhd`, whose first fields are alike.
fn timescale(source: &mut Source, body: u64) -> io::Result<Option<u32>> {
    let wide = source.bytes_at::<1>(body)? == Some([1]);
    Ok(source.bytes_at::<4>(body + if wide { 20 } else { 12 })?.map(u32::from_be_bytes))
}

fn sum_stts(source: &mut Source, body: u64, end: u64) -> io::Result<u64> {
    let n = source.bytes_at::<4>(body + 4)?.map_or(0, u32::from_be_bytes);
    // Audio has two entries: all packets but the last, and the last. Odd files have more; a bound keeps this cheap.
    let n = u64::from(n).min(end.saturating_sub(body + 8) / 8).min(65_536);
    let mut total = 0_u64;
    for i in 0..n {
        let Some([a, b, c, d, delta @ ..]) = source.bytes_at::<8>(body + 8 + i * 8)? else { break };
        let count = u32::from_be_bytes([a, b, c, d]);
        total = total.saturating_add(u64::from(count) * u64::from(u32::from_be_bytes(delta)));
    }
    Ok(total)
}

fn read_elst(source: &mut Source, body: u64, end: u64) -> io::Result<Vec<Edit>> {
    let wide = source.bytes_at::<1>(body)? == Some([1]);
    let size = if wide { 20 } else { 12 };
    let n = source.bytes_at::<4>(body + 4)?.map_or(0, u32::from_be_bytes);
    let n = u64::from(n).min(end.saturating_sub(body + 8) / size).min(MAX_EDITS);
    let mut edits = Vec::new();
    for i in 0..n {
        let at = body + 8 + i * size;
        let edit = if wide {
            source.bytes_at::<16>(at)?.map(|b| {
                let (duration, media_time) = b.split_at(8);
                let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |word, &b| word << 8 | u64::from(b));
                Edit { duration: word(duration), media_time: word(media_time) as i64 }
            })
        } else {
            source.bytes_at::<8>(at)?.map(|[a, b, c, d, e, f, g, h]| Edit {
                duration: u64::from(u32::from_be_bytes([a, b, c, d])),
                media_time: i64::from(i32::from_be_bytes([e, f, g, h])),
            })
        };
        edits.extend(edit);
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
        [&((body.len() + 8) as u32).to_be_bytes()[..], &kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn movie(edits: &[u32]) -> Mp4 {
        let elst = boxed(*b"edts", &boxed(*b"elst", &words(edits)));
        let stts = boxed(*b"stts", &words(&[0, 2, 10, 1024, 1, 500]));
        let stbl = boxed(*b"minf", &boxed(*b"stbl", &stts));
        let mdia = boxed(*b"mdia", &[boxed(*b"mdhd", &words(&[0, 0, 0, 44_100, 0])), stbl].concat());
        let trak = boxed(*b"trak", &[boxed(*b"tkhd", &words(&[0, 0, 0, 7, 0])), elst, mdia].concat());
        let moov = boxed(*b"moov", &[boxed(*b"mvhd", &words(&[0, 0, 0, 1000, 0])), trak].concat());
        let file = [boxed(*b"ftyp", b"M4A "), moov].concat();
        Mp4::read(&mut Source::new(Box::new(Cursor::new(file))).unwrap()).unwrap()
    }

    #[test]
    fn edit_list_gives_start_and_length() {
        // 10 * 1024 + 500 ticks, 1024 of them delay: 9716 samples are 220.3 ms, written as 221.
        let mp4 = movie(&[0, 1, 221, 1024, 0x1_0000]);
        let track = mp4.track(7).unwrap();
        assert_eq!((track.timescale, track.n_ticks), (44_100, 10_740));
        assert_eq!(mp4.presentation(track), Ok(Presentation { start: 1024, len: Some(9716) }));
    }

    #[test]
    fn edit_that_really_cuts_is_obeyed() {
        let mp4 = movie(&[0, 1, 100, 2112, 0x1_0000]);
        assert_eq!(mp4.presentation(&mp4.tracks[0]), Ok(Presentation { start: 2112, len: Some(4410) }));
    }

    #[test]
    fn empty_edits_and_none_and_several() {
        let start_len = |edits: &[u32]| {
            let mp4 = movie(edits);
            mp4.presentation(&mp4.tracks[0]).map(|p| (p.start, p.len))
        };
        assert_eq!(start_len(&[0, 0]), Ok((0, Some(10_740))));
        assert_eq!(start_len(&[0, 2, 50, u32::MAX, 0x1_0000, 221, 1024, 0x1_0000]), Ok((1024, Some(9716))));
        assert!(start_len(&[0, 2, 50, 0, 0x1_0000, 221, 1024, 0x1_0000]).is_err());
        // A count of four billion entries reads what is there.
        assert_eq!(start_len(&[0, u32::MAX, 221, 1024, 0x1_0000]), Ok((1024, Some(9716))));
    }

    #[test]
    fn boxes_in_boxes_for_ever_end() {
        let nested = (0..20_000).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut outer = ((inner.len() + 8) as u32).to_be_bytes().to_vec();
            outer.extend(b"mdia");
            outer
        });
        let file = [nested, b"\0\0\0\0moov".repeat(5000)].concat();
        Mp4::read(&mut Source::new(Box::new(Cursor::new(file))).unwrap()).unwrap();
    }
}
