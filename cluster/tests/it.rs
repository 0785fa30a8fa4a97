//! Scheduler, executors and clients in threads of one process, over real connections.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ajepa_cluster::{
    Client, ClusterError, ExecutorOptions, Free, JobState, SchedulerOptions, Token, Trouble, Work, execute, schedule,
};
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CleanJobDataParams, CreateUpdateSessionParams, ExecuteQueryParams, GetJobMetricsParams, HeartBeatParams,
    PollWorkParams, RegisterExecutorParams, RemoveSessionParams, UpdateTaskStatusParams,
};
use ballista_core::version::insert_version_header;
use tonic::Code;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_mins(2);

/// A part of a cluster, in a thread, until it is dropped.
struct Part {
    stop: Option<SyncSender<()>>,
    thread: Option<thread::JoinHandle<Result<(), ClusterError>>>,
}

fn until(stop: Receiver<()>) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        let _ = stop.recv();
    })
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("ends well");
        }
    }
}

/// A scheduler and its address.
fn scheduler(token: Option<Token>) -> (Part, String) {
    let (stop, stopped) = sync_channel(1);
    let (told, address) = sync_channel(64);
    let say = move |line: &str| {
        let _ = told.try_send(line.to_owned());
    };
    let options = SchedulerOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        token,
        say: Box::new(say),
        until: until(stopped),
    };
    let thread = thread::spawn(move || schedule(options));
    let line = address.recv_timeout(PATIENCE).expect("it listens");
    let address = line.strip_prefix("listening on ").expect("its address").to_owned();
    (Part { stop: Some(stop), thread: Some(thread) }, address)
}

fn executor(address: &str, host: &str, work: Arc<dyn Work>) -> Part {
    executor_with(address, host, work, 2, None)
}

fn executor_with(address: &str, host: &str, work: Arc<dyn Work>, slots: usize, limit: Option<Duration>) -> Part {
    let (stop, stopped) = sync_channel(1);
    let options = ExecutorOptions {
        scheduler: format!("df://{address}"),
        token: Some(token()),
        host: host.to_owned(),
        slots,
        limit,
        say: Box::new(|_| ()),
        until: until(stopped),
    };
    let thread = thread::spawn(move || execute(options, work));
    Part { stop: Some(stop), thread: Some(thread) }
}

fn token() -> Token {
    Token::new(TOKEN).expect("a token")
}

fn client(address: &str) -> Client {
    Client::new(&format!("df://{address}"), Some(token())).expect("a client")
}

/// Waits for the end of a job.
fn end(client: &Client, job: &str) -> JobState {
    let since = Instant::now();
    loop {
        match client.state(job).expect("a state") {
            JobState::UnderWay => assert!(since.elapsed() < PATIENCE, "the job does not end"),
            ended => return ended,
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Counts how often each item is done; fails as an item says.
#[derive(Default)]
struct Counting {
    done: Mutex<BTreeMap<String, usize>>,
    failures: AtomicUsize,
}

impl Counting {
    fn counts(&self) -> BTreeMap<String, usize> {
        self.done.lock().expect("no panic").clone()
    }
}

impl Work for Counting {
    fn work(&self, job: &str, item: &str, _: Free) -> Result<String, Trouble> {
        if item == "slow" {
            thread::sleep(Duration::from_millis(300));
        }
        let is_first = self.failures.fetch_add(1, Ordering::SeqCst) == 0;
        match item {
            "shaky" if is_first => return Err(Trouble::Passing("the disk is away".to_owned())),
            "sick" => return Err(Trouble::Passing("the disk is full".to_owned())),
            "wrong" => return Err(Trouble::Lasting("it cannot be".to_owned())),
            "panic" => panic!("as asked"),
            _ => {}
        }
        *self.done.lock().expect("no panic").entry(item.to_owned()).or_default() += 1;
        Ok(format!("{job} {item}"))
    }

    fn name(&self, _: &str, item: &str) -> String {
        item.to_owned()
    }
}

fn tasks(n: usize) -> Vec<Vec<String>> {
    (0..n).map(|task| vec![format!("{task}a"), format!("{task}b")]).collect()
}

#[test]
fn every_item_is_done_and_every_line_heard() {
    let (_scheduler, address) = scheduler(Some(token()));
    let work = Arc::new(Counting::default());
    let _two = [executor(&address, "a", work.clone()), executor(&address, "b", work.clone())];
    let client = client(&address);
    let job = client.submit("counting", "job", &tasks(40)).unwrap();
    assert_eq!(end(&client, &job), JobState::Done);
    let counts = work.counts();
    assert_eq!((counts.len(), counts.values().all(|n| *n == 1)), (80, true), "{counts:?}");
    let mut lines = client.lines(&job, 0).unwrap();
    assert_eq!(client.lines(&job, 70).unwrap(), lines[70..]);
    lines.sort();
    let mut wanted: Vec<String> = counts.keys().map(|item| format!("job {item}")).collect();
    wanted.sort();
    assert_eq!(lines, wanted);
    let executors = client.executors().unwrap();
    assert_eq!(executors.iter().map(|e| e.room.slots).sum::<u32>(), 4, "{executors:?}");
    // The same job, once it has ended, is another.
    assert_ne!(client.submit("counting", "job", &tasks(1)).unwrap(), job);
    assert_eq!(client.state("nonsense").unwrap(), JobState::Unknown);
}

#[test]
fn passing_trouble_is_tried_again_and_lasting_trouble_is_told() {
    let (_scheduler, address) = scheduler(Some(token()));
    let work = Arc::new(Counting::default());
    let _one = executor(&address, "a", work.clone());
    let client = client(&address);
    let run = |item: &str| {
        let job = client.submit(item, item, &[vec![item.to_owned()]]).unwrap();
        end(&client, &job)
    };
    assert_eq!(run("shaky"), JobState::Done);
    assert_eq!(work.counts()["shaky"], 1);
    for (item, words) in [("sick", "the disk is full"), ("wrong", "it cannot be"), ("panic", "panicked")] {
        let JobState::Failed(why) = run(item) else { panic!("{item} is done") };
        assert!(why.contains(words), "{item}: {why}");
    }
    // The executor has lived through it.
    assert_eq!(run("fine"), JobState::Done);
}

#[test]
fn a_job_that_is_cancelled_stops_between_items() {
    let (_scheduler, address) = scheduler(Some(token()));
    let work = Arc::new(Counting::default());
    let _one = executor(&address, "a", work.clone());
    let client = client(&address);
    let slow: Vec<Vec<String>> = (0..50).map(|_| vec!["slow".to_owned(); 4]).collect();
    let job = client.submit("slow", "slow", &slow).unwrap();
    while work.counts().is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    // Somebody who hands in the same meanwhile follows it.
    assert_eq!(client.submit("slow", "slow", &slow).unwrap(), job);
    client.cancel(&job).unwrap();
    assert!(matches!(end(&client, &job), JobState::Failed(_)));
    thread::sleep(Duration::from_secs(2));
    let then = work.counts()["slow"];
    thread::sleep(Duration::from_secs(1));
    assert_eq!(work.counts()["slow"], then, "work goes on");
    assert!(then < 40, "{then} of 200");
}

/// Items that compute, then lie at the disk; and one that hangs.
#[derive(Default)]
struct Lying {
    /// At work, and the most at once; at the disk or at work, and the most at once.
    counts: Mutex<[usize; 4]>,
    released: AtomicBool,
}

impl Lying {
    fn add(&self, at: usize) {
        let mut counts = self.counts.lock().expect("no panic");
        counts[at] += 1;
        counts[at + 1] = counts[at + 1].max(counts[at]);
    }

    fn take(&self, at: usize) {
        self.counts.lock().expect("no panic")[at] -= 1;
    }
}

impl Work for Lying {
    fn work(&self, _: &str, item: &str, free: Free) -> Result<String, Trouble> {
        if item == "hangs" {
            while !self.released.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
            return Ok(item.to_owned());
        }
        self.add(0);
        self.add(2);
        thread::sleep(Duration::from_millis(20));
        self.take(0);
        free();
        thread::sleep(Duration::from_millis(20));
        self.take(2);
        Ok(item.to_owned())
    }

    fn name(&self, job: &str, item: &str) -> String {
        format!("{item} of {job}")
    }
}

#[test]
fn a_slot_begins_its_next_item_while_one_lies_at_the_disk() {
    for tasks in [tasks(20), vec![(0..40).map(|n| n.to_string()).collect()]] {
        let (_scheduler, address) = scheduler(Some(token()));
        let work = Arc::new(Lying::default());
        let _one = executor_with(&address, "a", work.clone(), 1, None);
        let client = client(&address);
        let job = client.submit("lying", "lying", &tasks).unwrap();
        assert_eq!(end(&client, &job), JobState::Done);
        assert_eq!(client.lines(&job, 0).unwrap().len(), 40);
        let [_, at_work, _, beside_each_other] = *work.counts.lock().unwrap();
        // One of this task and one of the task before may lie at the disk.
        assert!(at_work == 1 && (2..=3).contains(&beside_each_other), "{at_work} at work of {beside_each_other}");
    }
}

#[test]
fn an_item_over_its_limit_fails_its_job_and_keeps_its_slot() {
    let (_scheduler, address) = scheduler(Some(token()));
    let work = Arc::new(Lying::default());
    let _two_slots = executor_with(&address, "a", work.clone(), 2, Some(Duration::from_millis(300)));
    let client = client(&address);
    let run = |job: &str, items: &[&str]| {
        let tasks: Vec<Vec<String>> = items.iter().map(|item| vec![(*item).to_owned()]).collect();
        let id = client.submit(job, job, &tasks).unwrap();
        end(&client, &id)
    };
    let JobState::Failed(why) = run("first", &["hangs"]) else { panic!("it is done") };
    assert!(why.contains("hangs of first; not done in 300ms"), "{why}");
    assert_eq!(run("second", &["a", "b", "c", "d"]), JobState::Done);
    assert_eq!(work.counts.lock().unwrap()[1], 1, "its slot was given away");
    work.released.store(true, Ordering::SeqCst);
    let since = Instant::now();
    while work.counts.lock().unwrap()[1] < 2 {
        assert!(since.elapsed() < PATIENCE, "its slot does not come back");
        let items: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        assert_eq!(run("third", &items), JobState::Done);
    }
}

#[test]
fn an_executor_ends_when_every_slot_hangs_and_was_heard_before() {
    let (_scheduler, address) = scheduler(Some(token()));
    let work = Arc::new(Lying::default());
    let mut one = executor_with(&address, "a", work.clone(), 1, Some(Duration::from_millis(200)));
    let client = client(&address);
    let job = client.submit("hangs", "hangs", &[vec!["hangs".to_owned()]]).unwrap();
    assert!(matches!(end(&client, &job), JobState::Failed(why) if why.contains("hangs of hangs")));
    let ended = one.thread.take().expect("it runs").join().expect("no panic");
    assert!(matches!(ended, Err(ClusterError::Hung(1))), "{ended:?}");
    work.released.store(true, Ordering::SeqCst);
    // It has said good-bye, which the scheduler takes in when it comes to it.
    let since = Instant::now();
    while !client.executors().unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_mins(1), "it is still known");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Forwards connections to `address` until it is cut.
struct Wire {
    address: String,
    cut: Arc<AtomicBool>,
}

impl Wire {
    fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (here, cut) = (listener.local_addr().expect("its address").to_string(), Arc::new(AtomicBool::new(false)));
        let (address, is_cut) = (address.to_owned(), cut.clone());
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let to = TcpStream::connect(&address).expect("connects");
                for (from, to) in [(from.try_clone().expect("a handle"), to.try_clone().expect("a handle")), (to, from)]
                {
                    let is_cut = is_cut.clone();
                    thread::spawn(move || forward(from, to, &is_cut));
                }
            }
        });
        Self { address: here, cut }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
    let mut bytes = [0; 1 << 14];
    while !is_cut.load(Ordering::SeqCst) {
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => {
                // What is on its way when the wire is cut is lost.
                if is_cut.load(Ordering::SeqCst) || to.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_wire_that_is_cut_for_a_while_loses_no_task() {
    let (_scheduler, address) = scheduler(Some(token()));
    let wire = Wire::to(&address);
    let work = Arc::new(Counting::default());
    let _behind = executor(&wire.address, "behind", work.clone());
    let client = client(&address);
    let slow: Vec<Vec<String>> = (0..60).map(|n| vec!["slow".to_owned(), format!("{n}")]).collect();
    let job = client.submit("cut", "cut", &slow).unwrap();
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(1100));
        wire.cut.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(400));
        wire.cut.store(false, Ordering::SeqCst);
    }
    assert_eq!(end(&client, &job), JobState::Done);
    assert_eq!(work.counts().len(), 61, "{:?}", work.counts());
}

/// Everything that the gate is not for.
#[test]
fn the_gate_lets_nothing_through_but_work() {
    let (_scheduler, address) = scheduler(Some(token()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let bearer = |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
            Ok(request)
        };
        let mut inside = SchedulerGrpcClient::with_interceptor(channel.clone(), bearer);
        let query = |query: Query| {
            let mut request = tonic::Request::new(ExecuteQueryParams { query: Some(query), ..Default::default() });
            insert_version_header(request.metadata_mut());
            request
        };
        for forged in [
            Query::LogicalPlan(vec![]),
            Query::SubstraitPlan(vec![]),
            Query::PhysicalPlan(vec![]),
            Query::PhysicalPlan(b"\x0a\x00".to_vec()),
        ] {
            let refused = inside.execute_query(query(forged.clone())).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{forged:?}");
            assert!(inside.execute_query_push(query(forged)).await.is_err());
        }
        let codes = [
            inside.register_executor(RegisterExecutorParams::default()).await.unwrap_err().code(),
            inside.heart_beat_from_executor(HeartBeatParams::default()).await.unwrap_err().code(),
            inside.update_task_status(UpdateTaskStatusParams::default()).await.unwrap_err().code(),
            inside.create_update_session(CreateUpdateSessionParams::default()).await.unwrap_err().code(),
            inside.remove_session(RemoveSessionParams::default()).await.unwrap_err().code(),
            inside.get_job_metrics(GetJobMetricsParams::default()).await.unwrap_err().code(),
            inside.clean_job_data(CleanJobDataParams::default()).await.unwrap_err().code(),
        ];
        assert!(codes.iter().all(|code| *code == Code::PermissionDenied), "{codes:?}");
        let odd = inside.poll_work(PollWorkParams::default()).await.unwrap_err();
        assert_eq!(odd.code(), Code::InvalidArgument);
        let mut outside = SchedulerGrpcClient::new(channel);
        let refused = outside.poll_work(PollWorkParams::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let refused = outside.execute_query(query(Query::PhysicalPlan(vec![]))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    });
    let stranger = Client::new(&format!("df://{address}"), None).unwrap();
    assert!(matches!(stranger.executors(), Err(ClusterError::Unauthorized { .. })));
    assert!(matches!(stranger.submit("a", "a", &tasks(1)), Err(ClusterError::Unauthorized { .. })));
}
