//! Probes against scikit-learn, whatever the number of threads; what they refuse.

use std::collections::HashMap;

use ajepa_model::probe::{
    Features, Interval, KnnConfig, Labelled, Labels, LinearConfig, ProbeError, Scores, Votes, mean_average_precision,
};

use crate::fixture::noise;

const WIDTH: usize = 8;
const N_CLASSES: usize = 5;

/// As in `fixtures/make_probe_fixtures.py`.
struct Split {
    one: (Vec<f32>, Labels),
    several: (Vec<f32>, Labels),
}

impl Split {
    fn draw(name: &str, n: usize) -> Self {
        let centres = noise("centres", N_CLASSES * WIDTH);
        let around = noise(&format!("{name} around"), n * WIDTH);
        let draws: Vec<f32> = noise(&format!("{name} draws"), n).into_iter().map(|x| f32::midpoint(x, 1.0)).collect();
        let one: Vec<u32> =
            draws.iter().map(|x| ((x * x * N_CLASSES as f32) as u32).min(N_CLASSES as u32 - 1)).collect();
        let several: Vec<Vec<u32>> = noise(&format!("{name} several"), n * N_CLASSES)
            .chunks_exact(N_CLASSES)
            .map(|row| (0..N_CLASSES as u32).filter(|class| row[*class as usize] > 0.4).collect())
            .collect();
        let centre = |class: u32| &centres[class as usize * WIDTH..][..WIDTH];
        let features = |classes: &dyn Fn(usize) -> Vec<u32>| -> Vec<f32> {
            let number = |row: usize, i: usize| {
                classes(row).into_iter().fold(0.0, |sum, class| sum + centre(class)[i]) + around[row * WIDTH + i]
            };
            (0..n * WIDTH).map(|at| number(at / WIDTH, at % WIDTH)).collect()
        };
        let (x, x_several) = (features(&|row| vec![one[row]]), features(&|row| several[row].clone()));
        Self { one: (x, Labels::One(one)), several: (x_several, Labels::Several(several)) }
    }

    fn both() -> [Self; 2] {
        [Self::draw("train", 300), Self::draw("test", 90)]
    }
}

fn labelled((features, labels): &(Vec<f32>, Labels)) -> Labelled<'_> {
    Labelled::new(Features::new(WIDTH, features).unwrap(), labels).unwrap()
}

fn stored() -> HashMap<String, serde_json::Value> {
    serde_json::from_str(include_str!("../fixtures/probe.json")).unwrap()
}

#[track_caller]
fn assert_near(what: &str, got: &[f64], within: f64) {
    let expected: Vec<f64> = match &stored()[what] {
        serde_json::Value::Array(list) => list.iter().map(|x| x.as_f64().unwrap()).collect(),
        number => vec![number.as_f64().unwrap()],
    };
    assert_eq!(got.len(), expected.len(), "{what}");
    let off = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off <= within, "{what}: off by {off:e}");
}

fn numbers(scores: Scores) -> [f64; 2] {
    [scores.accuracy.unwrap(), scores.balanced_accuracy.unwrap()]
}

#[test]
fn neighbours_are_those_of_scikit_learn() {
    let [train, test] = Split::both();
    let knn = KnnConfig::default();
    let votes = knn.votes(labelled(&train.one), labelled(&test.one)).unwrap();
    assert_near("knn_votes", votes.values(), 1e-6);
    let [accuracy, balanced] = numbers(knn.score(labelled(&train.one), labelled(&test.one)).unwrap());
    assert_near("knn_accuracy", &[accuracy], 1e-12);
    assert_near("knn_balanced_accuracy", &[balanced], 1e-12);
    let [others, _] = numbers(knn.leave_one_out(labelled(&train.one)).unwrap());
    assert_near("knn_others_accuracy", &[others], 1e-12);
    let several = knn.score(labelled(&train.several), labelled(&test.several)).unwrap();
    assert_near("knn_map", &[several.mean_average_precision.unwrap()], 1e-6);
    assert_eq!((several.accuracy, several.main()), (None, several.mean_average_precision.unwrap()));
}

#[test]
fn a_hyperplane_is_that_of_scikit_learn() {
    let [train, test] = Split::both();
    let probe = LinearConfig::default().fit(labelled(&train.one)).unwrap();
    assert_near("linear_weights", &probe.weights(), 1e-4);
    assert_near("linear_intercepts", &probe.intercepts(), 1e-4);
    let scores = LinearConfig::default().score(labelled(&train.one), labelled(&test.one)).unwrap();
    let [accuracy, balanced] = numbers(scores);
    assert_near("linear_accuracy", &[accuracy], 1e-12);
    assert_near("linear_balanced_accuracy", &[balanced], 1e-12);

    let config = LinearConfig { l2: 10.0 };
    let probe = config.fit(labelled(&train.several)).unwrap();
    assert_near("several_weights", &probe.weights(), 1e-4);
    assert_near("several_intercepts", &probe.intercepts(), 1e-4);
    let scores = config.score(labelled(&train.several), labelled(&test.several)).unwrap();
    assert_near("several_map", &[scores.mean_average_precision.unwrap()], 1e-6);
}

/// More features than clips, some of which never vary: the minimum is still one and is reached.
#[test]
fn wide_and_separable_features_do_not_run_away() {
    let mut features = noise("wide", 40 * 64);
    features.chunks_exact_mut(64).for_each(|row| row[7] = 3.0);
    let labels = Labels::One((0..40).map(|row| row % 4).collect());
    let clips = Labelled::new(Features::new(64, &features).unwrap(), &labels).unwrap();
    for l2 in [1e-6, 1.0, 1e6] {
        let probe = LinearConfig { l2 }.fit(clips).unwrap();
        let largest = probe.weights().into_iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        assert!(largest.is_finite() && largest < 100.0, "l2 {l2}: {largest}");
        if l2 <= 1.0 {
            assert_eq!(probe.votes(clips.features).unwrap().scores(&labels).accuracy, Some(1.0), "l2 {l2}");
        }
    }
}

/// Every number that a probe gives.
fn everything(threads: usize) -> (Votes, Vec<f64>, Vec<f64>, Interval, Interval) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let [train, test] = [Split::draw("train", 700), Split::draw("test", 200)];
        let votes = KnnConfig::default().votes(labelled(&train.one), labelled(&test.one)).unwrap();
        let several = KnnConfig::default().votes(labelled(&train.several), labelled(&test.several)).unwrap();
        let one = LinearConfig::default().fit(labelled(&train.one)).unwrap().weights();
        let rest = LinearConfig::default().fit(labelled(&train.several)).unwrap().weights();
        let interval = votes.interval(&test.one.1, 200, 0.9, 5);
        let several = several.interval(&test.several.1, 200, 0.9, 5);
        (votes, one, rest, interval, several)
    })
}

#[test]
fn the_same_bits_with_one_thread_or_three() {
    let once = everything(1);
    assert_eq!(once, everything(3));
    assert_eq!(once, everything(2));
    let (votes, _, _, interval, several) = once;
    let accuracy = votes.scores(&Split::draw("test", 200).one.1).main();
    assert!(interval.low < accuracy && accuracy < interval.high, "{interval:?} {accuracy}");
    assert!(several.low < several.high && several.high - several.low < 0.15, "{several:?}");
}

#[test]
fn equals_are_taken_in_order_and_a_vector_of_zeros_is_near_to_none() {
    let train = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    let labels = Labels::One(vec![1, 0, 0]);
    let train = Labelled::new(Features::new(2, &train).unwrap(), &labels).unwrap();
    let asked = Labels::One(vec![1, 0]);
    let test = Labelled::new(Features::new(2, &[2.0, 0.0, 0.0, 0.0]).unwrap(), &asked).unwrap();
    let votes = |k| KnnConfig { k, ..KnnConfig::default() }.votes(train, test).unwrap();
    assert_eq!(votes(1).winners(), [1, 1]);
    // To zeros all three are equally near.
    let [zero, one] = votes(99).values()[2..] else { panic!() };
    assert!((zero - 2.0 / 3.0).abs() < 1e-12 && (one - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn classes_by_name() {
    let rows: [&[&str]; 3] = [&["b", "a"], &[], &["c"]];
    let (mut labels, names) = Labels::by_name(&rows);
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(labels, Labels::Several(vec![vec![1, 0], vec![], vec![2]]));
    assert_eq!(labels.split_off(2), Labels::Several(vec![vec![2]]));
    assert_eq!((labels.n_rows(), labels.n_classes()), (2, 2));
    assert!(mean_average_precision(&[0.0; 3], 1, &Labels::Several(vec![vec![]; 3])).is_nan());
}

#[test]
fn what_cannot_be_probed_is_refused() {
    assert_eq!(Features::new(4, &[]).unwrap_err(), ProbeError::Empty { what: "features" });
    let error = Features::new(4, &[0.0; 7]).unwrap_err();
    assert_eq!(error.to_string(), "numbers in the features: expected 8, got 7");
    let error = Features::new(2, &[0.0, 1.0, f32::NAN, 0.0]).unwrap_err();
    assert_eq!(error.to_string(), "the features of clip 1 hold a number that is not finite");

    let (four, wide) = (noise("refused", 8), noise("refused", 12));
    let [narrow, wide] = [Features::new(2, &four).unwrap(), Features::new(3, &wide).unwrap()];
    let labels = |list: &[u32]| Labels::One(list.to_vec());
    let (both, one_class, other) = (labels(&[0, 0, 1, 1]), labels(&[2; 4]), labels(&[0, 1, 3, 0]));
    let several = Labels::Several(vec![vec![0], vec![1], vec![], vec![0, 1]]);
    let nothing = Labels::Several(vec![vec![]; 4]);
    assert_eq!(
        Labelled::new(narrow, &labels(&[0])).unwrap_err(),
        ProbeError::Shape { what: "labels", expected: 4, got: 1 }
    );
    let of = |features, labels| Labelled::new(features, labels).unwrap();
    let asked = |train, test| KnnConfig::default().score(train, test).unwrap_err();
    let good = of(narrow, &both);
    assert_eq!(asked(good, of(wide, &both)), ProbeError::Shape { what: "width of the features", expected: 2, got: 3 });
    assert_eq!(asked(good, of(narrow, &several)), ProbeError::Kinds);
    assert_eq!(
        asked(good, of(narrow, &other)).to_string(),
        "class 3 is asked about, but no clip to learn from is of it"
    );
    assert_eq!(asked(of(narrow, &one_class), of(narrow, &one_class)), ProbeError::OneClass { class: 2 });
    assert_eq!(LinearConfig::default().fit(of(narrow, &one_class)).unwrap_err(), ProbeError::OneClass { class: 2 });
    assert_eq!(LinearConfig::default().fit(of(narrow, &nothing)).unwrap_err(), ProbeError::Empty { what: "labels" });
    assert_eq!(LinearConfig { l2: 0.0 }.fit(good).unwrap_err(), ProbeError::Config { field: "l2", value: 0.0 });
    let alone = KnnConfig::default().leave_one_out(of(narrow, &other)).unwrap_err();
    assert_eq!(alone, ProbeError::Unseen { class: 1 });
    for config in
        [KnnConfig { k: 0, ..KnnConfig::default() }, KnnConfig { temperature: f64::NAN, k: 1, ..KnnConfig::default() }]
    {
        assert!(matches!(config.score(good, good).unwrap_err(), ProbeError::Config { .. }));
    }
}
