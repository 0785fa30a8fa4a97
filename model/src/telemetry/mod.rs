//! What a training says about itself while it runs: records, as lines of JSON and as TensorBoard events, and moments for who
//! watches.

mod moment;
mod record;

pub use moment::{Moment, Phase};
pub use record::{Health, ProbeScores, Record, Speed};
