//! Whether the pictures of a batch say anything.

use std::cmp::Ordering;

use ajepa_ops::patch::TimeAxis;

use crate::batch::Pictures;

/// Shares of a batch's pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dull {
    /// Those that do not change over time.
    pub flat: f64,
    /// Those that are another one of the batch once more.
    pub repeated: f64,
}

/// Looks at pictures [clips, rows, cols] with `shape` = [rows, cols].
pub(super) fn dull(pictures: Pictures<'_>, shape: [usize; 2], time_axis: TimeAxis) -> Dull {
    match pictures {
        Pictures::F32(data) => dull_of(data, shape, time_axis),
        Pictures::F16(data) => dull_of(data, shape, time_axis),
    }
}

fn dull_of<T: PartialOrd>(data: &[T], [rows, cols]: [usize; 2], time_axis: TimeAxis) -> Dull {
    let mut pictures: Vec<&[T]> = data.chunks_exact(rows * cols).collect();
    let n = pictures.len().max(1) as f64;
    // Silence is one number only as long as nobody has standardised mels; what it never does is change.
    let is_flat = |picture: &&&[T]| match time_axis {
        TimeAxis::Rows => picture.chunks_exact(cols).all(|row| *row == picture[..cols]),
        TimeAxis::Cols => picture.chunks_exact(cols).all(|row| row.iter().all(|x| *x == row[0])),
    };
    let flat = pictures.iter().filter(is_flat).count() as f64 / n;
    // Most pairs differ in the first number.
    pictures.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let all = pictures.len();
    pictures.dedup();
    Dull { flat, repeated: (all - pictures.len()) as f64 / n }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_flat_and_copies_are_counted() {
        // Two mels, three frames: silence after standardising, the same once more, sound.
        let by_time = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0];
        let by_mel = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0];
        let sound = [1.0, 2.0, 1.0, 2.5, 1.0, 2.0];
        let batch = |picture: [f32; 6]| [picture, sound, picture, sound.map(|x| x + 1.0)].concat();
        let dull =
            |data: &[f32], axis| dull(Pictures::F32(data), if axis == TimeAxis::Rows { [3, 2] } else { [2, 3] }, axis);
        let half = Dull { flat: 0.5, repeated: 0.25 };
        assert_eq!(dull(&batch(by_time), TimeAxis::Rows), half);
        assert_eq!(dull(&batch(by_mel), TimeAxis::Cols), half);
        assert_eq!(dull(&batch(by_mel), TimeAxis::Rows), Dull { flat: 0.0, repeated: 0.25 });
        assert_eq!(dull(&sound.repeat(4), TimeAxis::Rows), Dull { flat: 0.0, repeated: 0.75 });
    }
}
