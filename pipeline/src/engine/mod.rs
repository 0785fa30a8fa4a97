//! The only place that spawns threads.

mod chain;
pub mod clock;

pub use chain::{Chain, ChainResult, ChainSettings, Link, MapCx, panic_message};
