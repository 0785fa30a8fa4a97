//! `Pipeline`: a graph that runs on the engine's threads while Python takes the rows that would reach its sink.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ajepa_pipe::config;
use ajepa_pipe::engine::{Network, RunError, SegmentWork, StopSignal};
use ajepa_pipe::job::{self, JobError, JobOptions};
use ajepa_pipe::plan::Graph;
use ajepa_pipe::report::RunReport;
use ajepa_pipe::stage::{RunInfo, Sink, SinkReport, StageError, UnitTally};
use ajepa_pipe::stages::{builtin, sink_null::SinkNull};
use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::{convert, errors};

/// Batches that wait between the engine and Python.
const WAITING: usize = 2;

/// How often Python is asked whether somebody pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

type Ended = (RunReport, Result<(), JobError>);

/// A run under way.
#[pyclass(frozen, module = "ajepa._ajepa")]
pub struct Run {
    rows: Mutex<Option<Receiver<RecordBatch>>>,
    stop: Sender<StopSignal>,
    thread: Mutex<Option<JoinHandle<Ended>>>,
    report: Mutex<Option<RunReport>>,
    /// The process that its threads are in.
    process: u32,
}

/// Rows as they would reach the sink.
#[pyclass(frozen, module = "ajepa._ajepa")]
pub struct Rows {
    batch: RecordBatch,
}

/// Reads the graph at `path` with `set` laid over it; `ValueError` with everything that is wrong with it.
#[pyfunction]
pub fn check(py: Python<'_>, path: PathBuf, set: Vec<String>, sink: Option<String>) -> PyResult<()> {
    let graph = py.detach(|| config::load(&path, &set, &builtin())).map_err(errors::value)?;
    chosen(&graph, sink.as_deref()).map(|_| ())
}

#[pymethods]
impl Rows {
    fn __len__(&self) -> usize {
        self.batch.num_rows()
    }

    /// `{column: values}`.
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        convert::batch(py, &self.batch)
    }

    /// The same as an Arrow IPC stream.
    fn ipc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let written = py.detach(|| {
            let mut writer = StreamWriter::try_new(Vec::new(), &self.batch.schema())?;
            writer.write(&self.batch)?;
            writer.finish()?;
            writer.into_inner()
        });
        Ok(PyBytes::new(py, &written.map_err(errors::failed)?))
    }
}

#[pymethods]
impl Run {
    /// Starts the graph at `path`, with `set` laid over it; of several sinks, `sink` is the one whose rows are taken.
    #[new]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        set: Vec<String>,
        sink: Option<String>,
        jobs: Option<usize>,
        part: Option<(usize, usize)>,
    ) -> PyResult<Self> {
        let graph = py.detach(|| config::load(&path, &set, &builtin())).map_err(errors::value)?;
        let taken = chosen(&graph, sink.as_deref())?;
        if part.is_some_and(|(number, of)| number >= of) {
            return Err(errors::value(format!(
                "part {part:?}: the first number counts from 0 and is below the second"
            )));
        }
        Self::start(graph, taken, JobOptions { jobs, part, fresh: true }).map_err(errors::failed)
    }

    /// The next rows; `None` behind the last.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Rows>> {
        loop {
            let Some(rows) = self.receiver() else { return Ok(None) };
            match py.detach(|| rows.recv_timeout(LOOK)) {
                Ok(batch) => return Ok(Some(Rows { batch })),
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(RecvTimeoutError::Disconnected) => return self.ended(py).map(|()| None),
            }
        }
    }

    /// Whether its threads are in this process: a forked child has none of them.
    fn is_here(&self) -> bool {
        std::process::id() == self.process
    }

    /// Ends the run before it is over; its rows end here.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        // The run may have ended already.
        let _ = self.stop.try_send(StopSignal::Interrupt);
        self.ended(py)
    }

    /// What the run did, as the JSON of `ajepa-pipe run --report`; `None` while it goes on.
    fn report(&self) -> PyResult<Option<String>> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.as_ref().map(|report| serde_json::to_string(report).map_err(errors::failed)).transpose()
    }
}

impl Run {
    fn start(graph: Graph, taken: usize, options: JobOptions) -> Result<Self, std::io::Error> {
        let (to, rows) = bounded(WAITING);
        let (stop, stops) = bounded(1);
        // It waits for the engine, whose threads do the work.
        let thread = std::thread::Builder::new().name("ajepa-python-run".to_owned());
        let thread = thread.spawn(move || {
            let change = |network: &mut Network| take_rows(network, taken, &to);
            job::run_changed(&graph, options, &change, &stops, &mut |_| ())
        })?;
        Ok(Self {
            rows: Mutex::new(Some(rows)),
            stop,
            thread: Mutex::new(Some(thread)),
            report: Mutex::default(),
            process: std::process::id(),
        })
    }

    fn receiver(&self) -> Option<Receiver<RecordBatch>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the end, and says how it ended.
    fn ended(&self, py: Python<'_>) -> PyResult<()> {
        // Whoever still gives rows is told that nobody takes them.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let (report, result) =
            py.detach(|| thread.join()).map_err(|_| errors::failed("the run panicked; this is a bug in ajepa"))?;
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        match result {
            Ok(()) | Err(JobError::Run(RunError::Interrupted(_))) => Ok(()),
            Err(JobError::Build { stage, line, source }) => {
                let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
                Err(errors::value(format!("stage {stage}{line}: {} ({})", source.problem, source.help)))
            }
            Err(error) => Err(errors::failed(error)),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.is_here() {
            // Nobody ends there, and nothing can be waited for.
            std::mem::forget(self.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
            return;
        }
        let _ = self.stop.try_send(StopSignal::Interrupt);
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A run nobody waits for: how it ended is nobody's business.
            let _ = thread.join();
        }
    }
}

/// The sink whose rows are taken.
fn chosen(graph: &Graph, sink: Option<&str>) -> PyResult<usize> {
    let sinks = graph.sinks();
    let ids: Vec<&str> = sinks.iter().map(|sink| graph.nodes[*sink].id.as_str()).collect();
    match sink {
        None if sinks.len() == 1 => Ok(sinks[0]),
        None => Err(errors::value(format!("the graph has {} sinks: say which, sink={:?}", sinks.len(), ids))),
        Some(id) => {
            let found = sinks.iter().find(|sink| graph.nodes[**sink].id == id).copied();
            found.ok_or_else(|| errors::value(format!("no sink {id:?}; there are {ids:?}")))
        }
    }
}

/// Puts a way to Python in the place of sink `taken`; the others forget what they are given.
fn take_rows(network: &mut Network, taken: usize, to: &Sender<RecordBatch>) {
    for segment in &mut network.segments {
        if !matches!(segment.work, SegmentWork::Sink(_)) {
            continue;
        }
        let sink: Box<dyn Sink> = if segment.stage == taken {
            Box::new(ToPython { to: to.clone(), report: SinkReport::default() })
        } else {
            Box::new(SinkNull::default())
        };
        segment.work = SegmentWork::Sink(sink);
    }
}

struct ToPython {
    to: Sender<RecordBatch>,
    report: SinkReport,
}

impl Sink for ToPython {
    fn open(&mut self, run: &RunInfo) -> Result<Vec<bool>, StageError> {
        Ok(vec![false; run.units.len()])
    }

    fn write(&mut self, _unit: usize, rows: RecordBatch) -> Result<(), StageError> {
        self.report.rows += rows.num_rows() as u64;
        self.to.send(rows).map_err(|_| StageError::Stopped)
    }

    fn end_unit(&mut self, _unit: usize, tally: UnitTally) -> Result<(), StageError> {
        self.report.units += 1;
        self.report.rejects += tally.rejects.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<SinkReport, StageError> {
        self.report.complete = true;
        Ok(self.report.clone())
    }
}
