//! What the engine counts while it runs, and the snapshot that progress lines and reports are made from.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crossbeam::utils::CachePadded;
use serde::{Deserialize, Serialize};

use crate::stage::StageKind;

/// Advice to share the work among processes, which a run that writes one file at its end cannot: the report takes it back there.
pub const PARTS_OF_WORK: &str = ", or --part I/N on several machines,";
/// The same for one thread's work.
pub const PARTS_OF_RUN: &str = ", or split the run with --part I/N";

/// Counters of one run; shared by all threads, read at any time.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    stages: Vec<CachePadded<StageCounters>>,
    ids: Vec<(String, String, StageKind)>,
    /// Clips that this run has to do, once the sources are listed.
    pub clips_total: AtomicU64,
    /// Clips whose unit a sink has taken.
    pub clips_done: AtomicU64,
    /// Units that this run has to do.
    pub units_total: AtomicU64,
    /// Units committed by this run.
    pub units_done: AtomicU64,
    /// Clips in units that were done before this run.
    pub clips_kept: AtomicU64,
    /// Clips rejected by this run.
    pub rejects: AtomicU64,
    /// Worker threads.
    pub jobs: AtomicU64,
}

/// Counters of one stage.
#[derive(Debug, Default)]
pub struct StageCounters {
    /// Rows taken in.
    pub rows_in: AtomicU64,
    /// Rows given on.
    pub rows_out: AtomicU64,
    /// Rows refused.
    pub rejects: AtomicU64,
    /// Thread time at work, all workers together.
    pub busy_ns: AtomicU64,
    /// Time its own thread waited for input; workers of Map stages wait in common and are not counted here.
    pub starved_ns: AtomicU64,
    /// Time its own thread waited for room in its output.
    pub blocked_ns: AtomicU64,
}

/// The run at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Seconds since the start.
    pub elapsed_s: f64,
    /// Worker threads.
    pub jobs: u64,
    /// Clips to do in this run; 0 until the sources are listed.
    pub clips_total: u64,
    /// Clips done in this run.
    pub clips_done: u64,
    /// Clips that earlier runs did.
    pub clips_kept: u64,
    /// Units to do in this run.
    pub units_total: u64,
    /// Units committed in this run.
    pub units_done: u64,
    /// Clips rejected in this run.
    pub rejects: u64,
    /// Resident memory of the process in bytes; 0 where the system does not say.
    pub rss_bytes: u64,
    /// Stages in graph order.
    pub stages: Vec<StageSnapshot>,
    /// Queues, in graph order.
    pub queues: Vec<QueueSnapshot>,
}

/// One stage at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSnapshot {
    /// `id` in the YAML.
    pub id: String,
    /// `type` in the YAML.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its threading contract: `source`, `map`, ...
    pub kind: String,
    /// Rows taken in.
    pub rows_in: u64,
    /// Rows given on.
    pub rows_out: u64,
    /// Rows refused.
    pub rejects: u64,
    /// Seconds at work, all workers together.
    pub busy_s: f64,
    /// Seconds its own thread waited for input.
    pub starved_s: f64,
    /// Seconds its own thread waited for room.
    pub blocked_s: f64,
}

/// One queue at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueSnapshot {
    /// `id` of the last stage before it.
    pub from: String,
    /// `id` of the first stage behind it.
    pub to: String,
    /// Batches in it.
    pub items: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes it may hold.
    pub cap_bytes: u64,
    /// The most bytes it ever held.
    pub peak_bytes: u64,
}

impl Metrics {
    /// For stages of these (id, type, kind).
    pub fn new(ids: Vec<(String, String, StageKind)>) -> Self {
        Self {
            started: Instant::now(),
            stages: ids.iter().map(|_| CachePadded::default()).collect(),
            ids,
            clips_total: AtomicU64::new(0),
            clips_done: AtomicU64::new(0),
            units_total: AtomicU64::new(0),
            units_done: AtomicU64::new(0),
            clips_kept: AtomicU64::new(0),
            rejects: AtomicU64::new(0),
            jobs: AtomicU64::new(0),
        }
    }

    /// Counters of stage `index`.
    pub fn stage(&self, index: usize) -> &StageCounters {
        &self.stages[index]
    }

    /// `id` of stage `index`.
    pub fn id(&self, index: usize) -> &str {
        &self.ids[index].0
    }

    /// Everything but the queues, which the board knows.
    pub fn snapshot(&self, queues: Vec<QueueSnapshot>) -> Snapshot {
        let seconds = |ns: &AtomicU64| ns.load(Relaxed) as f64 * 1e-9;
        let stage = |((id, type_name, kind), c): (&(String, String, StageKind), &CachePadded<StageCounters>)| {
            let kind = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            StageSnapshot {
                id: id.clone(),
                type_name: type_name.clone(),
                kind,
                rows_in: c.rows_in.load(Relaxed),
                rows_out: c.rows_out.load(Relaxed),
                rejects: c.rejects.load(Relaxed),
                busy_s: seconds(&c.busy_ns),
                starved_s: seconds(&c.starved_ns),
                blocked_s: seconds(&c.blocked_ns),
            }
        };
        Snapshot {
            elapsed_s: self.started.elapsed().as_secs_f64(),
            jobs: self.jobs.load(Relaxed),
            clips_total: self.clips_total.load(Relaxed),
            clips_done: self.clips_done.load(Relaxed),
            clips_kept: self.clips_kept.load(Relaxed),
            units_total: self.units_total.load(Relaxed),
            units_done: self.units_done.load(Relaxed),
            rejects: self.rejects.load(Relaxed),
            rss_bytes: resident_bytes(),
            stages: self.ids.iter().zip(&self.stages).map(stage).collect(),
            queues,
        }
    }
}

/// The stage that sets the pace, and what would help.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// `id` of the stage.
    pub stage: String,
    /// Its share of the capacity it can use: of all workers for a Map stage, of its own thread otherwise.
    pub share: f64,
    /// What would help, in one sentence.
    pub advice: String,
}

impl Snapshot {
    /// Names the bottleneck: the thread that is busiest of its time, else the heaviest stage of the workers.
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        if self.elapsed_s <= 0.0 {
            return None;
        }
        let own_thread = self.stages.iter().filter(|s| s.kind != "map");
        let lone = own_thread.max_by(|a, b| a.busy_s.total_cmp(&b.busy_s))?;
        let lone_share = lone.busy_s / self.elapsed_s;
        let maps: Vec<&StageSnapshot> = self.stages.iter().filter(|s| s.kind == "map").collect();
        let pool_s = self.elapsed_s * self.jobs.max(1) as f64;
        let pool_share = maps.iter().map(|s| s.busy_s).sum::<f64>() / pool_s;
        let heaviest = maps.iter().max_by(|a, b| a.busy_s.total_cmp(&b.busy_s));
        match heaviest {
            Some(heaviest) if pool_share >= lone_share => Some(Bottleneck {
                stage: heaviest.id.clone(),
                share: heaviest.busy_s / pool_s,
                advice: self.pool_advice(heaviest, pool_share),
            }),
            _ => Some(Bottleneck { stage: lone.id.clone(), share: lone_share, advice: lone_advice(lone, lone_share) }),
        }
    }

    fn pool_advice(&self, heaviest: &StageSnapshot, pool_share: f64) -> String {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        if pool_share < 0.7 {
            let idle = format!("workers idle {:.0} % of the time", (1.0 - pool_share) * 100.0);
            let full = self.queues.iter().any(|q| q.peak_bytes * 5 > q.cap_bytes * 4);
            return if full {
                format!("{idle} behind a full queue: a larger resources.memory lets more clips be under way")
            } else {
                format!("{idle}: the run is too short to be bound by anything, or waits for the disk")
            };
        }
        let more = if self.jobs < cores {
            format!("--jobs {cores} uses all cores of this machine")
        } else {
            format!("more cores{PARTS_OF_WORK} scale it")
        };
        let hint = match heaviest.type_name.as_str() {
            "decode" => "; clips stored as FLAC or WAV decode faster than MP3, AAC or Opus",
            "resample" => "; clips stored at the target rate need no resampling",
            _ => "",
        };
        format!("{more}{hint}")
    }
}

fn lone_advice(stage: &StageSnapshot, share: f64) -> String {
    match stage.kind.as_str() {
        "sink" if share > 0.5 => "the disk it writes to is what limits: a faster one would help".to_owned(),
        "source" if share > 0.5 => {
            "listing and reading the source limits: a local disk, or a manifest instead of a folder".to_owned()
        }
        _ if share > 0.5 => {
            format!("it runs on one thread by contract: make it do less{PARTS_OF_RUN}")
        }
        _ => "nothing was busy for long: the run was too short to tell".to_owned(),
    }
}

/// Resident memory of this process; 0 where /proc is not there.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// The most resident memory that this process ever had, listing of the sources included; 0 where /proc is not there.
pub fn peak_resident_bytes() -> u64 {
    status_bytes("VmHWM:")
}

fn status_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Processor time of the threads that this process has now; 0 where /proc does not tell.
pub fn cpu_s() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let ns_of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(|thread| ns_of(thread.path())).sum::<u64>() as f64 / 1e9
}
