//! Tests of the whole crate, in one binary.

mod config;
mod exact;
mod fixture;
mod gradients;
mod objective;
mod parity;
