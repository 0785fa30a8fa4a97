//! Mean and deviation of log-mel pictures, per bin and over all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Builder, ListBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::args::{Lists, Picture, Slice, fault, list_type, picture_shape};

pub fn functions() -> Vec<ScalarUDF> {
    let all = [
        ("mel_mean", true, false),
        ("mel_std", true, true),
        ("mel_mean_all", false, false),
        ("mel_std_all", false, true),
    ];
    let of = |(name, by_bin, is_std)| {
        ScalarUDF::from(MelStatistic {
            name,
            by_bin,
            is_std,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    };
    all.map(of).into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MelStatistic {
    name: &'static str,
    by_bin: bool,
    is_std: bool,
    signature: Signature,
}

impl ScalarUDFImpl for MelStatistic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        match kinds {
            [picture] => Ok(vec![list_type(self.name, picture)?]),
            [picture, n_frames] if n_frames.is_integer() || n_frames.is_null() => {
                Ok(vec![list_type(self.name, picture)?, DataType::Int64])
            }
            _ => plan_err!("{} takes a picture and, if only the first frames count, their number", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.by_bin { DataType::new_list(DataType::Float64, true) } else { DataType::Float64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Some(pictures), Some(field)) = (args.args.first(), args.arg_fields.first()) else {
            return plan_err!("{} takes a picture", self.name);
        };
        let shape = picture_shape(field).ok_or_else(|| {
            let words = "takes a tensor column of shards with an axis `frames`, as it is stored, such as mel";
            fault(format!("{} {words}; `{}` is none", self.name, field.name()))
        })?;
        let pictures = Lists::of(pictures)?;
        let limits = args.args.get(1).map(|limits| limits.to_array(args.number_rows)).transpose()?;
        let limits = limits.map(|limits| cast(&limits, &DataType::Int64)).transpose()?;
        let statistics = (0..args.number_rows).map(|row| {
            let numbers = pictures.row(row)?;
            let limit = limits.as_ref().filter(|limits| limits.is_valid(row));
            let limit = limit.map(|limits| usize::try_from(limits.as_primitive::<Int64Type>().value(row)).unwrap_or(0));
            Some(self.of(numbers, shape, limit.unwrap_or(usize::MAX)))
        });
        Ok(ColumnarValue::Array(if self.by_bin { lists(statistics) } else { scalars(statistics) }))
    }
}

impl MelStatistic {
    fn of(&self, numbers: Slice<'_>, shape: Picture, n_frames: usize) -> Vec<f64> {
        match numbers {
            Slice::F32(numbers) => self.reckon(numbers, shape, n_frames),
            Slice::F64(numbers) => self.reckon(numbers, shape, n_frames),
        }
    }

    /// A number per bin, or one; none where no frame counts.
    fn reckon<T: Copy + Into<f64>>(&self, numbers: &[T], shape: Picture, n_frames: usize) -> Vec<f64> {
        let n_frames = n_frames.min(shape.n_frames);
        if n_frames == 0 || numbers.len() != shape.n_frames * shape.n_bins {
            return Vec::new();
        }
        let mut sums = vec![(0.0, 0.0); if self.by_bin { shape.n_bins } else { 1 }];
        // About the first number of the picture, so that the squares do not swallow the differences.
        let origin: f64 = numbers[0].into();
        let mut count = |bin: usize, number: T| {
            let x = number.into() - origin;
            let (sum, squares) = &mut sums[if self.by_bin { bin } else { 0 }];
            *sum += x;
            *squares += x * x;
        };
        if shape.bins_first {
            for (bin, row) in numbers.chunks_exact(shape.n_frames).enumerate() {
                row[..n_frames].iter().for_each(|number| count(bin, *number));
            }
        } else {
            for frame in numbers.chunks_exact(shape.n_bins).take(n_frames) {
                frame.iter().enumerate().for_each(|(bin, number)| count(bin, *number));
            }
        }
        let n = (n_frames * if self.by_bin { 1 } else { shape.n_bins }) as f64;
        let statistic = |(sum, squares): (f64, f64)| {
            let mean = sum / n;
            if self.is_std { (squares / n - mean * mean).max(0.0).sqrt() } else { mean + origin }
        };
        sums.into_iter().map(statistic).collect()
    }
}

fn lists(rows: impl Iterator<Item = Option<Vec<f64>>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Float64Builder::new());
    for row in rows {
        match row.filter(|row| !row.is_empty()) {
            Some(row) => lists.append_value(row.into_iter().map(Some)),
            None => lists.append_null(),
        }
    }
    Arc::new(lists.finish())
}

fn scalars(rows: impl Iterator<Item = Option<Vec<f64>>>) -> ArrayRef {
    let mut numbers = Float64Builder::new();
    rows.for_each(|row| numbers.append_option(row.and_then(|row| row.first().copied())));
    Arc::new(numbers.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistic(by_bin: bool, is_std: bool) -> MelStatistic {
        MelStatistic { name: "m", by_bin, is_std, signature: Signature::user_defined(Volatility::Immutable) }
    }

    #[test]
    fn both_orders_of_the_axes_and_a_limit_of_frames() {
        let by_frame = Picture { n_frames: 3, n_bins: 2, bins_first: false };
        let by_bin = Picture { bins_first: true, ..by_frame };
        let (frames, bins) = ([1.0f32, 10.0, 3.0, 30.0, 99.0, 99.0], [1.0f32, 3.0, 99.0, 10.0, 30.0, 99.0]);
        assert_eq!(statistic(true, false).reckon(&frames, by_frame, 2), [2.0, 20.0]);
        assert_eq!(statistic(true, false).reckon(&bins, by_bin, 2), [2.0, 20.0]);
        assert_eq!(statistic(true, true).reckon(&frames, by_frame, 2), [1.0, 10.0]);
        assert_eq!(statistic(false, false).reckon(&bins, by_bin, 2), [11.0]);
        assert_eq!(statistic(true, false).reckon(&frames, by_frame, 0), [0.0; 0]);
        assert_eq!(statistic(true, false).reckon(&frames, by_frame, 9), [103.0 / 3.0, 139.0 / 3.0]);
    }
}
