//! The probes of X-ARES 0.1.3, held against the package itself: fixtures/make_xares_fixtures.py runs its trainer and its metrics.

use std::ops::Range;

use ajepa_model::probe::{
    Average, Examples, Features, Fitted, Frames, Head, HeadConfig, KnnConfig, Labelled, Labels, Measure, Order,
    Similarity,
};
use serde_json::Value;

use crate::fixture::noise;

const WIDTH: usize = 24;
const N_CLASSES: usize = 5;
const N_TRAIN: usize = 300;
const N_TEST: usize = 90;
const EPOCHS: usize = 4;

fn stored() -> Value {
    serde_json::from_str(include_str!("../fixtures/xares.json")).unwrap()
}

fn vectors(name: &str, classes: &[Vec<u32>]) -> Vec<f32> {
    let centres = noise("centres", N_CLASSES * WIDTH);
    let mut rows = noise(&format!("{name} around"), classes.len() * WIDTH);
    for (row, classes) in rows.chunks_exact_mut(WIDTH).zip(classes) {
        for &class in classes {
            let centre = &centres[class as usize * WIDTH..][..WIDTH];
            row.iter_mut().zip(centre).for_each(|(x, centre)| *x += 0.5 * centre);
        }
    }
    rows
}

fn one(name: &str, n: usize) -> (Vec<f32>, Labels) {
    let class = |x: f32| ((f32::midpoint(x, 1.0) * N_CLASSES as f32) as u32).min(N_CLASSES as u32 - 1);
    let classes: Vec<u32> = noise(&format!("{name} draws"), n).into_iter().map(class).collect();
    (vectors(name, &classes.iter().map(|class| vec![*class]).collect::<Vec<_>>()), Labels::One(classes))
}

fn chosen(name: &str, n_rows: usize, above: f32) -> Vec<Vec<u32>> {
    let rows = noise(name, n_rows * N_CLASSES);
    let of = |row: &[f32]| (0..N_CLASSES as u32).filter(|class| row[*class as usize] > above).collect();
    rows.chunks_exact(N_CLASSES).map(of).collect()
}

fn order(n: usize) -> impl FnMut(usize) -> Vec<u32> {
    move |epoch| {
        let keys = noise(&format!("order {epoch}"), n);
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]));
        order
    }
}

fn begun() -> Head {
    let scaled = |name: &str, n: usize| noise(name, n).into_iter().map(|x| 0.2 * x).collect::<Vec<f32>>();
    Head::of(WIDTH, &scaled("weight", N_CLASSES * WIDTH), &scaled("bias", N_CLASSES))
}

fn labelled<'a>(features: &'a [f32], labels: &'a Labels) -> Labelled<'a> {
    Labelled::new(Features::new(WIDTH, features).unwrap(), labels).unwrap()
}

/// Epochs and the score at the end to the last digit that a score of so many clips has; weights as near as f32 lets two orders of a
/// sum be.
fn assert_as_stored(case: &str, fitted: &Fitted, last: f64, within: f64) {
    let stored = &stored()[case];
    let numbers =
        |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let near = |what: &str, got: &[f64], expected: &[f64], within: f64| {
        assert_eq!(got.len(), expected.len(), "{case} {what}");
        let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off <= within, "{case} {what}: off by {off:e}");
    };
    near("epochs", &fitted.scores, &numbers(&stored["epochs"]), within);
    near("test", &[last], &[stored["test"].as_f64().unwrap()], within);
    let weights = &stored["weights"];
    let head = &fitted.head;
    let wide = |numbers: &[f32]| numbers.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    near("scale", &wide(head.scale()), &numbers(&weights["ln.weight"]), 1e-5);
    near("shift", &wide(head.shift()), &numbers(&weights["ln.bias"]), 1e-5);
    near("weight", &wide(&head.weights()), &numbers(&weights["fc.weight"]), 1e-5);
    near("bias", &wide(head.biases()), &numbers(&weights["fc.bias"]), 1e-5);
}

#[test]
fn neighbours_are_those_of_the_package() {
    let ((x, y), (x_test, y_test)) = (one("train", N_TRAIN), one("test", N_TEST));
    let knn = KnnConfig { similarity: Similarity::Xares, ..KnnConfig::default() };
    let votes = knn.votes_among(labelled(&x, &y), Features::new(WIDTH, &x_test).unwrap(), N_CLASSES).unwrap();
    let got = votes.scores(&y_test).accuracy.unwrap();
    assert_eq!(got, stored()["knn"].as_f64().unwrap());
    let by_cosine = KnnConfig::default().score(labelled(&x, &y), labelled(&x_test, &y_test)).unwrap().accuracy.unwrap();
    assert_ne!(got, by_cosine);
}

#[test]
fn a_head_learns_as_the_package_teaches() {
    let ((x, y), (x_test, y_test)) = (one("train", N_TRAIN), one("test", N_TEST));
    let test = Examples::Clips(labelled(&x_test, &y_test));
    let judge = |head: &Head| Measure::Accuracy.of(head, &test);
    let config = HeadConfig { epochs: EPOCHS, ..HeadConfig::default() };
    let train = Examples::Clips(labelled(&x, &y));
    let fitted = config.fit(begun(), &train, &mut order(N_TRAIN), Some(&judge)).unwrap();
    assert_as_stored("one", &fitted, judge(&fitted.head), 1e-12);
}

#[test]
fn a_head_learns_several_classes_a_clip() {
    let [train_labels, mut test_labels] =
        [("train", N_TRAIN), ("test", N_TEST)].map(|(name, n)| chosen(&format!("{name} several"), n, 0.4));
    let (x, x_test) = (vectors("train", &train_labels), vectors("test", &test_labels));
    for row in &mut test_labels {
        row.retain(|class| *class != 3);
    }
    let (y, y_test) = (Labels::Several(train_labels), Labels::Several(test_labels));
    let test = Examples::Clips(labelled(&x_test, &y_test));
    let judge = |head: &Head| Measure::MeanPrecisionOfAll.of(head, &test);
    let config = HeadConfig { epochs: EPOCHS, ..HeadConfig::default() };
    let train = Examples::Clips(labelled(&x, &y));
    let fitted = config.fit(begun(), &train, &mut order(N_TRAIN), Some(&judge)).unwrap();
    // Two clips whose logits differ by a rounding may change places.
    assert_as_stored("several", &fitted, judge(&fitted.head), 1e-5);
    assert!(Measure::MeanPrecision.of(&fitted.head, &test) > judge(&fitted.head));
}

/// Clips of 8 to 19 frames with labels for 16 frames each.
struct Clips {
    x: Vec<f32>,
    starts: Vec<usize>,
    labels: Labels,
    label_starts: Vec<usize>,
}

impl Clips {
    fn draw(name: &str, n: usize) -> Self {
        let len = |x: f32| (8.0 + (x + 1.0) * 6.0) as usize;
        let lens: Vec<usize> = noise(&format!("{name} lens"), n).into_iter().map(len).collect();
        let labels = chosen(&format!("{name} frames"), n * 16, 0.5);
        let of = |clip: usize, frame: usize| if frame < 16 { labels[clip * 16 + frame].clone() } else { Vec::new() };
        let frames = |clip: usize| -> Range<usize> { 0..lens[clip] };
        let of_frames: Vec<Vec<u32>> =
            (0..n).flat_map(|clip| frames(clip).map(move |f| (clip, f))).map(|(c, f)| of(c, f)).collect();
        let mut starts = vec![0];
        for len in &lens {
            starts.push(starts[starts.len() - 1] + len);
        }
        let x = vectors(&format!("{name} frame"), &of_frames);
        Self { x, starts, labels: Labels::Several(labels), label_starts: (0..=n).map(|clip| clip * 16).collect() }
    }

    fn examples(&self) -> Examples<'_> {
        let features = Features::new(WIDTH, &self.x).unwrap();
        Examples::Frames(Frames::new(features, &self.starts, &self.labels, &self.label_starts).unwrap())
    }
}

#[test]
fn a_head_learns_frames_and_is_scored_on_segments() {
    let (train, test) = (Clips::draw("train", 60), Clips::draw("test", 21));
    let config = HeadConfig { epochs: EPOCHS, batch_len: 8, positive_weight: 3.0, ..HeadConfig::default() };
    for (name, average) in [("macro", Average::Macro), ("micro", Average::Micro)] {
        // 1 s of frames 625 ms apart.
        let measure = Measure::SegmentF1 { frames: 2, average, batch_len: 8 };
        let judge = |head: &Head| measure.of(head, &test.examples());
        let fitted = config.fit(begun(), &train.examples(), &mut order(60), Some(&judge)).unwrap();
        assert_as_stored(name, &fitted, judge(&fitted.head), 1e-12);
    }
}

#[test]
fn a_seed_decides_everything() {
    let ((x, y), (x_test, y_test)) = (one("train", N_TRAIN), one("test", N_TEST));
    let test = Examples::Clips(labelled(&x_test, &y_test));
    let fit = |seed: u64| {
        let mut order = |epoch| Order::Xares.of(&[100, 200], seed, epoch);
        let head = Head::new(WIDTH, N_CLASSES, seed);
        let judge = |head: &Head| Measure::Accuracy.of(head, &test);
        HeadConfig::default().fit(head, &Examples::Clips(labelled(&x, &y)), &mut order, Some(&judge)).unwrap()
    };
    let fitted = fit(1);
    assert_eq!(fitted, fit(1));
    assert_ne!(fitted.head, fit(2).head);
    let best = fitted.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(fitted.scores[fitted.epoch - 1], best);
    assert!(fitted.scores[..fitted.epoch - 1].iter().all(|score| *score < best));
}
