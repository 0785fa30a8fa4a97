//! The graph as the engine runs it: stages that share a worker are one segment, and queues stand only between segments.

use super::Graph;
use crate::schema::Schema;
use crate::stage::StageKind;

/// Segments and the queues between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Segments {
    /// In an order in which each comes after all it reads from.
    pub segments: Vec<Segment>,
    /// In the order of the segments that read them.
    pub edges: Vec<Edge>,
}

/// What runs together: one node, or a chain of fused `Map` nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The kind of its nodes. A `Map` segment is a chain, run by any worker; the others have a thread of their own.
    pub kind: StageKind,
    /// The nodes in order. A chain without nodes only casts tensors to what a sink stores.
    pub nodes: Vec<usize>,
    /// Edges it reads, in the order of the node's inputs.
    pub inputs: Vec<usize>,
    /// Edges it feeds. Each has a schema of its own: two sinks may store two dtypes.
    pub outputs: Vec<usize>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The segment that fills it.
    pub from: usize,
    /// The segment that empties it.
    pub to: usize,
    /// What travels on it: for the edge into a sink, the form that the sink stores.
    pub schema: Schema,
}

impl Graph {
    /// Fuses what can be fused: `Map` nodes in a row, of which each is read by one node only.
    pub fn segments(&self) -> Segments {
        let mut out = Segments { segments: Vec::new(), edges: Vec::new() };
        let mut segment_of = vec![0; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            let above = node.from.first().copied().filter(|&input| self.fuses(input, i));
            if let Some(above) = above {
                segment_of[i] = segment_of[above];
                out.segments[segment_of[i]].nodes.push(i);
                continue;
            }
            let feeds: Vec<usize> =
                node.from.iter().enumerate().map(|(n, &input)| self.feed(i, n, segment_of[input], &mut out)).collect();
            segment_of[i] = out.push(node.kind(), vec![i]);
            for (feed, schema) in feeds.into_iter().zip(self.carried(i)) {
                out.connect(feed, segment_of[i], schema);
            }
        }
        out
    }

    fn fuses(&self, input: usize, i: usize) -> bool {
        let map = |k: usize| self.nodes[k].kind() == StageKind::Map;
        map(input) && map(i) && self.consumers(input).len() == 1
    }

    /// What each edge into node `i` carries.
    fn carried(&self, i: usize) -> Vec<Schema> {
        let node = &self.nodes[i];
        node.inputs.iter().map(|schema| node.plan.stored.as_ref().unwrap_or(schema).clone()).collect()
    }

    /// The segment that feeds input `n` of node `i`: the one above, or a chain that casts where only a sink asks for it.
    fn feed(&self, i: usize, n: usize, above: usize, out: &mut Segments) -> usize {
        let node = &self.nodes[i];
        let cast = node.plan.stored.as_ref().is_some_and(|stored| *stored != node.inputs[n]);
        if !cast || out.segments[above].kind == StageKind::Map {
            return above;
        }
        let chain = out.push(StageKind::Map, Vec::new());
        out.connect(above, chain, node.inputs[n].clone());
        chain
    }
}

impl Segments {
    fn push(&mut self, kind: StageKind, nodes: Vec<usize>) -> usize {
        self.segments.push(Segment { kind, nodes, inputs: Vec::new(), outputs: Vec::new() });
        self.segments.len() - 1
    }

    fn connect(&mut self, from: usize, to: usize, schema: Schema) {
        let edge = self.edges.len();
        self.edges.push(Edge { from, to, schema });
        self.segments[from].outputs.push(edge);
        self.segments[to].inputs.push(edge);
    }
}
