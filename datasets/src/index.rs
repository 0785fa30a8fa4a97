//! Rows by a text of theirs, in four bytes a row: the texts stay where they are.
//!
//! Corpora have millions of rows, and a map that holds its keys is as large as the column itself; what a look costs is mostly the memory
//! that it waits for.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use polars::prelude::PlRandomState;

/// The first row of each text. Every call is given the texts, `text_of` row.
#[derive(Debug, Default)]
pub(crate) struct TextIndex {
    rows: HashTable<u32>,
    state: PlRandomState,
}

impl TextIndex {
    /// With room for `rows` rows.
    pub fn with_capacity(rows: usize) -> Self {
        Self { rows: HashTable::with_capacity(rows), state: PlRandomState::default() }
    }

    /// Takes `row` down, unless its text has a row already: gives that one.
    pub fn insert<'a>(&mut self, row: u32, text_of: impl Fn(u32) -> &'a str) -> Option<u32> {
        let text = text_of(row);
        let hash = self.state.hash_one(text);
        if let Some(&first) = self.rows.find(hash, |&other| text_of(other) == text) {
            return Some(first);
        }
        self.rows.insert_unique(hash, row, |&other| self.state.hash_one(text_of(other)));
        None
    }

    /// The row of `text`.
    pub fn get<'a>(&self, text: &str, text_of: impl Fn(u32) -> &'a str) -> Option<u32> {
        self.rows.find(self.state.hash_one(text), |&row| text_of(row) == text).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_row_of_each_text_is_found(texts in prop::collection::vec("[ab]{0,3}", 0..40)) {
            let mut index = TextIndex::with_capacity(4);
            let text_of = |row: u32| texts[row as usize].as_str();
            for (row, text) in texts.iter().enumerate() {
                let first = texts.iter().position(|other| other == text).unwrap();
                prop_assert_eq!(index.insert(row as u32, text_of), (first < row).then_some(first as u32));
            }
            for text in ["", "a", "ab", "bbb", "c"] {
                let first = texts.iter().position(|other| other == text).map(|row| row as u32);
                prop_assert_eq!(index.get(text, text_of), first);
            }
        }
    }
}
