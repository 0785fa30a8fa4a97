//! `where:` of a source: which clips of a list are meant, in SQL.

use std::path::{Path, PathBuf};

use crate::stage::PlanError;

/// A condition on the clips of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    text: String,
    /// Where the list is: an ontology may lie beside it.
    list: Option<PathBuf>,
}

impl Condition {
    /// As the YAML has it; beside `list`, or in that folder, an ontology is looked for.
    pub fn new(text: Option<&str>, list: Option<&Path>) -> Option<Self> {
        Some(Self { text: text?.to_owned(), list: list.map(Path::to_owned) })
    }
}

#[cfg(not(feature = "sql"))]
mod without_sql {
    use super::{Condition, PlanError};
    use crate::corpus::Listing;
    use crate::stage::BuildError;

    const PROBLEM: &str = "this program was built without SQL, which reads the expression";
    const HELP: &str =
        "build it with the feature `sql`, or take `where` away and list the clips in a table of their own";

    /// Refuses a condition.
    ///
    /// # Errors
    /// [`PlanError`] at `where`, when there is one.
    pub fn check(text: Option<&str>, _open: bool) -> Result<(), PlanError> {
        text.map_or(Ok(()), |_| Err(PlanError::field("where", PROBLEM, HELP)))
    }

    impl Condition {
        /// Refuses.
        pub(in crate::corpus) fn choose(&self, _: &mut dyn Listing) -> Result<Vec<u32>, BuildError> {
            let _ = (&self.text, &self.list);
            Err(BuildError::new(format!("where: {PROBLEM}"), HELP))
        }
    }
}

#[cfg(feature = "sql")]
mod with_sql {
    use arrow::datatypes::Schema as ArrowSchema;

    use super::{Condition, PlanError};
    use crate::catalogue::CatalogueError;
    use crate::catalogue::condition::{Prepared, check as check_sql};
    use crate::columns::arrow_schema;
    use crate::corpus::Listing;
    use crate::schema::Schema;
    use crate::stage::BuildError;

    /// Clips that are asked at once.
    const CHUNK: usize = 8192;

    /// The column that says where audio lies: no business of a condition.
    const MEDIA: &str = "media";

    /// Whether the expression is sound, as far as the columns that every list has say; `open` where the list may bring more.
    ///
    /// # Errors
    /// [`PlanError`] at `where`.
    pub fn check(text: Option<&str>, open: bool) -> Result<(), PlanError> {
        let Some(text) = text else { return Ok(()) };
        let known: ArrowSchema = arrow_schema(&Schema::of_media(open).without(MEDIA));
        check_sql(text, &known, open).map_err(|error| {
            let (problem, help) = words(&error, text);
            PlanError::field("where", problem, help)
        })
    }

    /// The problem, with the place in the expression where it is known, and the cure.
    fn words(error: &CatalogueError, text: &str) -> (String, String) {
        let place = match error {
            CatalogueError::Sql(fault) => fault.place.filter(|place| *place != (1, 1)),
            _ => None,
        };
        let place = match place {
            Some((1, column)) => format!(" (at letter {column} of {text:?})"),
            Some((line, column)) => format!(" (in line {line} of the expression, at letter {column})"),
            None => String::new(),
        };
        (format!("{error}{place}"), error.help().to_owned())
    }

    impl Condition {
        /// Numbers of the clips that are meant, in the order of the list.
        ///
        /// # Errors
        /// [`BuildError`] for an expression that does not fit the columns of the list, and when it leaves no clip.
        pub(in crate::corpus) fn choose(&self, listing: &mut dyn Listing) -> Result<Vec<u32>, BuildError> {
            let fault = |error: CatalogueError| {
                let (problem, help) = words(&error, &self.text);
                BuildError::new(format!("where: {problem}"), help)
            };
            let all: Vec<u32> = (0..u32::try_from(listing.n_clips()).unwrap_or(u32::MAX)).collect();
            let mut chosen = Vec::new();
            let mut prepared: Option<Prepared> = None;
            for clips in all.chunks(CHUNK) {
                let rows =
                    listing.columns(clips).map_err(|error| BuildError::new(error.to_string(), "mend the list"))?;
                let ready = match prepared.take() {
                    Some(ready) => ready,
                    None => Prepared::new(&self.text, rows.schema_ref(), self.list.as_deref()).map_err(fault)?,
                };
                let meant = ready.of(&rows).map_err(fault)?;
                chosen.extend(meant.values().set_indices().map(|at| clips[at]));
                prepared = Some(ready);
            }
            if chosen.is_empty() && !all.is_empty() {
                let problem = format!("where: {:?} is true of none of {} clips", self.text, all.len());
                return Err(BuildError::new(problem, "`ajepa-pipe query` shows what the columns hold"));
            }
            Ok(chosen)
        }
    }
}

#[cfg(feature = "sql")]
pub use with_sql::check as check_condition;
#[cfg(not(feature = "sql"))]
pub use without_sql::check as check_condition;
