//! A graph that is ready to run: segments (a thread's worth of stages each) and the queues between them.

use crate::engine::Link;
use crate::schema::Schema;
use crate::stage::{Fold, Map, Merge, Sink, Source};

/// Segments in graph order, and the queues between them.
#[derive(Default)]
pub struct Network {
    /// Producers before consumers.
    pub segments: Vec<Segment>,
    /// Queues, numbered by their place here.
    pub queues: Vec<QueueSpec>,
}

/// Stages that run without a queue between them.
pub struct Segment {
    /// What runs.
    pub work: SegmentWork,
    /// Index in the graph of the (first) stage.
    pub stage: usize,
    /// Queues it reads.
    pub inputs: Vec<usize>,
    /// Queues it fills, all with the same items.
    pub outputs: Vec<usize>,
}

/// What a segment does, by kind of stage.
pub enum SegmentWork {
    /// A source; `first_unit` is where its units begin in the run's count (after those of earlier inputs of a `concat`).
    Source {
        /// The source.
        source: Box<dyn Source>,
        /// Number of its first unit.
        first_unit: usize,
    },
    /// Fused Map stages: prototypes for the workers.
    Chain {
        /// The stages; none at all makes a mere cast from `input` to `output`.
        links: Vec<(Link, Box<dyn Map>)>,
        /// Schema of the rows that come.
        input: Schema,
        /// Schema of the rows that leave, as the consumers want them.
        output: Schema,
    },
    /// A fold.
    Fold(Box<dyn Fold>),
    /// A merge.
    Merge {
        /// The merge.
        merge: Box<dyn Merge>,
        /// For each input whether it brings clips that no earlier input brought: branches of one source count once.
        counts: Vec<bool>,
    },
    /// A sink.
    Sink(Box<dyn Sink>),
}

/// A queue between two segments.
#[derive(Debug, Clone)]
pub struct QueueSpec {
    /// `id` of the last stage before it.
    pub from: String,
    /// `id` of the first stage behind it.
    pub to: String,
    /// Estimated bytes of one row in it.
    pub row_bytes: usize,
}

impl Network {
    /// Adds a queue; returns its number.
    pub fn queue(&mut self, from: &str, to: &str, schema: &Schema) -> usize {
        self.queues.push(QueueSpec { from: from.to_owned(), to: to.to_owned(), row_bytes: schema.row_bytes() });
        self.queues.len() - 1
    }

    /// Adds a segment.
    pub fn segment(&mut self, work: SegmentWork, stage: usize, inputs: Vec<usize>, outputs: Vec<usize>) {
        self.segments.push(Segment { work, stage, inputs, outputs });
    }
}
