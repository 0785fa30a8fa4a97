//! JSON files that know when they were torn, rotted or edited: the first line is a checksum of the rest.

use serde::Serialize;
use serde::de::DeserializeOwned;
use twox_hash::XxHash3_128;

const HEAD: &str = "{\n  \"checksum\": \"";
const TAIL: &str = "\",\n";
const HEX_LEN: usize = 32;

/// Pretty JSON of a struct, with its checksum in front. Equal values give equal bytes.
///
/// # Errors
/// A value that JSON cannot hold.
pub fn seal(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = serde_json::to_vec_pretty(value)?;
    body.push(b'\n');
    let checksum = format!("{HEAD}{:032x}{TAIL}", XxHash3_128::oneshot(&body));
    // The checksum takes the place of the opening "{\n".
    Ok([checksum.as_bytes(), &body[2..]].concat())
}

/// The checksum that [`seal`] would put in front of `value`: 32 hex digits; equal values, equal checksums.
pub fn checksum(value: &impl Serialize) -> String {
    let body = serde_json::to_vec_pretty(value).unwrap_or_default();
    format!("{:032x}", XxHash3_128::oneshot(&body))
}

/// Reads back what [`seal`] wrote.
///
/// # Errors
/// In a clause: torn, edited, of another version, or not such a file at all.
pub fn unseal<T: DeserializeOwned>(bytes: &[u8], format: u32) -> Result<T, String> {
    let rest = bytes
        .strip_prefix(HEAD.as_bytes())
        .ok_or("it does not begin with a checksum: not written by this program, or torn")?;
    let (hex, rest) = rest.split_at_checked(HEX_LEN).ok_or("it is torn")?;
    let rest = rest.strip_prefix(TAIL.as_bytes()).ok_or("it is torn")?;
    let body = [b"{\n", rest].concat();
    let found = format!("{:032x}", XxHash3_128::oneshot(&body));
    if found.as_bytes() != hex {
        return Err("its checksum does not match: it is torn, damaged or was edited".to_owned());
    }
    check_format(&body, format)?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

fn check_format(body: &[u8], format: u32) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if head.format == format {
        return Ok(());
    }
    Err(format!("it is of format {}, this build reads format {format}", head.format))
}

/// Bytes as lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// 64-bit words as hex, 16 digits each, one behind the other.
pub fn words_to_hex(words: &[u64]) -> String {
    use std::fmt::Write;
    words.iter().fold(String::with_capacity(words.len() * 16), |mut hex, word| {
        let _ = write!(hex, "{word:016x}");
        hex
    })
}

/// Reads [`words_to_hex`] back; `None` when the text is something else.
pub fn words_from_hex(hex: &str) -> Option<Vec<u64>> {
    if !hex.len().is_multiple_of(16) || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    (0..hex.len() / 16).map(|i| u64::from_str_radix(&hex[16 * i..16 * (i + 1)], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        format: u32,
        text: String,
    }

    #[test]
    fn every_flip_and_every_cut_is_seen() {
        let note = Note { format: 1, text: "a mel of 96 bins".into() };
        let bytes = seal(&note).unwrap();
        assert_eq!(unseal::<Note>(&bytes, 1).unwrap(), note);
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["checksum"].is_string());
        assert!(unseal::<Note>(&bytes, 2).unwrap_err().contains("format 1"));
        for at in 0..bytes.len() {
            assert!(unseal::<Note>(&bytes[..at], 1).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(unseal::<Note>(&flipped, 1).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn words_round_trip() {
        let words = [0, 1, u64::MAX, 0x0123_4567_89ab_cdef];
        assert_eq!(words_from_hex(&words_to_hex(&words)).unwrap(), words);
        assert_eq!(words_from_hex("12"), None);
        assert_eq!(words_from_hex("+000000000000001"), None);
    }
}
