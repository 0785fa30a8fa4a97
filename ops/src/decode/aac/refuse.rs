//! AAC that must not be decoded as what it seems: band replication doubles the rate, and only the core is decoded here.
//!
//! `AudioSpecificConfig` names HE-AAC when the signalling is explicit. Implicit signalling shows in the packets alone:
//! the last element before the end marker is a fill element of type 13 or 14. Source: ISO/IEC 14496-3, 1.6.5 and 4.5.2.8.

use super::super::names::he_aac;

/// Rates above this are never the core of an HE-AAC stream that plays at 48 kHz or below.
const MAX_CORE_HZ: u32 = 24_000;

/// The rate of the core, which is all that is decoded, from an `AudioSpecificConfig`.
pub(in super::super) fn core_hz(config: &[u8]) -> Option<u32> {
    let mut bits = Bits { bytes: config, at: 0 };
    bits.object_type()?;
    bits.rate()
}

/// Why an `AudioSpecificConfig` is refused, if it is.
pub(in super::super) fn refuse_config(config: &[u8]) -> Option<String> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object = bits.object_type()?;
    bits.rate()?;
    let channels = bits.take(4)?;
    match object {
        5 | 29 => return Some(he_aac()),
        2 => {}
        1 => return Some("AAC Main".into()),
        3 => return Some("AAC SSR".into()),
        4 => return Some("AAC LTP".into()),
        23 | 39 => return Some("AAC-LD".into()),
        42 => return Some("xHE-AAC (USAC)".into()),
        32..=34 => return Some("MPEG audio inside an AAC configuration".into()),
        other => return Some(format!("MPEG-4 audio object type {other}")),
    }
    if !(1..=2).contains(&channels) {
        return Some(format!(
            "AAC with channel layout {channels} (more than two channels: ffmpeg -i in.m4a -ac 2 out.flac)"
        ));
    }
    // GASpecificConfig of LC: frame length, core coder flag, extension flag; then the backward compatible extension.
    if bits.take(1)? == 1 {
        return Some("AAC-LC with 960-sample frames".into());
    }
    bits.take(2)?;
    let explicit = bits.take(11) == Some(0x2B7) && bits.object_type() == Some(5) && bits.take(1) == Some(1);
    explicit.then(he_aac)
}

/// Rate and channels from an `AudioSpecificConfig` that says AAC-LC of one or two channels and nothing else.
pub(super) fn plain_lc(config: &[u8]) -> Option<(u32, usize)> {
    let mut bits = Bits { bytes: config, at: 0 };
    let object = bits.object_type()?;
    let (rate_hz, channels) = (bits.rate()?, bits.take(4)?);
    // Frames of 1024 samples that depend on no other coder, without an extension.
    (object == 2 && bits.take(3)? == 0 && refuse_config(config).is_none()).then_some((rate_hz, channels as usize))
}

/// Votes over the first packets of a low-rate stream on whether they carry band replication.
#[derive(Debug, Default)]
pub(in super::super) struct SbrVote {
    seen: u32,
    with_sbr: u32,
}

impl SbrVote {
    /// Packets looked at.
    const N: u32 = 16;

    /// Whether a stream of this rate needs a vote at all.
    pub(in super::super) fn needed(rate_hz: u32) -> bool {
        rate_hz <= MAX_CORE_HZ
    }

    /// Looks at one raw packet; `Some(true)` once HE-AAC is certain, `Some(false)` once it is ruled out.
    pub(in super::super) fn cast(&mut self, packet: &[u8]) -> Option<bool> {
        self.seen += 1;
        self.with_sbr += u32::from(ends_in_sbr(packet));
        // A chance match has a probability below 2 % a packet: eight of at most sixteen cannot be chance.
        if self.with_sbr >= Self::N / 2 {
            Some(true)
        } else if self.seen >= Self::N {
            Some(false)
        } else {
            None
        }
    }

    /// The verdict on a stream that ended before the vote did.
    pub(in super::super) fn so_far(&self) -> bool {
        self.with_sbr * 2 > self.seen
    }
}

/// Whether a raw AAC packet ends in a fill element of type `EXT_SBR_DATA` or its CRC form, the end marker and padding.
fn ends_in_sbr(packet: &[u8]) -> bool {
    let n_bits = packet.len() * 8;
    let field = |at: usize, n: usize| Bits { bytes: packet, at }.take(n).unwrap_or(0);
    // A fill element holds at most 14 + 255 bytes: only starts that far from the end need a look.
    (n_bits.saturating_sub(270 * 8 + 32)..n_bits.saturating_sub(14)).any(|at| {
        if field(at, 3) != 6 {
            return false;
        }
        let (count, body) = match field(at + 3, 4) {
            15 => (14 + field(at + 7, 8) as usize, at + 15),
            count => (count as usize, at + 7),
        };
        let end = body + count * 8;
        let rest = n_bits.saturating_sub(end + 3);
        // `field` gives 0 beyond the end, which is no end marker.
        count > 0 && matches!(field(body, 4), 13 | 14) && field(end, 3) == 7 && rest < 8 && field(end + 3, rest) == 0
    })
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, n: usize) -> Option<u32> {
        if self.at + n > self.bytes.len() * 8 {
            return None;
        }
        let value =
            (self.at..self.at + n).fold(0, |value, i| value << 1 | u32::from(self.bytes[i / 8] >> (7 - i % 8) & 1));
        self.at += n;
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => self.take(6).map(|extension| 32 + extension),
            object => Some(object),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        const RATES_HZ: [u32; 13] =
            [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
        match self.take(4)? {
            15 => self.take(24),
            index => RATES_HZ.get(index as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        // Object type 2, rate index 4 (44.1 kHz), 2 channels: plain LC as every encoder writes it.
        assert_eq!(refuse_config(&[0x12, 0x10]), None);
        // Explicit hierarchical signalling: object type 5.
        assert!(refuse_config(&[0x2B, 0x92, 0x08, 0x00]).unwrap().contains("HE-AAC"));
        // LC at 22.05 kHz, then the sync extension 0x2B7, object type 5, flag 1.
        assert!(refuse_config(&[0x13, 0x90, 0x56, 0xE5, 0xA0]).unwrap().contains("HE-AAC"));
        // The same with the flag 0 is plain LC.
        assert_eq!(refuse_config(&[0x13, 0x90, 0x56, 0xE5, 0x00]), None);
        assert_eq!((core_hz(&[0x12, 0x10]), core_hz(&[0x13, 0x90])), (Some(44_100), Some(22_050)));
        assert_eq!((plain_lc(&[0x12, 0x10]), plain_lc(&[0x13, 0x88])), (Some((44_100, 2)), Some((22_050, 1))));
        // Frames of 960 samples, HE-AAC, Main, and half a configuration are not plain.
        assert!([&[0x12, 0x14][..], &[0x2B, 0x92, 0x08, 0x00], &[0x0A, 0x10], &[0x12]].map(plain_lc) == [None; 4]);
        // Channel configuration 6 is 5.1.
        assert!(refuse_config(&[0x12, 0x30]).unwrap().contains("channel"));
    }

    #[test]
    fn fill_element_by_hand() {
        // 16 bits of anything; 110 (fill) 0010 (two bytes) 1101 (SBR) + 12 bits; 111 (end); zeros.
        let bits = format!("{}{}{}{}", "1010101010101010", "1100010", "1101000011110000", "111");
        let bits = format!("{bits:0<48}");
        let packet: Vec<u8> = (0..6).map(|i| u8::from_str_radix(&bits[i * 8..i * 8 + 8], 2).unwrap()).collect();
        assert!(ends_in_sbr(&packet));
        assert!(!ends_in_sbr(&packet[..5]));
        assert!(!ends_in_sbr(&[]));
    }
}
