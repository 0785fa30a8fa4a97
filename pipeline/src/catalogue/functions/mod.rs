//! Functions for audio people, beside those of the engine.

mod args;
mod labels;
mod mel;
mod ontology;
mod vectors;

use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::ScalarUDF;

pub use ontology::{OntologyPlace, beside};

/// What a person should know of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionDoc {
    /// How it is called: `cosine(a, b)`.
    pub call: &'static str,
    /// What it gives, in one line.
    pub about: &'static str,
}

/// Functions that make a large value of small arguments: one call of them could take all memory, and no budget sees it.
const UNBOUNDED: &[&str] = &[
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "range",
    "generate_series",
    "gen_series",
];

/// Our own functions, in the order in which help shows them.
pub fn documented() -> &'static [FunctionDoc] {
    const fn doc(call: &'static str, about: &'static str) -> FunctionDoc {
        FunctionDoc { call, about }
    }
    const DOCS: &[FunctionDoc] = &[
        doc("cosine(a, b)", "cosine of the angle between two embeddings, -1 to 1; null where one has no length"),
        doc("dot(a, b)", "sum of the products of two embeddings"),
        doc("mel_mean(mel [, n_frames])", "mean of each mel bin over the frames, of the first n_frames where said"),
        doc("mel_std(mel [, n_frames])", "standard deviation of each mel bin over the frames"),
        doc("mel_mean_all(mel [, n_frames])", "mean of the whole picture, one number"),
        doc("mel_std_all(mel [, n_frames])", "standard deviation of the whole picture, one number"),
        doc("label_name('/m/04rlf')", "name of a class of the ontology: Music; null for one it does not have"),
        doc("label_id('Music')", "id of a class by its name: /m/04rlf; null for one it does not have"),
        doc(
            "under('Music')",
            "ids of a class (by name or id) and of all below it: array_has_any(labels, under('Music'))",
        ),
        doc("under_names('Music')", "the same as names, for tables whose labels are names"),
    ];
    DOCS
}

/// Adds our functions to `context`, and takes away those whose results nothing bounds.
pub fn register(context: &SessionContext, ontology: &OntologyPlace) {
    for name in UNBOUNDED {
        context.deregister_udf(name);
    }
    for function in ours(ontology) {
        context.register_udf(function);
    }
}

fn ours(ontology: &OntologyPlace) -> Vec<ScalarUDF> {
    let mut functions = vectors::functions();
    functions.extend(mel::functions());
    functions.extend(labels::functions(ontology));
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_its_line_in_the_help() {
        let ours: Vec<String> = ours(&OntologyPlace::default()).iter().map(|f| f.name().to_owned()).collect();
        let named: Vec<&str> = documented().iter().filter_map(|doc| doc.call.split('(').next()).collect();
        assert_eq!(ours, named);
    }
}
