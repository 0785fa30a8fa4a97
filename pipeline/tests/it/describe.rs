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

#[cfg(feature = "train")]
#[test]
fn choices_tell_their_fields() {
    let text = describe::one(builtin().get("sink_train").expect("stage"));
    let lines: Vec<&str> = text.lines().collect();
    for (field, doc) in [
        ("model.target.moving_average: { mean_of_last, standardize }, optional", "What a moving average of"),
        ("model.target.moving_average.standardize: true | false, default false", "Whether each token's target"),
        ("model.target.random_projection.n_codes: integer, default ", "Codes"),
        ("model.loss.smooth_l1.beta: number, required", "Where the straight part begins."),
        ("model.regulariser.variance_covariance.variance_weight: number, default 1.0", "Weight of the variance term."),
        ("model.regulariser.sigreg.n_directions: integer, default 256", "Random directions"),
    ] {
        let at = lines.iter().position(|line| line.trim().starts_with(field));
        let at = at.unwrap_or_else(|| panic!("{field}: {text}"));
        assert!(lines[at + 1].trim().starts_with(doc), "{field}: {}", lines[at + 1]);
    }
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
