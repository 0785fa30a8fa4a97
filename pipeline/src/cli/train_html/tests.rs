//! The page over made-up trainings, from none at all to broken ones.

use ajepa_model::telemetry::{AlarmKind, CodesHealth, Health, ProbeScores, Speed};

use super::*;
use crate::cli::page::sound::assert_sound;
use crate::cli::picture::{FrequencyAxis, Layout};

/// Noise that is the same on every machine, from -1 to 1.
fn noise(step: u64, salt: u64) -> f64 {
    let mixed = (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03))
        .wrapping_mul(0x2545_f491_4f6c_dd1d);
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Step `step` of a healthy training of `steps`; a record every `every` steps.
fn record(step: u64, steps: u64, every: u64) -> Record {
    let t = step as f64 / steps as f64;
    let warm = (t / 0.1).min(1.0);
    let jitter = |salt| noise(step, salt);
    let learned = 1.0 - (-5.0 * t).exp();
    Record {
        step,
        epoch: step * 128 / 20_000,
        clips: step * 128,
        loss: (0.95 - 0.55 * learned + 0.03 * jitter(1)) as f32,
        regulariser: (0.09 - 0.05 * learned + 0.004 * jitter(2)) as f32,
        grad_norm: 0.8 * (1.0 + 9.0 * (-30.0 * t).exp()) * (0.5 * jitter(3)).exp(),
        lr: 5e-4 * warm * (0.5 + 0.5 * (std::f64::consts::PI * t).cos()),
        weight_decay: 0.04 + 0.36 * t,
        tau: 0.996 + 0.004 * t,
        health: step.is_multiple_of(every * 5).then(|| Health {
            target_spread: 0.55 + 0.4 * learned + 0.01 * jitter(4),
            prediction_spread: 0.1 + 0.65 * learned + 0.01 * jitter(5),
            context_spread: 0.9 - 0.1 * learned + 0.02 * jitter(6),
            dead_dimensions: 0.02 * (-9.0 * t).exp(),
            rank_me: 40.0 + 90.0 * learned + 2.0 * jitter(7),
            participation_ratio: 12.0 + 20.0 * learned + jitter(8),
            between_clips: 0.1 + 0.3 * learned + 0.01 * jitter(9),
            between_positions: 0.5 - 0.35 * learned + 0.01 * jitter(10),
            r2: -0.2 + 0.8 * learned + 0.01 * jitter(11),
            ..Health::default()
        }),
        probe: step
            .is_multiple_of(every * 25)
            .then(|| ProbeScores { knn: 0.12 + 0.35 * learned - 0.1 * (t - 0.7).max(0.0) + 0.01 * jitter(12) }),
        speed: Some(Speed {
            clips_per_s: 410.0 * (1.0 - if (0.4..0.5).contains(&t) { 0.35 } else { 0.0 }) + 12.0 * jitter(13),
            data_wait: (0.004 + if (0.4..0.5).contains(&t) { 0.34 } else { 0.0 } + 0.003 * jitter(14)).max(0.0),
            step_s: 128.0 / 410.0,
        }),
        ..Record::default()
    }
}

fn training(steps: u64, every: u64) -> Vec<Record> {
    (1..=steps / every).map(|i| record(i * every, steps, every)).collect()
}

fn facts() -> Vec<(String, String)> {
    let facts = [
        ("preset", "base-2026"),
        ("encoder", "width 768, 12 blocks, 12 heads"),
        ("predictor", "width 384, 6 blocks, 12 heads"),
        ("patch", "16 x 16 of 208 x 128"),
        ("masks", "inverse block, 4 to a target pass, 40 % context"),
        ("batch", "128 clips"),
        ("data", "/data/audioset/mel: 1,912,134 clips, manifest 9c6b2f10e7d14a55"),
        ("seed", "17"),
    ];
    facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A clip of rising tones, and a block of it hidden.
fn picture(title: &str, shift: usize) -> Picture {
    let (n_frames, n_mels) = (208, 128);
    let value = |t: usize, m: usize| {
        let tone = ((m as f32 - 20.0 - (t + shift) as f32 * 0.35) * 0.5).sin() * (-(m as f32) / 60.0).exp();
        tone * 3.0 + noise((t * n_mels + m) as u64, shift as u64) as f32 * 0.4 - 4.0
    };
    let values: Vec<f32> = (0..n_frames * n_mels).map(|i| value(i / n_mels, i % n_mels)).collect();
    let clip = MelClip {
        values: &values,
        n_frames,
        n_mels,
        layout: Layout::FramesMels,
        n_valid: n_frames,
        hop_s: 0.01,
        frequency: FrequencyAxis::Htk { min_hz: 20.0, max_hz: 8_000.0 },
        title,
        note: "dog bark",
    };
    let role = |i: usize| match (i / 8, i % 8) {
        (2..7, 1..6) => PatchRole::Target,
        (12, _) => PatchRole::Unused,
        _ => PatchRole::Context,
    };
    let roles: Vec<PatchRole> = (0..13 * 8).map(role).collect();
    Picture::of(&clip, PatchSize { frames: 16, mels: 16 }, &roles).unwrap()
}

fn checked(page: &TrainPage<'_>) -> String {
    let html = render(page);
    assert_sound(&html);
    html
}

/// Where somebody wants to look at the pages.
fn show(name: &str, html: &str) {
    if let Ok(folder) = std::env::var("AJEPA_TEST_PAGES") {
        std::fs::write(format!("{folder}/{name}.html"), html).unwrap();
    }
}

fn page<'a>(records: &'a [Record], facts: &'a [(String, String)]) -> TrainPage<'a> {
    TrainPage {
        title: "audioset-base",
        outcome: "running",
        started_at: "2026-11-24T08:12:04Z",
        preset: "base-2026",
        parameters: 102_345_678,
        steps: 100_000,
        records,
        facts,
        program: "0.1.0",
        ..TrainPage::default()
    }
}

#[test]
fn a_healthy_training_shows_its_numbers() {
    let (records, facts) = (training(60_000, 20), facts());
    let pictures = [picture("Y00a3f1_30_40", 0), picture("Y1c99e2_0_10", 60)];
    let html = checked(&TrainPage { pictures: &pictures, ..page(&records, &facts) });
    let best = curves::best_probe(&curves::of_one_run(&records)).unwrap();
    for text in [
        "audioset-base",
        "102 million parameters",
        "60,000",
        "of 100,000",
        "7,680,000",
        "pass 385",
        "Learning rate",
        "RankMe",
        "between positions",
        "waiting for data 5.4 %",
        "data:image/png;base64,iVBORw0KGgo",
        "Y1c99e2_0_10: dog bark",
        "inverse block, 4 to a target pass",
        &format!("at step {}", crate::cli::format::count(best.0)),
        &format!("best {:.3}", best.1),
    ] {
        assert!(html.contains(text), "{text:?} is missing");
    }
    assert!(!html.contains("Alarms"));
    show("healthy", &html);
}

#[test]
fn what_takes_none_of_the_time_is_not_drawn() {
    let (mut records, facts) = (training(60_000, 20), facts());
    for record in &mut records {
        record.speed = record.speed.map(|speed| Speed { data_wait: 0.0, ..speed });
    }
    let html = checked(&page(&records, &facts));
    assert!(html.contains("making steps 100") && !html.contains("waiting for data 0"));
}

#[test]
fn of_probes_that_tie_the_latest_is_best() {
    let record = |(step, knn)| Record { step, probe: Some(ProbeScores { knn }), ..Record::default() };
    let records = [(1, 0.2), (2, 0.5), (3, 0.5), (4, 0.4)].map(record);
    assert_eq!(curves::best_probe(&curves::of_one_run(&records)), Some((3, 0.5)));
}

#[test]
fn of_codes_the_page_speaks_of_codes() {
    let mut records = training(2_000, 10);
    for health in records.iter_mut().filter_map(|record| record.health.as_mut()) {
        health.codes = Some(CodesHealth { n_codes: 1024, accuracy: 0.12 });
        (health.target_spread, health.prediction_spread) = (310.0, 42.0);
    }
    let html = checked(&page(&records, &[]));
    for text in
        ["Codes told right", "Codes in use", "of 1,024", "share of the entropy of codes", "Spread of the context"]
    {
        assert!(html.contains(text), "{text:?} is missing");
    }
    for text in ["against the mean target", "Moving average"] {
        assert!(!html.contains(text), "{text:?} has no meaning");
    }
    show("codes", &html);
}

#[test]
fn a_hundred_thousand_records_stay_small() {
    let records = training(100_000, 1);
    let html = checked(&page(&records, &[]));
    assert!(html.len() < 700_000, "{} bytes", html.len());
    for path in html.split(" d=\"").skip(1) {
        let n = path.split('"').next().unwrap().matches(['M', 'L']).count();
        assert!(n <= 666, "{n} points in one path");
    }
    show("long", &html);
}

#[test]
fn alarms_and_what_is_no_number_are_shown() {
    let mut records = training(2_000, 10);
    for record in &mut records[120..] {
        if let Some(health) = &mut record.health {
            (health.rank_me, health.r2, health.context_spread, health.between_clips) = (1.02, -3.0, 1e-7, 1e-9);
        }
        record.loss = 1e-6;
    }
    records[144].health.as_mut().unwrap().r2 = f64::NEG_INFINITY;
    records[150].loss = f32::NAN;
    records[151].grad_norm = f64::INFINITY;
    records[152].grad_norm = 0.0;
    records[153].probe = Some(ProbeScores { knn: f64::NAN });
    records[154].speed = Some(Speed { clips_per_s: f64::NAN, data_wait: f64::INFINITY, step_s: -1.0 });
    let text =
        "the representation collapses: RankMe is 1.0 of 768; raise tau, or add a variance-covariance regulariser";
    let alarms = [Alarm { kind: AlarmKind::Collapse, step: 1_210, text: text.to_owned() }];
    let facts = facts();
    let html = checked(&TrainPage {
        outcome: "failed",
        error: Some("the loss of step 1,510 is not a number; clips of its batch: Y00a3f1_30_40, Y1c99e2_0_10"),
        steps: 2_000,
        alarms: &alarms,
        ..page(&records, &facts)
    });
    for text in [
        "Step 1,210:",
        "RankMe is 1.0 of 768",
        "raise tau",
        "minimised: no number to draw, step 1,510",
        "class=\"alarm\"",
    ] {
        assert!(html.contains(text), "{text:?} is missing");
    }
    show("collapsed", &html);
}

#[test]
fn any_records_make_a_page() {
    checked(&TrainPage::default());
    let broken = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -f64::MAX, 1e-300, 0.0, -3.0];
    for value in broken {
        let record = |step| Record {
            step,
            clips: u64::MAX,
            epoch: u64::MAX,
            loss: value as f32,
            grad_norm: value,
            lr: value,
            weight_decay: value,
            health: Some(Health { rank_me: value, r2: value, dead_dimensions: value, ..Health::default() }),
            probe: Some(ProbeScores { knn: value }),
            speed: Some(Speed { clips_per_s: value, data_wait: value, step_s: value }),
            ..Record::default()
        };
        checked(&page(&[record(5)], &[]));
        checked(&page(&[record(0), record(0), record(u64::MAX), record(3)], &[]));
        let many: Vec<Record> = (0..5_000).map(record).collect();
        checked(&page(&many, &[]));
    }
}

#[test]
fn steps_done_twice_count_as_they_were_last() {
    let loss = |step, loss| Record { step, loss, ..Record::default() };
    let records = [loss(1, 1.0), loss(2, 0.9), loss(3, 0.8), loss(2, 0.7), loss(4, 0.6)];
    let run = curves::of_one_run(&records);
    assert_eq!(run.iter().map(|r| (r.step, r.loss)).collect::<Vec<_>>(), [(1, 1.0), (2, 0.7), (4, 0.6)]);
}

#[test]
fn time_is_the_clips_over_their_pace() {
    let record = |step, clips_per_s, data_wait| Record {
        step,
        clips: step * 100,
        speed: Some(Speed { clips_per_s, data_wait, step_s: 0.0 }),
        ..Record::default()
    };
    let records = [record(1, 50.0, 0.5), record(3, 100.0, 0.0), record(4, f64::NAN, 0.0), record(5, 25.0, 0.25)];
    let feed = curves::Feed::of(&records.iter().collect::<Vec<_>>());
    assert_eq!(feed.clips_per_s, [(1.0, 50.0), (3.0, 100.0), (6.0, 25.0)]);
    assert_eq!((feed.end_s, feed.waited_s), (8.0, 2.0));
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let evil = "<script>alert(1)</script>\"'&\u{0}\u{1b}[31m";
    let (records, facts) = (training(200, 10), vec![(evil.to_owned(), evil.to_owned())]);
    let alarms = [Alarm { kind: AlarmKind::Gradient, step: 1, text: evil.to_owned() }];
    let pictures = [Picture { png: evil.into(), caption: evil.to_owned() }];
    let html = checked(&TrainPage {
        title: evil,
        outcome: evil,
        error: Some(evil),
        started_at: evil,
        preset: evil,
        program: evil,
        alarms: &alarms,
        pictures: &pictures,
        ..page(&records, &facts)
    });
    assert!(!html.contains('\u{0}') && !html.contains('\u{1b}'));
}
