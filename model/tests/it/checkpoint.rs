//! Learners to disk and back: bit for bit at every step, whole or absent whatever fails, one loadable after every kill.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ajepa_model::checkpoint::{About, Checkpoint, CheckpointError};
use ajepa_model::{EncoderConfig, Learner, ModelConfig, Pictures, PredictorConfig, TrainBatch};
use ajepa_store::{Fs, FsFile, RealFs};
use burn::tensor::Device;

use crate::fixture::noise;

const N_CLIPS: usize = 4;

fn learner() -> Learner {
    let config = ModelConfig {
        picture: Some([64, 32]),
        encoder: Some(EncoderConfig { width: 32, depth: 2, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.2 }),
        predictor: Some(PredictorConfig { width: 16, depth: 1, n_heads: 2, mlp_ratio: 4, norm_eps: 1e-5 }),
        ..ModelConfig::default()
    };
    Learner::new(config.recipe().unwrap(), 11, &Device::default()).unwrap()
}

/// One step on the pictures that belong to it.
fn step(learner: &mut Learner) -> u32 {
    let pictures = noise(&format!("step {}", learner.steps), N_CLIPS * 64 * 32);
    let (context, target) = ([0, 1, 2].repeat(N_CLIPS), [3, 4, 5, 6].repeat(N_CLIPS));
    let pictures = Pictures::F32(&pictures);
    let batch = TrainBatch { pictures, context: &context, target: &target, n_clips: N_CLIPS, n_masks: 1, n_blocks: 1 };
    learner.step(&[batch]).unwrap().loss.to_bits()
}

fn bits(learner: &Learner) -> Vec<u32> {
    learner.lists().flat_map(|(_, params)| params.iter().flat_map(|(_, data)| data).map(f32::to_bits)).collect()
}

fn real() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

fn restore(dir: &Path) -> Result<Learner, CheckpointError> {
    Learner::restore(&Checkpoint::open(dir)?, &Device::default())
}

#[test]
fn every_one_of_forty_steps_goes_on_from_disk_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = learner();
    for k in 0..40_u64 {
        let path = dir.path().join(format!("step-{k:08}"));
        assert!(running.save(&real(), &path, About::default()).unwrap());
        let mut resumed = restore(&path).unwrap();
        assert_eq!((resumed.steps, bits(&resumed)), (k, bits(&running)));
        // Equal after each single step from each state on disk: equal to the end from any of them.
        assert_eq!(step(&mut resumed), step(&mut running), "step {k}");
        assert_eq!(bits(&resumed), bits(&running), "step {k}");
    }
}

/// The files of this machine, of which operation `fail_at` fails and all after it.
#[derive(Debug)]
struct Failing {
    done: AtomicU64,
    fail_at: u64,
}

impl Failing {
    fn op(&self) -> io::Result<()> {
        let n = self.done.fetch_add(1, Relaxed);
        if n < self.fail_at { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
}

struct FailingFile(Box<dyn FsFile>, bool);

impl io::Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1 { Err(io::ErrorKind::StorageFull.into()) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl FsFile for FailingFile {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

impl Fs for Failing {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.op().and_then(|()| RealFs.create_dir_all(dir))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.op()?;
        let file = RealFs.create_new(path)?;
        // Its writing is an operation of its own.
        Ok(Box::new(FailingFile(file, self.op().is_err())))
    }

    fn append(&self, path: &Path, keep_bytes: u64) -> io::Result<Box<dyn FsFile>> {
        self.op()?;
        let file = RealFs.append(path, keep_bytes)?;
        Ok(Box::new(FailingFile(file, self.op().is_err())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.op().and_then(|()| RealFs.rename(from, to))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.op().and_then(|()| RealFs.hard_link(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.op().and_then(|()| RealFs.sync_dir(dir))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }

    fn remove_folder(&self, dir: &Path) -> io::Result<()> {
        RealFs.remove_folder(dir)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFs.len(path)
    }

    fn read(&self, path: &Path, cap_bytes: u64) -> io::Result<Vec<u8>> {
        RealFs.read(path, cap_bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }
}

#[test]
fn whatever_fails_the_checkpoint_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let learner = learner();
    let mut n_failed = 0;
    for fail_at in 0.. {
        let path = dir.path().join(format!("at-{fail_at}"));
        let fs: Arc<dyn Fs> = Arc::new(Failing { done: AtomicU64::new(0), fail_at });
        let saved = learner.save(&fs, &path, About::default());
        if path.exists() {
            restore(&path).unwrap();
        }
        if saved.is_ok() {
            break;
        }
        n_failed += 1;
        assert!(matches!(saved, Err(CheckpointError::Store(_))), "{saved:?}");
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    }
    assert!(n_failed > 15, "{n_failed} operations");
}

const SAVE_INTO: &str = "AJEPA_TEST_SAVE_INTO";

/// Not a test of its own: what the next one starts and kills.
#[test]
fn saves_until_it_is_killed() {
    let Some(dir) = std::env::var_os(SAVE_INTO).map(PathBuf::from) else { return };
    let mut learner = learner();
    while learner.steps < 5000 {
        let path = dir.join(format!("step-{:08}", learner.steps));
        learner.save(&real(), &path, About::default()).unwrap();
        step(&mut learner);
    }
}

#[test]
fn one_is_loadable_after_each_of_fifty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut n_torn = 0;
    for kill in 0..50_u64 {
        let run = dir.path().join(kill.to_string());
        std::fs::create_dir(&run).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["checkpoint::saves_until_it_is_killed", "--exact"])
            .env(SAVE_INTO, &run)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // From the first checkpoint on, at another moment each time.
        while !run.join("step-00000000").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(kill * 1237 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        for entry in std::fs::read_dir(&run).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with('.') {
                n_torn += 1;
            } else {
                restore(&entry.path()).unwrap();
            }
        }
    }
    assert!(n_torn > 0, "no kill came while a checkpoint was written");
}

#[test]
fn another_model_and_a_damaged_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    learner().save(&real(), &path, About::default()).unwrap();
    let file = path.join("optimiser.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let message = restore(&path).unwrap_err().to_string();
    assert!(message.contains("optimiser.safetensors: bytes 0..") && message.contains("damaged"), "{message}");
}
