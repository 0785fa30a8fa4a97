//! `explain`: what flows on every edge, what runs fused, what it costs.

use super::{load, print};
use crate::cli::args::{ExplainArgs, ExplainFormat};
use crate::cli::exit::Exit;
use crate::plan::explain;
use crate::stages::Registry;

/// Prints the graph in the form asked for.
pub fn explain(args: &ExplainArgs, registry: &Registry) -> Exit {
    let graph = match load(&args.graph, registry) {
        Ok(graph) => graph,
        Err(exit) => return exit,
    };
    let explained = explain::explain(&graph);
    let text = match args.format {
        ExplainFormat::Text => explained.text(),
        ExplainFormat::Json => explained.json(),
        ExplainFormat::Mermaid => explain::mermaid(&explained),
        ExplainFormat::Dot => explain::dot(&explained),
        ExplainFormat::Svg => explain::svg(&explained),
    };
    print(&text)
}
