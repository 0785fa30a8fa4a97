//! Stages and the whole document, described.

use ajepa_pipe::config::json_schema;
use ajepa_pipe::plan::describe;

use ajepa_pipe::stages::builtin;

#[test]
fn a_stage_tells_its_fields() {
    insta::assert_snapshot!("stages_list", describe::list(&builtin()));
    let one = |name: &str| describe::one(builtin().get(name).expect("stage"));
    insta::assert_snapshot!("stage_crop", one("crop"));
    insta::assert_snapshot!("stage_patchify", one("patchify"));
    insta::assert_snapshot!("stage_decode", one("decode"));
}

#[test]
fn every_example_is_read_by_its_own_stage() {
    for entry in builtin().entries() {
        let errors = crate::load(&format!("stages:\n  - {}\n", entry.example)).err().map(|errors| errors.to_string());
        let unread = errors.filter(|text| text.contains("has no field") || text.contains("needs the field"));
        assert_eq!(unread, None, "{}", entry.name);
    }
}

#[test]
fn the_schema_names_every_stage_and_resolves() {
    let schema = json_schema(&builtin());
    if let Some(path) = option_env!("AJEPA_SCHEMA") {
        std::fs::write(path, schema.to_string()).expect("write");
    }
    let stages = schema["properties"]["stages"]["items"]["oneOf"].as_array().expect("alternatives");
    assert_eq!(stages.len(), builtin().entries().len());
    let crop = stages.iter().find(|stage| stage["title"] == "crop").expect("crop");
    assert_eq!(crop["required"], serde_json::json!(["type"]));
    assert_eq!(crop["properties"]["type"]["const"], "crop");
    assert_eq!(crop["properties"]["position"]["default"], "head");
    assert_eq!(
        crop["properties"]["seconds"]["description"],
        "Length of a window in seconds; more than 0. Exactly one of `seconds` and `samples` is given."
    );
    let text = schema.to_string();
    for part in text.split("\"$ref\":\"#/$defs/").skip(1) {
        let name = part.split('"').next().expect("name");
        assert!(schema["$defs"].get(name).is_some(), "{name}");
    }
}
