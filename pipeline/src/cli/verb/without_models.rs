//! What a build without models says of the verbs that need one.

fn refuse(verb: &str) -> crate::cli::exit::Exit {
    eprintln!("error: `{verb}` needs a model, and this program was built without: build it with the feature `train`");
    crate::cli::exit::Exit::Usage
}

/// `embed`.
pub mod embed {
    use crate::cli::args::EmbedArgs;
    use crate::cli::exit::Exit;
    use crate::stages::Registry;

    /// Refuses.
    pub fn embed(_: &EmbedArgs, _: &Registry) -> Exit {
        super::refuse("embed")
    }
}

/// `checkpoint`.
pub mod checkpoint {
    use std::path::Path;

    use crate::cli::args::CheckpointArgs;
    use crate::cli::exit::Exit;
    use crate::stages::Registry;

    /// Refuses.
    pub fn checkpoint(_: &CheckpointArgs, _: &Registry) -> Exit {
        super::refuse("checkpoint")
    }

    /// Refuses a checkpoint; `None` for anything else.
    pub fn inspect(path: &Path) -> Option<Exit> {
        path.join("checkpoint.json").exists().then(|| super::refuse("checkpoint"))
    }

    /// Refuses a checkpoint; `None` for anything else.
    pub fn verify(path: &Path) -> Option<Exit> {
        inspect(path)
    }
}
