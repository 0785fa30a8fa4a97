//! Training through a graph: the same bytes however it was interrupted, straight from audio or from shards, and clear words when it
//! cannot go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ajepa_model::telemetry::{Moment, Phase};
use ajepa_model::train::find_checkpoint;
use ajepa_pipe::config;
use ajepa_pipe::engine::{RunError, StopSignal};
use ajepa_pipe::job::{self, Event, JobError, JobOptions};
use ajepa_pipe::stages::builtin;
use serde_json::Value;

use crate::program::{Ended, Place, files, small_clips};

/// A model of 30,000 numbers on pictures of 32 tokens.
const GRAPH: &str = "
pipeline: training
seed: 5
stages:
  - { id: clips, type: source_folder, path: audio }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: crop, seconds: 1, position: sliding, hop_seconds: 0.5, tail: pad }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 1, frames: 64, n_mels: 32 }
  - type: sink_train
    path: out
    model:
      patch: { patch_frames: 8, patch_mels: 8 }
      encoder: { width: 32, depth: 2, n_heads: 2, drop_path: 0.1 }
      predictor: { width: 16, depth: 1, n_heads: 2 }
    mask: { n_masks: 2 }
    steps: 40
    batch_clips: 8
    accumulate: 2
    log_every: 1
    health_every: 5
    save_every: 8
    keep: 100
resources: { memory: 256MiB }
";

fn place() -> Place {
    let place = Place::new();
    place.copies(40);
    place.write("graph.yaml", GRAPH);
    place
}

/// Tensors of the checkpoint of `step`, and the log up to there without what the clock says.
fn state(run: &Path, step: u64) -> (BTreeMap<String, Vec<u8>>, Vec<Value>) {
    let mut tensors = files(&run.join(format!("checkpoints/step-{step:08}")));
    tensors.retain(|name, _| name.ends_with("safetensors"));
    assert_eq!(tensors.len(), 4, "{}", run.display());
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
    let line = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        record.as_object_mut().expect("an object").remove("speed");
        record
    };
    (tensors, log.lines().map(line).collect())
}

/// Runs the graph in `place` into `out`, in this process, and stops it behind step `stop_at`.
fn run_until(place: &Place, out: &str, workers: usize, stop_at: u64) {
    let more = format!("\n    workers: {workers}");
    let done = run_while(place, out, &more, &mut |moment| moment.record.is_none() || moment.step != stop_at);
    assert_eq!(done, stop_at >= 40);
}

/// Runs the graph, `more` said of its training, until `goes_on` says `false`; whether it came to its end.
fn run_while(place: &Place, out: &str, more: &str, goes_on: &mut dyn FnMut(&Moment<'_>) -> bool) -> bool {
    let text = GRAPH
        .replace("path: audio", &format!("path: {}", place.path("audio").display()))
        .replace("path: out", &format!("path: {}{more}", place.path(out).display()));
    let graph = config::load_str("graph", &text, &[], &builtin()).expect("a graph");
    let (tell, stop) = crossbeam::channel::bounded(1);
    let (_, result) = job::run(&graph, JobOptions::default(), &stop, &mut |event| {
        if let Event::Training { moment, .. } = event
            && !goes_on(moment)
        {
            // Once is enough.
            let _ = tell.try_send(StopSignal::Terminate);
        }
    });
    let interrupted = matches!(result, Err(JobError::Run(RunError::Interrupted(StopSignal::Terminate))));
    assert!(result.is_ok() || interrupted, "{result:?}");
    result.is_ok()
}

#[test]
fn stopped_behind_any_of_forty_steps_it_ends_with_the_same_bytes() {
    let place = place();
    run_until(&place, "whole", 0, u64::MAX);
    let whole = state(&place.path("whole"), 40);
    assert_eq!(whole.1.len(), 40);
    for (workers, out) in [(0, "none"), (2, "two")] {
        for k in 1..40 {
            let out = format!("{out}-{k}");
            run_until(&place, &out, workers, k);
            let (_, log) = state(&place.path(&out), k);
            assert_eq!(log, whole.1[..k as usize], "stopped at {k}");
            run_until(&place, &out, workers, u64::MAX);
            assert!(state(&place.path(&out), 40) == whole, "stopped at {k}, {workers} workers");
            std::fs::remove_dir_all(place.path(&out)).expect("remove");
        }
    }
}

#[test]
fn a_probe_gives_way_to_a_stop_and_is_asked_again() {
    let place = place();
    for (i, (extension, content)) in small_clips().iter().cycle().take(24).enumerate() {
        place.write(&format!("labelled/{}/{i}.{extension}", i % 3), content);
    }
    let shards = GRAPH.split("  - type: sink_train").next().expect("the head");
    let labelled = shards.replace("path: audio", "path: labelled, labels: parent_dir");
    place.write("labelled.yaml", format!("{labelled}  - {{ type: sink_shards, path: known }}\n"));
    place.done("run labelled.yaml --progress off");
    let probe = format!("\n    probe: {{ shards: {}, every: 5, k: 3 }}", place.path("known").display());
    let best = |out: &str| find_checkpoint(&place.path(out)).expect("a checkpoint").card().steps;
    let mut n_probing = 0;
    assert!(run_while(&place, "whole", &probe, &mut |moment| {
        n_probing += u32::from(moment.phase == Phase::Probing);
        true
    }));
    // Eight probes of 24 clips or more, asked before each eight of them whether to go on.
    assert!(n_probing >= 8 * 4, "{n_probing}");
    let whole = state(&place.path("whole"), 40);
    for (step, batches) in [(5, 1), (5, 3), (20, 2), (40, 1), (40, 4)] {
        let out = format!("out-{step}-{batches}");
        // Given up twice, by two processes.
        for _ in 0..2 {
            let mut n = 0;
            let done = run_while(&place, &out, &probe, &mut |moment| {
                n += u32::from(moment.phase == Phase::Probing && moment.step == step);
                n < batches
            });
            assert_eq!((done, n), (false, batches), "step {step}");
            let (_, log) = state(&place.path(&out), step);
            assert!(log == whole.1[..step as usize - 1], "step {step}, batch {batches}");
        }
        assert!(run_while(&place, &out, &probe, &mut |_| true));
        assert!(state(&place.path(&out), 40) == whole, "step {step}, batch {batches}");
        assert_eq!(best(&out), best("whole"), "step {step}, batch {batches}");
        assert!(run_while(&place, &out, &probe, &mut |moment| moment.phase != Phase::Probing));
    }
}

#[test]
fn killed_at_any_time_it_ends_with_the_same_bytes() {
    let place = place();
    let run = "run graph.yaml --progress off --set stages.sink_train.steps=200 --set stages.sink_train.path=";
    let begun = Instant::now();
    place.done(&format!("{run}whole"));
    let all = begun.elapsed();
    let whole = state(&place.path("whole"), 200);
    let mut n_kills = 0;
    for round in 0..6 {
        // Each round goes on with what the kill before it left.
        let mut child = place.command(&format!("{run}out")).spawn().expect("start");
        std::thread::sleep(all / 5 + all * round / 50);
        n_kills += u32::from(child.try_wait().expect("wait").is_none());
        let _ = child.kill();
        child.wait().expect("wait");
    }
    assert!(n_kills > 2, "{n_kills}");
    place.done(&format!("{run}out"));
    assert!(state(&place.path("out"), 200) == whole);
    let again = place.done(&format!("{run}out"));
    assert!(again.out.contains("200 of 200 steps done"), "{}", again.out);
}

#[test]
fn a_signal_saves_and_the_same_command_goes_on() {
    let place = place();
    let args = "run graph.yaml --progress off --set stages.sink_train.steps=1000000 --set stages.sink_train.save_every=1000000";
    let child = place.command(args).spawn().expect("start");
    let log = place.path("out/metrics.jsonl");
    let begun = Instant::now();
    while std::fs::metadata(&log).map_or(0, |meta| meta.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "no step was made");
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Instant::now();
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
    let ended = Ended::of(&child.wait_with_output().expect("wait"));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(ended.code, Some(143), "{ended:?}");
    assert!(ended.err.contains("the same command goes on from there"), "{}", ended.err);
    let (_, log) = state(&place.path("out"), last_step(&place.path("out")));
    let n_steps = log.len() as u64;
    assert_eq!(n_steps, last_step(&place.path("out")));
    // It goes on from there, and not from the beginning.
    let child = place.command(args).spawn().expect("start");
    std::thread::sleep(Duration::from_millis(1500));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    let ended = Ended::of(&child.wait_with_output().expect("wait"));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(last_step(&place.path("out")) > n_steps);
    assert_eq!(state(&place.path("out"), last_step(&place.path("out"))).1[..n_steps as usize], log);
}

fn last_step(run: &Path) -> u64 {
    let names = std::fs::read_dir(run.join("checkpoints")).expect("checkpoints");
    let step = |name: String| name.strip_prefix("step-").and_then(|step| step.parse().ok());
    names.filter_map(|entry| step(entry.ok()?.file_name().into_string().ok()?)).max().expect("a checkpoint")
}

#[test]
fn shards_are_trained_on_where_they_lie() {
    let place = place();
    let shards = GRAPH.split("  - type: sink_train").next().expect("the head");
    place.write(
        "make.yaml",
        format!("{shards}  - {{ type: sink_shards, path: mel }}\nresources: {{ memory: 256MiB }}\n"),
    );
    place.done("run make.yaml --progress off");
    let tail = GRAPH.split("  - type: sink_train").nth(1).expect("the tail");
    let train = format!(
        "pipeline: training\nseed: 5\nstages:\n  - {{ type: source_shards, path: mel, shape: [64, 32] }}\n  - type: sink_train{tail}"
    );
    place.write("train.yaml", train);
    let (ended, report) = place.report("train.yaml");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((report.trainings[0].steps, report.trainings[0].steps_asked), (40, 40));
    assert!(!place.path("out/data").exists(), "nothing is copied");
    // The same pictures, seed and masks: the same training as straight from audio.
    place.done("run graph.yaml --progress off --set stages.sink_train.path=straight");
    assert!(place.path("straight/data/manifest.json").exists());
    assert!(state(&place.path("out"), 40) == state(&place.path("straight"), 40));
    // Longer runs and other places of the data do not write the data again.
    let before = files(&place.path("straight/data"));
    let other = place.run(
        "run graph.yaml --progress off --set stages.sink_train.path=straight --set stages.sink_train.batch_clips=4",
    );
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.err.contains("batches.clips: 8 -> 4") && other.err.contains("--fresh"), "{}", other.err);
    assert_eq!(before, files(&place.path("straight/data")));
    let fresh = place.done(
        "run graph.yaml --progress off --fresh --set stages.sink_train.path=straight --set stages.sink_train.batch_clips=4",
    );
    assert!(fresh.out.contains("kept in straight/earlier-1"), "{}", fresh.out);
    assert!(place.path("straight/earlier-1/checkpoints/step-00000040/checkpoint.json").exists());

    // A trainer verifies whatever the source says.
    let unverified = place.run("check train.yaml --set stages.source_shards.verify=false");
    assert_eq!(unverified.code, Some(2), "{unverified:?}");
    assert!(unverified.err.contains("trains on verified shards alone"), "{}", unverified.err);
    // Neither writes into the folder of the other.
    for (args, said) in [
        (
            "run make.yaml --progress off --set stages.sink_shards.path=out",
            "out holds a training of a sink_train: give another path",
        ),
        ("run graph.yaml --progress off --set stages.sink_train.path=mel", "mel holds shards"),
    ] {
        let before = files(&place.path("."));
        let ended = place.run(args);
        assert!(ended.code != Some(0) && ended.err.contains(said), "{ended:?}");
        assert!(files(&place.path(".")) == before);
    }
    let large = place.run(
        "run train.yaml --progress off --set stages.sink_train.path=large --set stages.sink_train.batch_clips=2000",
    );
    assert_eq!(large.code, Some(2), "{large:?}");
    assert!(
        large.err.contains("at most as many as there are rows") && !large.err.contains("keep_last"),
        "{}",
        large.err
    );
    // Shards that others made are not made again by this graph.
    let part = place.path("mel/part-00000.arrow");
    let mut bytes = std::fs::read(&part).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    std::fs::write(&part, bytes).expect("write");
    let damaged = place.run("run train.yaml --progress off --set stages.sink_train.path=damaged");
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    for words in ["part-00000.arrow", "wanted for clip \"0", "`ajepa-pipe verify mel`", "run the graph that made them"]
    {
        assert!(damaged.err.contains(words), "{words}: {}", damaged.err);
    }
}

#[test]
fn the_last_step_is_looked_at_however_short_the_run() {
    let place = place();
    place.done("run graph.yaml --progress off --set stages.sink_train.steps=3");
    let (_, log) = state(&place.path("out"), 3);
    let looked: Vec<bool> = log.iter().map(|record| record["health"].is_object()).collect();
    assert_eq!(looked, [false, false, true]);
    let shown = place.done("checkpoint show out").out;
    assert!(shown.contains("alarms: none\n"), "{shown}");
}

#[test]
fn a_checkpoint_can_be_gone_on_from_under_another_schedule() {
    let place = place();
    place.done("run graph.yaml --progress off");
    let cool = "model: { learning_rate: { start: 5.0e-4, cooldown: { from_step: 40, steps: 20 } },";
    let graph = GRAPH
        .replace("path: out", "path: cooled\n    from_checkpoint: out")
        .replace("steps: 40", "steps: 60")
        .replace("model:\n      patch:", &format!("{cool} patch:"))
        .replace("drop_path: 0.1 }\n      predictor", "drop_path: 0.1 }, predictor")
        .replace("patch_mels: 8 }\n      encoder", "patch_mels: 8 }, encoder")
        .replace("n_heads: 2 }\n    mask", "n_heads: 2 } }\n    mask");
    place.write("cool.yaml", graph);
    let cooled = place.done("run cool.yaml --progress plain");
    assert!(
        cooled.err.contains("sink_train: begins with step 40 of out/checkpoints/step-00000040\n"),
        "{}",
        cooled.err
    );
    let log = std::fs::read_to_string(place.path("cooled/metrics.jsonl")).expect("a log");
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((records[0]["step"].as_u64(), records[0]["lr"].as_f64()), (Some(41), Some(5e-4)));
    assert!((records[19]["lr"].as_f64().expect("a rate") - 5e-4 / 20.0).abs() < 1e-12);
    assert_eq!(records.len(), 20);
    // Another front end is refused, with what differs.
    let other = place.run("run cool.yaml --progress off --set stages.sink_train.path=other --set stages.mel.low_hz=50");
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.err.contains("another front end") && other.err.contains("low_hz"), "{}", other.err);
}

#[test]
fn what_cannot_be_trained_on_is_named_and_the_last_checkpoint_stays() {
    let place = place();
    let hot = "--set stages.sink_train.model.learning_rate={start: 1.0e+30}";
    let mut command = place.command("run graph.yaml --progress off --set stages.sink_train.save_every=1");
    let ended = Ended::of(&command.args(hot.split_inclusive("--set ").map(str::trim)).output().expect("run"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in ["diverged", "clips of the batch: ", "0000", "the last checkpoint is good"] {
        assert!(ended.err.contains(words), "{words}: {}", ended.err);
    }
    let step = last_step(&place.path("out"));
    assert!(step >= 1);
    state(&place.path("out"), step);

    // Numbers beyond what a half can hold do not come into the shards; what is no number at all is found by the trainer.
    let huge = "  - { type: standardize, mode: global, mean: [0], std: [1.0e-6] }\n";
    let infinite = "  - { type: standardize, mode: global, mean: [0], std: [1.0e-44], min_std: 1.0e-44 }\n";
    let no_number = format!("{infinite}  - {{ type: standardize, mode: clip }}\n");
    for (stages, said) in [(huge, "out_of_range: mel: "), (infinite, "out_of_range: mel: "), (&no_number, "not finite")]
    {
        let place = self::place();
        place.write("graph.yaml", GRAPH.replace("  - type: sink_train", &format!("{stages}  - type: sink_train")));
        let ended = place.run("run graph.yaml --progress off");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(said), "{}", ended.err);
        assert!(said != "not finite" || ended.err.contains("clips of the batch: 000"), "{}", ended.err);
        assert!(said != "not finite" || ended.err.contains("there is no checkpoint yet"), "{}", ended.err);
        assert!(!ended.err.contains("last checkpoint is good"), "{}", ended.err);
    }
}

#[test]
fn damage_in_the_newest_checkpoint_is_told_and_not_passed_over() {
    let place = place();
    place.done("run graph.yaml --progress off");
    let file = place.path("out/checkpoints/step-00000040/optimiser.safetensors");
    let mut bytes = std::fs::read(&file).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    std::fs::write(&file, bytes).expect("write");
    let longer = "run graph.yaml --progress off --set stages.sink_train.log_every=1";
    let ended = place.run(longer);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("optimiser.safetensors") && ended.err.contains("goes on from the one before it"));
    // A file that is gone is no matter of the disk.
    let whole = std::fs::read(&file).expect("read");
    std::fs::remove_file(&file).expect("remove");
    let ended = place.run(longer);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.err.contains("optimiser.safetensors: it is missing")
            && ended.err.contains("goes on from the one before it")
    );
    std::fs::write(&file, whole).expect("write");
    std::fs::rename(place.path("out/checkpoints/step-00000040"), place.path("moved")).expect("move");
    place.done(longer);
    let moved = files(&place.path("moved"));
    let again = files(&place.path("out/checkpoints/step-00000040"));
    assert_eq!(moved["encoder.safetensors"], again["encoder.safetensors"]);
}

#[test]
fn a_first_try_that_failed_gives_way_and_newer_files_are_the_same_data() {
    let place = place();
    let failed = place.run("run graph.yaml --progress off --set stages.sink_train.batch_clips=100000");
    assert_eq!(failed.code, Some(2), "{failed:?}");
    place.done("run graph.yaml --progress off");
    for (name, content) in files(&place.path("audio")) {
        std::fs::remove_file(place.path("audio").join(&name)).expect("remove");
        place.write(&format!("audio/{name}"), content);
    }
    let again = place.done("run graph.yaml --progress off");
    assert!(again.out.contains("40 of 40 steps done"), "{}", again.out);
    let short = place.run("run graph.yaml --progress off --set stages.sink_train.seed=1");
    assert_eq!(short.code, Some(2), "{short:?}");
    // A typing error beside --fresh does not cost the run that is there.
    let fresh = place.run("run graph.yaml --progress off --fresh --set stages.sink_train.batch_clips=100000");
    assert_eq!(fresh.code, Some(2), "{fresh:?}");
    assert!(!place.path("out/earlier-1").exists());
    // Without its card a run is known by its checkpoint.
    std::fs::remove_file(place.path("out/run.json")).expect("remove");
    let other = place.run("run graph.yaml --progress off --set seed=6");
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.err.contains("seed: 5 -> 6"), "{}", other.err);
}

#[test]
fn one_process_at_a_time_trains_in_a_folder() {
    let place = place();
    let args = "run graph.yaml --progress off --set stages.sink_train.steps=1000000 --set stages.sink_train.save_every=1000000";
    let mut child = place.command(args).spawn().expect("start");
    let log = place.path("out/metrics.jsonl");
    let begun = Instant::now();
    while std::fs::metadata(&log).map_or(0, |meta| meta.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "no step was made");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = place.run(args);
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.err.contains("another process trains in out"), "{}", second.err);
    child.kill().expect("kill");
    child.wait().expect("wait");
    place.done("run graph.yaml --progress off");
}

#[test]
fn what_cannot_be_trained_here_is_refused_before_its_pictures_are_made() {
    let place = place();
    let large = place.run("run graph.yaml --progress off --set stages.sink_train.batch_clips=1000000000");
    assert_eq!(large.code, Some(2), "{large:?}");
    for words in ["training takes about", "can be had here", "`batch_clips: "] {
        assert!(large.err.contains(words), "{words}: {}", large.err);
    }
    assert!(!place.path("out").exists());
    // Said beforehand by those that only look, and by a run that is watched.
    for args in ["check graph.yaml", "explain graph.yaml"] {
        let said = place.done(args);
        assert!(said.out.contains("sink_train: training takes about"), "{}", said.out);
    }
    let watched = place.done("run graph.yaml --progress plain");
    assert!(watched.err.starts_with("sink_train: training takes about"), "{}", watched.err);

    // Other pictures than those that the run has seen.
    let before = files(&place.path("out/data"));
    let other = place.run("run graph.yaml --progress off --set stages.mel.low_hz=50");
    assert_eq!(other.code, Some(2), "{other:?}");
    for words in ["holds a training on other pictures", "low_hz", "--fresh", "`source_shards` of out/data"] {
        assert!(other.err.contains(words), "{words}: {}", other.err);
    }
    assert_eq!(before, files(&place.path("out/data")));
    // More memory for the graph is no other graph.
    place.done("run graph.yaml --progress off --set resources.memory=300MiB");
    let unused = || place.done("inspect out/data --unused").out;
    let n_before = unused().lines().count();
    place.done("run graph.yaml --progress off --fresh --set stages.mel.low_hz=50");
    let parts = unused();
    assert!(parts.lines().count() > n_before, "{parts}");
    assert!(place.done("inspect out/data").out.contains("out/data --unused"));
    for part in parts.lines() {
        std::fs::remove_file(place.path(part)).expect("a part");
    }
    assert_eq!(unused(), "");
    place.done("verify out/data");
    let goes_on = place.done("run graph.yaml --progress off --set stages.mel.low_hz=50");
    assert!(goes_on.out.contains("40 of 40 steps done"), "{}", goes_on.out);
}
