//! How the program ends: exit codes, and signals that first ask for a stop and then insist.
//!
//! The one thread outside of `engine` is here: it waits for signals, and is there before the engine and after it.

use std::io::{self, Write as _};
use std::process::{ExitCode, Termination};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};

pub use crate::engine::StopSignal;

/// How the program ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything asked for is done.
    Done,
    /// 1: the run failed, or `verify` found damage.
    Failed,
    /// 2: the config or the command line is wrong; nothing was started.
    Usage,
    /// 129, 130 or 143: stopped by a signal; the same command goes on where it stopped.
    Stopped(StopSignal),
}

impl Exit {
    /// The process's exit code: 0, 1, 2, or 128 plus the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Stopped(StopSignal::Hangup) => 129,
            Self::Stopped(StopSignal::Interrupt) => 130,
            Self::Stopped(StopSignal::Terminate) => 143,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

fn signal_of(number: i32) -> Option<StopSignal> {
    match number {
        SIGINT => Some(StopSignal::Interrupt),
        SIGTERM => Some(StopSignal::Terminate),
        SIGHUP => Some(StopSignal::Hangup),
        _ => None,
    }
}

/// Whether whoever started the program wants it to outlive its terminal, as `nohup` does. Elsewhere than on Linux it is heard.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & 1 << (SIGHUP - 1) != 0
}

/// What to say on stderr when the first signal comes.
pub const STOPPING: &str =
    "stopping: finished shards are kept, the same command goes on from here (once more to stop at once)";

/// The same for a run that writes one file at its end.
pub const STOPPING_WHOLE: &str =
    "stopping: nothing is written, the same command begins again (once more to stop at once)";

/// A signal that comes so soon after the first is the same wish.
const ONE_WISH: Duration = Duration::from_millis(300);

/// Listens for SIGINT, SIGTERM and SIGHUP from its making until it is dropped.
///
/// The first signal arrives as a message on [`StopWatch::stops`]. A second one, a moment later and of any kind, ends the process at once
/// with 129, 130 or 143, from the signal handler itself, so that it works however stuck the program is. Nothing is torn by that:
/// shards are committed by rename. After the drop signals are ignored until another watch is made.
#[derive(Debug)]
pub struct StopWatch {
    stops: Receiver<StopSignal>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    hooks: Vec<signal_hook::SigId>,
}

impl StopWatch {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the system refuses the handlers or the thread.
    pub fn start() -> io::Result<Self> {
        Self::start_saying(STOPPING)
    }

    /// Starts to listen, with another word than [`STOPPING`] for the first signal.
    ///
    /// # Errors
    /// As [`StopWatch::start`].
    pub fn start_saying(words: &'static str) -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let mut hooks = Vec::with_capacity(7);
        // With the default action a file that grows past `ulimit -f` would kill the process; so it is an error of the write.
        hooks.push(signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?);
        let mut heard = vec![(SIGINT, 130), (SIGTERM, 143)];
        if !hangup_is_ignored() {
            heard.push((SIGHUP, 129));
        }
        for &(number, code) in &heard {
            hooks.push(signal_hook::flag::register_conditional_shutdown(number, code, Arc::clone(&asked))?);
        }
        let mut signals = Signals::new(heard.iter().map(|(number, _)| number))?;
        let handle = signals.handle();
        let (to, stops) = bounded(1);
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut is_told = false;
            for signal in signals.forever().filter_map(signal_of) {
                if !is_told && to.try_send(signal).is_ok() {
                    is_told = true;
                    // The terminal may be gone: nobody to tell is no reason to panic.
                    let _ = writeln!(io::stderr(), "{words}");
                    // `timeout` and its like tell the process and then its group: the same wish twice is one.
                    std::thread::sleep(ONE_WISH);
                    asked.store(true, Ordering::SeqCst);
                }
            }
        })?;
        Ok(Self { stops, handle, thread: Some(thread), hooks })
    }

    /// Gives the first signal, once. Select on it, or poll it with `try_recv`.
    pub fn stops(&self) -> &Receiver<StopSignal> {
        &self.stops
    }
}

impl Drop for StopWatch {
    fn drop(&mut self) {
        for hook in self.hooks.drain(..) {
            signal_hook::low_level::unregister(hook);
        }
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // The thread only forwards; a panic in it has nothing left to lose.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn codes_are_what_the_manual_says() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Stopped(StopSignal::Interrupt),
            Exit::Stopped(StopSignal::Terminate),
            Exit::Stopped(StopSignal::Hangup),
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 130, 143, 129]);
    }

    /// The child: this test binary again, told by its environment to wait for signals that it sends itself.
    #[test]
    fn child_that_signals_itself() {
        let Ok(second) = std::env::var("AJEPA_TEST_SECOND_SIGNAL") else { return };
        let watch = StopWatch::start().unwrap();
        signal_hook::low_level::raise(SIGTERM).unwrap();
        let first = watch.stops().recv_timeout(Duration::from_secs(20)).unwrap();
        if second == "none" {
            std::process::exit(i32::from(Exit::Stopped(first).code()));
        }
        // At once it is the same wish.
        signal_hook::low_level::raise(SIGINT).unwrap();
        std::thread::sleep(2 * ONE_WISH);
        signal_hook::low_level::raise(SIGINT).unwrap();
        unreachable!("the second signal ends the process");
    }

    fn child(second: &str) -> Option<i32> {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "cli::exit::tests::child_that_signals_itself"]).env("AJEPA_TEST_SECOND_SIGNAL", second);
        child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
    }

    #[test]
    fn first_signal_asks_second_insists() {
        assert_eq!(child("none"), Some(143));
        assert_eq!(child("int"), Some(130));
    }
}
