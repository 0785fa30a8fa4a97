//! One training step against the same step in PyTorch eager, taking turns in one run.
//!
//! ```text
//! cargo bench -p ajepa-model --bench step -- tiny 12 [PYTHON]
//! cargo bench -p ajepa-model --bench step -- tiny 12 [PYTHON] --embed
//! ```
//! PYTHON has torch and runs `step_torch.py` beside this file; without it only our own step is timed. Wall and CPU milliseconds,
//! smallest and median, the first two turns left out. Both use as many threads as RAYON_NUM_THREADS says, or as there are cores. Where
//! others use the machine too, the CPU time of one thread is the figure to go by: PyTorch's threads spin while they wait.
//! `--embed` times the encoder alone, forward, on the whole batch, as the stage `encoder` runs it (`--embed-each`: ours clip by clip).
//! `--health` times a look at the health of a step, which a training takes at one in 50: ours alone.
//! `--give-pages` leaves the allocator as it is, which returns memory between steps.
// Asking the C library for CPU time and telling its allocator what to keep are calls that only `unsafe` can make.
#![allow(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use ajepa_model::telemetry::health;
use ajepa_model::{
    EncoderChoice, EncoderConfig, FrozenEncoder, Learner, ModelConfig, Pictures, PredictorConfig, Preset,
    RegulariserConfig, StepReport, TrainBatch,
};
use ajepa_ops::seed;
use burn::tensor::Device;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let given: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (flags, words): (Vec<_>, Vec<_>) = given.into_iter().partition(|word| word.starts_with("--"));
    if !flags.iter().any(|flag| flag == "--give-pages") {
        ajepa_model::keep_pages();
    }
    let size = words.first().map_or("tiny", String::as_str);
    let turns: usize = words.get(1).map_or(Ok(12), |word| word.parse())?;
    let per_call = match flags.iter().find(|flag| flag.starts_with("--embed")).map(String::as_str) {
        Some("--embed-each") => Some(1),
        Some(_) => Some(usize::MAX),
        None => None,
    };
    if flags.iter().any(|flag| flag == "--health") {
        return look(size, turns);
    }
    let mut peer = words.get(2).map(|python| Peer::start(python, size, per_call.is_some())).transpose()?;
    let mut ours = Ours::new(size)?;
    let mut times: [Vec<[f64; 2]>; 2] = [Vec::new(), Vec::new()];
    for turn in 0..turns {
        times[0].push(match per_call {
            Some(n) => ours.embed(turn as u64, n)?,
            None => ours.step(turn as u64)?,
        });
        if let Some(peer) = &mut peer {
            times[1].push(peer.step()?);
        }
    }
    let [ours, theirs] = times.map(|times| times.into_iter().skip(2).collect::<Vec<_>>());
    let mut ratios = Vec::new();
    for (i, what) in ["wall", "CPU"].into_iter().enumerate() {
        let column = |times: &[[f64; 2]]| times.iter().map(|time| time[i]).collect::<Vec<f64>>();
        let (least, median) = summary(column(&ours));
        println!("{size} ours    {what:4} ms a step: min {least:7.1} median {median:7.1}");
        if !theirs.is_empty() {
            let (peer_least, peer_median) = summary(column(&theirs));
            println!("{size} PyTorch {what:4} ms a step: min {peer_least:7.1} median {peer_median:7.1}");
            let (least, median) = (least / peer_least, median / peer_median);
            ratios.push(format!("{what}: min {least:.3} median {median:.3}"));
        }
    }
    println!("{size} ours over PyTorch {}", ratios.join(" "));
    Ok(())
}

/// Times looks at health beside the steps that they look at.
fn look(size: &str, turns: usize) -> Result<(), Failure> {
    let mut ours = Ours::new(size)?;
    let times = (0..turns as u64).map(|turn| Ok([ours.step(turn)?, ours.look(turn)?]));
    let times = times.skip(2).collect::<Result<Vec<_>, Failure>>()?;
    for (i, what) in ["wall", "CPU"].into_iter().enumerate() {
        let [step, look] = [0, 1].map(|of| summary(times.iter().map(|time| time[of][i]).collect()).1);
        let share = 100.0 * look / (50.0 * step);
        println!("{size} {what:4} median ms: step {step:.1}, look at health {look:.1}: {share:.2} % of 50 steps");
    }
    Ok(())
}

/// Smallest and median.
fn summary(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times.first().copied().unwrap_or(f64::NAN), times.get(times.len() / 2).copied().unwrap_or(f64::NAN))
}

/// Our step, on pictures of noise and random masks.
struct Ours {
    learner: Learner,
    n_clips: usize,
}

impl Ours {
    fn new(size: &str) -> Result<Self, Failure> {
        // The peer has no regulariser.
        let tiny = ModelConfig { regulariser: Some(RegulariserConfig::None), ..ModelConfig::preset(Preset::Tiny) };
        let (config, n_clips) = match size {
            "tiny" => (tiny, 16),
            "base" => (wide(tiny), 4),
            other => return Err(format!("{other}: tiny or base").into()),
        };
        Ok(Self { learner: Learner::new(config.recipe()?, 0, &Device::default())?, n_clips })
    }

    /// The batch through the frozen encoder, `n` clips at a time.
    fn embed(&self, turn: u64, n: usize) -> Result<[f64; 2], Failure> {
        let encoder = FrozenEncoder::of(&self.learner.model, EncoderChoice::Target, [256, 128])?;
        let rng = &mut seed::rng(turn);
        let noise: Vec<f32> = (0..self.n_clips * 256 * 128).map(|_| seed::unit(rng) as f32 * 3.4 - 1.7).collect();
        let (before, began) = (cpu_s(), Instant::now());
        for pictures in noise.chunks(n.min(self.n_clips) * 256 * 128) {
            encoder.embed(Pictures::F32(pictures))?;
        }
        Ok([began.elapsed().as_secs_f64() * 1e3, (cpu_s() - before) * 1e3])
    }

    fn step(&mut self, turn: u64) -> Result<[f64; 2], Failure> {
        self.timed(turn, |_, _, _| ())
    }

    /// A look at the health of one more step.
    fn look(&mut self, turn: u64) -> Result<[f64; 2], Failure> {
        let mut time = [0.0; 2];
        self.timed(turn, |learner, report, batch| {
            let (before, began) = (cpu_s(), Instant::now());
            std::hint::black_box(health(learner.model.recipe(), report, batch));
            time = [began.elapsed().as_secs_f64() * 1e3, (cpu_s() - before) * 1e3];
        })?;
        Ok(time)
    }

    /// What a step takes; `then` sees what it left.
    fn timed(
        &mut self,
        turn: u64,
        then: impl FnOnce(&Learner, &StepReport, &TrainBatch<'_>),
    ) -> Result<[f64; 2], Failure> {
        let rng = &mut seed::rng(turn);
        let noise: Vec<f32> = (0..self.n_clips * 256 * 128).map(|_| seed::unit(rng) as f32 * 3.4 - 1.7).collect();
        let (mut context, mut target) = (Vec::new(), Vec::new());
        for _ in 0..self.n_clips {
            let mut order: Vec<u32> = (0..128).collect();
            seed::shuffle(rng, &mut order);
            context.extend_from_slice(&order[..64]);
            target.extend_from_slice(&order[64..]);
        }
        let pictures = Pictures::F32(&noise);
        let batch =
            TrainBatch { pictures, context: &context, target: &target, n_clips: self.n_clips, n_masks: 1, n_blocks: 4 };
        let (before, began) = (cpu_s(), Instant::now());
        let report = self.learner.step(&[batch])?;
        let time = [began.elapsed().as_secs_f64() * 1e3, (cpu_s() - before) * 1e3];
        then(&self.learner, &report, &batch);
        Ok(time)
    }
}

fn wide(tiny: ModelConfig) -> ModelConfig {
    let encoder = EncoderConfig { width: 768, depth: 12, n_heads: 12, mlp_ratio: 4, norm_eps: 1e-5, drop_path: 0.0 };
    let predictor = PredictorConfig { width: 384, depth: 6, n_heads: 12, mlp_ratio: 4, norm_eps: 1e-5 };
    ModelConfig { encoder: Some(encoder), predictor: Some(predictor), ..tiny }
}

/// PyTorch in a process of its own, one step when told to.
struct Peer(Child);

impl Peer {
    fn start(python: &str, size: &str, embed: bool) -> Result<Self, Failure> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/step_torch.py");
        let mut command = Command::new(python);
        let threads = rayon::current_num_threads().to_string();
        command.args([script, size, "--threads", &threads]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.args(embed.then_some("--embed"));
        Ok(Self(command.spawn()?))
    }

    fn step(&mut self) -> Result<[f64; 2], Failure> {
        self.0.stdin.as_mut().ok_or("no stdin")?.write_all(b"step\n")?;
        let mut line = Vec::new();
        // Nothing follows the line before the next step is asked for, so that a fresh reader loses nothing.
        BufReader::new(self.0.stdout.as_mut().ok_or("no stdout")?).read_until(b'\n', &mut line)?;
        let numbers: Result<Vec<f64>, _> = String::from_utf8(line)?.split_whitespace().map(str::parse).collect();
        Ok(numbers?.try_into().map_err(|_| "PyTorch ended")?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// CPU seconds of this process, all threads.
fn cpu_s() -> f64 {
    // SAFETY: `rusage` is plain numbers, for which zeros are a value, and getrusage writes into the one it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
