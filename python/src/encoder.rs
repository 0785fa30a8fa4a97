//! `Encoder`: a checkpoint's front end and encoder over waveforms, and over files.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ajepa_model::train::find_checkpoint;
use ajepa_model::{DeviceChoice, EncoderChoice, FrozenEncoder, Pictures};
use ajepa_ops::OpError;
use ajepa_ops::crop::{Crop, CropConfig};
use ajepa_ops::mel::{LogMel, LogMelConfig, Standardize, StandardizeConfig};
use ajepa_ops::mix::{Gain, GainConfig};
use ajepa_ops::normalize::{Normalize, NormalizeConfig};
use ajepa_ops::resample::{ResampleConfig, ResamplerCache};
use ajepa_pipe::embed::{EmbedGraph, Pooling, Rows, digest, embed_graph, mean};
use ajepa_pipe::job::{self, JobError, JobOptions};
use ajepa_pipe::plan::{Graph, Node};
use ajepa_pipe::stages::builtin;
use ajepa_pipe::stages::encoder::{clips_together, even_parts};
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{convert, errors, memory, samples};

/// A stage of the front end; the rate of what it is given is known.
enum Step {
    Resample(Mutex<ResamplerCache>),
    Normalize(Normalize),
    Gain(Gain),
}

/// What a window becomes once it is sound as the model knows it.
struct ToPicture {
    steps: Vec<Step>,
    mel: LogMel,
    standardize: Option<Standardize>,
}

/// A frozen encoder behind its front end.
#[pyclass(frozen, module = "ajepa._ajepa")]
pub struct Encoder {
    checkpoint: PathBuf,
    choice: EncoderChoice,
    device: DeviceChoice,
    /// Before windows are cut.
    whole: Vec<Step>,
    windows: CropConfig,
    window: ToPicture,
    frozen: FrozenEncoder,
    pooling: Pooling,
    #[pyo3(get)]
    digest: String,
    window_s: f64,
}

/// The windows of a clip: pictures end to end, and how many frames of tokens of each hold sound.
struct Cut {
    pictures: Vec<f32>,
    n_valid: Vec<usize>,
}

#[pymethods]
impl Encoder {
    /// Of the checkpoint `path`, or the best of the run `path`.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, encoder: Option<&str>, device: &str) -> PyResult<Self> {
        let device = device.parse::<DeviceChoice>().map_err(errors::value)?;
        let choice = match encoder {
            None => None,
            Some("target") => Some(EncoderChoice::Target),
            Some("context") => Some(EncoderChoice::Context),
            Some(other) => return Err(errors::value(format!("no encoder {other:?}; `target` or `context`"))),
        };
        py.detach(|| Self::load(&path, choice, device))
    }

    /// `rows`: `clip` [width], `windows` [windows, width], `frames` [frames, width], `tokens` [windows, tokens, width].
    fn encode<'py>(&self, py: Python<'py>, bytes: &[u8], rate_hz: u32, rows: &str) -> PyResult<Bound<'py, PyAny>> {
        let width = self.frozen.width();
        let tokens_each = self.frozen.patchify().n_tokens();
        let (values, shape) = py.detach(|| {
            let cut = self.cut(samples::of_bytes(bytes), rate_hz).map_err(|error| errors::op(&error))?;
            let tokens = self.tokens(&cut)?;
            let windows = tokens.chunks_exact(tokens_each * width).zip(&cut.n_valid);
            let valid = |(tokens, n): (&[f32], &usize)| self.pooling.frames(tokens)[..n * width].to_vec();
            Ok::<_, PyErr>(match rows {
                "tokens" => (tokens, vec![cut.n_valid.len(), tokens_each, width]),
                "windows" => {
                    let means: Vec<f32> = windows.flat_map(|window| mean(&valid(window), width)).collect();
                    (means, vec![cut.n_valid.len(), width])
                }
                _ => {
                    let frames: Vec<f32> = windows.flat_map(valid).collect();
                    let n = frames.len() / width;
                    if rows == "clip" { (mean(&frames, width), vec![width]) } else { (frames, vec![n, width]) }
                }
            })
        })?;
        memory::singles(py, values, shape)
    }

    /// Embeds files, folders and tables as `ajepa-pipe embed` does, into the file `out` (.parquet or .npy).
    fn embed_to(&self, py: Python<'_>, audio: Vec<PathBuf>, out: PathBuf, rows: &str) -> PyResult<String> {
        let rows = match rows {
            "clip" => Rows::Clips,
            "layers" => Rows::Layers,
            "windows" => Rows::Windows,
            "frames" => Rows::Frames,
            "tokens" => Rows::Tokens,
            other => return Err(errors::value(format!("no rows {other:?}; clip, layers, windows, frames or tokens"))),
        };
        let (encoder, device) = (Some(self.choice), self.device);
        let wanted = EmbedGraph { audio, out, encoder, rows, hop_s: None, device, together: None };
        py.detach(|| {
            let graph = graph(&self.checkpoint, &wanted)?;
            let never = crossbeam::channel::never();
            let (report, result) = job::run(&graph, JobOptions::default(), &never, &mut |_| ());
            result.map_err(|error| match error {
                JobError::Build { stage, source, .. } => {
                    errors::value(format!("{stage}: {} ({})", source.problem, source.help))
                }
                other => errors::failed(other),
            })?;
            serde_json::to_string(&report).map_err(errors::failed)
        })
    }

    #[getter]
    fn width(&self) -> usize {
        self.frozen.width()
    }

    /// Rate that audio is brought to, in Hz.
    #[getter]
    fn rate_hz(&self) -> u32 {
        self.window.mel.rate_hz()
    }

    #[getter]
    fn window_s(&self) -> f64 {
        self.window_s
    }

    #[getter]
    fn frames_per_window(&self) -> usize {
        self.pooling.n_times()
    }
}

/// The columns of a Parquet file as `{column: values}`.
#[pyfunction]
pub fn read_table(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let rows = py.detach(|| {
        let file = std::fs::File::open(&path).map_err(errors::failed)?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(errors::failed)?;
        let schema = reader.schema().clone();
        let batches = reader.build().map_err(errors::failed)?;
        let batches = batches.collect::<Result<Vec<_>, _>>().map_err(errors::failed)?;
        concat_batches(&schema, &batches).map_err(errors::failed)
    })?;
    convert::batch(py, &rows)
}

impl Encoder {
    fn load(path: &Path, choice: Option<EncoderChoice>, device: DeviceChoice) -> PyResult<Self> {
        let checkpoint = find_checkpoint(path).map_err(errors::failed)?;
        let choice = choice.unwrap_or_else(|| EncoderChoice::usual(&checkpoint));
        let nothing = EmbedGraph {
            audio: vec![PathBuf::from("audio")],
            out: PathBuf::from("out.parquet"),
            encoder: Some(choice),
            rows: Rows::Frames,
            hop_s: None,
            device,
            together: None,
        };
        let graph = graph(path, &nothing)?;
        let at = graph.nodes.iter().position(|node| node.id == "windows");
        let at = at.ok_or_else(|| errors::failed("the replayed graph cuts no windows; this is a bug in ajepa"))?;
        let windows: CropConfig = config(&graph.nodes[at])?;
        let whole = steps(&graph.nodes[..at])?;
        let window = ToPicture::new(&graph.nodes[at + 1..])?;
        let on = device.open().map_err(|error| errors::value(format!("{} ({})", error.problem, error.help)))?;
        let frozen = FrozenEncoder::load(&checkpoint, choice, window.mel.shape(0), &on.device);
        let frozen = frozen.map_err(errors::failed)?;
        let pooling = Pooling::new(frozen.patchify(), frozen.width());
        let n_frames = window.mel.n_frames_out().unwrap_or(0);
        let window_s = window.mel.frame_s() * n_frames as f64;
        let digest = digest(checkpoint.card());
        let checkpoint = checkpoint.dir().to_owned();
        Ok(Self { checkpoint, choice, device, whole, windows, window, frozen, pooling, digest, window_s })
    }

    /// The pictures of a clip, window by window, as the replayed graph makes them.
    fn cut(&self, samples: Vec<f32>, rate_hz: u32) -> Result<Cut, OpError> {
        let (samples, rate_hz) = run_steps(&self.whole, samples, rate_hz)?;
        let crop = crop(&self.windows, rate_hz)?;
        let mut cut = Cut { pictures: Vec::new(), n_valid: Vec::new() };
        for window in crop.windows(samples.len() as u64, 0) {
            let sound = samples[window.start as usize..][..window.n_frames as usize].to_vec();
            let (picture, duration_s) = self.window.picture(sound, rate_hz)?;
            cut.pictures.extend_from_slice(&picture);
            cut.n_valid.push(self.pooling.n_valid(duration_s / self.window_s));
        }
        if cut.n_valid.is_empty() { Err(OpError::Empty) } else { Ok(cut) }
    }

    /// Tokens of all windows, end to end.
    fn tokens(&self, cut: &Cut) -> PyResult<Vec<f32>> {
        let n_windows = cut.n_valid.len();
        let each = cut.pictures.len() / n_windows;
        let mut tokens = Vec::new();
        for part in even_parts(n_windows, clips_together(&self.frozen)) {
            let pictures = Pictures::F32(&cut.pictures[part.start * each..part.end * each]);
            let made = self.frozen.embed(pictures).map_err(errors::failed)?;
            tokens.extend_from_slice(&made);
        }
        Ok(tokens)
    }
}

impl ToPicture {
    /// The stages behind the windows, up to the encoder.
    fn new(nodes: &[Node]) -> PyResult<Self> {
        let at = nodes.iter().position(|node| node.type_name == "log_mel");
        let at = at.ok_or_else(|| errors::failed("the checkpoint's front end has no log_mel: use `embed`"))?;
        let mel = config::<LogMelConfig>(&nodes[at])?.build().map_err(|error| errors::config(&error))?;
        let standardize = nodes[at..].iter().filter(|node| node.type_name == "standardize");
        let standardize: Vec<&Node> = standardize.collect();
        let standardize = match standardize[..] {
            [] => None,
            [node] => {
                let built = config::<StandardizeConfig>(node)?.build(mel.n_mels());
                Some(built.map_err(|error| errors::config(&error))?)
            }
            _ => return Err(errors::failed("the checkpoint's front end standardizes twice: use `embed`")),
        };
        Ok(Self { steps: steps(&nodes[..at])?, mel, standardize })
    }

    /// The picture of one window, and the seconds of sound in it.
    fn picture(&self, samples: Vec<f32>, rate_hz: u32) -> Result<(Vec<f32>, f64), OpError> {
        let (samples, rate_hz) = run_steps(&self.steps, samples, rate_hz)?;
        if rate_hz != self.mel.rate_hz() {
            let detail = format!("the front end works at {} Hz, and is given {rate_hz} Hz", self.mel.rate_hz());
            return Err(OpError::Corrupt { detail });
        }
        let mut mel = self.mel.clone();
        let mut picture = vec![0.0; mel.shape(samples.len()).iter().product()];
        let n_valid = mel.process(&samples, &mut picture)?;
        if let Some(standardize) = &self.standardize {
            standardize.clone().process(&mut picture, mel.axes(), n_valid)?;
        }
        Ok((picture, samples.len() as f64 / f64::from(rate_hz)))
    }
}

fn run_steps(steps: &[Step], mut samples: Vec<f32>, mut rate_hz: u32) -> Result<(Vec<f32>, u32), OpError> {
    for step in steps {
        match step {
            Step::Resample(cache) => {
                samples = samples::at_rate(cache, samples, rate_hz)?;
                rate_hz = cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner).rate_hz();
            }
            Step::Normalize(normalize) => normalize.process(&mut samples)?,
            Step::Gain(gain) => gain.process(&mut samples, 0),
        }
    }
    Ok((samples, rate_hz))
}

/// Stages that work on samples; those that opened files and mixed channels are behind us.
fn steps(nodes: &[Node]) -> PyResult<Vec<Step>> {
    let mut steps = Vec::new();
    for node in nodes {
        let fault = |error: ajepa_ops::ConfigError| errors::config(&error);
        steps.push(match node.type_name.as_str() {
            "source_files" | "decode" | "downmix" => continue,
            "resample" => {
                let cache = config::<ResampleConfig>(node)?.build_cache().map_err(fault)?;
                Step::Resample(Mutex::new(cache))
            }
            "normalize" => Step::Normalize(config::<NormalizeConfig>(node)?.build().map_err(fault)?),
            "gain" => Step::Gain(config::<GainConfig>(node)?.build().map_err(fault)?),
            other => {
                return Err(errors::failed(format!("the checkpoint's front end has a stage `{other}`: use `embed`")));
            }
        });
    }
    Ok(steps)
}

fn crop(config: &CropConfig, rate_hz: u32) -> Result<Crop, OpError> {
    config.build(rate_hz).map_err(|error| OpError::Corrupt { detail: error.to_string() })
}

fn config<T: serde::de::DeserializeOwned>(node: &Node) -> PyResult<T> {
    serde_json::from_value(node.json.clone()).map_err(errors::failed)
}

fn graph(path: &Path, wanted: &EmbedGraph) -> PyResult<Graph> {
    let checkpoint = find_checkpoint(path).map_err(errors::failed)?;
    embed_graph(&checkpoint, wanted, &builtin()).map_err(errors::failed)
}
