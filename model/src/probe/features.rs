//! Features with labels, and what can be wrong with them.

use std::collections::BTreeMap;

use nalgebra::DMatrixView;
use thiserror::Error;

/// A fault of what a probe was given.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ProbeError {
    /// Nothing to learn from, or nothing to ask about.
    #[error("{what}: there are none")]
    Empty {
        /// What there is none of.
        what: &'static str,
    },
    /// Two lengths that must agree do not.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// Which length.
        what: &'static str,
        /// The length that would fit.
        expected: usize,
        /// The length that came.
        got: usize,
    },
    /// A feature that is NaN or infinite.
    #[error("the features of clip {row} hold a number that is not finite")]
    NotFinite {
        /// Which clip, counted from 0.
        row: usize,
    },
    /// All clips to learn from are of the same class.
    #[error("all clips to learn from are of class {class}: there is nothing to tell apart")]
    OneClass {
        /// The class.
        class: u32,
    },
    /// A class that is asked about but was never shown.
    #[error("class {class} is asked about, but no clip to learn from is of it")]
    Unseen {
        /// The class.
        class: u32,
    },
    /// Clips with one label each on one side, with several on the other.
    #[error("clips to learn from and clips to be asked about must both have one label each, or both several")]
    Kinds,
    /// A head that pools vectors and clips of one vector each, or the other way round.
    #[error("clips of several vectors need a head that pools them, and all others one that does not")]
    Pool,
    /// A number of the config that is out of range.
    #[error("{field}: {value} is not a positive number")]
    Config {
        /// Which number.
        field: &'static str,
        /// What it was.
        value: f64,
    },
}

/// Vectors of clips, one after the other.
///
/// # Shapes
/// [clips, width], row-major.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    width: usize,
    values: &'a [f32],
}

impl<'a> Features<'a> {
    /// Checks `values` [clips, `width`].
    ///
    /// # Errors
    /// [`ProbeError::Empty`], [`ProbeError::Shape`] when the last row is not whole, [`ProbeError::NotFinite`].
    pub fn new(width: usize, values: &'a [f32]) -> Result<Self, ProbeError> {
        if values.is_empty() || width == 0 {
            return Err(ProbeError::Empty { what: "features" });
        }
        let whole = values.len().next_multiple_of(width);
        if whole != values.len() {
            return Err(ProbeError::Shape { what: "numbers in the features", expected: whole, got: values.len() });
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(ProbeError::NotFinite { row: at / width });
        }
        Ok(Self { width, values })
    }

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Clips.
    pub fn n_rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// All numbers, row-major.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Vectors as columns, [width, clips]: the same numbers in the same order.
    pub(super) fn columns(&self) -> DMatrixView<'a, f32> {
        DMatrixView::from_slice(self.values, self.width, self.n_rows())
    }
}

/// What clips are, by numbers of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// Exactly one class a clip.
    One(Vec<u32>),
    /// Any number of classes a clip, none included.
    Several(Vec<Vec<u32>>),
}

impl Labels {
    /// Numbers classes by their names in alphabetical order: the labels of `rows`, and the names by number. [`Labels::One`] where every
    /// clip has exactly one name.
    ///
    /// Two splits that belong together are numbered together: number their rows in one call, then [`Labels::split_off`].
    ///
    /// # Example: three clips
    /// ```
    /// use ajepa_model::probe::Labels;
    /// let (labels, names) = Labels::by_name(&[["dog"], ["cat"], ["dog"]]);
    /// assert_eq!((labels, names), (Labels::One(vec![1, 0, 1]), vec!["cat".to_owned(), "dog".to_owned()]));
    /// ```
    pub fn by_name<R: AsRef<[S]>, S: AsRef<str>>(rows: &[R]) -> (Self, Vec<String>) {
        let mut numbers: BTreeMap<&str, u32> =
            rows.iter().flat_map(|row| row.as_ref().iter().map(|name| (name.as_ref(), 0))).collect();
        numbers.values_mut().enumerate().for_each(|(number, value)| *value = number as u32);
        let names = numbers.keys().map(|&name| name.to_owned()).collect();
        let label = |row: &R| -> Vec<u32> { row.as_ref().iter().map(|name| numbers[name.as_ref()]).collect() };
        let labels: Vec<Vec<u32>> = rows.iter().map(label).collect();
        let one = labels.iter().all(|row| row.len() == 1);
        (if one { Self::One(labels.concat()) } else { Self::Several(labels) }, names)
    }

    /// Cuts the labels from row `at` on off, as [`Vec::split_off`] does.
    ///
    /// # Panics
    /// When there are fewer rows.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::One(rows) => Self::One(rows.split_off(at)),
            Self::Several(rows) => Self::Several(rows.split_off(at)),
        }
    }

    /// Clips.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::One(rows) => rows.len(),
            Self::Several(rows) => rows.len(),
        }
    }

    /// Classes of a clip.
    pub fn of(&self, row: usize) -> &[u32] {
        match self {
            Self::One(rows) => &rows[row..=row],
            Self::Several(rows) => &rows[row],
        }
    }

    /// One more than the largest class; 0 where there is none.
    pub fn n_classes(&self) -> usize {
        self.all().max().map_or(0, |class| class as usize + 1)
    }

    /// Every label of every clip.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        (0..self.n_rows()).flat_map(|row| self.of(row).iter().copied())
    }
}

/// Features and what their clips are.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// [clips, width].
    pub features: Features<'a>,
    /// One entry a clip.
    pub labels: &'a Labels,
}

impl<'a> Labelled<'a> {
    /// Checks that there is one entry a clip.
    ///
    /// # Errors
    /// [`ProbeError::Shape`].
    pub fn new(features: Features<'a>, labels: &'a Labels) -> Result<Self, ProbeError> {
        let (expected, got) = (features.n_rows(), labels.n_rows());
        if expected == got {
            Ok(Self { features, labels })
        } else {
            Err(ProbeError::Shape { what: "labels", expected, got })
        }
    }

    /// Checks that a probe that learns from this split can be asked about `test`.
    pub(super) fn teaches(&self, test: &Self) -> Result<(), ProbeError> {
        let (expected, got) = (self.features.width(), test.features.width());
        if expected != got {
            return Err(ProbeError::Shape { what: "width of the features", expected, got });
        }
        if std::mem::discriminant(self.labels) != std::mem::discriminant(test.labels) {
            return Err(ProbeError::Kinds);
        }
        let mut seen = vec![false; self.labels.n_classes().max(test.labels.n_classes())];
        self.labels.all().for_each(|class| seen[class as usize] = true);
        if let Some(class) = test.labels.all().find(|class| !seen[*class as usize]) {
            return Err(ProbeError::Unseen { class });
        }
        self.tells_apart()
    }

    /// Checks that there is more than one class; of clips with several labels, that some class is not on all of them alike.
    pub(super) fn tells_apart(&self) -> Result<(), ProbeError> {
        let first = self.labels.of(0);
        if (1..self.labels.n_rows()).any(|row| self.labels.of(row) != first) {
            return Ok(());
        }
        Err(first.first().map_or(ProbeError::Empty { what: "labels" }, |&class| ProbeError::OneClass { class }))
    }
}
