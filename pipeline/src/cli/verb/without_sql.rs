//! What a build without SQL says of the verb that needs it.

/// `query`.
pub mod query {
    use crate::cli::args::QueryArgs;
    use crate::cli::exit::Exit;

    /// Refuses.
    pub fn query(_: &QueryArgs) -> Exit {
        eprintln!("error: `query` needs SQL, and this program was built without: build it with the feature `sql`");
        Exit::Usage
    }
}
