//! Scheduler and executors as processes, which end with the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{Ended, Place, files, wait};

/// A process that is killed at the end, and what it says.
pub struct Process {
    pub child: Child,
    pub log: std::path::PathBuf,
}

impl Process {
    pub fn start(place: &Place, name: &str, args: &str) -> Self {
        Self::start_in(place, name, args, &place.path("."))
    }

    pub fn start_in(place: &Place, name: &str, args: &str, folder: &Path) -> Self {
        let mut command = place.command(args);
        command.current_dir(folder);
        Self::spawn(place, name, command)
    }

    pub fn spawn(place: &Place, name: &str, mut command: Command) -> Self {
        let log = place.path(&format!("{name}.log"));
        command.stderr(File::create(&log).expect("a log")).stdout(Stdio::null());
        Self { child: command.spawn().expect("starts"), log }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    /// Waits until it has said `words`; gives the line.
    pub fn says(&self, words: &str) -> String {
        let find = || self.said().lines().find(|line| line.contains(words)).map(str::to_owned);
        wait(&format!("{words:?} of {}", self.log.display()), find, || self.said())
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("ends");
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Its end, which is to come by itself.
    pub fn ended(&mut self) -> Ended {
        let status = wait("the end of a process", || self.child.try_wait().expect("its state"), String::new);
        Ended { code: status.code(), out: String::new(), err: self.said() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `n` clips, a graph over them as `graph.yaml`, and the shards that it makes here.
pub fn place(n: usize, graph: &str) -> (Place, BTreeMap<String, Vec<u8>>) {
    let place = Place::new();
    place.copies(n);
    place.write("graph.yaml", graph);
    place.done("run graph.yaml --progress off --set stages.sink_shards.path=local");
    let whole = files(&place.path("local"));
    (place, whole)
}

/// A scheduler and executors of one place each, in the folder of `place`.
pub struct Lan {
    pub scheduler: Process,
    pub executors: Vec<Process>,
    pub url: String,
    pub options: String,
}

impl Lan {
    /// With `n` executors; `options` go to all processes: the token.
    pub fn new(place: &Place, n: usize, options: &str) -> Self {
        let scheduler = Self::scheduler(place, "127.0.0.1:0", options);
        let line = scheduler.says("listening on");
        let address = line.rsplit(' ').next().expect("an address").to_owned();
        let mut lan =
            Self { scheduler, executors: Vec::new(), url: format!("df://{address}"), options: options.to_owned() };
        (0..n).for_each(|_| lan.executor(place));
        lan
    }

    fn scheduler(place: &Place, address: &str, options: &str) -> Process {
        Process::start(place, "scheduler", &format!("cluster scheduler --listen {address} {options}"))
    }

    /// One more executor.
    pub fn executor(&mut self, place: &Place) {
        self.executor_with(place, &format!("--scheduler {} --slots 1", self.url));
    }

    /// One more, with other options.
    pub fn executor_with(&mut self, place: &Place, options: &str) {
        let n = self.executors.len();
        let args = format!("cluster executor {options} --name host{n} {}", self.options);
        self.joins(Process::start(place, &format!("executor{n}"), &args));
    }

    /// One more, that was started elsewhere.
    pub fn joins(&mut self, executor: Process) {
        executor.says("joined");
        self.executors.push(executor);
    }

    /// The scheduler, started anew at the same place.
    pub fn restart_scheduler(&mut self, place: &Place) {
        self.scheduler.kill();
        let address = self.url.trim_start_matches("df://").to_owned();
        self.scheduler = Self::scheduler(place, &address, &self.options);
        self.scheduler.says("listening on");
    }

    /// Arguments of a run on it.
    pub fn run(&self, more: &str) -> String {
        format!("run graph.yaml --cluster {} {} --progress plain {more}", self.url, self.options)
    }
}

/// Waits until the set at `out` has `n` records.
pub fn records(out: &Path, n: usize) {
    let dir = out.join("_units/g001");
    let count = || dir.read_dir().map_or(0, |entries| entries.filter(is_record).count());
    wait(&format!("record {n} of {}", dir.display()), || (count() >= n).then_some(()), || format!("{} are", count()));
}

fn is_record(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    let name = entry.as_ref().expect("an entry").file_name();
    name.to_string_lossy().bytes().next().is_some_and(|byte| byte.is_ascii_digit())
}
