//! What a build without Ballista says of what needs it.

use crate::cli::exit::Exit;

fn refuse(what: &str) -> Exit {
    eprintln!("error: {what} needs Ballista, and this program was built without: build it with the feature `cluster`");
    Exit::Usage
}

/// `cluster`.
pub mod cluster {
    use super::{Exit, refuse};
    use crate::cli::args::{ClusterArgs, RunArgs};
    use crate::plan::Graph;
    use crate::stages::Registry;

    /// Refuses.
    pub fn cluster(_: &ClusterArgs, _: &Registry) -> Exit {
        refuse("`cluster`")
    }

    /// Refuses.
    pub fn run(_: &RunArgs, _: &str, _: Graph) -> Exit {
        refuse("`--cluster`")
    }
}
