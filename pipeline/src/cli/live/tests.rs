//! The views over a made-up training, on paper and on terminals of paper.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use ajepa_model::telemetry::{Alarm, AlarmKind, CodesHealth, Health, ProbeScores, Record};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::seen::Losses;
use super::*;

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

fn moment(step: u64) -> Moment<'static> {
    Moment {
        phase: Phase::Training,
        steps_before: 1_000,
        step,
        steps: 5_000,
        loss: 0.3 + 100.0 / step as f32,
        clips_per_s: 412.0,
        data_wait: 0.004,
        record: None,
        alarms: &[],
    }
}

fn record(step: u64) -> Record {
    Record {
        step,
        health: step.is_multiple_of(50).then(|| Health {
            target_spread: 0.951,
            prediction_spread: 0.744,
            rank_me: 129.8,
            r2: -0.0512,
            ..Health::default()
        }),
        probe: step.is_multiple_of(100).then(|| ProbeScores { knn: 0.5 - (step as f64 - 1_100.0).abs() / 1e4 }),
        ..Record::default()
    }
}

/// Steps 1001 to 1240 at ten a second, a record every ten, an alarm at the 1205th, then a checkpoint.
fn run(view: &mut TrainView) {
    for step in 1_001..=1_240_u64 {
        let elapsed_s = (step - 1_000) as f64 * 0.1;
        let record = step.is_multiple_of(10).then(|| record(step));
        let text = "the representation collapses: RankMe is 1.0 of 768; raise tau\u{1b}[2J".to_owned();
        let alarms = [Alarm { kind: AlarmKind::Collapse, step, text }];
        let alarms = if step == 1_205 { &alarms[..] } else { &[] };
        if record.as_ref().is_some_and(|record| record.probe.is_some()) {
            view.update_at(&Moment { phase: Phase::Probing, ..moment(step) }, elapsed_s - 0.05);
        }
        view.update_at(&Moment { record: record.as_ref(), alarms, ..moment(step) }, elapsed_s);
    }
    view.update_at(&Moment { phase: Phase::Saving, ..moment(1_240) }, 24.1);
}

#[test]
fn plain_lines_come_every_five_seconds_and_say_everything() {
    let paper = Paper::default();
    let mut view = TrainView::plain(Box::new(paper.clone()));
    run(&mut view);
    view.say("stopping: a checkpoint is written first");
    view.update_at(&Moment { phase: Phase::Ended, ..moment(1_240) }, 25.0);
    view.finish_at(25.0);
    insta::assert_snapshot!(paper.text());
}

#[test]
fn of_codes_the_line_speaks_of_codes() {
    let paper = Paper::default();
    let mut view = TrainView::plain(Box::new(paper.clone()));
    let codes = Some(CodesHealth { n_codes: 1024, accuracy: 0.123 });
    let health =
        Some(Health { target_spread: 310.2, prediction_spread: 42.0, rank_me: 9.0, codes, ..Health::default() });
    let record = Record { step: 1_050, health, ..Record::default() };
    view.update_at(&Moment { record: Some(&record), ..moment(1_050) }, 6.0);
    let text = paper.text();
    assert!(text.contains("codes 12 % right, 310 of 1,024 in use, 42.0 in predictions, RankMe 9.00"), "{text}");
    assert!(!text.contains("spread") && !text.contains("r\u{b2}"), "{text}");
}

#[test]
fn a_whole_training_ends_without_a_word_of_stopping() {
    let paper = Paper::default();
    let mut view = TrainView::plain(Box::new(paper.clone()));
    view.update_at(&Moment { steps_before: 0, step: 1, steps: 1, phase: Phase::Ended, ..moment(1) }, 0.4);
    view.finish_at(0.4);
    assert_eq!(paper.text(), "1 step in 0.40 s, loss 100\n");
}

/// What the board looks like on a terminal.
fn drawn(seen: &Seen, columns: u16, lines: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| frame.render_widget(seen, frame.area())).unwrap();
    terminal.backend().to_string()
}

fn live(paper: &Paper, columns: &Arc<AtomicU16>, lines: u16) -> TrainView {
    let columns = Arc::clone(columns);
    let size = Box::new(move || Some((columns.load(Ordering::Relaxed), lines)));
    let strip = Strip::new(Box::new(paper.clone()), size, false);
    TrainView::with_face(Face::Live { strip, next_s: 0.0 })
}

#[test]
fn board_says_everything_at_once() {
    let mut view = live(&Paper::default(), &Arc::new(AtomicU16::new(100)), 40);
    insta::assert_snapshot!("before_the_first_step", drawn(&view.seen, 100, 8));
    run(&mut view);
    insta::assert_snapshot!("while_saving", drawn(&view.seen, 100, 8));
    insta::assert_snapshot!("on_a_narrow_terminal", drawn(&view.seen, 44, 8));
}

#[test]
fn any_terminal_can_be_drawn_on() {
    let mut view = live(&Paper::default(), &Arc::new(AtomicU16::new(100)), 40);
    run(&mut view);
    for columns in [1, 2, 9, 10, 18, 40, 500] {
        for lines in 1..10 {
            drawn(&view.seen, columns, lines);
            let paper = Paper::default();
            let mut small = live(&paper, &Arc::new(AtomicU16::new(columns)), lines);
            (1_001..1_006).for_each(|step| small.update_at(&moment(step), step as f64));
            let most = paper.text().split("\x1b[?2026h").map(|frame| frame.matches("\x1b[K").count()).max();
            assert_eq!(most, Some(8.min((lines as usize - 1).max(1))), "{columns} x {lines}");
        }
    }
}

/// A terminal that knows the moves of the strip, wraps, and keeps what has scrolled out.
struct Screen {
    columns: usize,
    lines: Vec<String>,
    at: (usize, usize),
}

impl Screen {
    fn show(columns: usize, text: &str) -> Self {
        let mut screen = Self { columns, lines: vec![String::new()], at: (0, 0) };
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\r' => screen.at.0 = 0,
                '\n' => screen.at.1 += 1,
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['));
                    let mut number = String::new();
                    while chars.peek().is_some_and(|c| !c.is_ascii_alphabetic()) {
                        number.extend(chars.next());
                    }
                    screen.control(chars.next().unwrap(), &number);
                }
                c => screen.put(c),
            }
            while screen.lines.len() <= screen.at.1 {
                screen.lines.push(String::new());
            }
        }
        screen
    }

    fn control(&mut self, what: char, number: &str) {
        let (x, y) = self.at;
        match what {
            'A' => self.at.1 = y.checked_sub(number.parse().unwrap()).expect("above the first line"),
            'K' => self.lines[y] = self.lines[y].chars().take(x).collect(),
            'J' => {
                self.lines[y] = self.lines[y].chars().take(x).collect();
                self.lines.truncate(y + 1);
            }
            'h' | 'l' => assert_eq!(number, "?2026"),
            other => panic!("unknown move {other}"),
        }
    }

    fn put(&mut self, c: char) {
        assert!(self.at.0 < self.columns, "a line is as wide as the terminal");
        let line = &mut self.lines[self.at.1];
        let head: String = line.chars().chain(std::iter::repeat(' ')).take(self.at.0).collect();
        let tail: String = line.chars().skip(self.at.0 + 1).collect();
        *line = format!("{head}{c}{tail}");
        self.at.0 += 1;
    }
}

#[test]
fn strip_stays_in_its_place_and_leaves_what_was_said() {
    let paper = Paper::default();
    let mut view = live(&paper, &Arc::new(AtomicU16::new(100)), 40);
    view.say("before");
    run(&mut view);
    let text = Screen::show(120, &paper.text()).lines.join("\n");
    assert_eq!(text.matches("before").count(), 1);
    assert_eq!(text.matches("step 1,240/5,000").count(), 1, "{text}");
    assert_eq!(text.matches(" saving a checkpoint \u{2500}").count(), 1, "{text}");
    assert_eq!(text.matches("alarm at step 1,205: the representation collapses").count(), 1, "{text}");
    assert_eq!(text.lines().count(), 10, "{text}");
    view.finish_at(25.0);
    let text = Screen::show(120, &paper.text()).lines.join("\n");
    insta::assert_snapshot!("after_the_end", text);
}

#[test]
fn narrower_terminal_wraps_the_last_frame_and_it_is_still_replaced() {
    let (paper, columns) = (Paper::default(), Arc::new(AtomicU16::new(90)));
    let mut view = live(&paper, &columns, 40);
    view.update_at(&moment(1_001), 0.0);
    let before = paper.text().len();
    columns.store(60, Ordering::Relaxed);
    view.update_at(&moment(1_002), 1.0);
    let second = paper.text()[before..].to_owned();
    // Of eight lines the rule and the bar, which reach the edge, were wrapped into two each.
    assert!(second.starts_with("\x1b[?2026h\r\x1b[10A"), "{second:?}");
}

#[test]
fn steps_are_drawn_eight_times_a_second_at_most() {
    let paper = Paper::default();
    let mut view = live(&paper, &Arc::new(AtomicU16::new(100)), 40);
    for step in 0..10_000 {
        view.update_at(&moment(1_001 + step), step as f64 * 0.001);
    }
    let frames = paper.text().matches("\x1b[?2026h").count();
    assert!((70..=81).contains(&frames), "{frames} frames in ten seconds");
}

#[test]
fn colours_are_left_where_they_are_not_wanted() {
    let colourful = |colour| {
        let paper = Paper::default();
        let mut strip = Strip::new(Box::new(paper.clone()), Box::new(|| Some((80, 24))), colour);
        strip.paint(&Seen::default());
        paper.text().contains("\x1b[0;90m")
    };
    assert_eq!([colourful(true), colourful(false)], [true, false]);
}

#[test]
fn losses_of_any_number_of_steps_are_few_and_keep_their_shape() {
    let mut seen = Seen::default();
    for step in 1..=100_000 {
        let loss = if step % 1_000 == 7 { f32::NAN } else { 1.0 - step as f32 / 1e5 };
        seen.take(&Moment { loss, ..moment(step) }, step as f64);
    }
    let columns = seen.losses.columns(40, 15);
    assert!((30..=40).contains(&columns.len()), "{columns:?}");
    assert!(columns.is_sorted_by(|a, b| a >= b), "{columns:?}");
    assert_eq!((columns[0], columns[columns.len() - 1]), (15, 0));
    assert_eq!(Losses::default().columns(0, 15), [0; 0]);
}
