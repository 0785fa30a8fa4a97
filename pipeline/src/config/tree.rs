//! A YAML document as a tree in which every key and value knows its place.
//!
//! The whole document is read once, untyped and within a budget; types come later, from the same tree ([`super::read`]).
//! So an override is a changed node, a framework key is a node taken out, and an error of any depth has its line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Options, Spanned};

use super::fault::Fault;

/// Where something stands: a range of bytes in one of the texts that a config is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// 0 is the document, `i + 1` the override number `i`.
    pub text: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte; may equal `start`.
    pub end: usize,
}

impl Place {
    /// From the start of `self` to the end of `other`, if both are in one text.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        if self.text == other.text { Self { end: self.end.max(other.end), ..self } } else { self }
    }
}

/// One value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it is.
    pub place: Place,
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// As written.
    pub text: String,
    /// Where it is.
    pub place: Place,
}

/// What a node may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false` (`yes`, `on` and their like are text).
    Bool(bool),
    /// A whole number from 0.
    Unsigned(u64),
    /// A whole number below 0.
    Signed(i64),
    /// Any other number; one that is not finite is refused by whoever reads it.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the document.
    Map(Vec<(Key, Node)>),
}

impl Node {
    /// The value under `key`, when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, node)| node)
    }

    /// Key and value, when this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&(Key, Self)> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key),
            _ => None,
        }
    }

    /// A copy of this mapping without some of its keys.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Self {
        let mut copy = self.clone();
        if let Value::Map(entries) = &mut copy.value {
            entries.retain(|(key, _)| !keys.contains(&key.text.as_str()));
        }
        copy
    }
}

/// Limits far above any real pipeline, far below what hurts.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_depth: 32,
            flow_nesting_limit: 32,
            max_documents: 2,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 100_000,
            max_total_scalar_bytes: 4 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Merge,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
        // Told where the field is read, so that one such value does not hide all other faults.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
    }
}

/// Reads `text`, which is number `number` of the config's texts and begins at byte `offset` of it.
///
/// Keys written twice are told to `faults`; the first one stays.
///
/// # Errors
/// [`Fault`] at the place where the text stops being YAML, or where a limit is met.
pub fn parse(text: &str, number: usize, offset: usize, faults: &mut Vec<Fault>) -> Result<Node, Fault> {
    let spanned: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let at = error.location().map_or(0, |location| byte_of(text, location));
        let place = Place { text: number, start: offset + at, end: offset + at };
        let shown = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        yaml_fault(text, place, &shown)
    })?;
    let mut node = place_node(spanned, &Text { content: text, number, offset });
    drop_doubles(&mut node, faults);
    Ok(node)
}

/// The parser's words without its own "line .. column ..", for ours says it better.
fn yaml_fault(text: &str, place: Place, shown: &str) -> Fault {
    let first = shown.lines().next().unwrap_or("unreadable");
    let clause = first.find(" at line ").map_or(first, |at| &first[..at]);
    let clause = clause.find(": limits breached").map_or(clause, |at| &clause[..at]);
    let clause = clause.trim_start_matches("error: ").trim_end_matches(['.', ':']);
    if clause.contains("multiple") {
        return Fault::new(place, "a second document begins here").help("a file holds one pipeline");
    }
    let fault = Fault::new(place, format!("this is not YAML that can be read: {clause}"));
    let line_start = text[..place.start.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let indent_has_tab = text[line_start..].chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    if indent_has_tab {
        return fault.help("YAML indents with spaces; this line begins with a tab");
    }
    if clause.contains("alias") || clause.contains("recursion") || clause.contains("too large") {
        return fault
            .help("a pipeline is small: a document may nest 32 deep and hold 100,000 values, aliases unfolded");
    }
    fault.help("close every bracket and quote; put text that holds `: `, ` #`, brackets or commas in quotes")
}

/// A text, and where it begins.
struct Text<'a> {
    content: &'a str,
    number: usize,
    offset: usize,
}

impl Text<'_> {
    fn place(&self, location: Location) -> Place {
        let start = byte_of(self.content, location);
        let len = location.span().byte_len().unwrap_or(0) as usize;
        let end = start.saturating_add(len).min(self.content.len());
        // The span of a plain scalar may reach over the blanks behind it.
        let end = self.content.get(start..end).map_or(start, |shown| start + shown.trim_end().len());
        Place { text: self.number, start: self.offset + start, end: self.offset + end }
    }
}

/// Byte offset of a location, on a boundary of `text`.
fn byte_of(text: &str, location: Location) -> usize {
    let byte = location.span().byte_offset().map(|byte| byte as usize).or_else(|| {
        let line = text.split_inclusive('\n').take((location.line() as usize).checked_sub(1)?).map(str::len).sum();
        let rest: &str = text.get(line..)?;
        let column = (location.column() as usize).saturating_sub(1);
        Some(line + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at))
    });
    let mut byte = byte.unwrap_or(0).min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

fn place_node(spanned: Spanned<Raw>, text: &Text<'_>) -> Node {
    let mut place = text.place(spanned.referenced);
    let value = match spanned.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => {
            let items: Vec<Node> = items.into_iter().map(|item| place_node(item, text)).collect();
            place = items.last().map_or(place, |last| place.to(last.place));
            Value::List(items)
        }
        Raw::Map(entries) => {
            let entry = |(key, node): (Spanned<String>, Spanned<Raw>)| {
                let key = Key { place: text.place(key.referenced), text: key.value };
                (key, place_node(node, text))
            };
            let entries: Vec<(Key, Node)> = entries.into_iter().map(entry).collect();
            place = entries.last().map_or(place, |(key, node)| place.to(key.place).to(node.place));
            Value::Map(entries)
        }
    };
    Node { value, place }
}

fn drop_doubles(node: &mut Node, faults: &mut Vec<Fault>) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| drop_doubles(item, faults)),
        Value::Map(entries) => {
            let mut seen = std::collections::HashSet::new();
            entries.retain(|(key, _)| {
                let first = seen.insert(key.text.clone());
                if !first {
                    let problem = format!("`{}` is written twice in one mapping", key.text);
                    faults.push(Fault::new(key.place, problem).help("keep one of the two"));
                }
                first
            });
            for (_, node) in entries {
                drop_doubles(node, faults);
            }
        }
        _ => {}
    }
}

/// The tree as the parser gives it.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Unsigned(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
