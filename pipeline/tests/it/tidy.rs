//! What must not be, as ARCHITECTURE.md says: dependencies that point the wrong way, threads, YAML and `unsafe` elsewhere.

use std::process::Command;

use crate::program::{files, has_extension, root};

/// Every crate that `package` is built from.
fn dependencies(package: &str) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8_lossy(&tree.stdout).into_owned();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn ops_is_pure_maths() {
    let names = dependencies("ajepa-ops");
    assert!(names.iter().any(|name| name.starts_with("symphonia")), "{names:?}");
    let frameworks =
        ["arrow", "parquet", "crossbeam", "rayon", "tokio", "burn", "serde-saphyr", "memmap2", "ajepa-pipe"];
    let is_framework = |name: &&String| frameworks.iter().any(|f| *name == f || name.starts_with(&format!("{f}-")));
    let unwanted: Vec<_> = names.iter().filter(is_framework).collect();
    assert!(unwanted.is_empty(), "{unwanted:?}");
}

/// Code of a crate by path: without tests and without comments.
fn code(package: &str) -> Vec<(String, String)> {
    let is_code = |name: &str| has_extension(name, "rs") && !name.ends_with("tests.rs") && !name.contains("/tests/");
    let strip = |text: &str| {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    };
    let sources = files(&root().join(package).join("src"));
    let text = |content: Vec<u8>| strip(&String::from_utf8(content).expect("UTF-8"));
    sources.into_iter().filter(|(name, _)| is_code(name)).map(|(name, content)| (name, text(content))).collect()
}

/// Files of the crates that hold one of `words`, and are not under one of `allowed`.
fn offenders(words: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for package in ["cluster", "ops", "pipeline", "store"] {
        for (name, code) in code(package) {
            let path = format!("{package}/{name}");
            if words.iter().any(|word| code.contains(word)) && !allowed.iter().any(|prefix| path.starts_with(prefix)) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn only_the_maps_and_the_choice_of_instructions_are_unsafe() {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code", "expect(unsafe_code"];
    let allowed = ["ops/decode/flac/simd.rs", "ops/decode/mp3/simd.rs", "ops/simd.rs", "pipeline/shard/map.rs"];
    assert_eq!(offenders(&words, &allowed), [] as [&str; 0]);
    assert_eq!(offenders(&words, &[]), allowed);
}

#[test]
fn only_the_engines_and_the_signal_watch_have_threads() {
    let words = ["thread::spawn", "thread::scope", "thread::Builder", "rayon::", "tokio::"];
    let allowed = ["cluster/", "pipeline/engine/", "pipeline/catalogue/", "store/object/"];
    assert_eq!(offenders(&words, &allowed), ["pipeline/cli/exit.rs"]);
}

#[test]
fn only_the_scheduler_listens() {
    let words = ["TcpListener", "UdpSocket", "UnixListener", "UnixDatagram"];
    assert_eq!(offenders(&words, &[]), ["cluster/scheduler.rs"]);
}

#[test]
fn only_the_cluster_knows_of_ballista_and_it_knows_of_nothing_else() {
    assert_eq!(offenders(&["ballista", "tonic"], &["cluster/"]), [] as [&str; 0]);
    let names = dependencies("ajepa-cluster");
    let ours: Vec<_> = names.iter().filter(|name| name.starts_with("ajepa-") || name.starts_with("burn")).collect();
    assert_eq!(ours, ["ajepa-cluster"]);
}

#[test]
fn only_config_reads_yaml() {
    assert_eq!(offenders(&["serde_saphyr"], &["pipeline/config/"]), [] as [&str; 0]);
}

#[test]
fn every_queue_is_bounded() {
    assert_eq!(offenders(&["unbounded(", "mpsc::channel("], &[]), [] as [&str; 0]);
}

#[test]
fn the_maths_opens_no_file() {
    let opening: Vec<String> =
        offenders(&["File::open", "fs::read", "File::create", "std::net"], &["cluster/", "pipeline/", "store/"]);
    assert_eq!(opening, [] as [&str; 0]);
}
