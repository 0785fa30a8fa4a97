//! A picture's vectors are a function of the picture alone, to the last bit: whatever stands beside it, wherever it stands, and
//! however many threads there are.

use ajepa_model::{
    Device, EncoderChoice, EncoderConfig, FrozenEncoder, Learner, ModelConfig, Pictures, PredictorConfig, Preset,
};

use crate::fixture::noise;

fn sizes(width: usize, n_heads: usize) -> ModelConfig {
    ModelConfig {
        encoder: Some(EncoderConfig { width, depth: 2, n_heads, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 }),
        predictor: Some(PredictorConfig { width: 16, depth: 1, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5 }),
        ..ModelConfig::default()
    }
}

/// Encodes one picture in company: `n` pictures of which it is number `at`.
fn in_company(encoder: &FrozenEncoder, picture: &[f32], n: usize, at: usize) -> Vec<u32> {
    let mut all = noise(&format!("others {n}"), n * picture.len());
    all[at * picture.len()..][..picture.len()].copy_from_slice(picture);
    let found = encoder.embed(Pictures::F32(&all)).unwrap();
    let each = found.len() / n;
    found[at * each..][..each].iter().map(|x| x.to_bits()).collect()
}

fn check(config: &ModelConfig, picture: [usize; 2]) {
    let learner = Learner::new(config.recipe().unwrap(), 3, &Device::default()).unwrap();
    let encoder = FrozenEncoder::of(&learner.model, EncoderChoice::Context, picture).unwrap();
    let one = noise("one", picture[0] * picture[1]);
    let alone: Vec<u32> = encoder.embed(Pictures::F32(&one)).unwrap().iter().map(|x| x.to_bits()).collect();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for n in [1, 2, 7, 32] {
            for at in [0, n / 2, n - 1] {
                let found = pool.install(|| in_company(&encoder, &one, n, at));
                let differ = found.iter().zip(&alone).filter(|(a, b)| a != b).count();
                assert_eq!(differ, 0, "{picture:?}, {threads} threads, {at} of {n}, of {} numbers", alone.len());
            }
        }
    }
}

#[test]
fn of_a_shipped_size() {
    let tiny = ModelConfig { preset: Preset::Tiny, ..ModelConfig::default() };
    check(&tiny, tiny.recipe().unwrap().picture);
}

#[test]
fn of_an_odd_width() {
    check(&sizes(60, 3), [80, 48]);
}

#[test]
fn of_few_narrow_tokens() {
    check(&sizes(32, 2), [64, 32]);
    check(&sizes(8, 1), [16, 32]);
    check(&sizes(100, 2), [32, 16]);
    // Products over more than 512 terms, into as few columns as rows.
    let long = EncoderConfig { width: 64, depth: 1, n_heads: 2, mlp_ratio: 20, norm_eps: 1e-5, drop_path: 0.0 };
    check(&ModelConfig { encoder: Some(long), ..sizes(64, 2) }, [64, 48]);
}

#[test]
fn of_one_token() {
    check(&sizes(32, 2), [16, 16]);
    check(&sizes(192, 3), [16, 16]);
}
