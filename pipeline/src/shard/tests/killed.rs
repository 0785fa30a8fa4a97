//! `kill -9` at any moment, then resume: the same bytes as an uninterrupted run (R1).

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const DIR: &str = "AJEPA_KILLED_SHARD_DIR";
const UNITS: [usize; 6] = [90, 10, 0, 200, 64, 128];

/// Not a test of its own: the process that is killed. It stops at the first line when nobody asks for it.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        write_set(Path::new(&dir), &job(&UNITS));
    }
}

fn spawn(dir: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shard::tests::killed::child", "--test-threads", "1"]).env(DIR, dir);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    let before = Instant::now();
    assert!(spawn(whole.path()).wait().unwrap().success());
    let whole_run = before.elapsed();
    let expected = files(whole.path());
    let n_kills: u32 = std::env::var("AJEPA_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let mut seed = u64::from(std::process::id());
    let (mut span_s, mut n_hit, mut n_left) = (whole_run.as_secs_f64(), 0, 0);
    while n_hit < n_kills {
        let dir = tempfile::tempdir().unwrap();
        let mut child = spawn(dir.path());
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let fraction = (seed >> 40) as f64 / f64::from(1 << 24);
        std::thread::sleep(Duration::from_secs_f64(span_s * fraction));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // The run was over: that says nothing, but that the moments lie too late.
            span_s *= 0.95;
            continue;
        }
        n_hit += 1;
        let torn = files(dir.path());
        n_left += u32::from(torn.keys().any(|name| name.contains(".tmp-")));
        for (name, bytes) in &torn {
            assert!(name.contains(".tmp-") || expected.get(name) == Some(bytes), "{name} is torn");
        }
        let report = write_set(dir.path(), &job(&UNITS));
        assert!(report.complete);
        // Not even a temporary file is left: its owner is provably dead.
        assert!(files(dir.path()) == expected, "{:?}", files(dir.path()).keys());
    }
    println!("{n_hit} runs killed, {n_left} of them inside a file");
}
