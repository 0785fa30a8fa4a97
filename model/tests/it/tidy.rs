//! What must not be in this crate, as ARCHITECTURE.md says.

use std::fs;
use std::path::Path;

/// Sources that hold one of `words`, comments left out.
fn offenders(dir: &Path, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(offenders(&path, words));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        if code.into_iter().any(|line| words.iter().any(|word| line.contains(word))) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn only_the_products_and_the_allocator_are_unsafe_and_nothing_spawns() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut is_unsafe = offenders(&sources, &["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code"]);
    is_unsafe.sort_unstable();
    assert_eq!(is_unsafe, ["matrix.rs", "pages.rs"]);
    assert_eq!(offenders(&sources, &["thread::spawn", "thread::scope", "thread::Builder"]), [] as [&str; 0]);
    // What a step does is never a matter of the clock; how long it took is.
    assert_eq!(offenders(&sources, &["SystemTime", "Instant::now"]), ["meter.rs"]);
}
