//! Windows of a stream, which is read once and never held whole.

use super::{Crop, CropPosition, Window};
use crate::{AudioRead, OpError};

impl Crop {
    /// Reads the window of a stream into `out` (replaced), padding included: the same samples as [`Crop::windows`] and
    /// [`Crop::cut`] give for the whole clip. Of a sliding crop it is the first window.
    ///
    /// What lies before the window is skipped; what follows is not read. A centred or random window needs the clip's length:
    /// where the stream does not know it, the clip is read through and held, up to `max_frames`.
    ///
    /// # Errors
    /// [`OpError::Empty`] when there is no frame; [`OpError::TooShort`] when `tail: drop` leaves nothing;
    /// [`OpError::Truncated`] when the stream ends before the length it stated; [`OpError::TooLong`] beyond `max_frames`;
    /// otherwise as [`AudioRead::read`].
    pub fn read<R: AudioRead + ?Sized>(
        &self,
        audio: &mut R,
        seed: u64,
        max_frames: u64,
        out: &mut Vec<f32>,
    ) -> Result<Window, OpError> {
        out.clear();
        match (self.position, audio.n_frames_left()) {
            (CropPosition::Head | CropPosition::Sliding, _) => self.read_head(audio, seed, out),
            (_, Some(n_frames)) => self.read_known(audio, n_frames, seed, out),
            (_, None) => self.read_through(audio, seed, max_frames, out),
        }
    }

    fn read_head<R: AudioRead + ?Sized>(
        &self,
        audio: &mut R,
        seed: u64,
        out: &mut Vec<f32>,
    ) -> Result<Window, OpError> {
        let channels = audio.channels();
        let got = read_up_to(audio, self.n_frames, out)?;
        let Some(window) = self.windows(got, seed).next() else {
            let needed = self.n_frames as usize;
            return Err(if got == 0 { OpError::Empty } else { OpError::TooShort { n_samples: got as usize, needed } });
        };
        out.resize((window.n_frames + window.n_padding) as usize * channels, 0.0);
        Ok(window)
    }

    fn read_known<R: AudioRead + ?Sized>(
        &self,
        audio: &mut R,
        n_frames: u64,
        seed: u64,
        out: &mut Vec<f32>,
    ) -> Result<Window, OpError> {
        let channels = audio.channels();
        let window = self.windows(n_frames, seed).next().ok_or(OpError::Empty)?;
        let got = audio.skip(window.start)?;
        let got = got + if got == window.start { read_up_to(audio, window.n_frames, out)? } else { 0 };
        if got < window.start + window.n_frames {
            return Err(OpError::Truncated { detail: format!("{got} frames of {n_frames} stated") });
        }
        out.resize((window.n_frames + window.n_padding) as usize * channels, 0.0);
        Ok(window)
    }

    fn read_through<R: AudioRead + ?Sized>(
        &self,
        audio: &mut R,
        seed: u64,
        max_frames: u64,
        out: &mut Vec<f32>,
    ) -> Result<Window, OpError> {
        let channels = audio.channels();
        let n_frames = audio.read_to_end(out, max_frames)? as u64;
        let window = self.windows(n_frames, seed).next().ok_or(OpError::Empty)?;
        let start = window.start as usize * channels;
        let n = window.n_frames as usize * channels;
        out.copy_within(start..start + n, 0);
        out.truncate(n);
        out.resize(n + window.n_padding as usize * channels, 0.0);
        Ok(window)
    }
}

/// Appends up to `n_frames` of `audio` to `out`; returns how many there were. Grows with what arrives, not with what is asked.
fn read_up_to<R: AudioRead + ?Sized>(audio: &mut R, n_frames: u64, out: &mut Vec<f32>) -> Result<u64, OpError> {
    const BLOCK: u64 = 1 << 16;
    let channels = audio.channels();
    let mut done = 0;
    while done < n_frames {
        let wanted = (n_frames - done).min(BLOCK) as usize;
        let at = out.len();
        out.resize(at + wanted * channels, 0.0);
        let got = audio.read(&mut out[at..])?;
        out.truncate(at + got * channels);
        done += got as u64;
        if got < wanted {
            break;
        }
    }
    Ok(done)
}

/// Sliding windows pulled from a stream: one window is held, and what the next one shares with it is kept.
///
/// The windows are those of [`Crop::windows`] for the clip's length, which need not be known.
///
/// # Example: a long recording in windows of four, two apart
/// ```
/// use ajepa_ops::crop::{CropConfig, CropPosition, SlidingWindows};
/// use ajepa_ops::MemoryAudio;
/// let config = CropConfig { hop_seconds: Some(2.0), ..CropConfig::new(4.0, CropPosition::Sliding) };
/// let audio = MemoryAudio::new((0..7).map(|i| i as f32).collect(), 1, 1);
/// let mut windows = SlidingWindows::new(&config.build(1)?, audio);
/// while let Some((window, samples)) = windows.next_window()? {
///     assert_eq!(samples[0], window.start as f32);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SlidingWindows<R> {
    crop: Crop,
    audio: R,
    /// The window last given, interleaved.
    buffer: Vec<f32>,
    start: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    /// The window in the buffer is full; more may follow.
    Full,
    Over,
}

impl<R: AudioRead> SlidingWindows<R> {
    /// Windows of `audio` by `crop`, which slides with its hop even if its config says another position.
    pub fn new(crop: &Crop, audio: R) -> Self {
        Self::with_buffer(crop, audio, Vec::new())
    }

    /// As [`SlidingWindows::new`], with a buffer that an earlier clip gave back by [`SlidingWindows::into_parts`].
    pub fn with_buffer(crop: &Crop, audio: R, mut buffer: Vec<f32>) -> Self {
        buffer.clear();
        Self { crop: *crop, audio, buffer, start: 0, state: State::Fresh }
    }

    /// The stream and the buffer.
    pub fn into_parts(self) -> (R, Vec<f32>) {
        (self.audio, self.buffer)
    }

    /// The next window and its interleaved samples, padding included; `None` at the end, for ever after.
    ///
    /// # Errors
    /// As [`AudioRead::read`]; the windows are over then.
    pub fn next_window(&mut self) -> Result<Option<(Window, &[f32])>, OpError> {
        let was = std::mem::replace(&mut self.state, State::Over);
        let channels = self.audio.channels();
        let kept = match was {
            State::Over => return Ok(None),
            State::Fresh => 0,
            State::Full => self.shift()?,
        };
        let new = read_up_to(&mut self.audio, self.crop.n_frames - kept, &mut self.buffer)?;
        // Nothing new means that the window before already reached the end.
        if new == 0 {
            return Ok(None);
        }
        let n_frames = kept + new;
        if n_frames == self.crop.n_frames {
            self.state = State::Full;
        } else if self.crop.tail == super::CropTail::Drop {
            return Ok(None);
        }
        let window = self.crop.window(self.start, self.start + n_frames);
        self.buffer.resize((window.n_frames + window.n_padding) as usize * channels, 0.0);
        Ok(Some((window, &self.buffer)))
    }

    /// Moves on by a hop; returns the frames that stay in the buffer.
    fn shift(&mut self) -> Result<u64, OpError> {
        let Crop { n_frames, hop, .. } = self.crop;
        self.start += hop;
        let kept = n_frames.saturating_sub(hop);
        let n_samples = kept as usize * self.audio.channels();
        let from = self.buffer.len() - n_samples;
        self.buffer.copy_within(from.., 0);
        self.buffer.truncate(n_samples);
        self.audio.skip(hop.saturating_sub(n_frames))?;
        Ok(kept)
    }
}
