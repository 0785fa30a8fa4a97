//! Bits from the highest down, 56 and more at hand after each refill.

/// A reader over bytes; beyond their end come zeros.
#[derive(Debug, Clone)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to load.
    next: usize,
    /// What is loaded, the next bit highest.
    held: u64,
    n_held: u32,
}

impl<'a> Bits<'a> {
    /// A reader that stands at bit `at`.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        let mut bits = Self { bytes, next: at / 8, held: 0, n_held: 0 };
        bits.refill();
        bits.skip(at as u32 % 8);
        bits
    }

    /// The bit this reader stands at.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.next * 8 - self.n_held as usize
    }

    /// Holds at least 56 bits afterwards.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let word = match self.bytes.get(self.next..self.next + 8).and_then(|bytes| bytes.first_chunk()) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => last_word(self.bytes, self.next),
        };
        self.held |= word >> self.n_held;
        self.next += (63 - self.n_held as usize) / 8;
        self.n_held |= 0b11_1000;
    }

    /// What is held, the next bit highest: 56 bits and more after a refill.
    #[inline(always)]
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// The next `n` bits, 1 to 32 of them and not more than are held, without taking them.
    #[inline(always)]
    pub(super) fn peek(&self, n: u32) -> usize {
        (self.held >> (64 - n)) as usize
    }

    /// Takes `n` bits that are held.
    #[inline(always)]
    pub(super) fn skip(&mut self, n: u32) {
        self.held <<= n;
        self.n_held -= n;
    }

    /// Takes `n` bits that are held, 0 to 32 of them.
    #[inline(always)]
    pub(super) fn take_held(&mut self, n: u32) -> u32 {
        let value = (self.held >> 1 >> (63 - n)) as u32;
        self.skip(n);
        value
    }

    /// Takes `n` bits, 0 to 32 of them.
    #[inline(always)]
    pub(super) fn take(&mut self, n: u32) -> u32 {
        if self.n_held < n {
            self.refill();
        }
        self.take_held(n)
    }
}

/// The bytes from `next` on, zeros behind them. Not a method: a reader whose address is taken leaves its registers.
#[cold]
fn last_word(bytes: &[u8], next: usize) -> u64 {
    let rest = bytes.get(next..).unwrap_or_default();
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_end_in_zeros() {
        let bytes: Vec<u8> = (1..=20).map(|i| i * 11).collect();
        let bit = |i: usize| bytes.get(i / 8).map_or(0, |byte| u32::from(byte >> (7 - i % 8) & 1));
        for start in [0, 3, 8, 77, 155, 160, 161] {
            let mut bits = Bits::new(&bytes, start);
            let mut at = start;
            for n in [1, 0, 7, 32, 13, 32, 5, 31, 32, 32] {
                let wanted = (at..at + n).fold(0_u64, |value, i| value << 1 | u64::from(bit(i)));
                assert_eq!((bits.at(), u64::from(bits.take(n as u32))), (at, wanted));
                at += n;
            }
        }
    }
}
