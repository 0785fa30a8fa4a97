//! What each kind of thread does: source, worker, fold, merge, sink. Read top to bottom, this is how rows flow.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;

use super::board::{Item, Work};
use super::chain::{Chain, ChainSettings, Link};
use super::clock;
use super::fold::FoldCx;
use super::gate::Gate;
use super::run::{Shared, Todo, count};
use crate::schema::Schema;
use crate::stage::{Fold, Map, Merge, Reject, Sink, SinkReport, Source, StageError, UnitTally};

/// A fault and the stage it began in.
type Fault = (usize, StageError);

/// Fills queues in order from one thread, and counts what passes.
struct Outlet<'a> {
    shared: &'a Shared,
    stage: usize,
    queues: &'a [usize],
    seq: u64,
    blocked_ns: u64,
}

impl<'a> Outlet<'a> {
    fn new(shared: &'a Shared, stage: usize, queues: &'a [usize]) -> Self {
        Self { shared, stage, queues, seq: 0, blocked_ns: 0 }
    }

    fn push(&mut self, item: Item) -> Result<(), StageError> {
        let counters = self.shared.metrics.stage(self.stage);
        if let Item::Rows { rows, .. } = &item {
            count(&counters.rows_out, rows.num_rows() as u64);
        }
        let waited_ns = self.shared.board.push(self.queues, self.seq, item)?;
        self.blocked_ns += waited_ns;
        count(&counters.blocked_ns, waited_ns);
        self.seq += 1;
        Ok(())
    }

    fn close(self) {
        self.shared.board.close(self.queues, self.seq);
    }

    /// Runs a piece of the stage's own work and counts its time, less what it waited in `push`.
    fn busy<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (since, blocked_before) = (Instant::now(), self.blocked_ns);
        let result = work(self);
        let waited_ns = self.blocked_ns - blocked_before;
        let busy_ns = (since.elapsed().as_nanos() as u64).saturating_sub(waited_ns);
        count(&self.shared.metrics.stage(self.stage).busy_ns, busy_ns);
        result
    }
}

/// Reads the units that are to be done, in order.
pub(super) fn run_source(
    shared: &Shared,
    stage: usize,
    source: &mut dyn Source,
    first_unit: usize,
    todo: &Todo,
    outputs: &[usize],
) -> Result<(), Fault> {
    let mut outlet = Outlet::new(shared, stage, outputs);
    for unit in (0..todo.units.len()).filter(|&unit| todo.units[unit]) {
        if unit >= first_unit && unit - first_unit < source.units().len() {
            let read = outlet.busy(|outlet| {
                source.read(unit - first_unit, &mut |rows| {
                    let tally = UnitTally { clips: rows.num_rows() as u64, ..UnitTally::default() };
                    outlet.push(Item::Rows { unit, rows, tally })
                })
            });
            read.map_err(|error| (stage, error))?;
        }
        outlet.push(Item::EndUnit { unit, tally: UnitTally::default() }).map_err(|error| (stage, error))?;
    }
    outlet.close();
    Ok(())
}

/// The stages of a chain, to be forked by each worker.
pub(super) struct ChainPrototype {
    /// Its first stage; where it has none, the one whose rows it casts.
    pub home: Link,
    pub links: Mutex<Vec<(Link, Box<dyn Map>)>>,
    pub input: Schema,
    pub output: Schema,
}

impl ChainPrototype {
    fn fork(&self, settings: ChainSettings, gate: &Arc<Gate>) -> Chain {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let links = links.iter().map(|(link, map)| (link.clone(), map.fork())).collect();
        Chain::new(links, &self.input, &self.output, settings, gate.clone()).on_behalf_of(self.home.clone())
    }
}

/// A thread of the pool: takes whatever work is furthest downstream, of any chain.
pub(super) struct Worker<'a> {
    shared: &'a Shared,
    prototypes: &'a [ChainPrototype],
    settings: ChainSettings,
    gate: Arc<Gate>,
    /// Which chains it may work for.
    duties: Range<usize>,
    /// Chains of this worker; a chain that is at work is taken out.
    chains: Vec<Option<Chain>>,
}

impl<'a> Worker<'a> {
    /// A worker for the chains of `duties`.
    pub fn new(
        shared: &'a Shared,
        prototypes: &'a [ChainPrototype],
        settings: ChainSettings,
        gate: Arc<Gate>,
        duties: Range<usize>,
    ) -> Self {
        Self { shared, prototypes, settings, gate, duties, chains: prototypes.iter().map(|_| None).collect() }
    }

    pub fn run(&mut self) -> Result<(), Fault> {
        while let Some(work) = self.shared.board.take_work(self.duties.clone()).map_err(|error| (0, error))? {
            self.work(work)?;
        }
        Ok(())
    }

    fn work(&mut self, work: Work) -> Result<(), Fault> {
        let Work { chain: index, item, seq } = work;
        let board = &self.shared.board;
        let (unit, rows, mut tally) = match item {
            end @ Item::EndUnit { .. } => {
                board.complete(index, seq, &end);
                return Ok(());
            }
            Item::Rows { unit, rows, tally } => (unit, rows, tally),
        };
        let fork = || self.prototypes[index].fork(self.settings, &self.gate);
        let mut chain = self.chains[index].take().unwrap_or_else(fork);
        let mut last: Option<RecordBatch> = None;
        let result = chain.run(rows, &mut |batch| {
            // One batch is held back, so that the last one can carry the tally.
            let Some(rows) = last.replace(batch) else { return Ok(()) };
            let item = Item::Rows { unit, rows, tally: UnitTally::default() };
            self.give_part(index, seq, item)
        });
        self.chains[index] = Some(chain);
        let stage = self.prototypes[index].home.stage;
        let result = result.map_err(|error| (clock::take_blame().unwrap_or(stage), error))?;
        self.settle();
        for reject in &result.rejects {
            count(&self.shared.metrics.stage(reject.stage).rejects, 1);
        }
        let rejects: Vec<_> = result.rejects.into_iter().map(|reject| reject.reject).collect();
        self.shared.count_rejects(&rejects);
        tally.rejects.extend(rejects);
        tally.filtered += result.filtered;
        if let Some(rows) = last {
            self.shared.board.complete(index, seq, &Item::Rows { unit, rows, tally });
        }
        Ok(())
    }

    /// Gives out a part; while there is no room, helps those downstream.
    fn give_part(&mut self, index: usize, seq: u64, item: Item) -> Result<(), StageError> {
        let mut item = Some(item);
        let downstream = index + 1..self.duties.end.max(index + 1);
        while let Some(other) = self.shared.board.part(index, seq, item.take(), downstream.clone())? {
            let before = clock::pause();
            let result = self.work(other);
            clock::leave(before);
            result.map_err(|(_, error)| error)?;
        }
        Ok(())
    }

    /// Moves this thread's clock and row counts into the metrics.
    fn settle(&self) {
        clock::drain(|stage, usage| {
            let counters = self.shared.metrics.stage(stage);
            count(&counters.busy_ns, usage.busy_ns);
            count(&counters.rows_in, usage.rows_in);
            count(&counters.rows_out, usage.rows_out);
        });
    }
}

fn pop(shared: &Shared, stage: usize, queue: usize) -> Result<Option<Item>, Fault> {
    let (item, waited_ns) = shared.board.pop(queue).map_err(|error| (stage, error))?;
    let counters = shared.metrics.stage(stage);
    count(&counters.starved_ns, waited_ns);
    if let Some(Item::Rows { rows, .. }) = &item {
        count(&counters.rows_in, rows.num_rows() as u64);
    }
    Ok(item)
}

/// Feeds a fold; what was tallied before it and what it refuses arrive with the end of the unit.
pub(super) fn run_fold(
    shared: &Shared,
    stage: usize,
    fold: &mut dyn Fold,
    input: usize,
    outputs: &[usize],
) -> Result<(), Fault> {
    let mut outlet = Outlet::new(shared, stage, outputs);
    let mut sum = UnitTally::default();
    while let Some(item) = pop(shared, stage, input)? {
        let (unit, rows, tally) = match item {
            Item::Rows { unit, rows, tally } => (unit, Some(rows), tally),
            Item::EndUnit { unit, tally } => (unit, None, tally),
        };
        sum.add(tally);
        let is_over = rows.is_none();
        let mut refused = Vec::new();
        let result = outlet.busy(|outlet| {
            let mut emit = |rows| outlet.push(Item::Rows { unit, rows, tally: UnitTally::default() });
            let mut cx = FoldCx::new(shared.metrics.id(stage), &mut refused, &mut emit);
            match rows {
                Some(rows) => fold.push(rows, &mut cx),
                None => fold.end_unit(unit, &mut cx),
            }
        });
        result.map_err(|error| (stage, error))?;
        count_refused(shared, stage, &refused);
        sum.rejects.extend(refused);
        if is_over {
            let end = Item::EndUnit { unit, tally: std::mem::take(&mut sum) };
            outlet.push(end).map_err(|error| (stage, error))?;
        }
    }
    outlet.close();
    Ok(())
}

fn count_refused(shared: &Shared, stage: usize, refused: &[Reject]) {
    count(&shared.metrics.stage(stage).rejects, refused.len() as u64);
    shared.count_rejects(refused);
}

/// Feeds a merge, unit by unit.
pub(super) fn run_merge(
    shared: &Shared,
    stage: usize,
    merge: &mut dyn Merge,
    inputs: &[usize],
    counts: &[bool],
    outputs: &[usize],
) -> Result<(), Fault> {
    let mut outlet = Outlet::new(shared, stage, outputs);
    'units: loop {
        let mut open = vec![true; inputs.len()];
        let mut sum = UnitTally::default();
        let mut current = None;
        while open.contains(&true) {
            let wanted = merge.next_input(&open);
            // A merge that names a closed input would wait for ever.
            let input = if open.get(wanted) == Some(&true) { wanted } else { first_open(&open) };
            let Some(item) = pop(shared, stage, inputs[input])? else { break 'units };
            let known = |tally: UnitTally| if counts[input] { tally } else { UnitTally { clips: 0, ..tally } };
            let result = outlet.busy(|outlet| match item {
                Item::Rows { unit, rows, tally } => {
                    sum.add(known(tally));
                    merge.push(input, rows, &mut |rows| {
                        outlet.push(Item::Rows { unit, rows, tally: UnitTally::default() })
                    })
                }
                Item::EndUnit { unit, tally } => {
                    sum.add(known(tally));
                    open[input] = false;
                    current = Some(unit);
                    Ok(())
                }
            });
            result.map_err(|error| (stage, error))?;
        }
        let Some(unit) = current else { break };
        let result = outlet.busy(|outlet| {
            merge.end_unit(unit, &mut |rows| outlet.push(Item::Rows { unit, rows, tally: UnitTally::default() }))?;
            outlet.push(Item::EndUnit { unit, tally: sum })
        });
        result.map_err(|error| (stage, error))?;
    }
    outlet.close();
    Ok(())
}

fn first_open(open: &[bool]) -> usize {
    open.iter().position(|&open| open).unwrap_or(0)
}

/// Feeds a sink, and counts what it commits.
pub(super) fn run_sink(shared: &Shared, stage: usize, sink: &mut dyn Sink, input: usize) -> Result<SinkReport, Fault> {
    let metrics = &shared.metrics;
    let busy = |since: Instant| count(&metrics.stage(stage).busy_ns, since.elapsed().as_nanos() as u64);
    let mut sum = UnitTally::default();
    while let Some(item) = pop(shared, stage, input)? {
        let since = Instant::now();
        let result = match item {
            Item::Rows { unit, rows, tally } => {
                count(&metrics.stage(stage).rows_out, rows.num_rows() as u64);
                if shared.is_first_sink(stage) {
                    count(&metrics.clips_done, tally.clips);
                }
                sum.add(tally);
                sink.write(unit, rows)
            }
            Item::EndUnit { unit, tally } => {
                if shared.is_first_sink(stage) {
                    count(&metrics.clips_done, tally.clips);
                }
                sum.add(tally);
                let committed = sink.end_unit(unit, std::mem::take(&mut sum));
                if committed.is_ok() && shared.is_first_sink(stage) {
                    count(&metrics.units_done, 1);
                }
                committed
            }
        };
        busy(since);
        result.map_err(|error| (stage, error))?;
    }
    let since = Instant::now();
    let report = sink.finish();
    busy(since);
    report.map_err(|error| (stage, error))
}

impl UnitTally {
    /// Adds what was counted on a later stretch.
    pub fn add(&mut self, other: Self) {
        self.clips += other.clips;
        self.filtered += other.filtered;
        self.rejects.extend(other.rejects);
    }
}
