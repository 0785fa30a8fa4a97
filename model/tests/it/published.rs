//! Files that PyTorch wrote, in every published layout: imported, they give the vectors that PyTorch gives.

use std::path::PathBuf;
use std::sync::Arc;

use ajepa_model::checkpoint::pytorch::{Generation, ImportError, ImportOptions, Imported, List};
use ajepa_model::checkpoint::{About, Checkpoint};
use ajepa_model::{EncoderChoice, FrozenEncoder, Learner, Pictures, Positions, Preset};
use ajepa_store::{Fs, RealFs};
use burn::tensor::Device;
use proptest::prelude::*;

use crate::fixture::{load, noise};

/// The fixtures' heads, which their narrow tensors do not tell.
const HEADS: ImportOptions = ImportOptions { preset: None, n_heads: Some(2), skip_unexpected: false };

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published").join(name)
}

fn save(imported: &Imported) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let path = dir.path().join("c");
    assert!(imported.save(&fs, &path, About::default()).unwrap());
    assert!(!imported.save(&fs, &path, About::default()).unwrap(), "a checkpoint is never overwritten");
    let checkpoint = Checkpoint::open(&path).unwrap();
    checkpoint.verify().unwrap();
    (dir, checkpoint)
}

/// The largest difference from PyTorch's vectors.
fn off(checkpoint: &Checkpoint, choice: EncoderChoice, case: &str) -> f32 {
    let [rows, cols] = checkpoint.card().recipe.picture;
    let picture: Vec<f32> = noise(&format!("{case}.picture"), rows * cols).into_iter().map(|x| 3.0 * x).collect();
    let encoder = FrozenEncoder::load(checkpoint, choice, [rows, cols], &Device::default()).unwrap();
    let got = encoder.embed(Pictures::F32(&picture)).unwrap();
    let which = if choice == EncoderChoice::Context { "context" } else { "target" };
    let expected = &load("published/expected")[&format!("{case}.{which}")];
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn every_published_layout_gives_pytorchs_vectors() {
    use EncoderChoice::{Context, Target};
    let none = ImportOptions::default();
    let cases: [(_, _, _, _, &[EncoderChoice], _); 4] = [
        ("code.ckpt", HEADS, Generation::Of2025, Preset::Code225b816, &[Context, Target], 100_000),
        ("paper.ckpt", HEADS, Generation::Of2025, Preset::Paper2025, &[Context, Target], 5000),
        ("base.ckpt", none, Generation::Of2026, Preset::Base2026, &[Context, Target], 200_000),
        ("base.safetensors", HEADS, Generation::Of2026, Preset::Base2026, &[Context], 0),
    ];
    for (name, options, generation, preset, encoders, steps) in cases {
        let imported = Imported::open(&file(name), options).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((imported.generation(), imported.preset(), imported.steps()), (generation, preset, steps), "{name}");
        let positions = if preset == Preset::Base2026 { Positions::SinCosTimm } else { Positions::SinCos };
        assert_eq!(imported.recipe().positions, positions, "{name}");
        let sizes = imported.recipe().encoder;
        assert_eq!((sizes.width, sizes.depth, sizes.n_heads, sizes.mlp_ratio), (8, 2, 2, 4), "{name}");
        let (_dir, checkpoint) = save(&imported);
        assert_eq!(checkpoint.card().steps, steps);
        assert_eq!(EncoderChoice::usual(&checkpoint), *encoders.last().unwrap());
        let case = name.split('.').next().unwrap();
        for &choice in encoders {
            let off = off(&checkpoint, choice, case);
            println!("{name} {choice:?}: off by {off:e}");
            assert!(off <= 1e-4, "{name} {choice:?}: {off}");
        }
    }
}

/// By hand: `make_published.py full DIR`, then with `AJEPA_PUBLISHED_FULL=DIR`.
#[test]
fn a_vit_b_gives_pytorchs_vectors() {
    let Some(dir) = std::env::var_os("AJEPA_PUBLISHED_FULL").map(PathBuf::from) else {
        println!("skipped: AJEPA_PUBLISHED_FULL names no folder of make_published.py");
        return;
    };
    let began = std::time::Instant::now();
    let imported = Imported::open(&dir.join("full.ckpt"), ImportOptions::default()).unwrap();
    let (_dir, checkpoint) = save(&imported);
    println!("imported in {:?}", began.elapsed());
    let picture: Vec<f32> = noise("code.picture", 512 * 96).into_iter().map(|x| 3.0 * x).collect();
    let bytes = std::fs::read(dir.join("full.safetensors")).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let expected = stored.tensor("tokens").unwrap();
    let expected = expected.data().as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x));
    let encoder = FrozenEncoder::load(&checkpoint, EncoderChoice::Target, [512, 96], &Device::default()).unwrap();
    let got = encoder.embed(Pictures::F32(&picture)).unwrap();
    let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("off by {off:e}, largest {:e}", got.iter().fold(0.0_f32, |max, x| max.max(x.abs())));
    assert!(off <= 1e-4, "{off}");
}

#[test]
fn what_is_left_out_is_said() {
    let base = Imported::open(&file("base.ckpt"), ImportOptions::default()).unwrap();
    let left_out = base.left_out().join("\n");
    assert!(left_out.contains("spectrogram.mel_spec.mel_scale.fb"), "{left_out}");
    assert!(left_out.contains("its predictor (3 tensors)"), "{left_out}");
    let code = Imported::open(&file("code.ckpt"), HEADS).unwrap();
    assert_eq!(code.lists().collect::<Vec<_>>(), [List::Context, List::Target, List::Predictor]);
    assert_eq!(code.left_out(), [] as [&str; 0]);
}

#[test]
fn training_goes_on_from_an_import_with_fresh_moments() {
    for (name, has_predictor) in [("code.ckpt", true), ("base.safetensors", false)] {
        let (_dir, checkpoint) = save(&Imported::open(&file(name), HEADS).unwrap());
        let recipe = checkpoint.card().recipe.clone();
        let learner = Learner::restore_as(&checkpoint, recipe.clone(), 1, &Device::default()).unwrap();
        let fresh = Learner::new(recipe.clone(), 1, &Device::default()).unwrap();
        assert_eq!(learner.steps, checkpoint.card().steps);
        for ((list, params), (_, drawn)) in learner.lists().zip(fresh.lists()) {
            let same = params.iter().zip(drawn.iter()).all(|((_, a), (_, b))| a == b);
            let is_fresh = list.contains("moment") || (list == "predictor" && !has_predictor);
            assert_eq!(same, is_fresh, "{name}: {list}");
        }
        let (context, average) = (&learner.model.weights.encoder, learner.model.average.as_ref().unwrap());
        let equal = context.iter().zip(average.iter()).all(|((_, a), (_, b))| a == b);
        assert_eq!(equal, name == "base.safetensors", "one encoder is both");
        if name == "base.safetensors" {
            let wrong = ajepa_model::Recipe { positions: Positions::SinCos, ..recipe };
            let error = Learner::restore_as(&checkpoint, wrong, 1, &Device::default()).unwrap_err().to_string();
            assert!(error.contains("know their place by SinCosTimm, not by SinCos"), "{error}");
        }
    }
}

/// Names, shapes and numbers.
type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// A safetensors file from the fixture's tensors, changed.
fn edited(change: impl Fn(&mut Tensors)) -> Result<Imported, ImportError> {
    let bytes = std::fs::read(file("base.safetensors")).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect::<Vec<f32>>();
    let tensors = stored.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), numbers(view.data())));
    let mut tensors: Vec<_> = tensors.collect();
    change(&mut tensors);
    let raw: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, numbers)| (name, shape, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = raw.iter().map(|(name, shape, data)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap())
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edited.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    Imported::open(&path, HEADS)
}

#[test]
fn what_does_not_fit_is_refused_by_its_name() {
    let said = |change: &dyn Fn(&mut Tensors)| match edited(change) {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    };
    let find = |tensors: &mut Tensors, name: &str| tensors.iter().position(|(of, ..)| of == name).unwrap();
    edited(|_| ()).map(drop).unwrap();
    let error = said(&|tensors| {
        let at = find(tensors, "student.blocks.1.mlp.fc2.bias");
        tensors.remove(at);
        tensors.push(("quantizer.weight".to_owned(), vec![1], vec![0.0]));
        let at = find(tensors, "student.norm.weight");
        tensors[at].1 = vec![2, 4];
    });
    for part in [
        "missing: blocks.1.mlp.fc2.bias of the context encoder",
        "unexpected: quantizer.weight",
        "of another shape: student.norm.weight is [2, 4], wanted [8]",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let error = said(&|tensors| {
        let at = find(tensors, "student.pos_embed");
        tensors[at].2[100] += 0.1;
    });
    assert!(error.contains("student.pos_embed is no table of fixed positions of 8 x 16 patches"), "{error}");
    let error = said(&|tensors| {
        let at = find(tensors, "student.pos_embed");
        tensors[at].1 = vec![1, 64, 16];
    });
    assert!(
        error.contains("its pictures have 64 patches, those of the layout of 2026 (student, teacher) 128"),
        "{error}"
    );
    let error = said(&|tensors| tensors.retain(|(name, ..)| !name.contains("proj")));
    assert!(error.contains("no encoder of a published layout is among its tensors: spectrogram."), "{error}");
    let error = said(&|tensors| {
        let at = find(tensors, "student.norm.weight");
        let again = (format!("_orig_mod.{}", tensors[at].0), tensors[at].1.clone(), tensors[at].2.clone());
        tensors.push(again);
    });
    assert!(error.contains("is in it twice"), "{error}");
    let Err(error) = Imported::open(&file("paper.ckpt"), ImportOptions::default()) else { panic!("taken") };
    assert!(error.to_string().contains("how many heads share its 8 numbers"), "{error}");
}

#[test]
fn numbers_that_are_none_leave_no_checkpoint() {
    let imported = edited(|tensors| {
        let at = tensors.iter().position(|(name, ..)| name == "student.norm.bias").unwrap();
        tensors[at].2[3] = f32::NAN;
    });
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    // The file is gone by then, but it was read whole.
    let error = imported.unwrap().save(&fs, &dir.path().join("c"), About::default()).unwrap_err().to_string();
    assert!(error.contains("student.norm.bias: it holds a number that is not finite"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// All numbers that an import of `bytes` would write, or why there are none.
fn numbers(bytes: &[u8], name: &str) -> Result<Vec<u32>, ImportError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let imported = Imported::open(&path, HEADS)?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    imported.save(&fs, &dir.path().join("c"), About::default())?;
    let checkpoint = Checkpoint::open(&dir.path().join("c")).unwrap();
    let mut all = Vec::new();
    for file in &checkpoint.card().files {
        let tensors = checkpoint.tensors(&file.name).unwrap();
        for (name, shape) in tensors.names().unwrap() {
            all.extend(tensors.numbers(&name, &shape).unwrap().into_iter().map(f32::to_bits));
        }
    }
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A flipped bit in the archive is an error, or lies where nothing is read from: checksums of the archive guard the numbers, and
    /// nothing else of it can make other ones of the same names.
    #[test]
    fn a_flipped_bit_is_an_error_or_changes_nothing(at in 0_usize..78_807, bit in 0_u8..8, cut in prop::option::of(0_usize..78_807)) {
        let good = std::fs::read(file("code.ckpt")).unwrap();
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Some(cut) = cut.filter(|cut| cut % 8 == 0) {
            bytes.truncate(cut);
        }
        if let Ok(got) = numbers(&bytes, "code.ckpt") {
            prop_assert_eq!(got, numbers(&good, "code.ckpt").unwrap(), "byte {}", at);
        }
    }
}
