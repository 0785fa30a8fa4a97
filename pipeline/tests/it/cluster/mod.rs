//! A cluster of real processes on this machine: the same shards, whoever is killed, and nothing for strangers.

mod cut;
mod full;
mod hung;
mod killed;
pub mod lan;
mod same;
mod strangers;
