//! What a training says about itself while it runs: records, as lines of JSON and as TensorBoard events, how healthy the
//! representation is, alarms, and moments for who watches.

mod alarms;
mod explained;
mod health;
mod moment;
mod pictures;
mod record;
mod table;
mod tensorboard;

pub use alarms::{Alarm, AlarmKind, Alarms};
pub use health::health;
pub use moment::{Moment, Phase};
pub use record::{CodesHealth, Health, ProbeScores, Record, Speed};
pub use tensorboard::{EventWriter, scalars_of};
