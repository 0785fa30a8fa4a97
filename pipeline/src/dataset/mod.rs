//! From a publisher's layout to a manifest: which lists there are, where the audio is, what is made of both.
//!
//! ```text
//! Corpus::wanted --------------------------+
//! scan_graph -> `dataset scan` -> Scan ----+--Making::manifest--> Manifest --Refining::refine--> Manifest
//! listing (nothing is decoded) -> Scan ----+
//! ```
//!
//! What the tables mean and how they are joined is `ajepa-datasets`'; here it meets files, tars and graphs.

mod corpus;
mod listing;
mod making;
mod refining;

pub use corpus::Corpus;
pub use listing::list;
pub use making::{Making, moved, writable};
pub use refining::Refining;

use ajepa_datasets::DatasetError;

use crate::stage::BuildError;

impl From<DatasetError> for BuildError {
    fn from(error: DatasetError) -> Self {
        let help = error.help().unwrap_or("`ajepa-pipe dataset --help` shows how it is used").to_owned();
        Self::new(error.to_string(), help)
    }
}
