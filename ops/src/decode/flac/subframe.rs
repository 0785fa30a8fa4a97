//! One channel of a frame: a predictor and what it leaves. Source: RFC 9639, 9.2.

use super::bits::{Bits, Damage};
use super::predict::{self, Vectors};

/// Reads the samples of a channel of `width` bits (at most 25) into `out`.
#[inline(always)]
pub(super) fn read<V: Vectors>(bits: &mut Bits<'_>, width: u32, out: &mut [i32]) -> Result<(), Damage> {
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
            let order = kind as usize - 8;
            residual(bits, width, order, out)?;
            predict::fixed(order, out);
        }
        32..=63 => linear::<V>(bits, width, kind as usize - 31, out)?,
        _ => return Err("flac: a subframe of a reserved kind"),
    }
    if wasted > 0 {
        for x in out.iter_mut() {
            *x <<= wasted;
        }
    }
    Ok(())
}

#[inline(never)]
fn verbatim(bits: &mut Bits<'_>, width: u32, out: &mut [i32]) -> Result<(), Damage> {
    for slot in out {
        *slot = bits.signed(width)?;
    }
    Ok(())
}

#[inline(always)]
fn linear<V: Vectors>(bits: &mut Bits<'_>, width: u32, order: usize, out: &mut [i32]) -> Result<(), Damage> {
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
    predict::linear::<V>(&coefficients, order, shift as u32, width, out);
    Ok(())
}

/// Warm-up samples, then what the predictor of `order` leaves.
#[inline(always)]
fn residual(bits: &mut Bits<'_>, width: u32, order: usize, out: &mut [i32]) -> Result<(), Damage> {
    let warm = out.get_mut(..order).ok_or("flac: a predictor longer than the block")?;
    verbatim(bits, width, warm)?;
    partitions(bits, order, out)
}

#[inline(always)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::flac::predict::Portable;

    #[test]
    fn refuses_what_does_not_fit() {
        let mut out = [0; 4];
        // 0 100011 0: a linear predictor of order 4; a fixed one of 4 in 3 samples; a reserved kind.
        assert!(read::<Portable>(&mut Bits::new(&[0b0001_1000; 8]), 16, &mut out[..3]).is_err());
        assert!(read::<Portable>(&mut Bits::new(&[0b0000_0100; 8]), 16, &mut out).is_err());
        // Constant 5 in 8 bits, one of them wasted.
        read::<Portable>(&mut Bits::new(&[0b0000_0001, 0b1000_0101]), 8, &mut out).unwrap();
        assert_eq!(out, [10; 4]);
    }
}
