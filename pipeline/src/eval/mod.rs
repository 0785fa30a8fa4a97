//! Frozen embeddings judged by probes: X-ARES tasks from their tars, tasks of one's own, embeddings made elsewhere.
//!
//! ```text
//! Task::open --> Encoding::graph --job--> a file of embeddings a split --> probe() --> Row --> Evaluation
//! tars, tables     `embed` over it          kept: the second time only probes run
//! ```

mod features;
mod npy;
mod probe;
mod protocol;
mod score;
mod sides;
mod task;

pub use features::{Encoded, Encoding, EncodingError, Vectors, read, read_parted};
pub use probe::{Found, Probe, Probed, Run, Settings, probe};
pub use protocol::{Kind, Mode, Protocol};
pub use score::{Evaluation, Mean, Model, PUBLISHED, Published, Row, Score};
pub use task::{Role, Split, Task};
