//! From the tree to a stage's config: a serde deserializer whose errors keep their place, their field and their kind.

use std::fmt;
use std::path::Path;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::tree::{Key, Node, Place, Value};

/// Why a node does not become the type asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadError {
    /// The innermost node at fault.
    pub place: Option<Place>,
    /// Keys from the outermost mapping to that node.
    pub path: Vec<String>,
    /// What is wrong.
    pub kind: ReadErrorKind,
}

/// The kinds of [`ReadError`].
#[derive(Debug, Clone, PartialEq)]
pub enum ReadErrorKind {
    /// A key that the type does not have.
    UnknownKey {
        /// As written.
        key: String,
        /// What it does have.
        known: Vec<String>,
    },
    /// A word that is none of the choices.
    UnknownWord {
        /// As written.
        word: String,
        /// The choices.
        known: Vec<String>,
    },
    /// A key that must be there.
    MissingKey(String),
    /// A value of another type, or out of the type's range.
    Mismatch {
        /// What stands there, in words.
        found: String,
        /// What should, in words.
        expected: String,
    },
    /// Anything else, in the words of the type.
    Other(String),
}

impl ReadError {
    fn new(kind: ReadErrorKind) -> Self {
        Self { place: None, path: Vec::new(), kind }
    }

    /// The innermost place wins.
    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    fn under(mut self, key: &Key) -> Self {
        self.path.insert(0, key.text.clone());
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        match &self.kind {
            ReadErrorKind::UnknownKey { key, .. } => write!(f, "there is no field `{key}`"),
            ReadErrorKind::UnknownWord { word, .. } => write!(f, "`{word}` is not a choice"),
            ReadErrorKind::MissingKey(key) => write!(f, "the field `{key}` is missing"),
            ReadErrorKind::Mismatch { found, expected } => write!(f, "expected {expected}, found {found}"),
            ReadErrorKind::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ReadError {}

impl Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(ReadErrorKind::Other(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (found, expected) = (found_words(unexpected), expected_words(&expected.to_string()));
        Self::new(ReadErrorKind::Mismatch { found, expected })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(ReadErrorKind::UnknownWord { word: variant.to_owned(), known: owned(expected) })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(ReadErrorKind::UnknownKey { key: field.to_owned(), known: owned(expected) })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(ReadErrorKind::MissingKey(field.to_owned()))
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn found_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("{value}"),
        Unexpected::Signed(value) => format!("{value}"),
        Unexpected::Float(value) => format!("{value}"),
        Unexpected::Str(text) if text.chars().count() > 40 => {
            format!("the text {:?}...", text.chars().take(40).collect::<String>())
        }
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// Rust's words for a type, in a user's words.
fn expected_words(expected: &str) -> String {
    let words = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" | "path string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a mapping",
        other if other.starts_with("struct ") => "a mapping of fields",
        other if other.starts_with("enum ") || other == "variant identifier" => "one of the choices",
        other => other,
    };
    words.to_owned()
}

/// Faults of one node that are looked for; each costs another reading.
const MAX_ERRORS: usize = 20;

/// Reads `node` as a `T`, and goes on after a fault as far as it can, so that one run names them all.
///
/// # Errors
/// Every fault found, at least one.
pub fn read_all<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<ReadError>> {
    let mut rest = node.clone();
    let mut errors: Vec<ReadError> = Vec::new();
    loop {
        let error = match T::deserialize(&rest) {
            Ok(value) if errors.is_empty() => return Ok(value),
            Ok(_) => return Err(errors),
            Err(error) => error,
        };
        // A field that was taken out below because its value is wrong is not missing.
        if let ReadErrorKind::MissingKey(key) = &error.kind
            && error.path.is_empty()
            && node.get(key).is_some()
        {
            return Err(errors);
        }
        let culprit = match &error.kind {
            ReadErrorKind::UnknownKey { key, .. } if error.path.is_empty() => Some(key.clone()),
            _ => error.path.first().cloned(),
        };
        errors.push(error);
        let more = errors.len() < MAX_ERRORS;
        let Some(key) = culprit.filter(|key| more && rest.get(key).is_some()) else {
            return Err(errors);
        };
        rest = rest.without(&[&key]);
    }
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.whole(visitor)
        }
    )*};
}

const NOT_FINITE: &str = "this is not a finite number; give one, or leave the field out for its default";

impl<'de> Node {
    /// `32e3` is a whole number too.
    fn whole<V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.value {
            Value::Float(value) if value.fract() == 0.0 && (0.0..EXACT).contains(&value) => {
                visitor.visit_u64(value as u64)
            }
            Value::Float(value) if value.fract() == 0.0 && (-EXACT..0.0).contains(&value) => {
                visitor.visit_i64(value as i64)
            }
            _ => return self.deserialize_any(visitor),
        }
        .map_err(|error: ReadError| error.at(self.place))
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) if !value.is_finite() => Err(ReadError::custom(NOT_FINITE)),
            Value::Float(value) => visitor.visit_f64(*value),
            // An address of this machine is the path that it means.
            Value::Text(text) if text.starts_with("file://") => match ajepa_store::plain(Path::new(text)) {
                Ok(path) => visitor.visit_string(path.to_string_lossy().into_owned()),
                Err(error) => Err(ReadError::custom(format!("{text}: {error}"))),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), current: None }),
        }
        .map_err(|error: ReadError| error.at(self.place))
    }

    whole_numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let choice = match &self.value {
            Value::Text(word) => Choice { word, place: self.place, content: None },
            Value::Map(entries) if entries.len() == 1 => {
                let (key, content) = &entries[0];
                Choice { word: &key.text, place: key.place, content: Some(content) }
            }
            _ => {
                let found = match self.deserialize_any(NoType) {
                    Ok(()) => String::new(),
                    Err(error) => match error.kind {
                        ReadErrorKind::Mismatch { found, .. } => found,
                        _ => String::new(),
                    },
                };
                let kind = ReadErrorKind::Mismatch { found, expected: format!("one of {}", words.join(", ")) };
                return Err(ReadError::new(kind).at(self.place));
            }
        };
        visitor.visit_enum(choice).map_err(|error| error.at(self.place))
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// Accepts nothing: makes serde say what stands there.
struct NoType;

impl Visitor<'_> for NoType {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a choice")
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, (Key, Node)>,
    current: Option<&'de (Key, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.current = self.rest.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        let name: StrDeserializer<'_, ReadError> = key.text.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.at(key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, node)) = self.current else {
            return Err(ReadError::custom("a value was asked for before its key"));
        };
        seed.deserialize(node).map_err(|error| error.under(key))
    }
}

struct Choice<'de> {
    word: &'de str,
    place: Place,
    content: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let word: StrDeserializer<'_, ReadError> = self.word.into_deserializer();
        let value = seed.deserialize(word).map_err(|error| error.at(self.place))?;
        Ok((value, self))
    }
}

impl<'de> Choice<'de> {
    fn content(&self) -> Result<&'de Node, ReadError> {
        let missing =
            || ReadError::custom(format!("`{}` needs fields: write `{{ {}: {{ ... }} }}`", self.word, self.word));
        self.content.ok_or_else(|| missing().at(self.place))
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content {
            None | Some(Node { value: Value::Null, .. }) => Ok(()),
            Some(node) => Err(ReadError::custom(format!("`{}` takes no fields", self.word)).at(node.place)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_any(visitor)
    }
}
