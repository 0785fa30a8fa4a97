//! Report page.
