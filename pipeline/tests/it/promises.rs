//! The promises of a run: the same bytes however it is done, and nothing lost by being killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use ajepa_ops::seed;

use crate::program::{Ended, Place, assert_same, clip_ids, files};

/// A graph in which everything that can be drawn is drawn, in shards of four clips.
pub const SEEDED: &str = "
pipeline: seeded
seed: 11
stages:
  - { id: clips, type: source_folder, path: audio, shuffle: true }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: crop, seconds: 2, position: random }
  - { type: gain, min_db: -12, max_db: 12 }
  - { type: mix_noise, min_snr_db: 5, max_snr_db: 30, kind: pink }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 2, frames: 128, n_mels: 64 }
  - { type: mask, mask: { n_masks: 2 } }
  - { type: shuffle, rows: 3 }
  - { type: sink_shards, path: out, dtype: f16 }
resources: { clips_per_shard: 4, memory: 256MiB }
";

/// The graph over `n` clips.
fn seeded(n: usize) -> Place {
    let place = Place::new();
    place.copies(n);
    place.write("graph.yaml", SEEDED);
    place
}

fn ids_of_copies(place: &Place) -> BTreeSet<String> {
    files(&place.path("audio")).keys().map(|name| name.split('.').next().expect("a stem").to_owned()).collect()
}

#[test]
fn the_same_bytes_with_any_number_of_workers_and_parts() {
    let place = seeded(90);
    let run = |out: &str, more: &str| {
        place.done(&format!("run graph.yaml --progress off --set stages.sink_shards.path={out} {more}"))
    };
    run("one", "--jobs 1");
    let one = files(&place.path("one"));
    assert_eq!(one.keys().filter(|name| name.starts_with("part-")).count(), 23);
    for jobs in [2, 8] {
        run(&format!("jobs_{jobs}"), &format!("--jobs {jobs}"));
        assert_same(&one, &files(&place.path(&format!("jobs_{jobs}"))), &format!("{jobs} workers"));
    }
    for (name, order) in [("a", [3, 1, 2]), ("b", [2, 3, 1])] {
        for (i, part) in order.into_iter().enumerate() {
            let ended = run(name, &format!("--part {part}/3 --jobs {}", i + 1));
            assert_eq!(ended.out.contains("not complete"), i < 2, "part {part}: {}", ended.out);
            assert_eq!(place.path(name).join("manifest.json").exists(), i == 2, "part {part}");
        }
        assert_same(&one, &files(&place.path(name)), &format!("parts {order:?}"));
    }
    // The test can fail: the seed decides each of them.
    run("other", "--set seed=12");
    let other = files(&place.path("other"));
    assert!(one.iter().filter(|(name, _)| name.starts_with("part-")).all(|(name, part)| other[name] != *part));
}

#[test]
fn parts_at_the_same_time_make_one_whole() {
    let place = seeded(60);
    place.done("run graph.yaml --progress off");
    let whole = files(&place.path("out"));
    let spawn = |part: usize| {
        let args = format!("run graph.yaml --progress off --set stages.sink_shards.path=shared --part {part}/4");
        place.command(&args).spawn().expect("starts")
    };
    let children: Vec<Child> = (1..=4).map(spawn).collect();
    for child in children {
        let ended = Ended::of(&child.wait_with_output().expect("ends"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_same(&whole, &files(&place.path("shared")), "four processes");
}

/// Lets the program run for `time`, then kills it; `None` when it was still at work, else how it ended.
fn run_for(place: &Place, args: &str, time: Duration) -> Option<Ended> {
    let start = Instant::now();
    let mut child = place.command(args).spawn().expect("starts");
    while start.elapsed() < time {
        if child.try_wait().expect("a state").is_some() {
            return Some(Ended::of(&child.wait_with_output().expect("ends")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("kill -9");
    let ended = Ended::of(&child.wait_with_output().expect("ends"));
    ended.code.is_some().then_some(ended)
}

fn n_parts(out: &Path) -> usize {
    let Ok(entries) = out.read_dir() else { return 0 };
    entries.filter(|entry| entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with("part-"))).count()
}

/// R1. `AJEPA_KILLS=200` for more of them.
#[test]
fn killed_at_random_points_and_run_again_nothing_is_lost_or_doubled() {
    let wanted: usize = std::env::var("AJEPA_KILLS").map_or(50, |n| n.parse().expect("a number"));
    let place = seeded(240);
    let start = Instant::now();
    place.done("run graph.yaml --progress off");
    let whole_run = start.elapsed();
    let whole = files(&place.path("out"));
    let mut ids = clip_ids(&place.path("out"));
    ids.sort_unstable();
    assert!(ids.iter().eq(&ids_of_copies(&place)), "each clip once");
    std::fs::rename(place.path("out"), place.path("whole")).expect("move away");

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    let (mut kills, mut in_the_middle, mut rounds) = (0, 0, 0);
    while kills < wanted {
        let ended = loop {
            let draw = seed::derive(&[now, kills as u64, rounds]) as f64 / u64::MAX as f64;
            if let Some(ended) = run_for(&place, "run graph.yaml --progress off", whole_run.mul_f64(draw)) {
                break ended;
            }
            kills += 1;
            let left = files(&place.path("out"));
            // What bears a final name is whole.
            for (name, part) in left.iter().filter(|(name, _)| name.starts_with("part-")) {
                assert!(whole.get(name) == Some(part), "after kill {kills}: {name} is not as it should be");
            }
            in_the_middle += usize::from((1..60).contains(&n_parts(&place.path("out"))));
        };
        assert_eq!(ended.code, Some(0), "after {kills} kills: {ended:?}");
        let what = format!("after {kills} kills, seed {now}");
        assert_same(&whole, &files(&place.path("out")), &what);
        let stray: Vec<_> = walkdir::WalkDir::new(place.path("out")).into_iter().flatten().collect();
        let is_stray = |name: &str| name.contains(".tmp-");
        let stray: Vec<_> = stray.iter().filter(|e| is_stray(&e.file_name().to_string_lossy())).collect();
        assert!(stray.is_empty(), "{what}: {stray:?}");
        std::fs::remove_dir_all(place.path("out")).expect("remove");
        rounds += 1;
    }
    assert!(in_the_middle * 4 > kills, "only {in_the_middle} of {kills} kills hit a run that had begun to commit");
}

/// Starts a run, and signals it once the first shard is there.
fn signalled(place: &Place, signal: &str) -> Ended {
    let child = place.command("run graph.yaml --progress off --jobs 1").spawn().expect("starts");
    signal_at_work(place, child, signal)
}

fn signal_at_work(place: &Place, child: Child, signal: &str) -> Ended {
    let patience = Instant::now();
    while n_parts(&place.path("out")) == 0 {
        assert!(patience.elapsed() < Duration::from_mins(1), "no shard");
        std::thread::sleep(Duration::from_millis(1));
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    Ended::of(&child.wait_with_output().expect("ends"))
}

#[test]
fn a_signal_stops_in_good_order_and_the_run_goes_on_from_there() {
    let place = seeded(600);
    place.done("run graph.yaml --progress off");
    let whole = files(&place.path("out"));
    for (signal, code) in [("-TERM", 143), ("-INT", 130), ("-HUP", 129)] {
        std::fs::remove_dir_all(place.path("out")).expect("remove");
        let ended = signalled(&place, signal);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.err.contains("stopping: finished shards are kept"), "{}", ended.err);
        assert!(ended.err.contains("the same command goes on from there"), "{}", ended.err);
        assert!(!place.path("out/manifest.json").exists() && n_parts(&place.path("out")) < 150);
        let (ended, report) = place.report("graph.yaml");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(report.end.clips_kept >= 4 && report.end.clips_kept + report.end.clips_done == 600, "{:?}", report.end);
        assert_same(&whole, &files(&place.path("out")), signal);
    }
}

#[test]
fn a_run_that_shall_outlive_its_terminal_does() {
    let place = seeded(200);
    let args = format!("trap '' HUP; exec {} run graph.yaml --progress off --jobs 1", env!("CARGO_BIN_EXE_ajepa-pipe"));
    let mut command = Command::new("bash");
    command.args(["-c", &args]).current_dir(place.path(""));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let ended = signal_at_work(&place, command.spawn().expect("starts"), "-HUP");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_changed_graph_is_a_new_generation_that_says_what_changed() {
    let place = seeded(12);
    place.done("run graph.yaml --progress off");
    let first = files(&place.path("out"));
    let ended = place.done("run graph.yaml --progress off --set stages.gain.max_db=3");
    assert!(ended.out.contains("stages.gain.max_db: 12.0 -> 3.0"), "{}", ended.out);
    let second = files(&place.path("out"));
    for (name, content) in first.iter().filter(|(name, _)| name.starts_with("part-")) {
        assert!(second.get(name) == Some(content), "{name} was touched");
    }
    place.done("verify out");
    assert_eq!(clip_ids(&place.path("out")).len(), 12);
    let shown = place.done("inspect out").out;
    assert!(shown.contains("1 other generation beside it in 3 parts that manifest.json does not name"), "{shown}");
}
