//! Adam, in f32, in the order of operations that PyTorch has.

use super::{Gradient, Head};

const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f32 = 1e-8;

/// Moments of a head's numbers.
pub(super) struct Adam {
    moments: [Moments; 5],
    steps: i32,
}

struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

/// What all numbers of a step share.
struct Factors {
    step: f32,
    root: f32,
}

impl Adam {
    pub fn new(head: &Head) -> Self {
        let zeros = |n: usize| Moments { first: vec![0.0; n], second: vec![0.0; n] };
        let (width, n_classes) = (head.width(), head.n_classes());
        let of_pool = head.pool.as_ref().map_or(0, |pool| pool.numbers.len());
        let lens = [of_pool, width, width, width * n_classes, n_classes];
        Self { moments: lens.map(zeros), steps: 0 }
    }

    pub fn step(&mut self, head: &mut Head, gradient: &Gradient, rate: f64) {
        self.steps += 1;
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let factors = Factors { step: (rate / first) as f32, root: second.sqrt() as f32 };
        let pool: &mut [f32] = head.pool.as_mut().map_or(&mut [], |pool| &mut pool.numbers);
        let parts: [(&mut [f32], &[f32]); 5] = [
            (pool, &gradient.pool),
            (&mut head.scale, &gradient.scale),
            (&mut head.shift, &gradient.shift),
            (head.weight.as_mut_slice(), gradient.weight.as_slice()),
            (&mut head.bias, &gradient.bias),
        ];
        for (moments, (numbers, slopes)) in self.moments.iter_mut().zip(parts) {
            moments.step(numbers, slopes, &factors);
        }
    }
}

impl Moments {
    fn step(&mut self, numbers: &mut [f32], slopes: &[f32], factors: &Factors) {
        let [keep, new] = [BETAS[1] as f32, (1.0 - BETAS[1]) as f32];
        let towards = (1.0 - BETAS[0]) as f32;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((number, slope), (first, second)) in numbers.iter_mut().zip(slopes).zip(moments) {
            *first += towards * (slope - *first);
            *second = *second * keep + new * slope * slope;
            *number -= factors.step * (*first / (second.sqrt() / factors.root + EPS));
        }
    }
}
