//! What changed between two graphs, in the words of the YAML.

use std::collections::BTreeSet;

use serde_json::Value;

/// Longest value that is shown whole.
const SHOWN_CHARS: usize = 60;

/// The differences of two JSON values, as lines like `stages.mel.n_mels: 96 -> 128`; at most `cap` of them.
pub fn differences(old: &Value, new: &Value, cap: usize) -> Vec<String> {
    let mut lines = Vec::new();
    walk("", Some(old), Some(new), &mut lines);
    if lines.len() > cap {
        let more = lines.len() - cap;
        lines.truncate(cap);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn walk(path: &str, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    let entries = |value: Option<&Value>| value.and_then(keyed);
    match (entries(old), entries(new)) {
        (Some(a), Some(b)) => {
            let find =
                |list: &[(String, Value)], key: &str| list.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            let keys: BTreeSet<&String> = a.iter().chain(&b).map(|(key, _)| key).collect();
            let before = lines.len();
            for key in keys {
                let deeper = match key.as_str() {
                    _ if path.is_empty() => key.clone(),
                    // A stage's fields stand in the YAML, and in `--set`, without this step.
                    "config" if path.starts_with("stages.") => path.to_owned(),
                    key => format!("{path}.{key}"),
                };
                walk(&deeper, find(&a, key).as_ref(), find(&b, key).as_ref(), lines);
            }
            if lines.len() == before {
                lines.push(format!("{path}: in another order"));
            }
        }
        _ => lines.push(format!("{path}: {}", change(old, new))),
    }
}

/// `old -> new`; of lists what is in one only, of long texts the part that differs.
fn change(old: Option<&Value>, new: Option<&Value>) -> String {
    if let (Some(Value::Array(old)), Some(Value::Array(new))) = (old, new) {
        let only = |list: &[Value], other: &[Value]| -> Vec<String> {
            list.iter().filter(|item| !other.contains(item)).map(|item| shown(Some(item))).collect()
        };
        let (gone, come) = (only(old, new), only(new, old));
        let said = [("without", gone), ("with", come)].into_iter().filter(|(_, items)| !items.is_empty());
        let said: Vec<String> = said.map(|(word, items)| format!("{word} {}", items.join(", "))).collect();
        return if said.is_empty() { "in another order".to_owned() } else { said.join("; ") };
    }
    let texts = [old, new].map(shown_whole);
    let same = texts[0].chars().zip(texts[1].chars()).take_while(|(a, b)| a == b).count();
    // Both would be cut to the same text: shown from a little before where they part.
    let from = if same < SHOWN_CHARS { 0 } else { same - SHOWN_CHARS / 3 };
    let [old, new] = texts.map(|text| cut(&text, from));
    format!("{old} -> {new}")
}

/// The entries of an object; of an array too, by `id` where every element has one of its own.
fn keyed(value: &Value) -> Option<Vec<(String, Value)>> {
    match value {
        Value::Object(map) => Some(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
        Value::Array(items) if !items.is_empty() => {
            let id = |item: &Value| Some((item.get("id")?.as_str()?.to_owned(), item.clone()));
            let entries: Vec<(String, Value)> = items.iter().map(id).collect::<Option<_>>()?;
            let distinct: BTreeSet<&String> = entries.iter().map(|(key, _)| key).collect();
            (distinct.len() == entries.len()).then_some(entries)
        }
        _ => None,
    }
}

fn shown(value: Option<&Value>) -> String {
    cut(&shown_whole(value), 0)
}

fn shown_whole(value: Option<&Value>) -> String {
    value.map_or_else(|| "(absent)".to_owned(), Value::to_string)
}

/// The characters of `text` behind the first `from`, as many as are shown.
fn cut(text: &str, from: usize) -> String {
    let part: String = text.chars().skip(from).take(SHOWN_CHARS).collect();
    let ends = [(from > 0, "..."), (text.chars().nth(from + SHOWN_CHARS).is_some(), "...")];
    let [before, after] = ends.map(|(is_cut, dots)| if is_cut { dots } else { "" });
    format!("{before}{part}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_what_changed_as_the_yaml_does() {
        let old = json!({"seed": 0, "stages": [{"id": "mel", "n_mels": 96, "hop": 1}, {"id": "crop", "seconds": 10}]});
        let new = json!({"seed": 0, "stages": [{"id": "mel", "n_mels": 128, "hop": 1}, {"id": "gain", "db": [1, 2]}]});
        assert_eq!(
            differences(&old, &new, 9),
            [
                r#"stages.crop: {"id":"crop","seconds":10} -> (absent)"#,
                r#"stages.gain: (absent) -> {"db":[1,2],"id":"gain"}"#,
                "stages.mel.n_mels: 96 -> 128",
            ]
        );
        assert_eq!(differences(&old, &new, 1).last().unwrap(), "and 2 more");
        let swapped = json!({"stages": [{"id": "b"}, {"id": "a"}]});
        assert_eq!(
            differences(&json!({"stages": [{"id": "a"}, {"id": "b"}]}), &swapped, 9),
            ["stages: in another order"]
        );
        assert!(differences(&old, &old, 9).is_empty());
        let list = |items: &[&str]| json!({"stages": [{"id": "a", "extensions": items}]});
        let many = ["aac", "aif", "aifc", "aiff", "caf", "flac", "m4a", "m4b", "mka", "mkv", "mp1", "mp2", "mp3"];
        assert_eq!(
            differences(&list(&many), &list(&[&many[..12], &["wav", "wv"]].concat()), 9),
            [r#"stages.a.extensions: without "mp3"; with "wav", "wv""#]
        );
        let text = |end: &str| json!({ "path": format!("{}{end}", "x".repeat(90)) });
        let line = differences(&text("one"), &text("two"), 9).remove(0);
        assert!(line.contains(r#"one" -> ..."#) && line.ends_with(r#"two""#), "{line}");
    }
}
