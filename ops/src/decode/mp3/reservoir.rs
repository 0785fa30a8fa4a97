//! Main data, which may begin in the frames before.

/// The most bytes a frame may point back.
const PAST: usize = 511;
/// The most main data of one frame: free format at 32 kHz and 640 kbit/s has 2,880 bytes.
const FRAME: usize = 4096;

/// The bytes of main data that frames share.
#[derive(Debug)]
pub(super) struct Reservoir {
    bytes: Box<[u8; PAST + FRAME]>,
    len: usize,
    /// Where the main data of the last frame begins.
    begin: usize,
}

impl Reservoir {
    pub(super) fn new() -> Self {
        Self { bytes: Box::new([0; PAST + FRAME]), len: 0, begin: 0 }
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.begin) = (0, 0);
    }

    /// Adds the main data of a frame that begins `back` bytes before it; returns the bytes that are missing there.
    pub(super) fn add(&mut self, frame: &[u8], back: usize) -> Result<usize, &'static str> {
        if frame.len() > FRAME {
            return Err("a frame of more main data than there can be");
        }
        let kept = self.len.min(PAST);
        self.bytes.copy_within(self.len - kept..self.len, 0);
        self.bytes[kept..kept + frame.len()].copy_from_slice(frame);
        self.len = kept + frame.len();
        self.begin = kept.saturating_sub(back);
        Ok(back.saturating_sub(kept))
    }

    /// What there is of the main data, from where it begins.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.begin..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_back_into_what_was_kept() {
        let mut reservoir = Reservoir::new();
        assert_eq!(reservoir.add(&[1, 2, 3], 2), Ok(2));
        assert_eq!(reservoir.bytes(), [1, 2, 3]);
        assert_eq!(reservoir.add(&[4, 5], 1), Ok(0));
        assert_eq!(reservoir.bytes(), [3, 4, 5]);
        assert_eq!(reservoir.add(&[6], 3), Ok(0));
        assert_eq!(reservoir.bytes(), [3, 4, 5, 6]);
        assert_eq!(reservoir.add(&[7], 9), Ok(3));
        assert!(reservoir.add(&[0; FRAME + 1], 0).is_err());
        assert_eq!(reservoir.add(&[9; FRAME], 511), Ok(504));
        assert_eq!(reservoir.add(&[8], 511), Ok(0));
        assert_eq!(reservoir.bytes().len(), 512);
    }
}
