//! Where in a file a clip lies.

/// A file may be so much longer or shorter than the segment and still be the segment: decoders pad, downloaders cut at
/// frames.
const SLACK_S: f64 = 1.0;

/// A clip in its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub start_s: f64,
    /// `None` when nobody knows how long the file is.
    pub duration_s: Option<f64>,
    /// Whether the clip is all of the file.
    pub whole: bool,
    /// Why there is too little of it, in words.
    pub fault: Option<String>,
}

/// Where the `segment` (start and length, when the publisher says) lies in a file of `held_s` seconds that begins at
/// `offset_s`.
pub(crate) fn place_of(
    segment: Option<(f64, f64)>,
    named_start: bool,
    offset_s: f64,
    held_s: Option<f64>,
    min_s: f64,
) -> Place {
    let whole = Place { start_s: offset_s, duration_s: held_s, whole: true, fault: None };
    let mut place = match (segment, held_s) {
        (Some((start_s, length_s)), Some(held_s)) if !named_start && held_s > length_s + SLACK_S => {
            let left_s = held_s - start_s;
            let fault =
                (left_s <= 0.0).then(|| format!("the file has {held_s:.3} s, the segment begins at {start_s} s"));
            let duration_s = if fault.is_some() { length_s } else { left_s.min(length_s) };
            Place { start_s: offset_s + start_s, duration_s: Some(duration_s), whole: false, fault }
        }
        _ => whole,
    };
    if let Some(length_s) = place.duration_s.filter(|length_s| *length_s < min_s && place.fault.is_none()) {
        place.fault = Some(format!("{length_s:.3} s of at least {min_s} s"));
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_segments_length_is_the_segment() {
        let place = place_of(Some((30.0, 10.0)), false, 0.0, Some(10.03), 0.0);
        assert_eq!(place, Place { start_s: 0.0, duration_s: Some(10.03), whole: true, fault: None });
    }

    #[test]
    fn a_longer_file_is_the_recording_unless_it_is_named_after_the_segment() {
        let place = place_of(Some((30.0, 10.0)), false, 0.0, Some(120.0), 0.0);
        assert_eq!(place, Place { start_s: 30.0, duration_s: Some(10.0), whole: false, fault: None });
        assert!(place_of(Some((30.0, 10.0)), true, 0.0, Some(120.0), 0.0).whole);
        assert!(place_of(None, false, 0.0, Some(120.0), 0.0).whole);
    }

    #[test]
    fn a_recording_that_ends_early_gives_what_is_there() {
        assert_eq!(place_of(Some((30.0, 10.0)), false, 0.0, Some(34.0), 0.0).duration_s, Some(4.0));
        assert!(
            place_of(Some((30.0, 10.0)), false, 0.0, Some(34.0), 5.0).fault.unwrap().contains("4.000 s of at least 5")
        );
        let none = place_of(Some((30.0, 10.0)), false, 0.0, Some(20.0), 0.0);
        assert_eq!(none.fault.as_deref(), Some("the file has 20.000 s, the segment begins at 30 s"));
    }
}
