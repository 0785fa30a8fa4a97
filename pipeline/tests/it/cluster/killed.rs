//! Whoever is killed, the job ends right, or fails with a word and a resubmission completes it.

use super::lan::{Lan, Process, place, records};
use crate::program::{Place, assert_same, files, wait};
use crate::promises::SEEDED;

#[test]
fn an_executor_is_killed_and_the_other_ends_its_work() {
    let (place, whole) = place(400, SEEDED);
    let mut lan = Lan::new(&place, 2, "");
    let mut client = Process::start(&place, "client", &lan.run(""));
    records(&place.path("out"), 3);
    lan.executors[0].kill();
    let ended = client.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_same(&whole, &files(&place.path("out")), "after kill -9 of an executor");
    let id = lan.executors[0].child.id();
    let lost = format!("executor host0-{id}-");
    assert!(lan.scheduler.said().lines().any(|line| line.contains(&lost) && line.contains("gone")));
}

#[test]
fn an_executor_that_hangs_is_lost_too_and_does_no_harm_when_it_wakes() {
    let (place, whole) = place(400, SEEDED);
    let lan = Lan::new(&place, 2, "");
    let mut client = Process::start(&place, "client", &lan.run(""));
    records(&place.path("out"), 3);
    lan.executors[1].signal("-STOP");
    let ended = client.ended();
    lan.executors[1].signal("-CONT");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_same(&whole, &files(&place.path("out")), "after SIGSTOP of an executor");
    // It is of use again.
    let again = place.done(&lan.run("--set stages.sink_shards.path=again"));
    assert!(again.err.contains("places"), "{again:?}");
    assert_same(&whole, &files(&place.path("again")), "with the one that woke");
}

#[test]
fn a_client_is_killed_and_the_same_command_follows_its_job() {
    let (place, whole) = place(400, SEEDED);
    let lan = Lan::new(&place, 1, "");
    let mut client = Process::start(&place, "client", &lan.run(""));
    records(&place.path("out"), 3);
    client.kill();
    let again = place.done(&lan.run(""));
    assert_same(&whole, &files(&place.path("out")), "after kill -9 of the client");
    assert!(lan.scheduler.said().contains("somebody joined it"), "{again:?}");
}

#[test]
fn a_scheduler_is_killed_and_the_same_command_goes_on() {
    let (place, whole) = place(400, SEEDED);
    let mut lan = Lan::new(&place, 2, "");
    let mut client = Process::start(&place, "client", &lan.run(""));
    records(&place.path("out"), 3);
    lan.restart_scheduler(&place);
    let ended = client.ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("started anew") && ended.err.contains("goes on from there"), "{ended:?}");
    let again = place.done(&lan.run(""));
    assert_same(&whole, &files(&place.path("out")), "after kill -9 of the scheduler");
    assert!(again.out.contains("100 shards"), "{again:?}");
}

#[test]
fn ctrl_c_cancels_the_job_and_the_same_command_goes_on() {
    let (place, whole) = place(400, SEEDED);
    let lan = Lan::new(&place, 1, "");
    let mut client = Process::start(&place, "client", &lan.run(""));
    records(&place.path("out"), 2);
    client.signal("-TERM");
    let ended = client.ended();
    assert_eq!(ended.code, Some(143), "{ended:?}");
    assert!(ended.err.contains("is cancelled"), "{ended:?}");
    // No more units are begun.
    let count = || files(&place.path("out")).keys().filter(|name| name.starts_with("part-")).count();
    let mut last = (usize::MAX, 0);
    wait(
        "the end of the last unit",
        || {
            std::thread::sleep(std::time::Duration::from_millis(500));
            last = (count(), if count() == last.0 { last.1 + 1 } else { 0 });
            (last.1 > 3).then_some(())
        },
        String::new,
    );
    assert!(count() < 100, "the job ran to its end");
    place.done(&lan.run(""));
    assert_same(&whole, &files(&place.path("out")), "after a cancelled job");
}

#[test]
fn a_fault_of_the_graph_ends_the_job_and_names_the_machine() {
    let place = Place::new();
    place.copies(8);
    place.write("audio/torn.flac", b"not audio");
    place.write("graph.yaml", format!("{SEEDED}on_error: {{ policy: fail }}\n"));
    let lan = Lan::new(&place, 1, "");
    let ended = place.run(&lan.run(""));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("host0") && ended.err.contains("torn"), "{ended:?}");
    // The budget of bad clips is on all units together.
    place.write("graph.yaml", format!("{SEEDED}on_error: {{ max_count: 0 }}\n"));
    let ended = place.run(&lan.run(""));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("1 of 9 clips were refused"), "{ended:?}");
}
