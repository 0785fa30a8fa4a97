//! Frozen embeddings judged by probes: X-ARES tasks from their tars, tasks of one's own, embeddings made elsewhere.
//!
//! ```text
//! Task::open --> Encoding::graph --job--> a file of embeddings a split --> probe() --> Row --> Evaluation
//! tars, tables     `embed` over it          kept: the second time only probes run
//! ```

mod features;
mod known;
mod npy;
mod probe;
mod protocol;
mod score;
mod sides;
mod task;
mod vectors;

pub use features::{Encoding, EncodingError, Form};
pub use known::Known;
pub use probe::{Embeddings, Found, Probe, Probed, Run, Settings, probe};
pub use protocol::{Kind, Mode, Protocol};
pub use score::{Evaluation, Mean, Model, PUBLISHED, Published, Row, Score};
pub use sides::Events;
pub use task::{Role, Split, Task};
pub use vectors::{Encoded, Vectors, read, read_parted};
