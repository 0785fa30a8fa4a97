//! Where a model computes: said before anything else, kept in what a training leaves, refused in words where it is not there.

use ajepa_model::device::{Driver, add_drivers};
use ajepa_model::{Device, GpuKind};
use ajepa_pipe::config;
use ajepa_pipe::engine::StopSignal;
use ajepa_pipe::job::{self, Event, JobOptions};
use ajepa_pipe::report::RunReport;
use ajepa_pipe::stages::builtin;

use crate::models::place_with_model;
use crate::program::Place;

/// A model of a few thousand numbers on pictures of 16 tokens.
const GRAPH: &str = "
pipeline: devices
stages:
  - { id: clips, type: source_folder, path: AUDIO }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: crop, seconds: 1, position: sliding, hop_seconds: 0.5, tail: pad }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 1, frames: 64, n_mels: 32 }
  - type: sink_train
    path: OUT
    model:
      patch: { patch_frames: 16, patch_mels: 8 }
      encoder: { width: 16, depth: 1, n_heads: 2 }
      predictor: { width: 16, depth: 1, n_heads: 2 }
    steps: 4
    batch_clips: 4
    log_every: 1
    save_every: 4
    DEVICE
";

fn graph(place: &Place, device: &str) -> String {
    let path = |name: &str| place.path(name).display().to_string();
    GRAPH.replace("AUDIO", &path("audio")).replace("OUT", &path("out")).replace("DEVICE", device)
}

#[test]
fn a_device_that_the_program_lacks_is_refused_before_anything_is_done() {
    let place = place_with_model();
    place.copies(4);
    place.write("graph.yaml", graph(&place, "device: cuda:1"));
    let ended = place.run("run graph.yaml --progress off");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for words in ["error: stage sink_train", "this program was built without cuda: it has the CPU alone", "device: cpu"]
    {
        assert!(ended.err.contains(words), "{words}: {}", ended.err);
    }
    assert!(!place.path("out").exists(), "no clip was decoded");

    let embed = place.run("embed -c best -o x.parquet --device vulkan --progress off audio");
    assert_eq!(embed.code, Some(2), "{embed:?}");
    assert!(embed.err.contains("built without vulkan"), "{}", embed.err);

    // What is no device at all is refused by `check` already, which asks nothing of the machine otherwise.
    assert_eq!(place.run("check graph.yaml").code, Some(0));
    place.write("graph.yaml", graph(&place, "device: gpu"));
    let checked = place.run("check graph.yaml");
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.err.contains("`gpu` is no device: auto, cpu, cuda"), "{}", checked.err);
    let embed = place.run("embed -c best -o x.parquet --device gpu audio");
    assert_eq!(embed.code, Some(2), "{embed:?}");
}

#[test]
fn a_training_says_first_and_for_ever_what_computed_it() {
    let place = Place::new();
    place.copies(4);
    place.write("graph.yaml", graph(&place, ""));
    let ended = place.done("run graph.yaml --progress plain");
    let place_of = |words: &str| ended.err.find(words).unwrap_or_else(|| panic!("{words}: {}", ended.err));
    assert!(place_of("\nsink_train computes on cpu\n") < place_of("clips/s"), "{}", ended.err);
    let log = std::fs::read_to_string(place.path("out/metrics.jsonl")).expect("a log");
    assert_eq!(log.lines().filter(|line| line.contains(r#""device":"cpu""#)).count(), 4, "{log}");
    let page = std::fs::read_to_string(place.path("out/report.html")).expect("a page");
    assert!(page.contains("computed on") && page.contains("cpu"));
}

#[test]
fn what_goes_on_on_another_device_says_so() {
    // A CPU that calls itself a GPU; `auto` takes none of this kind.
    let open = |_| Ok((Device::flex(), "a stand-in".to_owned()));
    add_drivers(vec![Driver { kind: GpuKind::Vulkan, count: || Ok(1), open }]);
    let place = Place::new();
    place.copies(4);
    let run = |device: &str, stop_at: u64| -> (RunReport, Vec<String>) {
        let graph = config::load_str("graph", &graph(&place, device), &[], &builtin()).expect("a graph");
        let (tell, stop) = crossbeam::channel::bounded(1);
        let mut said = Vec::new();
        let (report, _) = job::run(&graph, JobOptions::default(), &stop, &mut |event| match event {
            Event::Device { stage, name } => said.push(format!("{stage}: {name}")),
            Event::Training { moment, .. } if moment.record.is_some() && moment.step == stop_at => {
                tell.try_send(StopSignal::Terminate).expect("one stop");
            }
            _ => {}
        });
        (report, said)
    };
    let (report, said) = run("device: cpu", 2);
    assert_eq!(said, ["sink_train: cpu"]);
    let training = &report.trainings[0];
    assert_eq!((training.device.as_str(), training.steps, training.notes.len()), ("cpu", 2, 0), "{training:?}");
    let (report, said) = run("device: vulkan", u64::MAX);
    assert_eq!(said, ["sink_train: vulkan:0 (a stand-in)"]);
    let training = &report.trainings[0];
    let told = training.notes.join("; ");
    assert!(training.steps == 4 && told.contains("goes on on vulkan:0 (a stand-in), begun on cpu"), "{training:?}");
    // Nothing is left to do: nothing goes on.
    assert_eq!(run("device: cpu", u64::MAX).0.trainings[0].notes.len(), 0);
}
