//! `cosine` and `dot`: how alike two embeddings are.

use std::sync::Arc;

use arrow::array::Float64Array;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::args::{Lists, Slice, fault, list_type};

/// Sums that run beside each other: they fill the vectors of the processor, and lose less than one sum would.
const LANES: usize = 8;

pub fn functions() -> Vec<ScalarUDF> {
    let of = |measure| ScalarUDF::from(Vectors { measure, signature: Signature::user_defined(Volatility::Immutable) });
    vec![of(Measure::Cosine), of(Measure::Dot)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    Cosine,
    Dot,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Vectors {
    measure: Measure,
    signature: Signature,
}

impl ScalarUDFImpl for Vectors {
    fn name(&self) -> &str {
        match self.measure {
            Measure::Cosine => "cosine",
            Measure::Dot => "dot",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        if kinds.len() != 2 {
            return plan_err!("{} takes two embeddings, not {}", self.name(), kinds.len());
        }
        kinds.iter().map(|kind| list_type(self.name(), kind)).collect()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = &args.args[..] else { return plan_err!("{} takes two embeddings", self.name()) };
        let all_scalar = matches!((a, b), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let n_rows = if all_scalar { 1 } else { args.number_rows };
        let (a, b) = (Lists::of(a)?, Lists::of(b)?);
        let row = |row: usize| {
            let (Some(a), Some(b)) = (a.row(row), b.row(row)) else { return Ok(None) };
            if a.len() != b.len() {
                let words = format!("{}: embeddings of {} and {} dimensions", self.name(), a.len(), b.len());
                return Err(fault(words));
            }
            Ok(self.measure.of(a, b))
        };
        let values = (0..n_rows).map(row).collect::<Result<Float64Array>>()?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

impl Measure {
    fn of(self, a: Slice<'_>, b: Slice<'_>) -> Option<f64> {
        match (a, b) {
            (Slice::F32(a), Slice::F32(b)) => self.reckon(a, b),
            (Slice::F32(a), Slice::F64(b)) => self.reckon(a, b),
            (Slice::F64(a), Slice::F32(b)) => self.reckon(a, b),
            (Slice::F64(a), Slice::F64(b)) => self.reckon(a, b),
        }
    }

    /// In doubles, whatever the numbers are stored in.
    fn reckon<A: Copy + Into<f64>, B: Copy + Into<f64>>(self, a: &[A], b: &[B]) -> Option<f64> {
        if self == Self::Dot {
            return Some(dot(a, b));
        }
        let [ab, aa, bb] = products(a, b);
        let length = (aa * bb).sqrt();
        (length > 0.0).then(|| (ab / length).clamp(-1.0, 1.0))
    }
}

fn dot<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(a, b)| (*a).into() * (*b).into()).sum();
    for (a, b) in a_lanes.zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (*a).into() * (*b).into();
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The products of both, and of each with itself, in one pass: long tables of embeddings are read from memory, not from a cache.
fn products<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> [f64; 3] {
    const LANES: usize = 4;
    let mut sums = [[0.0; LANES]; 3];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tails = (a_lanes.remainder(), b_lanes.remainder());
    for (a, b) in a_lanes.zip(b_lanes) {
        for lane in 0..LANES {
            let (a, b): (f64, f64) = (a[lane].into(), b[lane].into());
            sums[0][lane] += a * b;
            sums[1][lane] += a * a;
            sums[2][lane] += b * b;
        }
    }
    let tails = [dot(tails.0, tails.1), dot(tails.0, tails.0), dot(tails.1, tails.1)];
    [0, 1, 2].map(|i| sums[i].iter().sum::<f64>() + tails[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_behind_the_lanes_counts() {
        let a: Vec<f32> = (1..=19).map(|i| i as f32).collect();
        let b: Vec<f64> = (1..=19).map(f64::from).collect();
        let squares = f64::from((1..=19).map(|i| i * i).sum::<i32>());
        assert_eq!(Measure::Dot.reckon(&a, &b), Some(squares));
        assert_eq!(Measure::Cosine.reckon(&a, &b), Some(1.0));
        let back: Vec<f64> = b.iter().map(|x| -x).collect();
        assert_eq!(Measure::Cosine.reckon(&a, &back), Some(-1.0));
        assert_eq!(Measure::Cosine.reckon(&[0.0f32; 3], &[1.0f64; 3]), None);
    }
}
