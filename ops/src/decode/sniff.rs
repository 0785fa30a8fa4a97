//! The container by its first bytes, and the names of those that are not read.

use crate::OpError;

use super::source::Source;

/// A container that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Wav,
    Aiff,
    Caf,
    Flac,
    Ogg,
    Mp4,
    Matroska,
    Mpeg,
    Adts,
}

impl Container {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Aiff => "AIFF",
            Self::Caf => "CAF",
            Self::Flac => "FLAC",
            Self::Ogg => "Ogg",
            Self::Mp4 => "MP4",
            Self::Matroska => "Matroska",
            Self::Mpeg => "MPEG audio",
            Self::Adts => "ADTS",
        }
    }
}

/// Hides `ID3v2` tags at the front, whose pictures may look like packets, and tells the container of what follows.
pub(super) fn sniff(source: &mut Source, hint: &str) -> Result<Container, OpError> {
    if source.len() == 0 {
        return Err(OpError::Empty);
    }
    // Tags can follow one another; four is more than any file has.
    for _ in 0..4 {
        match source.bytes_at::<10>(0)? {
            Some([b'I', b'D', b'3', _, _, flags, a, b, c, d]) if (a | b | c | d) < 0x80 => {
                let size = [a, b, c, d].iter().fold(0_u64, |size, &b| size << 7 | u64::from(b));
                let footer = if flags & 0x10 == 0 { 0 } else { 10 };
                source.hide_front(10 + size + footer)?;
            }
            _ => break,
        }
    }
    let mut head = [0; 36];
    std::io::Seek::rewind(source)?;
    let n = source.read_up_to(&mut head)?;
    let container = container(&head, n, hint)?;
    if container == Container::Ogg {
        refuse_ogg(source, head[26])?;
    }
    Ok(container)
}

/// Names the codec of an Ogg stream that has no decoder: its first packet, behind `n_segments` lengths, opens with it.
fn refuse_ogg(source: &mut Source, n_segments: u8) -> Result<(), OpError> {
    let Some(packet) = source.bytes_at::<8>(27 + u64::from(n_segments))? else { return Ok(()) };
    let codec = match &packet {
        b"Speex   " => "Speex; convert it: ffmpeg -i in.spx out.flac",
        b"\x80theora\x03" => "Theora video first; take the audio out: ffmpeg -i in.ogv -vn out.flac",
        [b'P', b'C', b'M', ..] => "OggPCM",
        b"CELT    " => "CELT",
        _ => return Ok(()),
    };
    Err(OpError::UnsupportedCodec { codec: codec.into() })
}

fn container(head: &[u8; 36], n: usize, hint: &str) -> Result<Container, OpError> {
    match (&head[..4], &head[8..12]) {
        (b"RIFF", b"WAVE") => Ok(Container::Wav),
        (b"FORM", b"AIFF" | b"AIFC") => Ok(Container::Aiff),
        (b"caff", _) => Ok(Container::Caf),
        (b"fLaC", _) => Ok(Container::Flac),
        (b"OggS", _) => Ok(Container::Ogg),
        (b"\x1A\x45\xDF\xA3", _) => Ok(Container::Matroska),
        _ if &head[4..8] == b"ftyp" => Ok(Container::Mp4),
        // A frame sync with a layer is MPEG audio, without one ADTS.
        (&[0xFF, b, ..], _) if b & 0xF6 == 0xF0 => Ok(Container::Adts),
        (&[0xFF, b, c, _], _) if b & 0xE0 == 0xE0 && b & 0x18 != 0x08 && b & 6 != 0 && c & 0xF0 != 0xF0 => {
            Ok(Container::Mpeg)
        }
        _ => match refused(head, n, &hint.to_ascii_lowercase()) {
            Some(name) => Err(OpError::UnsupportedContainer { detail: name.into() }),
            // Streams cut from a radio start in the middle of a frame.
            None if hint.eq_ignore_ascii_case("mp3") && n > 4 => Ok(Container::Mpeg),
            None => Err(OpError::UnsupportedContainer {
                detail: format!("the file starts with \"{}\"", head[..n.min(8)].escape_ascii()),
            }),
        },
    }
}

fn refused(head: &[u8; 36], n: usize, hint: &str) -> Option<&'static str> {
    let by_magic = match (&head[..4], &head[8..12]) {
        (b"RF64" | b"BW64", _) => "RF64 (WAV beyond 4 GiB); convert it: ffmpeg -i in.wav out.flac",
        (b"RIFX", _) => "RIFX (big-endian WAV); convert it: ffmpeg -i in.wav out.flac",
        (b"riff", _) => "Wave64 (W64); convert it: ffmpeg -i in.w64 out.flac",
        (b"RIFF", b"AVI ") => "AVI video",
        (b"RIFF", b"RMID") | (b"MThd", _) => "MIDI: notes, not audio",
        (b".snd" | b"dns.", _) => "AU (Sun); convert it: ffmpeg -i in.au out.flac",
        (b"wvpk", _) => "WavPack; convert it: ffmpeg -i in.wv out.flac",
        (b"\x30\x26\xB2\x75", _) => "WMA (ASF); convert it: ffmpeg -i in.wma out.flac",
        (&[0x0B, 0x77, ..], _) => "AC-3; convert it: ffmpeg -i in.ac3 out.flac",
        (b"\x7F\xFE\x80\x01", _) => "DTS; convert it: ffmpeg -i in.dts out.flac",
        (b"#!AM", _) => "AMR; convert it: ffmpeg -i in.amr out.flac",
        (b"MAC ", _) => "Monkey's Audio",
        (b"MPCK" | b"MP+\x07", _) => "Musepack",
        (b"TTA1" | b"TTA2", _) => "TTA",
        (b"DSD " | b"FRM8", _) => "DSD",
        (b"NIST", _) => "NIST SPHERE; convert it: sox in.sph out.flac",
        (b"FLV\x01", _) => "Flash video",
        (b"\x00\x00\x01\xBA", _) => "MPEG program stream",
        (b"\x89HDF", _) => "HDF5: export the clips first",
        (b"PK\x03\x04", _) => "a zip archive",
        (&[0x1F, 0x8B, ..], _) => "a gzip archive",
        (b"<htm" | b"<HTM" | b"<!DO" | b"<!do" | b"<?xm", _) => "a web page, not audio: the download failed",
        (b"vers", _) => "a Git LFS pointer: run git lfs pull",
        _ if matches!(&head[4..8], b"moov" | b"mdat" | b"wide" | b"free" | b"skip") => {
            "QuickTime without a file type box; convert it: ffmpeg -i in.mov out.flac"
        }
        // MP3 streams may be padded in front; anything else that starts so is a lost or unfinished file.
        _ if hint != "mp3" && head[..n].iter().all(|&b| b == 0) => "nothing but zeros",
        _ => "",
    };
    let by_hint = match hint {
        "g722" => "G.722",
        "g726" => "G.726",
        "gsm" => "GSM",
        "spx" => "Speex",
        "amr" | "awb" => "AMR",
        "wma" => "WMA",
        "wv" => "WavPack",
        "w64" => "Wave64 (W64)",
        "au" | "snd" => "AU (Sun)",
        "ac3" | "eac3" => "AC-3",
        "ra" | "rm" => "RealAudio",
        "raw" | "pcm" => "headerless PCM: its rate and layout are not in the file",
        _ => "",
    };
    [by_magic, by_hint].into_iter().find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn of(bytes: &[u8], hint: &str) -> Result<Container, OpError> {
        sniff(&mut Source::new(Box::new(Cursor::new(bytes.to_vec()))).unwrap(), hint)
    }

    #[test]
    fn tells_containers() {
        assert_eq!(of(b"RIFF....WAVEfmt ", "").unwrap(), Container::Wav);
        assert_eq!(of(b"\0\0\0 ftypM4A ", "").unwrap(), Container::Mp4);
        assert_eq!(of(&[0xFF, 0xFB, 0x90, 0x64, 0], "").unwrap(), Container::Mpeg);
        assert_eq!(of(&[0xFF, 0xF1, 0x50, 0x80, 0], "").unwrap(), Container::Adts);
        assert_eq!(of(b"ID3\x04\0\0\0\0\0\x02xxfLaC\0\0", "mp3").unwrap(), Container::Flac);
    }

    #[test]
    fn names_what_it_refuses() {
        for (bytes, hint, name) in [
            (&b"wvpk    "[..], "", "WavPack"),
            (b"RF64    ", "", "RF64"),
            (b"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "", "WMA"),
            (b"12345678", "GSM", "GSM"),
            (b"<!DOCTYPE html>", "mp3", "web page"),
            (b"hello", "", "hello"),
            (b"\0\0\0\0", "", "zeros"),
        ] {
            let error = of(bytes, hint).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(error.code(), "unsupported_container");
        }
        assert_eq!(of(b"", "").unwrap_err().code(), "empty");
    }
}
