//! Small pieces of YAML outside of any document: the value of a command-line option.

use serde::de::DeserializeOwned;

use super::document::tell;
use super::fault::ConfigErrors;
use super::read::read_all;
use super::tree;

/// Reads fields as they stand in a flow mapping, with or without its braces: `ratio: [0.4, 0.6]`.
///
/// # Errors
/// Everything that is wrong with them, under the name of the option.
pub fn parse_text<T: DeserializeOwned>(option: &str, fields: &str) -> Result<T, ConfigErrors> {
    let braced = if fields.trim_start().starts_with('{') { fields.to_owned() } else { format!("{{ {fields} }}") };
    let texts = vec![(option.to_owned(), braced.clone())];
    let mut faults = Vec::new();
    let node = match tree::parse(&braced, 0, 0, &mut faults) {
        Ok(node) => node,
        Err(fault) => return Err(ConfigErrors::new(texts, vec![fault])),
    };
    let value = read_all(&node).map_err(|errors| tell(errors, option, node.place, None, &mut faults));
    value.ok().filter(|_| faults.is_empty()).ok_or_else(|| ConfigErrors::new(texts, faults))
}
