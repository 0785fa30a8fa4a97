//! The board: every queue of a run behind one lock, so that each decision (who works next, who waits, who is stuck) sees
//! all of it.
//!
//! # Order
//! Every queue gives its items in the order of their sequence numbers, whoever delivered them first. A worker that takes
//! an item from a queue gets the next number of the queue behind; so order is that of the source, for any number of workers.
//!
//! # Bounds
//! A queue is full by bytes (with an estimate for what is under way) or by items. Workers do not block on a full queue,
//! they look for other work; the item that the consumer waits for is always let in, which is why nothing can lock up.
//! Should all threads wait at once, a graph has a fault that the plan did not see: that is an error, not a hang.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;

use super::metrics::QueueSnapshot;
use crate::columns::array_bytes;
use crate::stage::{StageError, UnitTally};

/// What travels between segments.
#[derive(Debug, Clone)]
pub enum Item {
    /// Rows of a unit, and what became of clips on the way to them.
    Rows {
        /// The unit.
        unit: usize,
        /// The rows; may be none.
        rows: RecordBatch,
        /// Clips that were counted since the item before.
        tally: UnitTally,
    },
    /// No more rows of this unit.
    EndUnit {
        /// The unit.
        unit: usize,
        /// As in `Rows`.
        tally: UnitTally,
    },
}

impl Item {
    fn bytes(&self) -> u64 {
        match self {
            Self::Rows { rows, .. } => rows.columns().iter().map(|column| array_bytes(column)).sum(),
            Self::EndUnit { .. } => 0,
        }
    }
}

/// A queue before the run: what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCap {
    /// Bytes.
    pub bytes: u64,
    /// Items.
    pub items: u64,
}

/// A chain as the board sees it: where its items come from and go to.
#[derive(Debug, Clone)]
pub struct ChainPorts {
    /// The queue it reads.
    pub input: usize,
    /// The queues it fills, all with the same items.
    pub outputs: Vec<usize>,
}

/// One item for one chain.
#[derive(Debug)]
pub struct Work {
    /// Index among the chains.
    pub chain: usize,
    /// What to do.
    pub item: Item,
    /// Its number in the chain's outputs.
    pub seq: u64,
}

/// See the module.
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    chains: Vec<ChainPorts>,
}

struct State {
    queues: Vec<Queue>,
    chains: Vec<ChainState>,
    /// Threads that take part; when all of them wait, nothing will ever change.
    actors: usize,
    waiting: usize,
    generation: u64,
    stopped: bool,
    stuck: bool,
}

#[derive(Default)]
struct ChainState {
    next_seq: u64,
    active: u64,
    closed: bool,
}

struct Queue {
    cap: QueueCap,
    slots: VecDeque<Slot>,
    /// Number of the front slot.
    front: u64,
    /// Items started by the producer and not complete.
    under_way: u64,
    /// Number of items in all, once the producer has ended.
    end: Option<u64>,
    items: u64,
    bytes: u64,
    peak_bytes: u64,
    mean_item_bytes: f64,
}

#[derive(Default)]
struct Slot {
    parts: VecDeque<Item>,
    complete: bool,
    /// Bytes of the parts that are here now.
    bytes: u64,
    /// Bytes of all parts that ever were.
    total_bytes: u64,
}

impl Queue {
    fn new(cap: QueueCap) -> Self {
        Self {
            cap,
            slots: VecDeque::new(),
            front: 0,
            under_way: 0,
            end: None,
            items: 0,
            bytes: 0,
            peak_bytes: 0,
            mean_item_bytes: 0.0,
        }
    }

    fn has_room(&self) -> bool {
        let expected = self.bytes as f64 + self.mean_item_bytes * (self.under_way + 1) as f64;
        self.items + self.under_way < self.cap.items && (expected <= self.cap.bytes as f64 || self.is_idle())
    }

    fn is_idle(&self) -> bool {
        self.items + self.under_way == 0
    }

    /// Whether item `seq` is the one the consumer waits for.
    fn waits_for(&self, seq: u64) -> bool {
        self.front == seq
    }

    /// Whether the producer of item `seq` should pause between its parts. The item that the consumer waits for counts
    /// alone: what others have put behind it cannot go before it is complete.
    fn is_full_for(&self, seq: u64) -> bool {
        let bytes = if self.waits_for(seq) { self.slots.front().map_or(0, |slot| slot.bytes) } else { self.bytes };
        bytes > self.cap.bytes
    }

    fn slot(&mut self, seq: u64) -> &mut Slot {
        let at = (seq - self.front) as usize;
        while self.slots.len() <= at {
            self.slots.push_back(Slot::default());
        }
        &mut self.slots[at]
    }

    fn add(&mut self, seq: u64, item: Item) {
        let bytes = item.bytes();
        let slot = self.slot(seq);
        slot.parts.push_back(item);
        slot.bytes += bytes;
        slot.total_bytes += bytes;
        self.bytes += bytes;
        self.items += 1;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
    }

    fn complete(&mut self, seq: u64) {
        let slot = self.slot(seq);
        slot.complete = true;
        let bytes = slot.total_bytes as f64;
        self.mean_item_bytes += (bytes - self.mean_item_bytes) * if self.mean_item_bytes == 0.0 { 1.0 } else { 0.1 };
        self.under_way = self.under_way.saturating_sub(1);
        self.drop_spent();
    }

    fn pop(&mut self) -> Option<Item> {
        let slot = self.slots.front_mut()?;
        let item = slot.parts.pop_front()?;
        let bytes = item.bytes();
        slot.bytes -= bytes;
        self.bytes -= bytes;
        self.items -= 1;
        self.drop_spent();
        Some(item)
    }

    fn drop_spent(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.complete && slot.parts.is_empty()) {
            self.slots.pop_front();
            self.front += 1;
        }
    }

    fn has_next(&self) -> bool {
        self.slots.front().is_some_and(|slot| !slot.parts.is_empty())
    }

    fn is_over(&self) -> bool {
        self.end == Some(self.front)
    }
}

impl Board {
    /// A board of empty queues. `actors` is the number of threads that will call in.
    pub fn new(caps: &[QueueCap], chains: Vec<ChainPorts>, actors: usize) -> Self {
        let state = State {
            queues: caps.iter().map(|&cap| Queue::new(cap)).collect(),
            chains: chains.iter().map(|_| ChainState::default()).collect(),
            actors,
            waiting: 0,
            generation: 0,
            stopped: false,
            stuck: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), chains }
    }

    /// Everybody's next call returns [`StageError::Stopped`].
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        self.announce(&mut state);
    }

    /// The calling thread will not come again.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.actors -= 1;
        self.announce(&mut state);
    }

    /// Whether the run ended because every thread waited for another.
    pub fn is_stuck(&self) -> bool {
        self.lock().stuck
    }

    /// The next work of `chains`, the furthest downstream first; `None` when all of them are done.
    ///
    /// # Errors
    /// [`StageError::Stopped`].
    pub fn take_work(&self, chains: Range<usize>) -> Result<Option<Work>, StageError> {
        let mut state = self.lock();
        loop {
            if let Some(work) = self.find_work(&mut state, chains.clone()) {
                return Ok(Some(work));
            }
            if state.chains[chains.clone()].iter().all(|chain| chain.closed) {
                return Ok(None);
            }
            state = self.wait(state)?;
        }
    }

    /// Gives out a part of the item `seq` of `chain` before the item is complete. When a queue is over its bound, work of
    /// `downstream` chains is returned for the caller to do instead of waiting; `None` when there is room again.
    ///
    /// # Errors
    /// [`StageError::Stopped`].
    pub fn part(
        &self,
        chain: usize,
        seq: u64,
        item: Option<Item>,
        downstream: Range<usize>,
    ) -> Result<Option<Work>, StageError> {
        let mut state = self.lock();
        if let Some(item) = item {
            self.add_to_all(&mut state, chain, seq, &item);
        }
        loop {
            let full = |&queue: &usize| state.queues[queue].is_full_for(seq);
            if !self.chains[chain].outputs.iter().any(full) {
                return Ok(None);
            }
            if let Some(work) = self.find_work(&mut state, downstream.clone()) {
                return Ok(Some(work));
            }
            state = self.wait(state)?;
        }
    }

    /// The last part of the item `seq` of `chain`.
    pub fn complete(&self, chain: usize, seq: u64, item: &Item) {
        let mut state = self.lock();
        self.add_to_all(&mut state, chain, seq, item);
        for &queue in &self.chains[chain].outputs {
            state.queues[queue].complete(seq);
        }
        state.chains[chain].active -= 1;
        self.close_finished(&mut state);
        self.announce(&mut state);
    }

    /// Appends to the queues of a producer that has a thread of its own; waits for room. Returns the nanoseconds waited.
    ///
    /// # Errors
    /// [`StageError::Stopped`].
    pub fn push(&self, queues: &[usize], seq: u64, item: Item) -> Result<u64, StageError> {
        let mut waited_ns = 0;
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Err(StageError::Stopped);
            }
            if queues.iter().all(|&queue| state.queues[queue].has_room()) {
                break;
            }
            let since = Instant::now();
            state = self.wait(state)?;
            waited_ns += since.elapsed().as_nanos() as u64;
        }
        if let Some((last, others)) = queues.split_last() {
            for &queue in others {
                state.queues[queue].add(seq, item.clone());
                state.queues[queue].complete(seq);
            }
            state.queues[*last].add(seq, item);
            state.queues[*last].complete(seq);
        }
        self.announce(&mut state);
        Ok(waited_ns)
    }

    /// The producer of these queues has given `n` items and ends.
    pub fn close(&self, queues: &[usize], n: u64) {
        let mut state = self.lock();
        for &queue in queues {
            state.queues[queue].end = Some(n);
        }
        self.close_finished(&mut state);
        self.announce(&mut state);
    }

    /// The next item of a queue for a consumer with a thread of its own, and the nanoseconds waited; `None` at the end.
    ///
    /// # Errors
    /// [`StageError::Stopped`].
    pub fn pop(&self, queue: usize) -> Result<(Option<Item>, u64), StageError> {
        let mut waited_ns = 0;
        let mut state = self.lock();
        loop {
            if state.stopped {
                return Err(StageError::Stopped);
            }
            if let Some(item) = state.queues[queue].pop() {
                self.announce(&mut state);
                return Ok((Some(item), waited_ns));
            }
            if state.queues[queue].is_over() {
                return Ok((None, waited_ns));
            }
            let since = Instant::now();
            state = self.wait(state)?;
            waited_ns += since.elapsed().as_nanos() as u64;
        }
    }

    /// Fill of every queue; names are the caller's.
    pub fn queues(&self) -> Vec<QueueSnapshot> {
        let snapshot = |queue: &Queue| QueueSnapshot {
            from: String::new(),
            to: String::new(),
            items: queue.items,
            bytes: queue.bytes,
            cap_bytes: queue.cap.bytes,
            peak_bytes: queue.peak_bytes,
        };
        self.lock().queues.iter().map(snapshot).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock can panic half-way through a change that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed: whoever waits looks again.
    fn announce(&self, state: &mut State) {
        if state.waiting > 0 {
            state.waiting = 0;
            self.changed.notify_all();
        }
        state.generation += 1;
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, StageError> {
        if state.stopped {
            return Err(StageError::Stopped);
        }
        state.waiting += 1;
        if state.waiting == state.actors {
            state.stuck = true;
            state.stopped = true;
            self.announce(&mut state);
            return Err(StageError::Stopped);
        }
        let generation = state.generation;
        while state.generation == generation {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped { Err(StageError::Stopped) } else { Ok(state) }
    }

    /// Chains are in graph order, so the last ones free memory.
    fn find_work(&self, state: &mut State, chains: Range<usize>) -> Option<Work> {
        if state.stopped {
            return None;
        }
        for chain in chains.rev() {
            let ports = &self.chains[chain];
            let seq = state.chains[chain].next_seq;
            let welcome = |&queue: &usize| {
                let queue = &state.queues[queue];
                queue.has_room() || queue.waits_for(seq)
            };
            if !state.queues[ports.input].has_next() || !ports.outputs.iter().all(welcome) {
                continue;
            }
            let item = state.queues[ports.input].pop()?;
            state.chains[chain].next_seq += 1;
            state.chains[chain].active += 1;
            for &queue in &ports.outputs {
                state.queues[queue].under_way += 1;
            }
            self.announce(state);
            return Some(Work { chain, item, seq });
        }
        None
    }

    fn add_to_all(&self, state: &mut State, chain: usize, seq: u64, item: &Item) {
        for &queue in &self.chains[chain].outputs {
            state.queues[queue].add(seq, item.clone());
        }
        self.announce(state);
    }

    /// Closes the outputs of chains whose input is over and whose work is done; in graph order, so that it carries through.
    fn close_finished(&self, state: &mut State) {
        for (chain, ports) in self.chains.iter().enumerate() {
            let done = state.queues[ports.input].is_over() && state.chains[chain].active == 0;
            if done && !state.chains[chain].closed {
                state.chains[chain].closed = true;
                let n = state.chains[chain].next_seq;
                for &queue in &ports.outputs {
                    state.queues[queue].end = Some(n);
                }
            }
        }
    }
}
