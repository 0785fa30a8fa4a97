//! The real program, run in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
#[cfg(any(feature = "cluster", feature = "objects"))]
use std::time::{Duration, Instant};

use ajepa_pipe::report::RunReport;
use ajepa_pipe::shard::ShardSet;
use arrow::array::AsArray;

/// A folder that is gone after the test; graphs name their files relative to it.
pub struct Place {
    folder: tempfile::TempDir,
    /// What every command finds in its environment beside what this process has.
    pub env: Vec<(String, String)>,
}

/// What a run of the program left behind.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal killed it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), env: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        std::fs::write(path, content).expect("write");
    }

    /// The program with these arguments, parted by spaces; quiet, but for what it has to say.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ajepa-pipe"));
        command.args(args.split_whitespace()).current_dir(self.folder.path()).envs(self.env.clone());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &str) -> Ended {
        Ended::of(&self.command(args).output().expect("the program starts"))
    }

    /// Runs, and wants exit 0.
    pub fn done(&self, args: &str) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args}: {ended:?}");
        ended
    }

    /// `run`, with its report.
    pub fn report(&self, args: &str) -> (Ended, RunReport) {
        let ended = self.run(&format!("run {args} --progress off --report report.json"));
        let text = std::fs::read_to_string(self.path("report.json"));
        let text = text.unwrap_or_else(|error| panic!("no report: {error}: {ended:?}"));
        (ended, serde_json::from_str(&text).expect("a report"))
    }

    /// `n` files of the shipped clips of less than 40 kB, in turn, as `audio/0000.flac` and so on.
    pub fn copies(&self, n: usize) {
        let small = small_clips();
        for i in 0..n {
            let (extension, content) = &small[i % small.len()];
            self.write(&format!("audio/{i:05}.{extension}"), content);
        }
    }
}

impl Ended {
    pub fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Whether `name` ends in a dot and `extension`.
pub fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// Root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The clips that come with the source.
pub fn sample() -> PathBuf {
    root().join("datasets/sample")
}

/// Extension and content of the shipped clips of less than 40 kB.
pub fn small_clips() -> Vec<(String, Vec<u8>)> {
    let small = |(name, content): (String, Vec<u8>)| {
        let extension = name.rsplit('.').next()?.to_owned();
        let is_audio = ["flac", "wav", "ogg", "mp3"].contains(&extension.as_str());
        (is_audio && content.len() < 40_000).then_some((extension, content))
    };
    files(&sample()).into_iter().filter_map(small).collect()
}

/// Every file under a folder by its path there, with its content. Files on their way (`.NAME.tmp-...`) are
/// left out; a folder that is not there has none.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    if !folder.exists() {
        return found;
    }
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.expect("an entry");
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.file_type().is_file() && !hidden {
            let name = entry.path().strip_prefix(folder).expect("under it").to_string_lossy().into_owned();
            found.insert(name, std::fs::read(entry.path()).expect("read"));
        }
    }
    found
}

/// Whether two shard sets are the same to the last byte; says which file is not.
pub fn assert_same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>, what: &str) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(one), names(other), "{what}");
    let differ: Vec<&String> = one.keys().filter(|&name| one[name] != other[name]).collect();
    assert!(differ.is_empty(), "{what}: these differ: {differ:?}");
}

/// The `clip_id` of every row, in order.
pub fn clip_ids(shards: &Path) -> Vec<String> {
    let shards = ShardSet::open(shards).expect("a shard set");
    let mut ids = Vec::new();
    for part in 0..shards.n_parts() {
        for batch in shards.part(part).expect("a part").batches() {
            let batch = batch.expect("a batch");
            let column = batch.column_by_name("clip_id").expect("clip_id").as_string::<i32>().clone();
            ids.extend(column.iter().flatten().map(str::to_owned));
        }
    }
    ids
}

/// How long anything may take, where this machine has much else to do.
#[cfg(any(feature = "cluster", feature = "objects"))]
const PATIENCE: Duration = Duration::from_mins(2);

/// Polls until there is something.
#[cfg(any(feature = "cluster", feature = "objects"))]
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>, why: impl Fn() -> String) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{what} did not come: {}", why());
        std::thread::sleep(Duration::from_millis(20));
    }
}
