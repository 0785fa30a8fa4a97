//! A chain of Map stages, fused: a row goes through all of them in one worker before the next row starts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ajepa_ops::decode::AudioInfo;
use ajepa_ops::{AudioRead, OpError, seed};
use arrow::array::RecordBatch;

use super::clock;
use super::gate::{Gate, Pass};
use crate::columns::RowBuilder;
use crate::row::{Audio, Row, Samples};
use crate::schema::Schema;
use crate::stage::{ClipError, Map, MapError, Reject, StageError};

/// A batch that leaves a chain early grows to about this size; so one clip of ten hours does not become one batch.
const FLUSH_BYTES: usize = 4 << 20;

/// Buffers kept for reuse in one worker; more are freed.
const SPARE_BUFFERS: usize = 8;

/// Numbers in a buffer that is kept: a minute of audio at 48 kHz.
const MAX_SPARE_LEN: usize = 60 * 48_000;

/// What a chain needs to know of the run.
#[derive(Debug, Clone, Copy)]
pub struct ChainSettings {
    /// Seed of the run.
    pub seed: u64,
    /// Pass over the data, from 0.
    pub epoch: u64,
    /// Bytes that one clip may take in memory; decides which clips are too long.
    pub clip_cap_bytes: u64,
    /// Bytes beyond which a clip is held by one worker at a time.
    pub clip_share_bytes: u64,
}

/// One stage of a chain: its number in the graph and its id.
#[derive(Debug, Clone)]
pub struct Link {
    /// Index in the graph's stages.
    pub stage: usize,
    /// `id` in the YAML.
    pub id: Arc<str>,
}

/// Everything a worker needs to run one chain; forked from a prototype.
pub struct Chain {
    links: Vec<(Link, Box<dyn Map>)>,
    state: State,
}

struct State {
    settings: ChainSettings,
    builder: RowBuilder,
    origin: Arc<RecordBatch>,
    row: usize,
    spare: Vec<Vec<f32>>,
    rejects: Vec<StagedReject>,
    names: Vec<Link>,
    /// Whether the present row gave a row or a reject; if neither, it was left out on purpose.
    accounted: bool,
    filtered: u64,
    gate: Arc<Gate>,
    /// Held while the present row may hold a large clip.
    pass: Option<Pass>,
}

/// A reject, and the stage's index in the graph.
#[derive(Debug)]
pub struct StagedReject {
    /// Index of the stage.
    pub stage: usize,
    /// The reject.
    pub reject: Reject,
}

/// What a batch became.
#[derive(Debug, Default)]
pub struct ChainResult {
    /// Rows that could not be used, in order.
    pub rejects: Vec<StagedReject>,
    /// Rows that neither came out nor were refused.
    pub filtered: u64,
}

impl Chain {
    /// A chain of `links` that takes rows of schema `input` and gives rows of schema `output`.
    pub fn new(
        links: Vec<(Link, Box<dyn Map>)>,
        input: &Schema,
        output: &Schema,
        settings: ChainSettings,
        gate: Arc<Gate>,
    ) -> Self {
        let origin = Arc::new(RecordBatch::new_empty(Arc::new(crate::columns::arrow_schema(input))));
        let builder = RowBuilder::new(input, output);
        let names = links.iter().map(|(link, _)| link.clone()).collect();
        let state = State {
            settings,
            builder,
            origin,
            row: 0,
            spare: Vec::new(),
            rejects: Vec::new(),
            names,
            accounted: false,
            filtered: 0,
            gate,
            pass: None,
        };
        Self { links, state }
    }

    /// Who is told of rows that a chain without stages refuses: it only casts, for somebody.
    #[must_use]
    pub fn on_behalf_of(mut self, link: Link) -> Self {
        if self.links.is_empty() {
            self.state.names = vec![link];
        }
        self
    }

    /// Sends every row of `rows` through; `flush` gets the batches that come out, in order (at least one, maybe empty).
    ///
    /// # Errors
    /// [`StageError`] from a stage or from `flush`. A bad clip is in [`ChainResult::rejects`] instead.
    pub fn run(
        &mut self,
        rows: RecordBatch,
        flush: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    ) -> Result<ChainResult, StageError> {
        self.state.origin = Arc::new(rows);
        for row in 0..self.state.origin.num_rows() {
            self.state.row = row;
            self.state.accounted = false;
            let result = self.run_row(flush);
            self.state.pass = None;
            result?;
            self.state.filtered += u64::from(!self.state.accounted);
        }
        let last = self.state.builder.finish(&self.state.origin)?;
        flush(last)?;
        let state = &mut self.state;
        Ok(ChainResult { rejects: std::mem::take(&mut state.rejects), filtered: std::mem::take(&mut state.filtered) })
    }

    fn run_row(&mut self, flush: &mut dyn FnMut(RecordBatch) -> Result<(), StageError>) -> Result<(), StageError> {
        let row = Row::new(self.state.origin.clone(), self.state.row);
        let before = clock::current();
        let state = &mut self.state;
        let links = &mut self.links;
        // A panic in a stage costs this row. The stage is forked anew, for its insides may be half changed.
        let outcome = catch_unwind(AssertUnwindSafe(|| MapCx { rest: links, state, flush, here: None }.emit(row)));
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(MapError::Stage(error))) => Err(error),
            Ok(Err(MapError::Clip(error))) => {
                self.state.reject(clock::take_blame(), error);
                Ok(())
            }
            Err(panic) => {
                let stage = clock::current();
                clock::leave(before);
                let message = panic_message(panic.as_ref());
                self.state.reject(stage, ClipError::new("panicked", message));
                for (_, map) in &mut self.links {
                    *map = map.fork();
                }
                Ok(())
            }
        }
    }
}

/// The words of a panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

impl State {
    fn reject(&mut self, stage: Option<usize>, error: ClipError) {
        let row = Row::new(self.origin.clone(), self.row);
        let link = self.names.iter().find(|link| Some(link.stage) == stage).or(self.names.last());
        self.accounted = true;
        let reject = Reject::new(&row, link.map_or("", |link| &link.id), error);
        self.rejects.push(StagedReject { stage: link.map_or(0, |link| link.stage), reject });
    }

    /// Keeps a buffer for the next row, unless it is a large one, whose memory is counted only while it is in use.
    fn recycle(spare: &mut Vec<Vec<f32>>, buffer: Vec<f32>) {
        if spare.len() < SPARE_BUFFERS && buffer.capacity() <= MAX_SPARE_LEN {
            spare.push(buffer);
        }
    }
}

/// Whether a read of all that is left ended because there was, or is to come, more than `max_frames`.
fn is_beyond(stream: &dyn AudioRead, values: &[f32], held: u64, max_frames: u64) -> bool {
    let read = (values.len() / stream.channels().max(1)) as u64;
    read > max_frames || stream.n_frames_left().is_some_and(|left| left.saturating_add(held) > max_frames)
}

/// A clip that one worker may not hold whole: the cap in bytes, in seconds of this clip, and what to do.
fn too_large(stream: &dyn AudioRead, cap_bytes: u64) -> ClipError {
    let (channels, rate_hz) = (stream.channels().max(1), stream.rate_hz());
    let max_s = (cap_bytes / (4 * channels as u64)) as f64 / f64::from(rate_hz.max(1));
    let mib = cap_bytes as f64 / f64::from(1 << 20);
    let cap = format!("one clip may take {mib:.1} MiB, which is {max_s:.1} s of {channels} x {rate_hz} Hz");
    let help = "crop before this stage, or raise resources.memory";
    ClipError::new("too_long", format!("the clip does not fit into memory whole: {cap}; {help}"))
}

/// What a [`Map`] may do while it handles a row.
pub struct MapCx<'a> {
    rest: &'a mut [(Link, Box<dyn Map>)],
    state: &'a mut State,
    flush: &'a mut dyn FnMut(RecordBatch) -> Result<(), StageError>,
    here: Option<Link>,
}

impl MapCx<'_> {
    /// Gives `row` on: through the rest of the chain, at once.
    ///
    /// # Errors
    /// Only what ends the run. A row that a later stage refuses is recorded, and `Ok` is returned: pass errors on with `?`.
    pub fn emit(&mut self, row: Row) -> Result<(), MapError> {
        let Some(((link, map), rest)) = self.rest.split_first_mut() else {
            return self.collect(row);
        };
        let here = self.here.as_ref().map(|link| link.stage);
        clock::count_row(here, Some(link.stage));
        let before = clock::enter(link.stage);
        let mut inner = MapCx { rest, state: self.state, flush: self.flush, here: Some(link.clone()) };
        let result = map.map(row, &mut inner);
        clock::leave(before);
        match result {
            Err(MapError::Clip(error)) => {
                self.state.reject(clock::take_blame().or(Some(link.stage)), error);
                Ok(())
            }
            other => other,
        }
    }

    /// A seed for what this stage draws for `row`: a function of the run's seed, the stage's id, the epoch, the clip and
    /// its place in the recording.
    pub fn seed(&self, row: &Row) -> u64 {
        let offset = row.f64("offset_s").unwrap_or(0.0).to_bits();
        let stage = self.here.as_ref().map_or(0, |link| seed::hash_str(&link.id));
        let settings = &self.state.settings;
        seed::derive(&[settings.seed, stage, settings.epoch, seed::hash_str(row.str("clip_id")), offset])
    }

    /// An empty buffer, with room from earlier clips.
    pub fn buffer(&mut self) -> Vec<f32> {
        let mut buffer = self.state.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Gives a buffer back for the next clip.
    pub fn recycle(&mut self, buffer: Vec<f32>) {
        State::recycle(&mut self.state.spare, buffer);
    }

    /// Bytes that one clip may take in memory in this worker.
    pub fn clip_cap_bytes(&self) -> u64 {
        self.state.settings.clip_cap_bytes
    }

    /// Makes a stream part of a row; its time and its errors count as this stage's, whoever reads it.
    pub fn stream(&self, inner: Box<dyn AudioRead>) -> Audio {
        let stage = self.here.as_ref().map_or(0, |link| link.stage);
        Audio::Stream(Box::new(Timed { inner, stage }))
    }

    /// Takes the row's waveform into memory.
    ///
    /// # Errors
    /// `too_long` when it does not fit into [`MapCx::clip_cap_bytes`]; whatever its decoder says.
    pub fn samples(&mut self, row: &mut Row) -> Result<Samples, ClipError> {
        let mut stream = match row.take_audio()? {
            Audio::Samples(samples) => return Ok(samples),
            Audio::Stream(stream) => stream,
        };
        let mut values = self.buffer();
        self.read_whole(stream.as_mut(), &mut values)?;
        Ok(Samples { values, rate_hz: stream.rate_hz(), channels: stream.channels() })
    }

    fn read_whole(&mut self, stream: &mut dyn AudioRead, values: &mut Vec<f32>) -> Result<(), ClipError> {
        let settings = &self.state.settings;
        let frame_bytes = 4 * stream.channels().max(1) as u64;
        let cap_bytes = settings.clip_cap_bytes;
        let max_frames = cap_bytes / frame_bytes;
        let free_frames = (settings.clip_share_bytes / frame_bytes).min(max_frames);
        let mut held = 0;
        if stream.n_frames_left().is_none_or(|n| n > free_frames) {
            held = read_up_to(stream, values, free_frames)?;
            if held < free_frames {
                return Ok(());
            }
            if self.state.pass.is_none() {
                self.state.pass = Some(self.state.gate.enter());
            }
        }
        let ended = stream.read_to_end(values, max_frames - held);
        ended.map(|_| ()).map_err(|error| match error {
            // The decoder has a limit of its own, and says it itself.
            OpError::TooLong { .. } if is_beyond(stream, values, held, max_frames) => too_large(stream, cap_bytes),
            other => other.into(),
        })
    }

    fn collect(&mut self, row: Row) -> Result<(), MapError> {
        clock::count_row(self.here.as_ref().map(|link| link.stage), None);
        let state = &mut *self.state;
        state.accounted = true;
        let spare = &mut state.spare;
        let mut recycle = |buffer| State::recycle(spare, buffer);
        state.builder.push(row, state.settings.clip_cap_bytes, &mut recycle)?;
        if state.builder.bytes() >= FLUSH_BYTES {
            let batch = state.builder.finish(&state.origin)?;
            (self.flush)(batch)?;
        }
        Ok(())
    }
}

/// Appends up to `max_frames`; returns how many there were.
fn read_up_to(stream: &mut dyn AudioRead, out: &mut Vec<f32>, max_frames: u64) -> Result<u64, OpError> {
    const BLOCK: u64 = 16_384;
    let channels = stream.channels();
    let mut n = 0;
    while n < max_frames {
        let at = out.len();
        out.resize(at + (max_frames - n).min(BLOCK) as usize * channels, 0.0);
        let got = stream.read(&mut out[at..])?;
        out.truncate(at + got * channels);
        n += got as u64;
        if got == 0 {
            break;
        }
    }
    Ok(n)
}

/// A stream whose time belongs to the stage that made it.
struct Timed {
    inner: Box<dyn AudioRead>,
    stage: usize,
}

impl Timed {
    fn on_clock<T>(&mut self, work: impl FnOnce(&mut dyn AudioRead) -> Result<T, OpError>) -> Result<T, OpError> {
        let before = clock::enter(self.stage);
        let result = work(self.inner.as_mut());
        if result.is_err() {
            clock::blame(self.stage);
        }
        clock::leave(before);
        result
    }
}

impl AudioRead for Timed {
    fn rate_hz(&self) -> u32 {
        self.inner.rate_hz()
    }

    fn channels(&self) -> usize {
        self.inner.channels()
    }

    fn n_frames_left(&self) -> Option<u64> {
        self.inner.n_frames_left()
    }

    fn info(&self) -> Option<&AudioInfo> {
        self.inner.info()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, OpError> {
        self.on_clock(|inner| inner.read(out))
    }

    fn skip(&mut self, n: u64) -> Result<u64, OpError> {
        self.on_clock(|inner| inner.skip(n))
    }

    fn read_to_end(&mut self, out: &mut Vec<f32>, max_frames: u64) -> Result<usize, OpError> {
        self.on_clock(|inner| inner.read_to_end(out, max_frames))
    }
}
