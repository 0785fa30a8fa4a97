//! In which order examples are shown.

use ajepa_ops::seed;

/// In which order a head sees its examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Any order is as likely as any other.
    Even,
    /// As X-ARES 0.1.3 does it: see [`xares_order`].
    Xares,
}

/// Examples that X-ARES holds at a time when it shuffles, and how many it waits for: of files, and of their examples.
const FILES: [usize; 2] = [2000, 500];
/// The same, of examples behind that.
const AGAIN: [usize; 2] = [512, 100];

impl Order {
    /// An order of the examples of files that hold `lens` of them each; a function of `seed` and `epoch`.
    pub fn of(self, lens: &[usize], seed: u64, epoch: usize) -> Vec<u32> {
        let rng = &mut seed::rng(seed::derive(&[seed, seed::hash_str("order"), epoch as u64]));
        match self {
            Self::Xares => xares_order(lens, rng),
            Self::Even => {
                let mut order: Vec<u32> = (0..lens.iter().sum::<usize>() as u32).collect();
                seed::shuffle(rng, &mut order);
                order
            }
        }
    }
}

/// An order as X-ARES 0.1.3 draws one: files in any order, their examples through a buffer of 2,000, and through one of 512. Where
/// there are more examples, an order is not as likely as any other: what comes late in a file is shown late.
pub fn xares_order(lens: &[usize], rng: &mut impl rand_core::Rng) -> Vec<u32> {
    let mut starts = Vec::with_capacity(lens.len());
    let mut next = 0;
    for &len in lens {
        starts.push(next..next + len as u32);
        next += len as u32;
    }
    let files = buffered(starts, FILES, rng);
    let once = buffered(files.into_iter().flatten().collect(), FILES, rng);
    buffered(once, AGAIN, rng)
}

/// Takes two in and gives one out while there is room for more than `size`, one in and one out from then on; begins to give once
/// `initial` are there.
fn buffered<T>(items: Vec<T>, [size, initial]: [usize; 2], rng: &mut impl rand_core::Rng) -> Vec<T> {
    let (mut held, mut given) = (Vec::with_capacity(size), Vec::with_capacity(items.len()));
    let mut items = items.into_iter();
    while let Some(item) = items.next() {
        held.push(item);
        if held.len() < size {
            held.extend(items.next());
        }
        if held.len() >= initial {
            give(&mut held, &mut given, rng);
        }
    }
    while !held.is_empty() {
        give(&mut held, &mut given, rng);
    }
    given
}

fn give<T>(held: &mut Vec<T>, given: &mut Vec<T>, rng: &mut impl rand_core::Rng) {
    let which = seed::below(rng, held.len() as u64) as usize;
    given.push(held.swap_remove(which));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_every_example_once() {
        for order in [Order::Even, Order::Xares] {
            let shown = order.of(&[3, 1500, 2500], 7, 0);
            assert_eq!(shown, order.of(&[3, 1500, 2500], 7, 0));
            assert_ne!(shown, order.of(&[3, 1500, 2500], 7, 1));
            let mut sorted = shown;
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..4003));
        }
    }

    #[test]
    fn what_is_last_in_a_long_file_does_not_come_first() {
        let order = Order::Xares.of(&[20_000], 1, 0);
        let first = order.iter().position(|&example| example > 19_000).unwrap();
        assert!(first > 10_000, "{first}");
    }
}
