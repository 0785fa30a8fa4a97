//! The page over made-up runs, from none at all to hostile ones.

use super::*;
use crate::cli::page::sound::assert_sound;
use crate::engine::{Bottleneck, QueueSnapshot, Snapshot, StageSnapshot};
use crate::stage::{Reject, SinkReport};

fn stage(id: &str, type_name: &str, kind: &str, rows: (u64, u64), busy_s: f64, waits_s: (f64, f64)) -> StageSnapshot {
    StageSnapshot {
        id: id.to_owned(),
        type_name: type_name.to_owned(),
        kind: kind.to_owned(),
        rows_in: rows.0,
        rows_out: rows.1,
        rejects: if kind == "map" { rows.0 - rows.1 } else { 0 },
        busy_s,
        starved_s: waits_s.0,
        blocked_s: waits_s.1,
    }
}

/// 20,480 clips in shards of 256 at about 130 a second, slower from the middle on, with a warm-up.
fn at(elapsed_s: f64) -> Snapshot {
    let wobble = (elapsed_s * 0.7).sin() * 6.0 + (elapsed_s * 0.13).cos() * 9.0;
    let through = (elapsed_s * 138.0 + wobble - 25.0 * (elapsed_s - 70.0).max(0.0)).max(0.0) as u64;
    let done = (through / 256 * 256).min(20_480);
    let queue = |from: &str, to: &str, share: f64, cap: u64| QueueSnapshot {
        from: from.to_owned(),
        to: to.to_owned(),
        items: 3,
        bytes: (cap as f64 * share.clamp(0.0, 1.0)) as u64,
        cap_bytes: cap,
        peak_bytes: (cap as f64 * 0.97) as u64,
    };
    let rows = through.max(done);
    Snapshot {
        elapsed_s,
        jobs: 8,
        clips_total: 20_480,
        clips_done: done,
        clips_kept: 1_536,
        units_total: 80,
        units_done: done / 256,
        rejects: done / 700,
        rss_bytes: (300e6 + 900e6 * (1.0 - (-elapsed_s / 9.0).exp()) + wobble * 2e6) as u64,
        stages: vec![
            stage("clips", "source_manifest", "source", (0, rows), elapsed_s * 0.04, (0.0, elapsed_s * 0.93)),
            stage("decode", "decode", "map", (rows, rows - rows / 700), elapsed_s * 5.1, (0.0, 0.0)),
            stage("resample", "resample", "map", (rows, rows), elapsed_s * 1.3, (0.0, 0.0)),
            stage("normalize", "normalize", "map", (rows, rows), elapsed_s * 0.12, (0.0, 0.0)),
            stage("mel", "log_mel", "map", (rows, rows), elapsed_s * 0.6, (0.0, 0.0)),
            stage("shards", "sink_shards", "sink", (rows, 0), elapsed_s * 0.21, (elapsed_s * 0.74, 0.0)),
        ],
        queues: vec![
            queue("clips", "decode", 0.86 + wobble * 0.01, 64 << 20),
            queue("mel", "shards", 0.09 + wobble * 0.005, 512 << 20),
        ],
    }
}

fn realistic() -> RunReport {
    let end_s = 166.4;
    let reject = |i: usize, reason: &str, detail: &str| Reject {
        clip_id: format!("Y{i:07x}_30_40"),
        source: format!("/data/audioset/unbalanced/part{:02}/Y{i:07x}.m4a", i % 40),
        stage: "decode".to_owned(),
        reason: reason.to_owned(),
        detail: detail.to_owned(),
        labels: Vec::new(),
    };
    let end = at(end_s);
    RunReport {
        format: 1,
        program: "0.1.0".to_owned(),
        pipeline: "audioset-mel".to_owned(),
        started_at: "2026-11-23T13:26:48Z".to_owned(),
        outcome: "done".to_owned(),
        error: None,
        timeline: (0..600).map(|i| at(f64::from(i) * end_s / 600.0)).collect(),
        peak_rss_bytes: 1_231_000_000,
        bottleneck: end.bottleneck(),
        end,
        trainings: Vec::new(),
        units: Vec::new(),
        sinks: vec![(
            "shards".to_owned(),
            SinkReport {
                path: Some("out/mel".into()),
                rows: 21_987,
                bytes: 2_161_000_000,
                units: 86,
                complete: true,
                rejects: 31,
                notes: vec!["6 shards were there already, made by the same graph from the same clips".to_owned()],
            },
        )],
        reject_counts: vec![
            ("decode".to_owned(), "truncated".to_owned(), 19),
            ("decode".to_owned(), "unsupported_codec".to_owned(), 8),
            ("normalize".to_owned(), "non_finite".to_owned(), 2),
        ],
        first_rejects: (0..29)
            .map(|i| match i % 3 {
                0 => reject(i * 7919, "unsupported_codec", "HE-AAC (implicit SBR): convert it with ffmpeg"),
                _ => reject(i * 7919, "truncated", "the moov box promises 441,000 frames, 203,776 are there"),
            })
            .collect(),
        graph_svg: Some(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 400 60' width='400' height='60'>\
             <g fill='none' stroke='#456'><rect x='5' y='10' width='120' height='40' rx='6'/><path d='M125 30H200'/>\
             <rect x='200' y='10' width='120' height='40' rx='6'/></g><text x='30' y='35'>clips → mel</text></svg>"
                .to_owned(),
        ),
    }
}

fn checked(report: &RunReport) -> String {
    let page = render(report);
    assert_sound(&page);
    page
}

#[test]
fn realistic_run_shows_its_numbers() {
    let page = checked(&realistic());
    for text in [
        "audioset-mel",
        "20,480",
        "123</dd>",
        "2 min 46 s",
        "8 workers",
        "1.1 GiB",
        "<b>decode</b> sets the pace: it takes 64 %",
        "19<td class=\"b\">",
        "66 %",
        "out/mel",
        "6 shards were there already",
        "The first 29 clips",
    ] {
        assert!(page.contains(text), "{text:?} is missing");
    }
    assert!(page.len() < 200_000, "{} bytes", page.len());
    if let Ok(folder) = std::env::var("AJEPA_TEST_PAGES") {
        std::fs::write(format!("{folder}/realistic.html"), page).unwrap();
    }
}

#[test]
fn runs_with_nothing_one_point_or_no_clock_are_pages_too() {
    let empty = RunReport {
        end: Snapshot::default(),
        timeline: vec![],
        sinks: vec![],
        reject_counts: vec![],
        first_rejects: vec![],
        bottleneck: None,
        ..realistic()
    };
    assert!(checked(&empty).contains("too short for a line"));
    checked(&RunReport { timeline: vec![at(1.0)], end: at(1.0), ..realistic() });
    for broken in [f64::NAN, f64::INFINITY, -3.0, f64::MAX, 1e-300] {
        let mut end = at(20.0);
        end.elapsed_s = broken;
        end.stages[1].busy_s = broken;
        checked(&RunReport { timeline: vec![at(1.0), end.clone(), at(2.0)], end, ..realistic() });
    }
}

#[test]
fn huge_numbers_and_long_names_stay_in_their_places() {
    let mut report = realistic();
    let long = "a_very_long_name_".repeat(40);
    for snapshot in report.timeline.iter_mut().chain([&mut report.end]) {
        snapshot.clips_done = u64::MAX;
        snapshot.rss_bytes = u64::MAX;
        snapshot.stages[1].id.clone_from(&long);
        snapshot.stages[1].rows_in = u64::MAX;
        snapshot.stages[1].busy_s = 1e30;
        snapshot.queues[0].from.clone_from(&long);
        snapshot.queues[1].cap_bytes = 0;
    }
    report.peak_rss_bytes = u64::MAX;
    report.reject_counts = vec![(long.clone(), long.clone(), u64::MAX); 2];
    report.pipeline = long;
    report.outcome = "failed".to_owned();
    report.error = Some("x".repeat(5_000));
    let page = checked(&report);
    if let Ok(folder) = std::env::var("AJEPA_TEST_PAGES") {
        std::fs::write(format!("{folder}/huge.html"), page).unwrap();
    }
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let evil = "<script>alert(1)</script>\"'&\u{0}\u{1b}[31m";
    let mut report = realistic();
    let hostile = || evil.to_owned();
    (report.pipeline, report.program, report.started_at, report.outcome) = (hostile(), hostile(), hostile(), hostile());
    report.error = Some(hostile());
    for snapshot in report.timeline.iter_mut().chain([&mut report.end]) {
        for stage in &mut snapshot.stages {
            (stage.id, stage.type_name) = (hostile(), hostile());
        }
        snapshot.stages[0].kind = hostile();
        snapshot.queues[0].to = hostile();
    }
    report.bottleneck = Some(Bottleneck { stage: hostile(), share: 0.5, advice: hostile() });
    report.sinks[0] =
        (hostile(), SinkReport { path: Some(evil.into()), notes: vec![hostile()], ..SinkReport::default() });
    report.reject_counts = vec![(hostile(), hostile(), 1)];
    report.first_rejects = vec![Reject {
        clip_id: hostile(),
        source: hostile(),
        stage: hostile(),
        reason: hostile(),
        detail: hostile(),
        labels: vec![hostile()],
    }];
    report.graph_svg = Some(format!("<svg onload=\"alert(1)\">{evil}</svg>"));
    let page = checked(&report);
    assert!(!page.contains("<svg onload") && !page.contains('\u{0}') && !page.contains('\u{1b}'));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
}

#[test]
fn area_under_the_throughput_line_is_the_number_of_clips() {
    let report = realistic();
    let timeline = series::timeline(&report);
    let points = series::throughput(&timeline);
    let width_s = report.end.elapsed_s / points.len() as f64;
    let clips: f64 = points.iter().map(|p| p.1 * width_s).sum();
    assert!((clips - 20_480.0).abs() < 1e-6, "{clips}");
    // The made-up run has no spikes: neither has the line.
    let highest = points.iter().map(|p| p.1).fold(0.0, f64::max);
    assert!(highest < 200.0, "{highest} clips/s");
}
