//! Matrix products over slices: the one place of the crate that says `unsafe`.
//!
//! The `gemm` crate, which burn's CPU backend stands on too, takes raw pointers and strides. Everything here checks that
//! the strided view lies within its slice first, so that callers need not be trusted. Going through burn's own `matmul`
//! instead would allocate each product and copy each head of an attention.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// Products of fewer multiplications than this are not worth waking other threads for.
const PARALLEL_FROM: usize = 1 << 21;

/// A matrix within a slice: `rows` x `cols` numbers, `row_stride` and `col_stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix; a row begins `row_stride` numbers after the one above.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// A row-major matrix without gaps.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// The transpose, over the same numbers.
    pub fn t(self) -> Self {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        Self { data, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }

    fn fits(&self) -> bool {
        let last = self.rows.saturating_sub(1) * self.row_stride + self.cols.saturating_sub(1) * self.col_stride;
        self.rows == 0 || self.cols == 0 || last < self.data.len()
    }
}

/// Where a product goes: a row-major matrix whose rows begin `row_stride` numbers apart.
pub(crate) struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// See [`Matrix::strided`].
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self { data, rows, cols, row_stride }
    }

    /// See [`Matrix::new`].
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }
}

/// What becomes of the numbers that are in the output already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// They are written over.
    Overwrite,
    /// The product is added to them.
    Add,
}

/// `out = a b`, or `out += a b`, by all threads of the pool where the product is large.
///
/// The order in which a number's terms are summed depends on the shapes alone, so the bits do not depend on the threads.
///
/// # Panics
/// When shapes do not match or a view reaches beyond its slice: both are faults of this crate.
pub(crate) fn product(mut out: MatrixMut<'_>, put: Put, a: Matrix<'_>, b: Matrix<'_>) {
    run(&mut out, put, a, b, threads(a, b));
}

/// [`product`] on the calling thread alone.
pub(crate) fn product_here(mut out: MatrixMut<'_>, put: Put, a: Matrix<'_>, b: Matrix<'_>) {
    run(&mut out, put, a, b, Parallelism::None);
}

/// `a b` in memory of its own, row-major. Zeroing it first would be one more pass over it.
pub(crate) fn product_new(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    check(a, b);
    let len = a.rows * b.cols;
    let mut out = Vec::with_capacity(len);
    let into = Target { data: out.as_mut_ptr(), row_stride: b.cols, put: Put::Overwrite };
    // SAFETY: `out` has room for a.rows x b.cols numbers, rows one after the other, and nothing else points there; the views
    // were checked. A product that overwrites writes each of them, so that `len` numbers are initialised after it.
    unsafe {
        multiply(into, a, b, threads(a, b));
        out.set_len(len);
    }
    out
}

fn threads(a: Matrix<'_>, b: Matrix<'_>) -> Parallelism {
    let work = a.rows.saturating_mul(a.cols).saturating_mul(b.cols);
    if work < PARALLEL_FROM { Parallelism::None } else { Parallelism::Rayon(0) }
}

fn check(a: Matrix<'_>, b: Matrix<'_>) {
    assert!(a.cols == b.rows, "shapes of a matrix product");
    assert!(a.fits() && b.fits(), "a matrix reaches beyond its slice");
}

fn run(out: &mut MatrixMut<'_>, put: Put, a: Matrix<'_>, b: Matrix<'_>, threads: Parallelism) {
    check(a, b);
    assert!(out.rows == a.rows && out.cols == b.cols, "shapes of a matrix product");
    let view = Matrix::strided(out.data, out.rows, out.cols, out.row_stride);
    assert!(view.fits() && out.row_stride >= out.cols, "an output reaches beyond its slice, or its rows overlap");
    let into = Target { data: out.data.as_mut_ptr(), row_stride: out.row_stride, put };
    // SAFETY: the three views were just checked to lie within their slices, and `out` is borrowed mutably, so that it
    // overlaps neither `a` nor `b`.
    unsafe { multiply(into, a, b, threads) }
}

/// Where [`multiply`] writes.
#[derive(Clone, Copy)]
struct Target {
    data: *mut f32,
    row_stride: usize,
    put: Put,
}

/// # Safety
/// `a` and `b` fit their slices; `out` points to a.rows rows of b.cols numbers that do not overlap each other, `a` or `b`, and
/// that are initialised if they are added to.
unsafe fn multiply(out: Target, a: Matrix<'_>, b: Matrix<'_>, threads: Parallelism) {
    // SAFETY: as promised by the caller; strides of a slice in memory fit into `isize`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.data,
            1,
            out.row_stride as isize,
            out.put == Put::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
        let at = |m: Matrix<'_>, r: usize, c: usize| m.data[r * m.row_stride + c * m.col_stride];
        let cell = |r, c| (0..a.cols).map(|k| at(a, r, k) * at(b, k, c)).sum();
        (0..a.rows * b.cols).map(|i| cell(i / b.cols, i % b.cols)).collect()
    }

    #[test]
    fn strides_and_transposes_are_honoured() {
        let data: Vec<f32> = (0..60).map(|i| (i % 7) as f32 - 3.0).collect();
        let a = Matrix::strided(&data[2..], 3, 4, 9);
        let b = Matrix::new(&data[20..], 5, 4).t();
        let mut out = vec![1.0; 3 * 8];
        product(MatrixMut::strided(&mut out, 3, 5, 8), Put::Add, a, b);
        let expected = naive(a, b);
        for row in 0..3 {
            for col in 0..5 {
                assert_eq!(out[row * 8 + col], expected[row * 5 + col] + 1.0);
            }
            assert_eq!(out[row * 8 + 5..][..3], [1.0; 3], "the gap between rows is not written");
        }
    }

    #[test]
    #[should_panic(expected = "beyond its slice")]
    fn a_view_beyond_its_slice_is_refused() {
        let data = [0.0; 11];
        product_here(
            MatrixMut::new(&mut [0.0; 9], 3, 3),
            Put::Overwrite,
            Matrix::new(&data, 3, 4),
            Matrix::new(&data, 4, 3),
        );
    }
}
