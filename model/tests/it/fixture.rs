//! Numbers shared with `fixtures/make_fixtures.py`: noise that both compute, results that it stored.

use std::collections::HashMap;

use ajepa_model::{Learner, Recipe};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

/// `n` numbers in [-1, 1): hashes of the index, begun from a hash of the name.
pub fn noise(name: &str, n: usize) -> Vec<f32> {
    let salt = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    let hash = |i: u64| {
        let mut x = i.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(salt);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    (0..n as u64).map(|i| ((hash(i) >> 40) as f64 / 8_388_608.0 - 1.0) as f32).collect()
}

/// Noise as a matrix.
pub fn matrix(name: &str, rows: usize, cols: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(noise(name, rows * cols), [rows, cols]), &Device::default())
}

pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// A learner whose parameters begin as the script's do.
pub fn learner(recipe: Recipe) -> Learner {
    let mut learner = Learner::new(recipe, 0, &Device::default()).unwrap();
    let names: Vec<(String, usize)> = learner
        .model
        .parts()
        .flat_map(|(part, params)| params.specs().iter().map(move |spec| (format!("{part}.{}", spec.name), spec.len())))
        .collect();
    for (name, n) in names {
        let drawn_as = name.replace("target_encoder.", "encoder.");
        let start = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
        let data: Vec<f32> = noise(&drawn_as, n).into_iter().map(|x| (start + 0.2 * f64::from(x)) as f32).collect();
        learner.model.write(&name, &data).unwrap();
    }
    learner
}

/// All tensors of a fixture by name.
pub fn load(case: &str) -> HashMap<String, Vec<f32>> {
    let path = format!("{}/tests/fixtures/{case}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    stored.tensors().into_iter().map(|(name, view)| (name, floats(view.data()))).collect()
}

/// The largest difference is at most `share` of the largest number.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], expected: &[f32], share: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    let off =
        got.iter().zip(expected).fold(0.0_f32, |max, (a, b)| if (a - b).abs() <= max { max } else { (a - b).abs() });
    assert!(off <= share * largest, "{what}: off by {off:e}, largest number {largest:e}");
}
