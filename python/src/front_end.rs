//! `MelFrontend`: the op of the stage `log_mel` over numpy arrays.

use std::sync::{Mutex, PoisonError};

use ajepa_ops::OpError;
use ajepa_ops::mel::{Axes, LogMel, LogMelConfig};
use ajepa_ops::resample::{ResampleConfig, ResamplerCache};
use pyo3::prelude::*;

use crate::{errors, memory, samples};

/// A planned log-mel. Several Python threads may call it at once.
#[pyclass(frozen, module = "ajepa._ajepa")]
pub struct FrontEnd {
    mel: LogMel,
    /// Copies that no thread uses just now.
    idle: Mutex<Vec<LogMel>>,
    resamplers: Mutex<ResamplerCache>,
}

#[pymethods]
impl FrontEnd {
    /// `config`: the fields of the stage `log_mel`, as JSON.
    #[new]
    fn new(config: &str) -> PyResult<Self> {
        let config: LogMelConfig = errors::parse(config)?;
        let mel = config.build().map_err(|error| errors::config(&error))?;
        let resamplers = ResampleConfig::new(mel.rate_hz()).build_cache();
        let resamplers = Mutex::new(resamplers.map_err(|error| errors::config(&error))?);
        Ok(Self { mel, idle: Mutex::default(), resamplers })
    }

    /// The picture of a clip, and its frames that see a sample of it.
    fn picture<'py>(&self, py: Python<'py>, bytes: &[u8], rate_hz: u32) -> PyResult<(Bound<'py, PyAny>, usize)> {
        let (picture, shape, n_valid) =
            py.detach(|| self.compute(samples::of_bytes(bytes), rate_hz)).map_err(|error| errors::op(&error))?;
        Ok((memory::singles(py, picture, shape.to_vec())?, n_valid))
    }

    #[getter]
    fn rate_hz(&self) -> u32 {
        self.mel.rate_hz()
    }

    #[getter]
    fn axes(&self) -> (&'static str, &'static str) {
        match self.mel.axes() {
            Axes::TimeMel => ("frames", "mels"),
            Axes::MelTime => ("mels", "frames"),
        }
    }

    #[getter]
    fn frame_s(&self) -> f64 {
        self.mel.frame_s()
    }

    #[getter]
    fn floor(&self) -> f32 {
        self.mel.floor()
    }

    #[getter]
    fn mel_centres_hz(&self) -> Vec<f64> {
        self.mel.mel_centres_hz().to_vec()
    }

    /// Shape of a picture, `None` for an axis that is as long as its clip.
    #[getter]
    fn shape(&self) -> (Option<usize>, Option<usize>) {
        let (frames, mels) = (self.mel.n_frames_out(), Some(self.mel.n_mels()));
        match self.mel.axes() {
            Axes::TimeMel => (frames, mels),
            Axes::MelTime => (mels, frames),
        }
    }
}

impl FrontEnd {
    fn compute(&self, samples: Vec<f32>, rate_hz: u32) -> Result<(Vec<f32>, [usize; 2], usize), OpError> {
        let samples = samples::at_rate(&self.resamplers, samples, rate_hz)?;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut mel = taken.unwrap_or_else(|| self.mel.clone());
        let shape = mel.shape(samples.len());
        let mut picture = vec![0.0; shape.iter().product()];
        let result = mel.process(&samples, &mut picture);
        idle().push(mel);
        result.map(|n_valid| (picture, shape, n_valid))
    }
}
