use super::*;

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let names = ["b/1.wav", "a.wav", "a/x.flac", "a-b.wav", "A.WAV", "a.mp3", "note.txt", ".hidden.wav", "b/.h/2.wav"];
    for (length, name) in names.iter().enumerate() {
        put(root.path(), name, &wav_bytes(length as u32 + 1));
    }
    root
}

#[test]
fn paths_come_in_byte_order_and_names_are_unique() {
    let root = folder();
    let rows = read_all(source("source_folder", &format!("path: {}", root.path().display()), 4).as_mut());
    assert_eq!(texts(&rows, "source"), ["A.WAV", "a-b.wav", "a.mp3", "a.wav", "a/x.flac", "b/1.wav"]);
    assert_eq!(texts(&rows, "clip_id"), ["A", "a-b", "a.mp3", "a.wav", "a/x", "b/1"]);
    assert_eq!(media(&rows, "path")[5], root.path().join("b/1.wav").to_str().unwrap());
    assert_eq!(media(&rows, "byte_offset")[0], "-");
    assert_eq!(texts(&rows, "labels"), ["-"; 6]);
    assert_eq!(texts(&rows, "offset_s"), ["0.0"; 6]);
}

#[test]
fn depth_extensions_and_labels_are_as_asked() {
    let root = folder();
    let of = |more: &str| {
        let yaml = format!("path: {}\n{more}", root.path().display());
        read_all(source("source_folder", &yaml, 4).as_mut())
    };
    assert_eq!(texts(&of("recursive: false\nextensions: [WAV]"), "clip_id"), ["A", "a-b", "a"]);
    assert_eq!(texts(&of("labels: parent_dir"), "labels"), ["[]", "[]", "[]", "[]", "[a]", "[b]"]);
}

#[test]
fn a_changed_file_changes_the_key_of_its_unit_alone() {
    let root = folder();
    let keys = || {
        let source = source("source_folder", &format!("path: {}", root.path().display()), 2);
        source.units().iter().map(|unit| (unit.n_clips, unit.key)).collect::<Vec<_>>()
    };
    let before = keys();
    assert_eq!(before, keys());
    assert_eq!(before.iter().map(|unit| unit.0).collect::<Vec<_>>(), [2, 2, 2]);
    put(root.path(), "a.wav", &wav_bytes(100));
    let after = keys();
    assert_eq!([before[0], before[2]], [after[0], after[2]]);
    assert_ne!(before[1], after[1]);
}

#[test]
fn a_shuffle_is_a_permutation_of_the_whole_list_that_the_seed_decides() {
    let root = tempfile::tempdir().unwrap();
    (0..50).for_each(|n| put(root.path(), &format!("{n:02}.wav"), &wav_bytes(1)));
    let of = |seed: u64, more: &str| {
        let yaml = format!("path: {}\nshuffle: true\n{more}", root.path().display());
        let Ok(Stage::Source(mut source)) = build("source_folder", &yaml, &[], seed, 8) else { panic!("builds") };
        texts(&read_all(source.as_mut()), "clip_id")
    };
    assert_eq!(of(7, ""), of(7, ""));
    assert_ne!(of(7, ""), of(8, ""));
    assert_eq!(of(7, "limit: 20"), of(7, "")[..20]);
    let mut sorted = of(7, "");
    sorted.sort();
    assert_eq!(sorted, (0..50).map(|n| format!("{n:02}")).collect::<Vec<_>>());
}

#[test]
fn shuffled_order_never_changes_between_versions() {
    // Units that were written by an earlier version are kept only if the order stays.
    let root = tempfile::tempdir().unwrap();
    (0..8).for_each(|n| put(root.path(), &format!("{n}.wav"), &wav_bytes(1)));
    let yaml = format!("path: {}\nshuffle: true", root.path().display());
    let rows = read_all(source("source_folder", &yaml, 8).as_mut());
    assert_eq!(texts(&rows, "clip_id").concat(), "07325641");
}

#[cfg(unix)]
#[test]
fn links_are_refused_by_name_until_told_otherwise() {
    let (root, elsewhere) = (folder(), tempfile::tempdir().unwrap());
    put(elsewhere.path(), "deep/far.wav", &wav_bytes(1));
    std::os::unix::fs::symlink(elsewhere.path(), root.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(root.path().join("a.wav"), root.path().join("again.wav")).unwrap();
    std::os::unix::fs::symlink(root.path().join("note.txt"), root.path().join("harmless.txt")).unwrap();
    let yaml = format!("path: {}", root.path().display());
    let error = source_error("source_folder", &yaml);
    assert!(error.contains("linked") && error.contains("again.wav") && !error.contains("harmless"), "{error}");
    let skipped = read_all(source("source_folder", &format!("{yaml}\nlinks: skip"), 9).as_mut());
    assert_eq!(skipped.num_rows(), 6);
    let followed = read_all(source("source_folder", &format!("{yaml}\nlinks: follow"), 9).as_mut());
    assert_eq!(texts(&followed, "clip_id")[5..], ["again", "b/1", "linked/deep/far"]);
    std::os::unix::fs::symlink(root.path(), root.path().join("b/loop")).unwrap();
    assert!(source_error("source_folder", &format!("{yaml}\nlinks: follow")).contains("loop"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf8_stays_in_the_list() {
    use std::os::unix::ffi::OsStrExt;
    let root = folder();
    let name = std::ffi::OsStr::from_bytes(b"z\xFF.wav");
    std::fs::write(root.path().join(name), wav_bytes(1)).unwrap();
    let rows = read_all(source("source_folder", &format!("path: {}", root.path().display()), 9).as_mut());
    assert_eq!(texts(&rows, "source")[6], "z\\xff.wav");
    let faults = media(&rows, "fault");
    assert!(faults[6].starts_with("name_not_utf8: ") && faults[6].contains("rename it"), "{faults:?}");
    assert!(faults[..6].iter().all(|fault| fault == "-"));
}

#[test]
fn an_empty_or_absent_folder_is_an_error_that_says_what_would_do() {
    let root = tempfile::tempdir().unwrap();
    let error = source_error("source_folder", &format!("path: {}", root.path().display()));
    assert!(error.contains("no file with an extension of aac") && error.contains("`extensions`"), "{error}");
    let error = source_error("source_folder", &format!("path: {}/absent", root.path().display()));
    assert!(error.contains("not a folder"), "{error}");
    assert!(source_error("source_folder", "path: x\nextensions: [.wav]").contains("without dots"));
    assert!(source_error("source_folder", "path: x\nlimit: 0").contains("1 or more"));
}
