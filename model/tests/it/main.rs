//! Tests of the whole crate, in one binary.
#![allow(clippy::unwrap_used, reason = "helpers of tests may end a test as tests may")]

mod alarms;
mod audio;
mod checkpoint;
mod company;
mod config;
mod exact;
mod fixture;
mod frozen;
mod gradients;
mod health;
mod memory;
mod objective;
mod parity;
mod pools;
mod probe;
mod published;
mod tensorboard;
mod tidy;
mod xares;
