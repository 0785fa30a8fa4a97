//! How long clips are, as far as a list tells: what units are weighed by before they are shared out to machines.

use crate::stage::TYPICAL_CLIP_S;

/// Bytes of a second, by how the name ends: samples as they are (44,100 Hz, two channels of 16 bits), without loss, coded at 128 kbit/s.
fn bytes_of_second(name: &str) -> f64 {
    let extension = name.rsplit('.').next().unwrap_or_default();
    let is_one_of = |known: &[&str]| known.iter().any(|known| extension.eq_ignore_ascii_case(known));
    if is_one_of(&["wav", "wave", "aif", "aiff", "aifc", "caf"]) {
        176_400.0
    } else if is_one_of(&["flac"]) {
        88_200.0
    } else {
        16_000.0
    }
}

/// Seconds of a clip that the list does not tell the length of: by the bytes of its file called `name`, from `start_s` on. A guess, for
/// sharing out alone.
pub fn guess_s(name: &str, bytes: Option<u64>, start_s: f64) -> f64 {
    let whole = bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64 / bytes_of_second(name));
    whole.map_or(TYPICAL_CLIP_S, |whole| (whole - start_s).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_seconds_by_the_kind_of_file_and_nothing_is_ten() {
        assert_eq!(guess_s("a/b.WAV", Some(1_764_000), 0.0), 10.0);
        assert_eq!(guess_s("x.tar!b.flac", Some(882_000), 4.0), 6.0);
        assert_eq!((guess_s("b.mp3", Some(160_000), 60.0), guess_s("mp3", Some(160_000), 1.0)), (0.0, 9.0));
        assert_eq!((guess_s("b", None, 0.0), guess_s("b", Some(0), 3.0)), (10.0, 10.0));
    }
}
