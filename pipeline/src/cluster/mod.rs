//! A job on several machines: what of it travels, what an executor does with that, and how a client follows it. Who runs what is
//! decided by `ajepa_cluster`, which knows nothing of graphs.

mod follow;
mod share_out;
mod ticket;
mod work;

pub use follow::{ClusterFault, ClusterOptions, check, run};
pub use share_out::share_out;
pub use ticket::{Ticket, program};
pub use work::Units;
