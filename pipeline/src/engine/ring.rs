//! A ring of slots that are filled again and again: a few threads fill ahead, one consumer takes in order.
//!
//! What a slot is filled with is a function of its number alone, so the consumer gets the same sequence from any number of
//! workers. A worker takes a number only together with a free slot: no more than `slots` are ever filled or lent, however
//! slow the consumer. Once the slots are made, nothing is allocated.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::panic_message;

/// How long all slots may be held by the consumer before it is told that it waits for itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fills slot `number`; must not depend on which thread it runs on, nor on what the slot held before.
pub type Fill<T, E> = dyn Fn(u64, &mut T) -> Result<(), E> + Send + Sync;

/// Why a slot was not handed out.
#[derive(Debug, Error)]
pub enum RingError<E> {
    /// What the filling said.
    #[error(transparent)]
    Fill(E),
    /// The filling panicked.
    #[error("a worker panicked: {0}")]
    Panic(String),
    /// The consumer holds every slot and has dropped none for seconds: waiting for the next would never end.
    #[error("all {0} buffers are held by whoever took them: drop one before asking for the next, or have more")]
    AllHeld(usize),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Spawn(std::io::Error),
}

/// Slots, the threads that fill them, and the place of the consumer.
pub struct Ring<T: Send + 'static, E: Send + 'static> {
    shared: Arc<Shared<T, E>>,
    workers: Vec<JoinHandle<()>>,
    patience: Duration,
}

/// A filled slot; goes back into the ring when dropped, on any thread (a default, which must cost nothing, stays in its place).
pub struct Lent<T: Default + Send + 'static, E: Send + 'static> {
    slot: T,
    shared: Arc<Shared<T, E>>,
}

/// Time spent waiting and working since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RingTimes {
    /// The consumer waited for a slot to be filled.
    pub consumer_wait_s: f64,
    /// Workers waited for a free slot, all of them together.
    pub worker_wait_s: f64,
    /// Filling took, all workers together.
    pub fill_s: f64,
    /// Slots handed out.
    pub n_out: u64,
}

struct Shared<T, E> {
    state: Mutex<State<T, E>>,
    /// A slot became free, or the ring stops.
    freed: Condvar,
    /// A slot was filled, or came back.
    filled: Condvar,
    fill: Box<Fill<T, E>>,
    n_slots: usize,
    consumer_wait_ns: AtomicU64,
    worker_wait_ns: AtomicU64,
    fill_ns: AtomicU64,
}

/// A slot, and whether what is in it counts.
type Filled<T, E> = (T, Result<(), RingError<E>>);

struct State<T, E> {
    free: Vec<T>,
    /// Filled slots by their number, modulo the number of slots: those under way are never further apart.
    ready: Vec<Option<Filled<T, E>>>,
    next_fill: u64,
    next_out: u64,
    n_out: u64,
    /// Numbers end before this one.
    end: u64,
    n_filling: usize,
    stopped: bool,
}

impl<T: Default + Send + 'static, E: Send + 'static> Ring<T, E> {
    /// Fills slots `start..end` with `n_workers` threads; with none, the consumer fills when it asks.
    ///
    /// # Errors
    /// [`RingError::Spawn`].
    pub fn start(
        name: &str,
        slots: Vec<T>,
        n_workers: usize,
        (start, end): (u64, u64),
        fill: Box<Fill<T, E>>,
    ) -> Result<Self, RingError<E>> {
        let state = State {
            ready: slots.iter().map(|_| None).collect(),
            next_fill: start,
            next_out: start,
            n_out: 0,
            end,
            n_filling: 0,
            stopped: false,
            free: slots,
        };
        let shared = Arc::new(Shared {
            n_slots: state.free.len(),
            state: Mutex::new(state),
            freed: Condvar::new(),
            filled: Condvar::new(),
            fill,
            consumer_wait_ns: AtomicU64::new(0),
            worker_wait_ns: AtomicU64::new(0),
            fill_ns: AtomicU64::new(0),
        });
        let mut ring = Self { shared, workers: Vec::with_capacity(n_workers), patience: PATIENCE };
        for worker in 0..n_workers {
            let shared = ring.shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{worker}"));
            // Should one fail, dropping the ring ends those that run.
            ring.workers.push(thread.spawn(move || shared.work()).map_err(RingError::Spawn)?);
        }
        Ok(ring)
    }

    /// The next slot in order; `None` behind the last. A number that could not be filled is an error once, and the call
    /// after it goes on behind it.
    ///
    /// # Errors
    /// [`RingError`].
    #[expect(
        clippy::should_implement_trait,
        reason = "a lent slot may outlive the call, but the ring is no plain iterator"
    )]
    pub fn next(&mut self) -> Option<Result<Lent<T, E>, RingError<E>>> {
        let shared = &self.shared;
        let mut state = shared.lock();
        let waiting = Instant::now();
        loop {
            if state.next_out == state.end {
                return None;
            }
            let at = (state.next_out % shared.n_slots as u64) as usize;
            if let Some((slot, result)) = state.ready[at].take() {
                state.next_out += 1;
                state.n_out += 1;
                drop(state);
                add_since(&shared.consumer_wait_ns, waiting);
                let lent = Lent { slot, shared: shared.clone() };
                return Some(result.map(|()| lent));
            }
            if state.free.is_empty() && state.n_filling == 0 {
                let left = self.patience.saturating_sub(waiting.elapsed());
                if left.is_zero() {
                    return Some(Err(RingError::AllHeld(shared.n_slots)));
                }
                state = shared.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state = if self.workers.is_empty() { shared.fill_one(state) } else { wait(&shared.filled, state) };
        }
    }

    /// Number of the slot that the next call of [`Ring::next`] gives.
    pub fn position(&self) -> u64 {
        self.shared.lock().next_out
    }

    /// What the ring has cost so far.
    pub fn times(&self) -> RingTimes {
        let seconds = |ns: &AtomicU64| ns.load(Ordering::Relaxed) as f64 / 1e9;
        RingTimes {
            consumer_wait_s: seconds(&self.shared.consumer_wait_ns),
            worker_wait_s: seconds(&self.shared.worker_wait_ns),
            fill_s: seconds(&self.shared.fill_ns),
            n_out: self.shared.lock().n_out,
        }
    }
}

impl<T: Send + 'static, E: Send + 'static> Drop for Ring<T, E> {
    /// Ends the threads: each finishes the slot it is filling.
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.freed.notify_all();
        for worker in self.workers.drain(..) {
            // Panics of the filling are caught where they happen.
            let _ = worker.join();
        }
    }
}

impl<T, E> Shared<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        // No code of others runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        let mut waiting = None;
        while !state.stopped && state.next_fill < state.end {
            if state.free.is_empty() {
                waiting.get_or_insert_with(Instant::now);
                state = wait(&self.freed, state);
                continue;
            }
            if let Some(since) = waiting.take() {
                add_since(&self.worker_wait_ns, since);
            }
            state = self.fill_one(state);
        }
    }

    /// Fills the next number. There is a free slot, and a next number.
    fn fill_one<'a>(&'a self, mut state: MutexGuard<'a, State<T, E>>) -> MutexGuard<'a, State<T, E>> {
        let Some(mut slot) = state.free.pop() else { return state };
        let number = state.next_fill;
        state.next_fill += 1;
        state.n_filling += 1;
        drop(state);
        let filling = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (self.fill)(number, &mut slot)));
        let result = match result {
            Ok(result) => result.map_err(RingError::Fill),
            Err(panic) => Err(RingError::Panic(panic_message(panic.as_ref()))),
        };
        add_since(&self.fill_ns, filling);
        let mut state = self.lock();
        state.n_filling -= 1;
        state.ready[(number % self.n_slots as u64) as usize] = Some((slot, result));
        if number == state.next_out {
            self.filled.notify_all();
        }
        state
    }
}

impl<T: Default + Send + 'static, E: Send + 'static> Drop for Lent<T, E> {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut self.slot);
        self.shared.lock().free.push(slot);
        self.shared.freed.notify_one();
        // The consumer may wait for exactly this one.
        self.shared.filled.notify_all();
    }
}

impl<T: Default + Send + 'static, E: Send + 'static> Deref for Lent<T, E> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.slot
    }
}

impl<T: Default + Send + 'static, E: Send + 'static> DerefMut for Lent<T, E> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.slot
    }
}

fn wait<'a, S>(condition: &Condvar, state: MutexGuard<'a, S>) -> MutexGuard<'a, S> {
    condition.wait(state).unwrap_or_else(PoisonError::into_inner)
}

fn add_since(total_ns: &AtomicU64, since: Instant) {
    total_ns.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(n_slots: usize, n_workers: usize, end: u64) -> Ring<u64, String> {
        let fill = |number: u64, slot: &mut u64| {
            if number == 13 {
                return Err("thirteen".to_owned());
            }
            assert_ne!(number, 17, "seventeen");
            *slot = number * number;
            Ok(())
        };
        Ring::start("squares", vec![0; n_slots], n_workers, (3, end), Box::new(fill)).unwrap()
    }

    #[test]
    fn the_sequence_is_the_same_for_any_number_of_workers_and_slots() {
        for (n_slots, n_workers) in [(1, 0), (4, 0), (1, 1), (2, 1), (4, 2), (3, 8), (8, 3)] {
            let mut ring = squares(n_slots, n_workers, 40);
            for number in 3..40 {
                assert_eq!(ring.position(), number);
                match ring.next().unwrap() {
                    Ok(slot) => assert_eq!(*slot, number * number),
                    Err(RingError::Fill(why)) => assert_eq!((number, why.as_str()), (13, "thirteen")),
                    Err(RingError::Panic(why)) => assert!(number == 17 && why.contains("seventeen"), "{why}"),
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(ring.next().is_none());
            assert_eq!(ring.times().n_out, 37);
        }
    }

    #[test]
    fn a_consumer_that_holds_every_slot_is_told() {
        for n_workers in [0, 2] {
            let mut ring = squares(2, n_workers, 100);
            ring.patience = Duration::from_millis(20);
            let (first, second) = (ring.next().unwrap().unwrap(), ring.next().unwrap().unwrap());
            assert!(matches!(ring.next(), Some(Err(RingError::AllHeld(2)))));
            drop(first);
            assert_eq!(*ring.next().unwrap().unwrap(), 25);
            // A slot may outlive its ring.
            drop(ring);
            assert_eq!(*second, 16);
        }
    }

    #[test]
    fn no_more_than_the_slots_are_ever_filled_or_held() {
        let under_way = Arc::new(AtomicU64::new(0));
        let most = Arc::new(AtomicU64::new(0));
        let (counted, peak) = (under_way.clone(), most.clone());
        let fill = move |_: u64, _: &mut u64| -> Result<(), String> {
            peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Ok(())
        };
        let mut ring = Ring::start("slow", vec![0; 3], 8, (0, 500), Box::new(fill)).unwrap();
        let mut held = std::collections::VecDeque::new();
        while let Some(slot) = ring.next() {
            held.push_back(slot.unwrap());
            if held.len() == 2 {
                // Counted down first: what the workers take then cannot be more than the slots.
                under_way.fetch_sub(1, Ordering::SeqCst);
                held.pop_front();
            }
            std::thread::yield_now();
        }
        assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?} of 3 slots at once");
    }

    #[test]
    fn a_dropped_ring_ends_its_threads() {
        for take in [0, 1, 5] {
            let alive = Arc::new(());
            let witness = alive.clone();
            let fill = move |_: u64, _: &mut u64| -> Result<(), String> {
                let _ = &witness;
                Ok(())
            };
            let mut ring = Ring::start("short", vec![0; 2], 4, (0, u64::MAX), Box::new(fill)).unwrap();
            for _ in 0..take {
                assert!(ring.next().unwrap().is_ok());
            }
            drop(ring);
            // Every thread held the filling through the ring's shared part.
            assert_eq!(Arc::strong_count(&alive), 1);
        }
    }
}
