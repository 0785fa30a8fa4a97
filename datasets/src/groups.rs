//! Rows that belong together: a forest of sets that can be united.

/// Disjoint sets of rows. The smallest row of a set stands for it.
#[derive(Debug)]
pub(crate) struct Groups {
    parent: Vec<u32>,
}

impl Groups {
    /// Every row alone.
    pub fn new(n_rows: usize) -> Self {
        Self { parent: (0..n_rows as u32).collect() }
    }

    /// The smallest row of the set that `row` is in.
    pub fn first(&mut self, row: u32) -> u32 {
        let mut at = row;
        while self.parent[at as usize] != at {
            // Each look halves the way of the next.
            let above = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = above;
            at = above;
        }
        at
    }

    /// Makes one set of the two that `a` and `b` are in.
    pub fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first(a), self.first(b));
        self.parent[a.max(b) as usize] = a.min(b);
    }

    /// Unites all rows that have one value.
    pub fn unite_equal<T: std::hash::Hash + Eq>(&mut self, values: impl Iterator<Item = Option<T>>) {
        let mut first = polars::prelude::PlHashMap::default();
        for (row, value) in values.enumerate() {
            let Some(value) = value else { continue };
            let before = *first.entry(value).or_insert(row as u32);
            self.unite(before, row as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_are_those_of_a_flood(pairs in prop::collection::vec((0_u32..20, 0_u32..20), 0..25)) {
            let mut groups = Groups::new(20);
            for &(a, b) in &pairs {
                groups.unite(a, b);
            }
            let mut smallest: Vec<u32> = (0..20).collect();
            for _ in 0..20 {
                for &(a, b) in &pairs {
                    let least = smallest[a as usize].min(smallest[b as usize]);
                    smallest[a as usize] = least;
                    smallest[b as usize] = least;
                }
            }
            let found: Vec<u32> = (0..20).map(|row| groups.first(row)).collect();
            prop_assert_eq!(found, smallest);
        }
    }

    #[test]
    fn equal_values_belong_together_and_nulls_to_nothing() {
        let mut groups = Groups::new(5);
        groups.unite_equal([Some("a"), None, Some("b"), None, Some("a")].into_iter());
        assert_eq!((0..5).map(|row| groups.first(row)).collect::<Vec<_>>(), [0, 1, 2, 3, 0]);
    }
}
