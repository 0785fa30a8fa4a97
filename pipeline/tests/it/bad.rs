//! Every file of `tests/bad` is refused, and what the user gets to read is a snapshot.
//!
//! A first line `# --set A=B` lays overrides over the document.

use std::path::Path;

use ajepa_pipe::config;

use ajepa_pipe::stages::builtin;

fn rendered(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let first = text.lines().next().unwrap_or_default();
    let overrides: Vec<String> =
        first.split("--set ").skip(1).filter(|_| first.starts_with('#')).map(|set| set.trim().to_owned()).collect();
    match config::load(path, &overrides, &builtin()) {
        Ok(graph) => panic!("{} is not refused: {graph:?}", path.display()),
        Err(errors) => {
            assert!(!errors.faults().is_empty());
            errors.render(false, 110)
        }
    }
}

#[test]
fn each_is_refused_with_its_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut paths: Vec<_> = folder.read_dir().expect("tests/bad").map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    assert!(paths.len() >= 25, "{} files", paths.len());
    let folder = format!("{}/", folder.display());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../bad/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    for path in paths {
        let name = path.file_stem().expect("name").to_string_lossy().into_owned();
        insta::assert_snapshot!(name, rendered(&path).replace(&folder, ""));
    }
}

#[test]
fn a_file_that_is_no_file_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("mel.yaml"), "stages: []").expect("write");
    let missing = config::load(&folder.path().join("male.yaml"), &[], &builtin()).expect_err("missing").to_string();
    assert!(missing.contains("no such file") && missing.contains("mel.yaml"), "{missing}");
    let directory = config::load(folder.path(), &[], &builtin()).expect_err("directory").to_string();
    assert!(directory.contains("directory") && directory.contains("mel.yaml"), "{directory}");
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, "# ".to_owned() + &"x".repeat(1 << 20)).expect("write");
    let large = config::load(&large, &[], &builtin()).expect_err("large").to_string();
    assert!(large.contains("larger than 1 MiB"), "{large}");
}

#[test]
fn every_fault_has_its_line_and_column() {
    let text = "stages:\n  - { type: source_folder, path: a }\n  - { type: decod }\n  - type: resample\n    rate: 32000\n\
                \x20   rate_hz: fast\n  - { type: sink_null, form: decode }\nseeed: 3\n";
    let errors = crate::load(text).expect_err("faulty");
    let at: Vec<_> = errors.faults().iter().map(|fault| errors.position(fault).1.expect("line")).collect();
    assert_eq!(at, [(3, 13), (5, 5), (6, 14), (7, 24), (8, 1)], "{errors}");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let errors = crate::load("stages: [{ type: \"\\e[31mred\\u009b\" }]").expect_err("unknown type");
    let shown = errors.render(false, 100);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
}
