//! Columns of lists of texts, row by row.

use polars::prelude::*;

/// A column of lists of texts. A null is an empty list.
#[derive(Debug)]
pub(crate) struct TextLists {
    values: StringChunked,
    offsets: Vec<usize>,
}

impl TextLists {
    pub fn of(column: &Column) -> PolarsResult<Self> {
        let lists = column.list()?.rechunk();
        let offsets = lists.downcast_as_array().offsets().iter().map(|&offset| offset as usize).collect();
        let values = lists.get_inner();
        let values = if values.dtype().is_null() { values.cast(&DataType::String)? } else { values };
        Ok(Self { values: values.str()?.rechunk().into_owned(), offsets })
    }

    pub fn row(&self, row: usize) -> impl Iterator<Item = &str> {
        (self.offsets[row]..self.offsets[row + 1]).filter_map(|at| self.values.get(at))
    }

    pub fn n_rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The same as numbers, a text a number.
    pub fn index(&self) -> LabelIndex<'_> {
        let mut numbers: PlHashMap<&str, u32> = PlHashMap::default();
        let (mut names, mut ids, mut offsets) = (Vec::new(), Vec::with_capacity(self.values.len()), vec![0]);
        for row in 0..self.n_rows() {
            let start = ids.len();
            for text in self.row(row) {
                let next = names.len() as u32;
                let id = *numbers.entry(text).or_insert(next);
                if id == next {
                    names.push(text);
                }
                // A label twice is the label.
                if !ids[start..].contains(&id) {
                    ids.push(id);
                }
            }
            offsets.push(ids.len());
        }
        LabelIndex { names, ids, offsets }
    }
}

/// Labels of rows as numbers, in the order in which they first occur.
#[derive(Debug)]
pub(crate) struct LabelIndex<'a> {
    pub names: Vec<&'a str>,
    ids: Vec<u32>,
    offsets: Vec<usize>,
}

impl LabelIndex<'_> {
    pub fn row(&self, row: usize) -> &[u32] {
        &self.ids[self.offsets[row]..self.offsets[row + 1]]
    }

    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }
}
