//! Alarms on real runs and on records made up for the purpose.

use ajepa_model::objective::LatentTarget;
use ajepa_model::telemetry::{AlarmKind, Alarms, CodesHealth, Health, Record, Speed, health};
use ajepa_model::{Learner, LossConfig, ModelConfig, ScheduleConfig, TargetConfig};
use burn::tensor::Device;

use crate::audio::Owned;
use crate::health::config;

const STEPS: u64 = 200;

/// Records of a run, health in every tenth.
fn run(config: &ModelConfig, seed: u64) -> Vec<Record> {
    let mut learner = Learner::new(config.recipe().unwrap(), seed, &Device::default()).unwrap();
    let record = |step| {
        let batch = Owned::draw(seed, step, 16, 1);
        let report = learner.step(&[batch.batch()]).unwrap();
        let health = (step % 10 == 0).then(|| health(learner.model.recipe(), &report, &batch.batch()));
        let (loss, regulariser, grad_norm) = (report.loss, report.regulariser, report.grad_norm);
        Record { step, loss, regulariser, grad_norm, health, ..Record::default() }
    };
    (0..STEPS).map(record).collect()
}

/// What is raised by records of which only every `every`th is seen.
fn raised(records: &[Record], every: usize) -> Vec<(AlarmKind, u64)> {
    let mut alarms = Alarms::default();
    let seen = records.iter().step_by(every);
    seen.flat_map(|record| alarms.see(record)).map(|alarm| (alarm.kind, alarm.step)).collect()
}

fn trained(config: ModelConfig, tau: f64, learning_rate: f64) -> ModelConfig {
    let warm = ScheduleConfig { warmup_steps: 20, ..ScheduleConfig::constant(learning_rate) };
    ModelConfig { learning_rate: Some(warm), tau: Some(ScheduleConfig::constant(tau)), ..config }
}

#[test]
fn a_run_set_up_to_collapse_raises_the_alarm_within_200_steps() {
    // The target is the encoder itself, as it is now; next to no predictor stands between the two.
    let latents = LatentTarget { mean_of_last: None, standardize: false };
    let target = Some(TargetConfig::MovingAverage(latents));
    let collapsing = ModelConfig { target, loss: Some(LossConfig::Mse), ..config([16, 1]) };
    for seed in [0, 1, 2] {
        let records = run(&trained(collapsing.clone(), 0.0, 1e-3), seed);
        for every in [1, 10, 20] {
            let raised = raised(&records, every);
            assert!(raised.iter().any(|(kind, _)| *kind == AlarmKind::Collapse), "every {every}: {raised:?}");
        }
    }
}

#[test]
fn a_healthy_run_raises_none() {
    for seed in [0, 1] {
        let records = run(&trained(config([32, 2]), 0.996, 1e-3), seed);
        for every in [1, 10, 20] {
            assert_eq!(raised(&records, every), [], "every {every}");
        }
        assert!(records[190].health.unwrap().r2 > 0.3, "it learns: {:?}", records[190]);
    }
}

/// A record as good as any.
fn good(step: u64) -> Record {
    let health = Health {
        target_spread: 0.5,
        prediction_spread: 0.4,
        context_spread: 0.5,
        dead_dimensions: 0.02,
        rank_me: 20.0,
        participation_ratio: 8.0,
        between_clips: 0.3,
        between_positions: 0.2,
        r2: 0.4,
        ..Health::default()
    };
    let speed = Some(Speed { clips_per_s: 10.0, data_wait: 0.01, step_s: 0.1 });
    Record { step, loss: 0.5, grad_norm: 1.0, health: Some(health), speed, ..Record::default() }
}

/// Alarms of 100 good records 10 steps apart and `n` more that `spoil` has been at, each as it reads.
fn spoilt(n: u64, spoil: impl Fn(&mut Record, &mut Health)) -> Vec<String> {
    let mut alarms = Alarms::default();
    let record = |i: u64| {
        let mut record = good(10 * i);
        if i >= 100 {
            let mut health = record.health.unwrap();
            spoil(&mut record, &mut health);
            record.health = Some(health);
        }
        record
    };
    (0..100 + n).flat_map(|i| alarms.see(&record(i))).map(|alarm| alarm.to_string()).collect()
}

#[track_caller]
fn assert_begins(alarms: &[String], expected: &str) {
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].starts_with(expected), "{}", alarms[0]);
}

#[test]
fn each_symptom_is_said_once_with_what_was_seen_and_since_when() {
    assert_eq!(spoilt(200, |_, _| {}), [] as [String; 0]);
    let collapses = |expected: &str, spoil: &dyn Fn(&mut Health)| {
        let alarms = spoilt(50, |_, health| spoil(health));
        assert_begins(&alarms, &format!("collapse: {expected}, since step 1000: latents "));
    };
    collapses("targets spread by 0.100, 20 % of the largest seen", &|health| health.target_spread = 0.1);
    collapses("context latents spread by 0.040, 8 % of the largest seen", &|health| health.context_spread = 0.04);
    collapses("context latents have an effective rank of 1.20, once 20.00", &|health| health.rank_me = 1.2);
    let alike = "0.1 % of the variance of context latents is between clips, once 30.0 %";
    collapses(alike, &|health| health.between_clips = 1e-3);
    assert_begins(
        &spoilt(50, |_, health| health.dead_dimensions = 0.3),
        "dead_dimensions: 30 % of the context latents' dimensions are dead, 2 % were at first, since step 1000: ",
    );
    assert_begins(&spoilt(50, |record, _| record.loss = 1e-3), "zero_loss: the loss is 1.00e-3, at first 0.500, ");
    assert_begins(&spoilt(4, |record, _| record.grad_norm = 40.0), "gradient: the gradient's length is 4.000e1, ");
    let slow = |record: &mut Record| record.speed = Some(Speed { data_wait: 0.31, ..record.speed.unwrap() });
    assert_begins(&spoilt(9, |record, _| slow(record)), "data_wait: the trainer waited for data in 31 % of the time, ");
    assert_begins(
        &spoilt(2, |_, health| health.flat_pictures = 0.6),
        "pictures: 60 % of the pictures do not change over time, since step 1000: they are silence, ",
    );
    assert_begins(
        &spoilt(2, |_, health| health.repeated_pictures = 0.9),
        "pictures: 90 % of a batch's pictures are others of it once more, since step 1000: ",
    );
    let constant = |record: &mut Record, health: &mut Health| (record.loss, health.r2) = (0.3, 0.0);
    assert_eq!(spoilt(100, constant), [] as [String; 0], "the mean target takes its time");
    assert_begins(&spoilt(150, constant), "constant_predictions: predictions explain 0.0 % of the targets' variance, ");
}

#[test]
fn latents_that_say_nothing_from_the_first_look_on_are_a_collapse() {
    let raised = |spoil: &dyn Fn(&mut Health)| {
        let mut alarms = Alarms::default();
        let record = |i: u64| {
            let mut record = good(10 * i);
            record.health.as_mut().map(spoil);
            record
        };
        (0..50).flat_map(|i| alarms.see(&record(i))).collect::<Vec<_>>()
    };
    let dead = |health: &mut Health| {
        (health.dead_dimensions, health.rank_me, health.participation_ratio) = (1.0, 1.0, 0.0);
        (health.context_spread, health.target_spread) = (1e-16, 1e-16);
    };
    let alarms = raised(&dead);
    assert_eq!((alarms.len(), alarms[0].kind, alarms[0].step), (1, AlarmKind::Collapse, 60), "{alarms:?}");
    let seen = "context latents spread by 1.0e-16, have an effective rank of 1.00, and 100 % of their dimensions are dead, since step 0: ";
    assert!(alarms[0].text.starts_with(seen), "{}", alarms[0].text);
    // Each of the three is enough; what is only narrow is none.
    let floors: [&dyn Fn(&mut Health); 3] =
        [&|health| health.dead_dimensions = 0.95, &|health| health.rank_me = 1.02, &|health| {
            health.context_spread = 1e-9;
        }];
    for floor in floors {
        assert_eq!(raised(floor).iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::Collapse]);
    }
    assert_eq!(
        raised(&|health| (health.dead_dimensions, health.rank_me, health.context_spread) = (0.5, 2.0, 1e-3)),
        []
    );
}

#[test]
fn of_codes_it_speaks_of_codes() {
    let codes = Some(CodesHealth { n_codes: 64, accuracy: 0.1 });
    // How many codes the pictures have is no matter of training.
    assert_eq!(spoilt(50, |_, health| (health.codes, health.target_spread) = (codes, 0.1)), [] as [String; 0]);
    let alarms = spoilt(150, |record, health| (health.codes, health.r2, record.loss) = (codes, 0.0, 0.3));
    assert_begins(&alarms, "constant_predictions: predictions explain 0.0 % of the codes' entropy, ");
    let alarms = spoilt(50, |_, health| (health.codes, health.rank_me) = (codes, 1.2));
    assert_begins(&alarms, "collapse: context latents have an effective rank of 1.20, once 20.00, since step 1000: ");
    assert!(!alarms[0].contains("tau"), "there is no moving average: {}", alarms[0]);
}

#[test]
fn silence_and_copies_are_noticed_at_once() {
    for (dull, words) in [
        (Owned::silenced as fn(Owned) -> Owned, "100 % of the pictures do not change over time"),
        (Owned::copied, "94 % of a batch's pictures are others of it once more"),
    ] {
        let mut learner = Learner::new(config([32, 2]).recipe().unwrap(), 0, &Device::default()).unwrap();
        let mut alarms = Alarms::default();
        let mut raised = Vec::new();
        for step in 0..3 {
            let batch = dull(Owned::draw(0, step, 16, 1));
            let report = learner.step(&[batch.batch()]).unwrap();
            let health = Some(health(learner.model.recipe(), &report, &batch.batch()));
            raised.extend(alarms.see(&Record { step, loss: report.loss, health, ..Record::default() }));
        }
        let raised: Vec<_> =
            raised.iter().map(|alarm| (alarm.kind, alarm.step, alarm.text.starts_with(words))).collect();
        assert_eq!(raised, [(AlarmKind::Pictures, 1, true)]);
    }
}

#[test]
fn a_dip_is_no_alarm() {
    let mut alarms = Alarms::default();
    for i in 0..400 {
        let mut record = good(10 * i);
        let health = record.health.as_mut().unwrap();
        if i % 20 < 3 {
            (health.target_spread, health.context_spread, health.rank_me, health.between_clips) =
                (0.05, 0.01, 1.1, 0.0);
            (record.loss, record.grad_norm) = (1e-6, if i % 20 == 0 { 100.0 } else { 1.0 });
        }
        assert_eq!(alarms.see(&record), []);
    }
}

#[test]
fn a_resumed_run_raises_what_it_would_have_raised() {
    let record = |i: u64| {
        let mut record = good(10 * i);
        // Numbers with all their digits.
        record.grad_norm = 1.5 + (i as f64).sin();
        record.loss = 0.5 + (i as f32).cos() / 10.0;
        record.health.as_mut().unwrap().rank_me = 20.0 + (i as f64).sin();
        if i >= 100 {
            record.health.as_mut().unwrap().target_spread = 0.1;
        }
        // How fast it went is no part of what is kept.
        record.speed = None;
        record
    };
    let mut whole = Alarms::default();
    let all: Vec<_> = (0..130).flat_map(|i| whole.see(&record(i))).collect();
    assert_eq!(all.len(), 1);
    for cut in 0..130 {
        let mut before = Alarms::default();
        let mut alarms: Vec<_> = (0..cut).flat_map(|i| before.see(&record(i))).collect();
        // As a checkpoint keeps it: a value among others.
        let kept = serde_json::to_string(&serde_json::to_value(&before).unwrap()).unwrap();
        for i in 0..5 {
            let waiting = Speed { clips_per_s: 1.0, data_wait: 0.9, step_s: 1.0 };
            let _ = before.see(&Record { speed: Some(waiting), ..record(cut + i) });
        }
        let mut after: Alarms = serde_json::from_str(&kept).unwrap();
        alarms.extend((cut..130).flat_map(|i| after.see(&record(i))));
        assert_eq!((&alarms, &after), (&all, &whole), "cut at {cut}");
    }
    let mut slow = whole.clone();
    let waiting = Speed { clips_per_s: 1.0, data_wait: 0.9, step_s: 1.0 };
    let raised = (130..150).flat_map(|i| slow.see(&Record { speed: Some(waiting), ..record(i) }));
    assert_eq!(raised.map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::DataWait]);
    (130..150).for_each(|i| drop(whole.see(&record(i))));
    assert_eq!(serde_json::to_string(&slow).unwrap(), serde_json::to_string(&whole).unwrap());
    assert!(slow.raised().eq([AlarmKind::Collapse, AlarmKind::DataWait]));
}
