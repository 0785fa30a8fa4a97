//! Progress over made-up runs whose right answer is known.

use std::io;
use std::sync::{Arc, Mutex};

use indicatif::TermLike;
use proptest::prelude::*;

use super::*;
use crate::engine::{StageSnapshot, Timeline};

fn stage(id: &str, kind: &str, busy_s: f64) -> StageSnapshot {
    StageSnapshot {
        id: id.to_owned(),
        type_name: id.to_owned(),
        kind: kind.to_owned(),
        rows_in: 0,
        rows_out: 0,
        rejects: 0,
        busy_s,
        starved_s: 0.0,
        blocked_s: 0.0,
    }
}

fn at(elapsed_s: f64, clips_done: u64) -> Snapshot {
    Snapshot { elapsed_s, clips_done, clips_total: 5_310, units_total: 11, jobs: 2, ..Snapshot::default() }
}

fn pace_of(snapshots: impl IntoIterator<Item = Snapshot>) -> Pace {
    let mut pace = Pace::default();
    snapshots.into_iter().for_each(|s| pace.push(&s));
    pace
}

#[test]
fn steps_of_whole_shards_do_not_make_the_rate_jump() {
    // 100 clips/s in shards of 512, looked at four times a second: any moment after the second shard gives the same rate.
    let mut pace = Pace::default();
    for quarter in 0..400 {
        let elapsed_s = f64::from(quarter) * 0.25;
        pace.push(&at(elapsed_s, (elapsed_s * 100.0 / 512.0) as u64 * 512));
        if elapsed_s > 11.0 {
            let per_s = pace.clips_per_s().unwrap();
            assert!((per_s - 100.0).abs() < 3.0, "{per_s} clips/s at {elapsed_s} s");
        }
    }
}

#[test]
fn rate_follows_a_change_and_falls_when_nothing_moves() {
    let fast = (0..100).map(|s| at(f64::from(s), s as u64 * 100));
    let slow = (100..200).map(|s| at(f64::from(s), 10_000 + (s - 100) as u64 * 10));
    let mut pace = pace_of(fast.chain(slow));
    assert!((pace.clips_per_s().unwrap() - 10.0).abs() < 0.5);
    pace.push(&at(400.0, 10_990));
    assert!(pace.clips_per_s().unwrap() < 1.0);
}

#[test]
fn clock_that_stands_still_or_is_broken_gives_no_rate_and_no_panic() {
    let broken = [at(0.0, 0), at(0.0, 10), at(f64::NAN, 20), at(f64::INFINITY, 30), at(-1.0, 40)];
    assert_eq!(pace_of(broken).clips_per_s(), None);
    assert_eq!(pace_of([]).clips_per_s(), None);
}

#[test]
fn bottleneck_is_that_of_the_last_half_minute() {
    let snapshot = |s: u32, decode_s: f64, mel_s: f64| Snapshot {
        stages: vec![stage("clips", "source", 0.0), stage("decode", "map", decode_s), stage("mel", "map", mel_s)],
        ..at(f64::from(s), u64::from(s))
    };
    // For 100 s decode works on both threads, then mel does; since the start decode is still ahead.
    let first = (0..=100).map(|s| snapshot(s, f64::from(s) * 2.0, 0.0));
    let then = (101..=150).map(|s| snapshot(s, 200.0, f64::from(s - 100) * 2.0));
    let bottleneck = pace_of(first.chain(then)).bottleneck().unwrap();
    assert_eq!(bottleneck.stage, "mel");
    assert!((bottleneck.share - 1.0).abs() < 1e-9);
}

/// Somewhere to look at what was written.
#[derive(Debug, Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn plain_lines_come_every_five_seconds_and_say_everything() {
    let paper = Paper::default();
    let mut progress = Progress::plain(Box::new(paper.clone()));
    progress.update(&Snapshot { elapsed_s: 0.1, ..Snapshot::default() });
    for tenth in 1..=120_u32 {
        let elapsed_s = f64::from(tenth) * 0.1;
        progress.update(&Snapshot {
            units_done: 2,
            rejects: 3,
            clips_kept: 512,
            rss_bytes: 1_288_490_189,
            stages: vec![stage("clips", "source", 0.1), stage("decode", "map", elapsed_s * 1.42)],
            ..at(elapsed_s, u64::from(tenth) * 10)
        });
    }
    progress.say("warning: the disk is nearly full");
    progress.finish(&Snapshot { units_done: 11, rejects: 3, clips_kept: 512, ..at(53.1, 5_310) });
    insta::assert_snapshot!(paper.text());
}

/// A terminal 100 columns wide that writes down what it is told.
#[derive(Debug, Clone, Default)]
struct Terminal(Paper);

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        100
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        writeln!(self.0.clone(), "{line}")
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        write!(self.0.clone(), "{text}")
    }
    fn clear_line(&self) -> io::Result<()> {
        writeln!(self.0.clone())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn live_bar_is_two_lines_that_fit_the_terminal() {
    let terminal = Terminal::default();
    let mut progress = Progress::live(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
    progress.update(&Snapshot::default());
    let now = Snapshot { rejects: 2, units_done: 2, rss_bytes: 1 << 30, ..at(20.0, 1_240) };
    progress.update(&at(0.1, 0));
    progress.update(&now);
    let Face::Live(bar) = &progress.face else { panic!("not live") };
    bar.force_draw();
    let text = terminal.0.text();
    assert!(text.contains(" 23 % ━━━"), "{text}");
    assert!(text.contains("1,240/5,310 clips  62.0 clips/s  1 min 06 s left"), "{text}");
    assert!(text.contains("shards 2/11 · 2 rejected (0.2 %) · 1.0 GiB"), "{text}");
    progress.finish(&now);
    assert!(terminal.0.text().contains("1,240 clips in 20 s (62.0 clips/s), 2 shards, 2 rejected"));
}

#[test]
fn timeline_of_a_short_run_keeps_every_point() {
    let mut timeline = Timeline::new();
    (0..10).for_each(|i| timeline.push(at(f64::from(i), 0)));
    assert_eq!(timeline.points().len(), 10);
}

proptest! {
    #[test]
    fn timeline_is_bounded_even_and_ends_with_the_last(n in 1_usize..20_000, step_s in 0.0_f64..3.0) {
        let mut timeline = Timeline::new();
        for i in 0..n {
            timeline.push(Snapshot { rss_bytes: if i == n / 2 { 9 } else { 1 }, ..at(i as f64 * step_s, i as u64) });
        }
        let points = timeline.points();
        prop_assert!(points.len() <= Timeline::MAX_POINTS && points.len() >= n.min(300));
        prop_assert_eq!(points[0].clips_done, 0);
        prop_assert_eq!(points[points.len() - 1].clips_done, n as u64 - 1);
        prop_assert_eq!(timeline.peak_rss_bytes(), if n / 2 < n { 9 } else { 1 });
        if step_s > 0.1 {
            let gaps: Vec<u64> = points.windows(2).map(|p| p[1].clips_done - p[0].clips_done).collect();
            // The last one may come early; the others keep one pace to within one snapshot.
            let even = &gaps[..gaps.len().saturating_sub(1)];
            let (least, most) = (even.iter().min().unwrap_or(&1), even.iter().max().unwrap_or(&1));
            prop_assert!(most - least <= (*least).max(1), "{} to {}", least, most);
        }
    }
}
