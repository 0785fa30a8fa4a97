//! Heads behind what pools a clip's vectors: held against PyTorch (fixtures/make_pool_fixtures.py), and asked what nothing else can answer.

use ajepa_model::probe::{
    Examples, Features, Fitted, Head, HeadConfig, Labelled, Labels, Measure, Order, Pool, ProbeError, Sets,
};
use serde_json::Value;

use crate::fixture::{assert_close, noise};

const WIDTH: usize = 24;
const N_CLASSES: usize = 5;
const N_LAYERS: usize = 4;

/// Clips of several vectors.
struct Clips {
    x: Vec<f32>,
    starts: Vec<usize>,
    labels: Labels,
}

impl Clips {
    /// As the fixture's script draws them.
    fn stored(name: &str, lens: &[usize]) -> (Self, Vec<u32>) {
        let class = |x: f32| ((f32::midpoint(x, 1.0) * N_CLASSES as f32) as u32).min(N_CLASSES as u32 - 1);
        let classes: Vec<u32> = noise(&format!("{name} draws"), lens.len()).into_iter().map(class).collect();
        let centres = noise("centres", N_CLASSES * WIDTH);
        let mut x = noise(&format!("{name} vectors"), lens.iter().sum::<usize>() * WIDTH);
        let starts = starts(lens);
        for (start, class) in starts.iter().zip(&classes) {
            let second = &mut x[(start + 1) * WIDTH..][..WIDTH];
            let centre = &centres[*class as usize * WIDTH..][..WIDTH];
            second.iter_mut().zip(centre).for_each(|(x, centre)| *x += centre);
        }
        (Self { x, starts, labels: Labels::One(classes.clone()) }, classes)
    }

    fn several(self, classes: &[u32]) -> Self {
        Self { labels: Labels::Several(classes.iter().map(|class| vec![*class]).collect()), ..self }
    }

    fn examples(&self, width: usize) -> Examples<'_> {
        let features = Features::new(width, &self.x).unwrap();
        Examples::Sets(Sets::new(features, &self.starts, &self.labels).unwrap())
    }

    /// Clip by clip, what `one` makes of its vectors.
    fn each(&self, width: usize, one: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
        self.starts.windows(2).flat_map(|at| one(&self.x[at[0] * width..at[1] * width])).collect()
    }
}

fn starts(lens: &[usize]) -> Vec<usize> {
    let mut starts = vec![0];
    for len in lens {
        starts.push(starts[starts.len() - 1] + len);
    }
    starts
}

fn lens(name: &str, n: usize) -> Vec<usize> {
    noise(&format!("{name} lens"), n).into_iter().map(|x| 2 + ((x + 1.0) * 3.5) as usize).collect()
}

fn begun(pool: Pool) -> Head {
    let scaled = |name: &str, n: usize| noise(name, n).into_iter().map(|x| 0.2 * x).collect::<Vec<f32>>();
    Head::of(WIDTH, &scaled("weight", N_CLASSES * WIDTH), &scaled("bias", N_CLASSES)).behind(pool)
}

fn taught(pool: Pool, train: &Clips) -> Head {
    let config = HeadConfig { epochs: 3, batch_len: 16, learning_rate: 1e-2, ..HeadConfig::default() };
    let n = train.labels.n_rows();
    let mut order = |epoch| {
        let keys = noise(&format!("order {epoch}"), n);
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]));
        order
    };
    config.fit(begun(pool), &train.examples(WIDTH), &mut order, None).unwrap().head
}

/// Every number that was learnt, after 24 steps, and what it says of clips it has not seen.
fn assert_as_stored(case: &str, head: &Head, test: &Clips) {
    let stored: Value = serde_json::from_str(include_str!("../fixtures/pools.json")).unwrap();
    let numbers = |name: &str| -> Vec<f32> {
        stored[case][name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let votes = head.votes_of(&test.examples(WIDTH)).unwrap();
    let votes: Vec<f32> = votes.values().iter().map(|x| *x as f32).collect();
    for (name, got) in [
        ("pool", head.pool().unwrap().numbers()),
        ("scale", head.scale()),
        ("shift", head.shift()),
        ("weight", &head.weights()),
        ("bias", head.biases()),
        ("votes", &votes),
    ] {
        assert_close(&format!("{case} {name}"), got, &numbers(name), 1e-4);
    }
}

#[test]
fn attention_learns_as_in_pytorch() {
    let (train, _) = Clips::stored("train frames", &lens("train", 120));
    let (test, _) = Clips::stored("test frames", &lens("test", 50));
    assert_as_stored("attention", &taught(Pool::attention(WIDTH, 2), &train), &test);
}

#[test]
fn a_mix_of_layers_learns_as_in_pytorch() {
    let (train, classes) = Clips::stored("train layers", &[N_LAYERS; 120]);
    let (test, _) = Clips::stored("test layers", &[N_LAYERS; 50]);
    let head = taught(Pool::layers(N_LAYERS), &train.several(&classes));
    assert_as_stored("layers", &head, &test);
    // The second layer is the one that knows.
    let shares = head.pool().unwrap().shares().unwrap();
    assert!(shares[1] > 0.4 && (shares.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{shares:?}");
}

const NARROW: usize = 16;

/// Two classes, by the sign of the second number of one frame, which a large first number marks. Another frame is that one's negative,
/// so that the mean over frames says nothing.
fn marked(name: &str, n: usize) -> Clips {
    let lens: Vec<usize> = lens(name, n).into_iter().map(|len| len + 2).collect();
    let starts = starts(&lens);
    let mut x = noise(&format!("{name} marked"), starts[n] * NARROW);
    let signs: Vec<f32> = noise(&format!("{name} signs"), n).into_iter().map(f32::signum).collect();
    for (start, sign) in starts.iter().zip(&signs) {
        let [one, other] = [start * NARROW, (start + 1) * NARROW];
        x[one] += 3.0;
        x[one + 1] = 2.0 * sign;
        for i in 0..NARROW {
            x[other + i] = -x[one + i];
        }
    }
    Clips { x, starts, labels: Labels::One(signs.iter().map(|sign| u32::from(*sign > 0.0)).collect()) }
}

/// Two classes, by the sign of the second number of layer 2 of 6.
fn layered(name: &str, n: usize) -> Clips {
    let mut x = noise(&format!("{name} layered"), n * 6 * NARROW);
    let signs: Vec<f32> = noise(&format!("{name} signs"), n).into_iter().map(f32::signum).collect();
    for (clip, sign) in x.chunks_exact_mut(6 * NARROW).zip(&signs) {
        clip[2 * NARROW + 1] = 0.8 * sign;
        // Vectors grow from layer to layer.
        for (layer, vector) in clip.chunks_exact_mut(NARROW).enumerate() {
            for x in vector {
                *x *= 2.0_f32.powi(layer as i32);
            }
        }
    }
    let labels = Labels::One(signs.iter().map(|sign| u32::from(*sign > 0.0)).collect());
    Clips { x, starts: (0..=n).map(|clip| clip * 6).collect(), labels }
}

fn fit(head: Head, train: &Examples<'_>) -> Fitted {
    let config = HeadConfig { epochs: 20, learning_rate: 1e-2, ..HeadConfig::default() };
    let n = train.n_clips();
    config.fit(head, train, &mut |epoch| Order::Even.of(&[n], 5, epoch), None).unwrap()
}

/// Accuracy on the second of a head of one vector a clip, taught with the first.
fn alone(train: (&[f32], &Labels), test: (&[f32], &Labels)) -> f64 {
    let [train, test] = [train, test]
        .map(|(x, labels)| Examples::Clips(Labelled::new(Features::new(NARROW, x).unwrap(), labels).unwrap()));
    Measure::Accuracy.of(&fit(Head::new(NARROW, 2, 1), &train).head, &test)
}

#[test]
fn attention_finds_what_the_mean_over_frames_has_lost() {
    let [train, test] = [marked("train", 400), marked("test", 200)];
    let mean = |clips: &Clips| {
        clips.each(NARROW, |own| {
            let n = own.len() / NARROW;
            (0..NARROW).map(|i| (0..n).map(|t| own[t * NARROW + i]).sum::<f32>() / n as f32).collect()
        })
    };
    let by_mean = alone((&mean(&train), &train.labels), (&mean(&test), &test.labels));
    let head = Head::new(NARROW, 2, 1).behind(Pool::attention(NARROW, 4));
    let attended = Measure::Accuracy.of(&fit(head, &train.examples(NARROW)).head, &test.examples(NARROW));
    assert!(by_mean < 0.65 && attended > 0.95, "{by_mean} by the mean, {attended} by attention");
}

#[test]
fn a_mix_finds_the_layer_that_knows() {
    let [train, test] = [layered("train", 400), layered("test", 200)];
    let last = |clips: &Clips| clips.each(NARROW, |own| own[5 * NARROW..].to_vec());
    let by_last = alone((&last(&train), &train.labels), (&last(&test), &test.labels));
    let fitted = fit(Head::new(NARROW, 2, 1).behind(Pool::layers(6)), &train.examples(NARROW)).head;
    let mixed = Measure::Accuracy.of(&fitted, &test.examples(NARROW));
    let shares = fitted.pool().unwrap().shares().unwrap();
    assert!(by_last < 0.65 && mixed > 0.95, "{by_last} by the last layer, {mixed} by the mix");
    assert!(shares[2] > 0.9, "{shares:?}");
}

#[test]
fn what_a_clip_is_said_to_be_does_not_depend_on_longer_ones_beside_it() {
    let clips = marked("train", 60);
    let head = fit(Head::new(NARROW, 2, 1).behind(Pool::attention(NARROW, 4)), &clips.examples(NARROW)).head;
    let together = head.votes_of(&clips.examples(NARROW)).unwrap();
    for clip in 0..60 {
        let [first, end] = [clips.starts[clip], clips.starts[clip + 1]];
        let x = clips.x[first * NARROW..end * NARROW].to_vec();
        let one = Clips { x, starts: vec![0, end - first], labels: Labels::One(vec![0]) };
        let alone = head.votes_of(&one.examples(NARROW)).unwrap();
        let worst = alone.values().iter().zip(&together.values()[clip * 2..]).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f64::max) < 1e-5, "clip {clip}");
    }
}

#[test]
fn a_seed_decides_everything_and_what_does_not_fit_is_refused() {
    let clips = marked("train", 40);
    let begun = |seed| Head::new(NARROW, 2, seed).behind(Pool::attention(NARROW, 1));
    let learnt = |seed| fit(begun(seed), &clips.examples(NARROW));
    assert_eq!(learnt(1), learnt(1));
    assert_ne!(learnt(1).head, learnt(2).head);
    let config = HeadConfig::default();
    let refused = |head: Head| config.fit(head, &clips.examples(NARROW), &mut |_| vec![0], None).unwrap_err();
    assert_eq!(refused(Head::new(NARROW, 2, 1)), ProbeError::Pool);
    assert!(matches!(refused(begun(1).behind(Pool::layers(6))), ProbeError::Shape { what: "layers of a clip", .. }));
    let labels = Labels::One(vec![0]);
    let one = Labelled::new(Features::new(NARROW, &clips.x[..NARROW]).unwrap(), &labels).unwrap();
    let one = Examples::Clips(one);
    assert_eq!(begun(1).votes_of(&one).unwrap_err(), ProbeError::Pool);
}
