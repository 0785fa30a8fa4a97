//! A job in pieces: any unit, any thread, any order, and the same set as one run makes.

use std::sync::Mutex;

use ajepa_pipe::job::JobError;
use ajepa_pipe::units::{UnitJob, UnitLimits, UnitRow};

use crate::load_with;
use crate::program::{Place, assert_same, files};
use crate::promises::SEEDED;

const LIMITS: UnitLimits = UnitLimits { jobs: 1, at_once: 2 };

/// The job over the clips of `place`, into its folder `out`.
fn job(place: &Place, out: &str, source: &str) -> UnitJob {
    let path = |name: &str| place.path(name).display().to_string();
    let overrides = [format!("stages.clips.path={}", path(source)), format!("stages.sink_shards.path={}", path(out))];
    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
    UnitJob::new(load_with(SEEDED, &overrides).expect("a graph")).expect("a job")
}

/// Does these units on two threads, from the last to the first.
fn run(job: &UnitJob, units: impl Iterator<Item = usize>) -> Vec<UnitRow> {
    let (todo, rows) = (Mutex::new(units.collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(unit) = { todo.lock().expect("no panic").pop() } {
            let row = job.run(unit, LIMITS, "here").expect("a unit");
            rows.lock().expect("no panic").push(row);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    rows.into_inner().expect("no panic")
}

#[test]
fn units_done_anyhow_are_the_set_of_one_run() {
    let place = Place::new();
    place.copies(30);
    place.write("audio/torn.flac", b"not audio");
    place.write("graph.yaml", SEEDED);
    let whole = "run graph.yaml --progress off --set on_error.max_fraction=1";
    // Relative in one, whole in the other: what is read is the same, and where it lies is no part of the fingerprint of a sink.
    let audio = place.path("audio").display().to_string();
    place.done(&format!("{whole} --set stages.clips.path={audio}"));
    let job = job(&place, "pieces", "audio");
    assert_eq!((job.units().len(), job.n_clips()), (8, 31));
    let mut ledger = job.open(false).expect("a ledger");
    assert_eq!(ledger.done(), [false; 8]);
    let mut rows = run(&job, 0..5);
    assert!(!ledger.finish().expect("a report")[0].1.complete && !place.path("pieces/manifest.json").exists());
    // Twice is once.
    let again = run(&job, 3..8);
    assert_eq!(again.iter().filter(|row| row.kept).map(|row| row.unit).collect::<Vec<_>>().len(), 2, "{again:?}");
    rows.extend(again.into_iter().filter(|row| !row.kept));
    let sum = |of: fn(&UnitRow) -> u64| rows.iter().map(of).sum::<u64>();
    assert_eq!((sum(|row| row.clips), sum(|row| row.rows), sum(|row| row.rejects)), (31, 30, 1));
    assert!(rows.iter().any(|row| row.reasons.iter().any(|(stage, _, n)| stage == "decode" && *n == 1)), "{rows:?}");
    let made = ledger.finish().expect("a report");
    assert!(made[0].1.complete, "{made:?}");
    assert_same(&files(&place.path("out")), &files(&place.path("pieces")), "pieces");
    assert!(job.open(false).expect("a ledger").done().iter().all(|done| *done));
}

#[test]
fn a_piece_of_a_job_that_nobody_began_makes_nothing() {
    let place = Place::new();
    place.copies(4);
    let fault = job(&place, "out", "audio").run(0, LIMITS, "here").expect_err("nobody began it");
    assert!(matches!(&fault, JobError::Run(_)) && fault.to_string().contains("has not been begun here"), "{fault}");
    assert!(!place.path("out").exists());
}
