//! A network between a machine and the scheduler that stands still, or breaks again and again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ajepa_pipe::report::RunReport;

use super::lan::{Lan, Process, place, records};
use crate::program::{assert_same, files, wait};
use crate::promises::SEEDED;

/// How often a connection looks whether it still is one.
const LOOK: Duration = Duration::from_millis(20);

/// A way to the scheduler that can be closed.
struct Way {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Nothing goes through, and nobody is told.
    stands_still: AtomicBool,
    /// Connections of an earlier number are broken.
    cuts: AtomicU64,
}

impl Way {
    fn to(scheduler: &str) -> Self {
        let address = scheduler.trim_start_matches("df://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("df://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(State::default());
        let of_way = state.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&address) else { continue };
                let since = of_way.cuts.load(Relaxed);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let state = of_way.clone();
                    std::thread::spawn(move || state.carry(from, to, since));
                }
            }
        });
        Self { url, state }
    }

    fn stand_still(&self, whether: bool) {
        self.state.stands_still.store(whether, Relaxed);
    }

    fn cut(&self) {
        self.state.cuts.fetch_add(1, Relaxed);
    }
}

impl State {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, since: u64) {
        from.set_read_timeout(Some(LOOK)).expect("a timeout");
        let mut bytes = [0; 4096];
        while self.cuts.load(Relaxed) == since {
            if self.stands_still.load(Relaxed) {
                std::thread::sleep(LOOK);
                continue;
            }
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(n) if to.write_all(&bytes[..n]).is_err() => break,
                Err(error)
                    if !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    break;
                }
                _ => {}
            }
        }
        // Either may be closed already.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

#[test]
fn a_network_that_stands_still_loses_an_executor_and_gives_it_back() {
    let (place, whole) = place(400, SEEDED);
    let mut lan = Lan::new(&place, 1, "");
    let way = Way::to(&lan.url);
    lan.executor_with(&place, &format!("--scheduler {} --slots 1", way.url));
    let mut client = Process::start(&place, "client", &lan.run("--report report.json"));
    records(&place.path("out"), 3);
    way.stand_still(true);
    let ended = client.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_same(&whole, &files(&place.path("out")), "with one cut off");
    let report: RunReport = serde_json::from_slice(&std::fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!((report.end.clips_done, report.end.units_done, report.units.len()), (400, 100, 100));
    let gone = format!("executor host1-{}-", lan.executors[1].child.id());
    let is_gone = |line: &str| line.contains(&gone) && line.contains("gone");
    lan.scheduler.says(" is gone: what it had is given to others");
    assert!(lan.scheduler.said().lines().any(is_gone), "{}", lan.scheduler.said());
    // What was on its way arrives late, under a name that is struck off; and it is of use again.
    way.stand_still(false);
    let joined = || lan.executors[1].said().lines().filter(|line| line.contains("joined")).count();
    wait("its return", || (joined() >= 2).then_some(()), || lan.executors[1].said());
    lan.executors[0].signal("-TERM");
    let again = place.done(&lan.run("--set stages.sink_shards.path=again"));
    assert_same(&whole, &files(&place.path("again")), "with the one that came back");
    assert!(again.out.contains("host1: "), "{again:?}");
}

#[test]
fn connections_that_break_all_the_time_lose_and_double_nothing() {
    let (place, whole) = place(400, SEEDED);
    let mut lan = Lan::new(&place, 0, "");
    let way = Way::to(&lan.url);
    for _ in 0..2 {
        lan.executor_with(&place, &format!("--scheduler {} --slots 1", way.url));
    }
    let args = format!("run graph.yaml --cluster {} --progress plain --report report.json", way.url);
    let mut client = Process::start(&place, "client", &args);
    records(&place.path("out"), 1);
    let mut draw = 8_u64;
    while client.child.try_wait().expect("its state").is_none() {
        way.cut();
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(50 + (draw >> 33) % 500));
    }
    let ended = client.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_same(&whole, &files(&place.path("out")), "over a bad network");
    let report: RunReport = serde_json::from_slice(&std::fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!((report.end.clips_done, report.end.clips_total, report.end.units_done), (400, 400, 100));
    let again = place.done(&lan.run("--set stages.sink_shards.path=again"));
    assert_same(&whole, &files(&place.path("again")), "over a network that is well again");
    assert!(again.out.contains("host0: ") || again.out.contains("host1: "), "{again:?}");
}
