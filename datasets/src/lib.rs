//! Corpora as tables.
