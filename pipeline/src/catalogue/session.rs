//! A catalogue: tables by name, and the engine that answers questions about them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use crossbeam::channel::{Receiver, Sender, bounded};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::block_in_place;

use super::admit::{admit_statement, admit_text};
use super::error::CatalogueError;
use super::found::{self, Found, Looking};
use super::functions::{self, OntologyPlace};
use super::rows::{Message, Rows};
use crate::engine::StopSignal;

/// Stack of a thread of the engine. It is reserved, not taken: plans are trees, and are walked by recursion.
const STACK_BYTES: usize = 64 << 20;

/// Spills may take so many times the memory.
const SPILL_FACTOR: u64 = 4;

/// How long work that was given up may take to notice.
const PATIENCE: Duration = Duration::from_secs(2);

/// Consumers of memory that an error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// How a catalogue works.
#[derive(Debug, Clone, Default)]
pub struct CatalogueOptions {
    /// Bytes that sorts, joins and groups may take before they spill; half of the memory that is free when `None`.
    pub memory_bytes: Option<u64>,
    /// Threads; one per core when `None`.
    pub jobs: Option<NonZeroUsize>,
    /// AudioSet's `ontology.json`, or `class_labels_indices.csv`; what lies beside the tables when `None`.
    pub ontology: Option<PathBuf>,
    /// Whether shards are read without verifying the checksums of what is read.
    pub trusted: bool,
    /// A message here ends whatever is being answered.
    pub stop: Option<Receiver<StopSignal>>,
}

/// What can be asked.
///
/// See [the module](super) for an example.
pub struct Catalogue {
    context: SessionContext,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    tables: BTreeMap<String, TableInfo>,
    ontology: OntologyPlace,
    trusted: bool,
    stop: Option<Receiver<StopSignal>>,
    spill: Option<SpillFolder>,
}

/// One table of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct TableInfo {
    /// Its name in SQL.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it is, in words: `manifest (Parquet)`.
    pub kind: String,
    /// Its rows, where that is known without reading them.
    pub rows: Option<u64>,
    /// Its columns.
    pub schema: SchemaRef,
}

impl Catalogue {
    /// Without tables.
    ///
    /// # Errors
    /// [`CatalogueError::Failed`] when the system gives no threads or no folder for spills.
    pub fn new(options: CatalogueOptions) -> Result<Self, CatalogueError> {
        let jobs = options.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let failed = |what: &'static str| move |e: std::io::Error| CatalogueError::Failed(format!("{what}: {e}"));
        // One more than works at once: the one that hands rows over waits most of the time.
        let runtime = Builder::new_multi_thread()
            .worker_threads(jobs)
            .thread_name("catalogue")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(failed("the threads of the SQL engine"))?;
        let spill = SpillFolder::create().map_err(failed("the folder for spills"))?;
        let memory = options.memory_bytes.unwrap_or_else(|| half_of_what_is_free().unwrap_or(2 << 30));
        let context = context(jobs, memory, &spill.0).map_err(|error| CatalogueError::of(&error, "", &[]))?;
        let ontology = options.ontology.map_or_else(OntologyPlace::default, OntologyPlace::at);
        functions::register(&context, &ontology);
        let (tables, trusted, stop) = (BTreeMap::new(), options.trusted, options.stop);
        Ok(Self { context, runtime: Some(runtime), tables, ontology, trusted, stop, spill: Some(spill) })
    }

    /// Adds what lies at `path`, under a name taken from it; gives the names of the tables that it became.
    ///
    /// # Errors
    /// [`CatalogueError::Table`] for what is no table, and for a name that is taken.
    pub fn add(&mut self, path: &Path) -> Result<Vec<String>, CatalogueError> {
        self.add_as(&found::name_of(path), path)
    }

    /// Adds what lies at `path`, under `name`.
    ///
    /// # Errors
    /// As [`Catalogue::add`].
    pub fn add_as(&mut self, name: &str, path: &Path) -> Result<Vec<String>, CatalogueError> {
        let looking = Looking { context: &self.context, runtime: self.runtime()?, trusted: self.trusted };
        let found = found::look(name, path, &looking)?;
        if let Some(taken) = found.iter().find_map(|table| self.tables.get(&table.info.name)) {
            let problem =
                format!("two tables would be named {}: {} and {}", taken.name, taken.path.display(), path.display());
            let help = format!("give one another name: --at other={}", path.display());
            return Err(CatalogueError::table(problem, help));
        }
        if let Some(file) = functions::beside(path) {
            self.ontology.offer(file);
        }
        let mut names = Vec::new();
        for Found { info, provider } in found {
            let registered = self.context.register_table(TableReference::bare(info.name.clone()), provider);
            registered.map_err(|error| CatalogueError::of(&error, "", &[]))?;
            names.push(info.name.clone());
            self.tables.insert(info.name.clone(), info);
        }
        Ok(names)
    }

    /// The tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &TableInfo> {
        self.tables.values()
    }

    /// Names of all functions: ours and the engine's, sorted.
    pub fn functions(&self) -> Vec<String> {
        let state = self.context.state();
        let scalar = state.scalar_functions().keys();
        let all = scalar.chain(state.aggregate_functions().keys()).chain(state.window_functions().keys());
        let mut names: Vec<String> = all.cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Plans `sql` and begins to answer it: one SELECT, EXPLAIN, DESCRIBE or SHOW.
    ///
    /// # Errors
    /// [`CatalogueError::Sql`] with the place of the fault; anything that would write, define or set is one.
    pub fn query(&self, sql: &str) -> Result<Rows, CatalogueError> {
        admit_text(sql)?;
        // One batch waits, whatever its size: the engine reckons one while another is written.
        let (to, messages) = bounded(1);
        let (context, tables) = (self.context.clone(), self.tables.keys().cloned().collect::<Vec<_>>());
        let sql = sql.to_owned();
        let task = self.runtime()?.spawn(async move {
            let last = match answer(&context, &sql, &tables, &to).await {
                Ok(()) => Message::End,
                Err(error) => Message::Fault(error),
            };
            // Whoever went away wants to know nothing more.
            let _ = block_in_place(|| to.send(last));
        });
        Rows::begin(messages, self.stop.as_ref(), task.abort_handle())
    }

    fn runtime(&self) -> Result<&Runtime, CatalogueError> {
        self.runtime.as_ref().ok_or_else(|| CatalogueError::Failed("the SQL engine has ended".to_owned()))
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
        self.spill.take();
    }
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue").field("tables", &self.tables).finish_non_exhaustive()
    }
}

/// The task behind [`Rows`].
async fn answer(
    context: &SessionContext,
    sql: &str,
    tables: &[String],
    to: &Sender<Message>,
) -> Result<(), CatalogueError> {
    let of = |error: DataFusionError| CatalogueError::of(&error, sql, tables);
    let mut rows = start(context, sql).await.map_err(|error| match error {
        Trouble::Refused(error) => error,
        Trouble::Engine(error) => of(error),
    })?;
    if block_in_place(|| to.send(Message::Begin(rows.schema()))).is_err() {
        return Ok(());
    }
    while let Some(batch) = rows.next().await {
        let batch: RecordBatch = batch.map_err(of)?;
        if batch.num_rows() > 0 && block_in_place(|| to.send(Message::Rows(batch))).is_err() {
            break;
        }
    }
    Ok(())
}

enum Trouble {
    Refused(CatalogueError),
    Engine(DataFusionError),
}

impl From<DataFusionError> for Trouble {
    fn from(error: DataFusionError) -> Self {
        Self::Engine(error)
    }
}

async fn start(context: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream, Trouble> {
    let state = context.state();
    let dialect = state.config().options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect)?;
    admit_statement(&statement).map_err(Trouble::Refused)?;
    let plan = state.statement_to_plan(statement).await?;
    // What the words let through, the plan must not bring back.
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(&plan)?;
    Ok(context.execute_logical_plan(plan).await?.execute_stream().await?)
}

fn context(jobs: usize, memory_bytes: u64, spill: &Path) -> Result<SessionContext, DataFusionError> {
    let mut config = SessionConfig::new().with_target_partitions(jobs).with_information_schema(true);
    config.options_mut().sql_parser.collect_spans = true;
    // Of Parquet the columns of a condition first, and of the others only the rows that are left.
    config.options_mut().execution.parquet.pushdown_filters = true;
    config.options_mut().execution.parquet.reorder_filters = true;
    let pool = FairSpillPool::new(usize::try_from(memory_bytes).unwrap_or(usize::MAX));
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill.to_owned()]))
        .with_max_temp_directory_size(memory_bytes.saturating_mul(SPILL_FACTOR));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, NAMED_CONSUMERS)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// A context without tables, for single expressions.
pub(super) fn bare_context(ontology: &OntologyPlace) -> SessionContext {
    let context = SessionContext::new();
    functions::register(&context, ontology);
    context
}

/// As Linux says; `None` elsewhere.
fn half_of_what_is_free() -> Option<u64> {
    let about = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = about.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some((kib * 1024 / 2).max(64 << 20))
}

/// A folder for spills, which goes with the catalogue. A process that is killed leaves it to the system's sweeping.
#[derive(Debug)]
struct SpillFolder(PathBuf);

impl SpillFolder {
    fn create() -> std::io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("ajepa-query-{}-{number}", std::process::id()));
            match create_private(&path) {
                Ok(()) => return Ok(Self(path)),
                // What a killed process of this number left, or somebody else's: not ours to use.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Nobody else reads what is spilt.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
