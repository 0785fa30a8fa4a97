//! Decoded packets to interleaved `f32`, all channels or their mean, checked on the way.

use symphonia::core::audio::{Audio, AudioBuffer, GenericAudioBufferRef, sample::Sample};

/// The largest magnitude a lossy decoder gives for undamaged input; loud music clipped by its encoder stays below 2.
pub(super) const LOSSY_PEAK: f32 = 4.0;
/// The largest magnitude taken from a float file; integers stored as floats reach 32768.
pub(super) const FLOAT_PEAK: f32 = 65_536.0;

/// Appends the frames of `buf` to `out`; `scratch` is a buffer to work in.
pub(super) fn append(buf: &GenericAudioBufferRef<'_>, mono: bool, out: &mut Vec<f32>, scratch: &mut Vec<f32>) {
    match buf {
        GenericAudioBufferRef::F32(buf) => append_planes(buf, mono, out, |x| x),
        GenericAudioBufferRef::S16(buf) => append_planes(buf, mono, out, |x| f32::from(x) / 32_768.0),
        GenericAudioBufferRef::S32(buf) => append_planes(buf, mono, out, |x| (x as f32) / 2_147_483_648.0),
        other => {
            // Rare formats (8 and 24 bit in AIFF and CAF): let Symphonia convert.
            scratch.clear();
            other.copy_to_vec_interleaved(scratch);
            let channels = other.num_planes().max(1);
            if mono && channels > 1 {
                let scale = 1.0 / channels as f32;
                out.extend(scratch.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * scale));
            } else {
                out.extend_from_slice(scratch);
            }
        }
    }
}

fn append_planes<S: Sample>(buf: &AudioBuffer<S>, mono: bool, out: &mut Vec<f32>, to_f32: impl Fn(S) -> f32) {
    let channels = buf.num_planes();
    if let Some((left, right)) = buf.plane_pair(0, 1).filter(|_| channels == 2) {
        let pairs = left.iter().zip(right);
        if mono {
            out.extend(pairs.map(|(&l, &r)| (to_f32(l) + to_f32(r)) * 0.5));
        } else {
            out.extend(pairs.flat_map(|(&l, &r)| [to_f32(l), to_f32(r)]));
        }
        return;
    }
    let start = out.len();
    let step = if mono { 1 } else { channels };
    out.resize(start + buf.frames() * step, 0.0);
    let scale = if mono { 1.0 / channels as f32 } else { 1.0 };
    for (c, plane) in buf.iter_planes().enumerate() {
        let offset = if mono { 0 } else { c };
        for (slot, &x) in out[start + offset..].iter_mut().step_by(step).zip(plane) {
            *slot += to_f32(x) * scale;
        }
    }
}

/// What [`find_bad`] objects to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bad {
    /// A NaN or an infinity, at this index.
    NonFinite(usize),
    /// A value beyond the limit.
    Loud(f32),
}

/// The first sample that is not finite, else one whose magnitude is above `limit`, if any.
pub(super) fn find_bad(samples: &[f32], limit: f32) -> Option<Bad> {
    // One pass that vectorises; the comparison is false for NaN. The slow look is for the damaged alone.
    let fine = samples.iter().fold(true, |fine, x| fine & (x.abs() <= limit));
    if fine {
        return None;
    }
    let non_finite = samples.iter().position(|x| !x.is_finite()).map(Bad::NonFinite);
    non_finite.or_else(|| samples.iter().find(|x| x.abs() > limit).map(|&x| Bad::Loud(x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphonia::core::audio::{AsGenericAudioBufferRef, AudioMut, AudioSpec, Channels};

    fn planes(n_channels: u16, values: &[[f32; 3]]) -> AudioBuffer<f32> {
        let mut buf = AudioBuffer::new(AudioSpec::new(8000, Channels::Discrete(n_channels)), 3);
        buf.render_silence(None);
        for (c, plane) in values.iter().enumerate() {
            buf.plane_mut(c).unwrap().copy_from_slice(plane);
        }
        buf
    }

    #[test]
    fn means_and_interleaves() {
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        let stereo = planes(2, &[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]);
        append(&stereo.as_generic_audio_buffer_ref(), true, &mut out, &mut scratch);
        append(&stereo.as_generic_audio_buffer_ref(), false, &mut out, &mut scratch);
        assert_eq!(out, [2.0, 2.0, 2.0, 1.0, 3.0, 2.0, 2.0, 3.0, 1.0]);
        out.clear();
        let three = planes(3, &[[3.0; 3], [6.0; 3], [0.0; 3]]);
        append(&three.as_generic_audio_buffer_ref(), true, &mut out, &mut scratch);
        assert!(out.iter().all(|x| (x - 3.0).abs() < 1e-6) && out.len() == 3);
        out.clear();
        append(&three.as_generic_audio_buffer_ref(), false, &mut out, &mut scratch);
        assert_eq!(out[..4], [3.0, 6.0, 0.0, 3.0]);
    }

    #[test]
    fn finds_damage() {
        assert_eq!(find_bad(&[0.5, -1.0], 4.0), None);
        assert_eq!(find_bad(&[0.5, -5.0, f32::NAN], 4.0), Some(Bad::NonFinite(2)));
        assert_eq!(find_bad(&[0.5, -5.0], 4.0), Some(Bad::Loud(-5.0)));
    }
}
