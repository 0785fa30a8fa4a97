//! `stages` and `schema`: what can be written in a graph, for people and for editors.

use super::print;
use crate::cli::args::StagesArgs;
use crate::cli::exit::Exit;
use crate::config;
use crate::plan::{describe, suggest};
use crate::stages::Registry;

/// All stages, or one with its fields.
pub fn stages(args: &StagesArgs, registry: &Registry) -> Exit {
    let Some(name) = &args.name else { return print(&describe::list(registry)) };
    if let Some(entry) = registry.get(name) {
        return print(&describe::one(entry));
    }
    let known: Vec<&str> = registry.entries().iter().map(|entry| entry.name).collect();
    eprintln!("error: there is no stage {name:?}; {}", suggest(name, &known));
    Exit::Usage
}

/// The JSON Schema of the YAML.
pub fn schema(registry: &Registry) -> Exit {
    let schema = config::json_schema(registry);
    print(&format!("{schema:#}\n"))
}
