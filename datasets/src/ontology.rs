//! Names of labels, and which is under which.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use crate::error::DatasetError;
use crate::lines::TextTable;

/// What a class is called, and the classes directly under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Machine identifier, such as `/m/04rlf`.
    pub mid: String,
    /// Name for people, such as `Music`.
    pub name: String,
    /// Classes directly under it, by their identifiers.
    pub children: Vec<String>,
}

/// The classes that labels are of: AudioSet's `ontology.json`, or a plain vocabulary without anything under anything.
///
/// # Example: all that is music
/// ```
/// use ajepa_datasets::Ontology;
///
/// let ontology = Ontology::from_json(
///     r#"[{"id": "/m/04rlf", "name": "Music", "child_ids": ["/m/0342h"]},
///         {"id": "/m/0342h", "name": "Guitar", "child_ids": []}]"#,
/// )?;
/// assert_eq!(ontology.under("Music"), ["/m/0342h", "/m/04rlf"]);
/// assert_eq!(ontology.name("/m/0342h"), Some("Guitar"));
/// # Ok::<(), ajepa_datasets::DatasetError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Ontology {
    classes: Vec<Class>,
    by_mid: HashMap<String, usize>,
    /// Oddities that do no harm, in words.
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct JsonClass {
    id: String,
    name: String,
    #[serde(default)]
    child_ids: Vec<String>,
}

impl Ontology {
    /// Reads `ontology.json`.
    ///
    /// # Errors
    /// [`DatasetError`] when it cannot be read, or is not a list of classes with `id`, `name` and `child_ids`.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let table = TextTable::read(path)?;
        Self::of_json(&path.display().to_string(), table.text())
    }

    /// The same from text.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_json(text: &str) -> Result<Self, DatasetError> {
        Self::of_json("ontology", text)
    }

    fn of_json(place: &str, text: &str) -> Result<Self, DatasetError> {
        let unusable =
            |problem: String| DatasetError::unusable(place, problem, "give ontology.json as AudioSet publishes it");
        let classes: Vec<JsonClass> = serde_json::from_str(text).map_err(|error| unusable(error.to_string()))?;
        let class = |c: JsonClass| Class { mid: c.id, name: c.name, children: c.child_ids };
        let mut ontology =
            Self::new(classes.into_iter().map(class)).map_err(|mid| unusable(format!("{mid:?} is there twice")))?;
        ontology.look_over();
        Ok(ontology)
    }

    /// Classes in the order of a vocabulary: AudioSet's `class_labels_indices.csv` (`index,mid,display_name`).
    ///
    /// # Errors
    /// [`DatasetError`] when it cannot be read, and for lines at fault.
    pub fn read_class_labels(path: &Path) -> Result<Self, DatasetError> {
        let mut classes = Vec::new();
        let mut seen = HashSet::new();
        TextTable::read(path)?.rows(&["mid", "display_name"], &mut |fields| {
            let [mid, name] = fields else { return Ok(()) };
            if !seen.insert(mid.to_string()) {
                return Err(format!("the label {mid:?} is there twice"));
            }
            classes.push(Class { mid: mid.to_string(), name: name.to_string(), children: Vec::new() });
            Ok(())
        })?;
        Self::new(classes).map_err(|mid| DatasetError::unusable(path.display(), mid, "name each label once"))
    }

    /// # Errors
    /// The identifier that two classes have.
    pub(crate) fn new(classes: impl IntoIterator<Item = Class>) -> Result<Self, String> {
        let classes: Vec<Class> = classes.into_iter().collect();
        let mut by_mid = HashMap::with_capacity(classes.len());
        for (place, class) in classes.iter().enumerate() {
            if by_mid.insert(class.mid.clone(), place).is_some() {
                return Err(class.mid.clone());
            }
        }
        Ok(Self { classes, by_mid, notes: Vec::new() })
    }

    /// Notes children that are nowhere, and classes that are under themselves.
    fn look_over(&mut self) {
        let children = self.classes.iter().flat_map(|class| class.children.iter().map(move |child| (class, child)));
        let lost = children.filter(|(_, child)| !self.by_mid.contains_key(*child));
        let mut notes: Vec<String> =
            lost.map(|(class, child)| format!("{:?} has the child {child:?}, which is no class", class.name)).collect();
        let around = |class: &&Class| {
            class.children.iter().any(|child| self.descendants([child.as_str()]).contains(&class.mid.as_str()))
        };
        notes.extend(self.classes.iter().filter(around).map(|class| format!("{:?} is under itself", class.name)));
        self.notes = notes;
    }

    /// All classes, in the file's order.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What is odd about it and does no harm: children that are no class, classes that are under themselves.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The class with that identifier.
    pub fn get(&self, mid: &str) -> Option<&Class> {
        self.by_mid.get(mid).map(|&place| &self.classes[place])
    }

    /// The name of the class with that identifier.
    pub fn name(&self, mid: &str) -> Option<&str> {
        self.get(mid).map(|class| class.name.as_str())
    }

    /// The identifiers of the classes of that name, in any case of letters: more than one where the publisher says so.
    pub fn mids(&self, name: &str) -> Vec<&str> {
        let lower = name.to_lowercase();
        self.classes.iter().filter(|class| class.name.to_lowercase() == lower).map(|class| class.mid.as_str()).collect()
    }

    /// The identifiers of a class, named or identified by `class`, and of all under it, however deep; sorted.
    ///
    /// Nothing for a class that is not known. A class that is under itself ends the walk, not the program.
    pub fn under(&self, class: &str) -> Vec<&str> {
        match self.get(class) {
            Some(class) => self.descendants([class.mid.as_str()]),
            None => self.descendants(self.mids(class)),
        }
    }

    fn descendants<'a>(&'a self, roots: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = roots.into_iter().collect();
        while let Some(mid) = open.pop() {
            let Some(class) = self.get(mid) else { continue };
            if found.insert(class.mid.as_str()) {
                open.extend(class.children.iter().map(String::as_str));
            }
        }
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CYCLE: &str = r#"[
        {"id": "/m/a", "name": "A", "description": "x", "citation_uri": "", "positive_examples": [],
         "child_ids": ["/m/b", "/m/lost"], "restrictions": ["abstract"]},
        {"id": "/m/b", "name": "B", "child_ids": ["/m/c"]},
        {"id": "/m/c", "name": "C", "child_ids": ["/m/b"]}]"#;

    #[test]
    fn a_circle_ends_and_is_noted() {
        let ontology = Ontology::from_json(CYCLE).unwrap();
        assert_eq!(ontology.under("A"), ["/m/a", "/m/b", "/m/c"]);
        assert_eq!(ontology.under("/m/c"), ["/m/b", "/m/c"]);
        assert_eq!(
            ontology.notes(),
            ["\"A\" has the child \"/m/lost\", which is no class", "\"B\" is under itself", "\"C\" is under itself"]
        );
    }

    #[test]
    fn names_are_found_in_any_case_and_unknown_ones_are_nothing() {
        let ontology = Ontology::from_json(CYCLE).unwrap();
        assert_eq!(ontology.under("b"), ["/m/b", "/m/c"]);
        assert!(ontology.under("Zither").is_empty());
        assert_eq!(ontology.name("/m/zither"), None);
    }

    #[test]
    fn one_class_twice_is_refused() {
        let twice = r#"[{"id": "/m/a", "name": "A"}, {"id": "/m/a", "name": "B"}]"#;
        assert!(Ontology::from_json(twice).unwrap_err().to_string().contains("\"/m/a\" is there twice"));
        assert!(Ontology::from_json("{}").unwrap_err().help().unwrap().contains("ontology.json"));
    }
}
