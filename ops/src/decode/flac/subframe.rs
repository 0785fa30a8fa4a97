//! One channel of a frame: a predictor and what it leaves. Source: RFC 9639, 9.2.

use super::bits::{Bits, Damage};

/// Coefficients of the fixed predictors, the newest sample first.
const FIXED: [&[i32]; 5] = [&[], &[1], &[2, -1], &[3, -3, 1], &[4, -6, 4, -1]];

/// Reads the samples of a channel of `width` bits (at most 25) into `out`.
pub(super) fn read(bits: &mut Bits<'_>, width: u32, out: &mut [i32]) -> Result<(), Damage> {
    if bits.take(1)? != 0 {
        return Err("flac: a subframe without its leading zero");
    }
    let kind = bits.take(6)?;
    let wasted = if bits.take(1)? == 1 { bits.unary()? + 1 } else { 0 };
    let width = width.checked_sub(wasted).filter(|&width| width > 0).ok_or("flac: more bits wasted than there are")?;
    match kind {
        0 => out.fill(bits.signed(width)?),
        1 => verbatim(bits, width, out)?,
        8..=12 => {
            let coefficients = FIXED[kind as usize - 8];
            residual(bits, width, coefficients.len(), out)?;
            predict(coefficients, 0, width, out);
        }
        32..=63 => linear(bits, width, kind as usize - 31, out)?,
        _ => return Err("flac: a subframe of a reserved kind"),
    }
    if wasted > 0 {
        for x in out {
            *x <<= wasted;
        }
    }
    Ok(())
}

fn verbatim(bits: &mut Bits<'_>, width: u32, out: &mut [i32]) -> Result<(), Damage> {
    for slot in out {
        *slot = bits.signed(width)?;
    }
    Ok(())
}

fn linear(bits: &mut Bits<'_>, width: u32, order: usize, out: &mut [i32]) -> Result<(), Damage> {
    let warm = out.get_mut(..order).ok_or("flac: a predictor longer than the block")?;
    verbatim(bits, width, warm)?;
    let precision = bits.take(4)? + 1;
    let shift = bits.signed(5)?;
    if precision == 16 || shift < 0 {
        return Err("flac: a reserved precision or shift");
    }
    let mut coefficients = [0; 32];
    verbatim(bits, precision, &mut coefficients[..order])?;
    partitions(bits, order, out)?;
    predict(&coefficients[..order], shift as u32, width, out);
    Ok(())
}

/// Warm-up samples, then what the predictor of `order` leaves.
fn residual(bits: &mut Bits<'_>, width: u32, order: usize, out: &mut [i32]) -> Result<(), Damage> {
    let warm = out.get_mut(..order).ok_or("flac: a predictor longer than the block")?;
    verbatim(bits, width, warm)?;
    partitions(bits, order, out)
}

fn partitions(bits: &mut Bits<'_>, order: usize, out: &mut [i32]) -> Result<(), Damage> {
    let n_bits = match bits.take(2)? {
        0 => 4,
        1 => 5,
        _ => return Err("flac: a reserved coding of the residual"),
    };
    let partition_order = bits.take(4)?;
    let len = out.len() >> partition_order;
    if len << partition_order != out.len() || len < order || len == 0 {
        return Err("flac: partitions that do not fit the block");
    }
    let mut from = order;
    for to in (len..=out.len()).step_by(len) {
        let part = &mut out[from..to];
        let k = bits.take(n_bits)?;
        if k == (1 << n_bits) - 1 {
            let width = bits.take(5)?;
            verbatim(bits, width, part)?;
        } else {
            bits.rice(k, part)?;
        }
        from = to;
    }
    Ok(())
}

/// Adds its prediction to every sample of `width` bits behind the first `coefficients.len()`.
fn predict(coefficients: &[i32], shift: u32, width: u32, out: &mut [i32]) {
    // Sums that fit 32 bits need no more; most of 16-bit audio does.
    let largest = coefficients.iter().map(|c| u64::from(c.unsigned_abs())).sum::<u64>() << (width - 1);
    let wide = largest >= 1 << 31;
    // A loop whose length the compiler knows is much faster; encoders stop at 12.
    macro_rules! by_order {
        ($($n:literal)*) => {
            match (coefficients.len(), wide) {
                (0, _) => {}
                $(($n, false) => narrow::<$n>(coefficients, shift, out),
                  ($n, true) => unrolled::<$n>(coefficients, shift, out),)*
                _ => long(coefficients, shift, out),
            }
        };
    }
    by_order!(1 2 3 4 5 6 7 8 9 10 11 12);
}

fn narrow<const N: usize>(coefficients: &[i32], shift: u32, out: &mut [i32]) {
    let Some(&coefficients) = coefficients.first_chunk::<N>() else { return };
    for i in N..out.len() {
        let (past, rest) = out.split_at_mut(i);
        let (Some(past), Some(next)) = (past.last_chunk::<N>(), rest.first_mut()) else { return };
        let products = coefficients.iter().zip(past.iter().rev()).map(|(c, x)| c.wrapping_mul(*x));
        let sum = products.fold(0_i32, i32::wrapping_add);
        *next = next.wrapping_add(sum >> shift);
    }
}

fn unrolled<const N: usize>(coefficients: &[i32], shift: u32, out: &mut [i32]) {
    let Some(coefficients) = coefficients.first_chunk::<N>() else { return };
    for i in N..out.len() {
        let (past, rest) = out.split_at_mut(i);
        let (Some(past), Some(next)) = (past.last_chunk::<N>(), rest.first_mut()) else { return };
        *next = next.wrapping_add((dot(coefficients, past) >> shift) as i32);
    }
}

fn long(coefficients: &[i32], shift: u32, out: &mut [i32]) {
    let n = coefficients.len();
    for i in n..out.len() {
        let (past, rest) = out.split_at_mut(i);
        rest[0] = rest[0].wrapping_add((dot(coefficients, &past[i - n..]) >> shift) as i32);
    }
}

#[inline]
fn dot(coefficients: &[i32], past: &[i32]) -> i64 {
    let products = coefficients.iter().zip(past.iter().rev()).map(|(&c, &x)| i64::from(c) * i64::from(x));
    products.fold(0, i64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictors_agree_and_undo_differences() {
        let samples: Vec<i32> = (0..50).map(|i| (i * i * 7 + i * 13) % 1000 - 500).collect();
        for (order, coefficients) in FIXED.iter().enumerate() {
            let mut left = samples.clone();
            for _ in 0..order {
                for i in (1..left.len()).rev() {
                    left[i] -= left[i - 1];
                }
            }
            left[..order].copy_from_slice(&samples[..order]);
            let mut wide = left.clone();
            predict(coefficients, 0, 16, &mut left);
            predict(coefficients, 0, 32, &mut wide);
            assert_eq!((&left, &wide), (&samples, &samples), "{order}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut out = [0; 4];
        // 0 100011 0: a linear predictor of order 4; a fixed one of 4 in 3 samples; a reserved kind.
        assert!(read(&mut Bits::new(&[0b0001_1000; 8]), 16, &mut out[..3]).is_err());
        assert!(read(&mut Bits::new(&[0b0000_0100; 8]), 16, &mut out).is_err());
        // Constant 5 in 8 bits, one of them wasted.
        read(&mut Bits::new(&[0b0000_0001, 0b1000_0101]), 8, &mut out).unwrap();
        assert_eq!(out, [10; 4]);
    }
}
