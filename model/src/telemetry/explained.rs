//! How much of the targets predictions explain.

use burn::tensor::{Int, Tensor};
use nalgebra::DMatrix;

use super::CodesHealth;
use super::table::{Table, perplexity};

/// What is known of targets and predictions.
pub(super) struct Answers {
    pub target_spread: f64,
    pub prediction_spread: f64,
    pub r2: f64,
    pub codes: Option<CodesHealth>,
}

/// Of latents [rows, width] both. `as_directions`: the loss is of directions alone, so rows are brought to unit length before they are
/// compared.
pub(super) fn latents(predictions: Tensor<2>, targets: Tensor<2>, as_directions: bool) -> Answers {
    let [predicted, true_ones] = [predictions, targets].map(|tensor| {
        let [n_rows, width] = tensor.dims();
        DMatrix::from_iterator(width, n_rows, tensor.into_data().iter::<f64>())
    });
    let spread = |rows: &DMatrix<f64>| Table::new(rows.nrows(), rows.ncols(), rows.iter().copied()).spread();
    let (target_spread, prediction_spread) = (spread(&true_ones), spread(&predicted));
    let [predicted, true_ones] =
        [predicted, true_ones].map(|rows| if as_directions { unit_columns(rows) } else { rows });
    let scatter = Table::new(true_ones.nrows(), true_ones.ncols(), true_ones.iter().copied()).scatter();
    let missed = (predicted - true_ones).norm_squared();
    let r2 = if scatter > 0.0 { 1.0 - missed / scatter } else { 0.0 };
    Answers { target_spread, prediction_spread, r2, codes: None }
}

fn unit_columns(mut rows: DMatrix<f64>) -> DMatrix<f64> {
    for mut row in rows.column_iter_mut() {
        let length = row.norm();
        if length > 0.0 {
            row /= length;
        }
    }
    rows
}

/// Of logits [rows, books * codes] and codes [rows, books]; means over the books.
pub(super) fn codes(logits: Tensor<2>, codes: Tensor<2, Int>) -> Answers {
    let ([n_rows, width], [_, n_books]) = (logits.dims(), codes.dims());
    let n_codes = width / n_books;
    let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let codes: Vec<usize> = codes.into_data().iter::<i64>().map(|code| code as usize).collect();
    let mut sums = Answers { target_spread: 0.0, prediction_spread: 0.0, r2: 0.0, codes: None };
    let mut n_right = 0_usize;
    for book in 0..n_books {
        let (mut true_ones, mut guesses) = (vec![0_usize; n_codes], vec![0_usize; n_codes]);
        let mut surprise = 0.0;
        for row in 0..n_rows {
            let logits = &logits[row * width + book * n_codes..][..n_codes];
            let code = codes[row * n_books + book];
            true_ones[code] += 1;
            let guess = likeliest(logits);
            guesses[guess] += 1;
            n_right += usize::from(guess == code);
            surprise += log_sum_exp(logits) - f64::from(logits[code]);
        }
        sums.target_spread += in_use(&true_ones, n_rows);
        sums.prediction_spread += in_use(&guesses, n_rows);
        let entropy = entropy(&true_ones, n_rows);
        sums.r2 += if entropy > 0.0 { 1.0 - surprise / n_rows as f64 / entropy } else { 0.0 };
    }
    let n = n_books as f64;
    let accuracy = n_right as f64 / (n * n_rows.max(1) as f64);
    Answers {
        target_spread: sums.target_spread / n,
        prediction_spread: sums.prediction_spread / n,
        r2: sums.r2 / n,
        codes: Some(CodesHealth { n_codes: n_codes as u64, accuracy }),
    }
}

/// Perplexity of counts.
fn in_use(counts: &[usize], n: usize) -> f64 {
    perplexity(counts.iter().map(|&count| count as f64 / n as f64))
}

/// Entropy in nats of what counts were drawn from, by Miller and Madow: few draws show too little of it.
fn entropy(counts: &[usize], n: usize) -> f64 {
    let seen = counts.iter().filter(|count| **count > 0).count();
    in_use(counts, n).ln() + seen.saturating_sub(1) as f64 / (2.0 * n as f64)
}

fn likeliest(logits: &[f32]) -> usize {
    let best = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (code, &logit)| if logit > best.1 { (code, logit) } else { best });
    best.0
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum::<f64>().ln()
}
