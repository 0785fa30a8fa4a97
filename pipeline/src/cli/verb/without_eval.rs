//! What a build without models, or without corpora, says of `eval`.

/// `eval`.
pub mod eval {
    use crate::cli::args::EvalArgs;
    use crate::cli::exit::Exit;
    use crate::stages::Registry;

    /// Refuses.
    pub fn eval(_: &EvalArgs, _: &Registry) -> Exit {
        eprintln!(
            "error: `eval` needs models and corpora: build this program with the features `train` and `datasets`"
        );
        Exit::Usage
    }
}
