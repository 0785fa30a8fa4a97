//! The classes of AudioSet: ids, names, and what lies below what.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ajepa_store::{Fs, RealFs};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde::Deserialize;

use crate::corpus::read_table;
use crate::plan::nearest;

/// Longest ontology that is read; AudioSet's has 0.3 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Names that are looked for beside a table, the better one first.
const FILES: [&str; 2] = ["ontology.json", "class_labels_indices.csv"];

/// The classes, by number.
#[derive(Debug, Default)]
pub struct Ontology {
    ids: Vec<String>,
    names: Vec<String>,
    children: Vec<Vec<usize>>,
    by_id: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
    /// Whether the file says what lies below what.
    is_tree: bool,
}

/// One class in `ontology.json`.
#[derive(Debug, Deserialize)]
struct Class {
    id: String,
    name: String,
    #[serde(default)]
    child_ids: Vec<String>,
}

impl Ontology {
    /// Reads `ontology.json`, or `class_labels_indices.csv`, which knows names only.
    ///
    /// # Errors
    /// In words, with the path.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bad = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            return Self::read_csv(path).map_err(|problem| bad(&problem));
        }
        let text = Fs::read(&RealFs, path, MAX_BYTES).map_err(|error| bad(&error))?;
        let classes: Vec<Class> = serde_json::from_slice(&text)
            .map_err(|error| bad(&format!("not an ontology (a list of classes with id, name, child_ids): {error}")))?;
        let mut ontology = Self { is_tree: true, ..Self::default() };
        for class in &classes {
            ontology.add(&class.id, &class.name);
        }
        for (at, class) in classes.iter().enumerate() {
            let known = class.child_ids.iter().filter_map(|id| ontology.by_id.get(id).copied());
            ontology.children[at] = known.collect();
        }
        Ok(ontology)
    }

    fn read_csv(path: &Path) -> Result<Self, String> {
        let table = read_table(path).map_err(|error| error.to_string())?;
        let texts = |name: &str| {
            let column = table.column_by_name(name).ok_or_else(|| format!("there is no column {name:?}"))?;
            cast(column, &DataType::Utf8).map_err(|error| error.to_string())
        };
        let (ids, names) = (texts("mid")?, texts("display_name")?);
        let mut ontology = Self::default();
        for (id, name) in ids.as_string::<i32>().iter().zip(names.as_string::<i32>()) {
            ontology.add(id.unwrap_or_default(), name.unwrap_or_default().trim_matches('"'));
        }
        Ok(ontology)
    }

    fn add(&mut self, id: &str, name: &str) {
        let at = self.ids.len();
        self.ids.push(id.to_owned());
        self.names.push(name.to_owned());
        self.children.push(Vec::new());
        self.by_id.entry(id.to_owned()).or_insert(at);
        self.by_name.entry(name.to_owned()).or_insert(at);
    }

    /// Name of the class of that id.
    pub fn name(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(|&at| self.names[at].as_str())
    }

    /// Id of the class of that name.
    pub fn id(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|&at| self.ids[at].as_str())
    }

    /// The class of that name or id, and all below it: numbers, no one twice, parents first.
    ///
    /// # Errors
    /// In words, where there is no such class, or the file is no tree.
    pub fn under(&self, class: &str) -> Result<Vec<usize>, String> {
        if !self.is_tree {
            return Err("class_labels_indices.csv does not say what lies below what: give ontology.json".to_owned());
        }
        let known = self.by_name.get(class).or_else(|| self.by_id.get(class));
        let start = *known.ok_or_else(|| {
            let near = nearest(class, self.names.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!(": did you mean '{near}'?"));
            format!("the ontology has no class '{class}'{near}")
        })?;
        let (mut found, mut seen) = (vec![start], HashSet::from([start]));
        let mut at = 0;
        // A forged ontology may run in circles.
        while at < found.len() {
            let below = self.children[found[at]].iter().copied().filter(|&child| seen.insert(child));
            let below: Vec<usize> = below.collect();
            found.extend(below);
            at += 1;
        }
        Ok(found)
    }

    /// Id and name of a class by its number.
    pub fn class(&self, at: usize) -> (&str, &str) {
        (&self.ids[at], &self.names[at])
    }
}

/// Where the ontology of a catalogue is found: read when a function first asks for it.
#[derive(Debug, Clone, Default)]
pub struct OntologyPlace(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    path: Option<PathBuf>,
    read: Option<Arc<Ontology>>,
}

impl OntologyPlace {
    /// At `path`.
    pub fn at(path: PathBuf) -> Self {
        let place = Self::default();
        place.offer(path);
        place
    }

    /// Takes `path`, when none is known yet.
    pub fn offer(&self, path: PathBuf) {
        self.state().path.get_or_insert(path);
    }

    /// The ontology.
    ///
    /// # Errors
    /// In words, with the cure where none was given.
    pub fn get(&self) -> Result<Arc<Ontology>, String> {
        let mut state = self.state();
        if let Some(read) = &state.read {
            return Ok(read.clone());
        }
        let path = state.path.as_ref().ok_or(
            "no ontology is known: put AudioSet's ontology.json beside the table, or name it by --ontology FILE",
        )?;
        let read = Arc::new(Ontology::read(path)?);
        state.read = Some(read.clone());
        Ok(read)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What a panic leaves is a path, or nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for OntologyPlace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OntologyPlace {}

impl Hash for OntologyPlace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// The ontology in the folder of a table: in `path` itself when it is a folder, beside it else.
pub fn beside(path: &Path) -> Option<PathBuf> {
    let folder = if path.is_dir() { path } else { path.parent()? };
    FILES.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = r#"[
        {"id": "/m/04rlf", "name": "Music", "child_ids": ["/m/04szw", "/m/0l14md"]},
        {"id": "/m/04szw", "name": "Musical instrument", "child_ids": ["/m/0l14md"]},
        {"id": "/m/0l14md", "name": "Percussion", "child_ids": ["/m/04rlf", "/m/none"]},
        {"id": "/m/09x0r", "name": "Speech", "child_ids": []}]"#;

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_class_has_all_below_it_once_even_in_circles() {
        let (_folder, path) = written("ontology.json", TREE);
        let ontology = Ontology::read(&path).unwrap();
        let names = |class: &str| {
            let found = ontology.under(class).unwrap();
            found.into_iter().map(|at| ontology.class(at).1.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("Music"), ["Music", "Musical instrument", "Percussion"]);
        assert_eq!(names("/m/09x0r"), ["Speech"]);
        assert_eq!(ontology.name("/m/04rlf"), Some("Music"));
        assert_eq!(ontology.id("Speech"), Some("/m/09x0r"));
        assert!(ontology.under("Musik").unwrap_err().contains("did you mean 'Music'"));
    }

    #[test]
    fn the_list_of_labels_knows_names_but_no_tree() {
        let text = "index,mid,display_name\n0,/m/09x0r,\"Speech\"\n1,/m/05zppz,\"Male speech, man speaking\"\n";
        let (_folder, path) = written("class_labels_indices.csv", text);
        let ontology = Ontology::read(&path).unwrap();
        assert_eq!(ontology.name("/m/05zppz"), Some("Male speech, man speaking"));
        assert!(ontology.under("Speech").unwrap_err().contains("ontology.json"));
        assert_eq!(beside(&path), Some(path.clone()));
        assert_eq!(beside(path.parent().unwrap()), Some(path));
    }

    #[test]
    fn what_is_no_ontology_is_refused_with_its_path() {
        let (_folder, path) = written("ontology.json", "{}");
        let words = Ontology::read(&path).unwrap_err();
        assert!(words.contains("ontology.json") && words.contains("child_ids"), "{words}");
        assert!(OntologyPlace::default().get().unwrap_err().contains("--ontology"));
    }
}
