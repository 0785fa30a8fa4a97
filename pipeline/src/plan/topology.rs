//! Which stage feeds which: names to indices, kinds to numbers of inputs, cycles, loose ends, branches that meet again.

use std::collections::HashMap;

use super::draft::{Draft, DraftFault, From, Where};
use super::nearest::suggest;
use crate::stage::StageKind;

/// Merges that take from all inputs in step, so that branches of one stage may meet in them.
pub(super) const IN_STEP: [&str; 2] = ["zip", "interleave"];

/// Folds that give on at once whatever they are given: no branch waits for what they hold.
const HOLDS_NOTHING: [&str; 1] = ["encoder"];

/// The inputs of every stage, as far as they are known, and an order in which each stage comes after its inputs.
pub(super) struct Topology {
    /// Indices of the inputs; `None` where a name is unknown (which is among the faults).
    pub inputs: Vec<Option<Vec<usize>>>,
    /// Stages in an order that can be planned; those of a cycle are left out.
    pub order: Vec<usize>,
}

/// Reads the topology of `draft`, telling `faults` what does not fit.
pub(super) fn read(draft: &Draft, faults: &mut Vec<DraftFault>) -> Topology {
    let ids = ids(draft, faults);
    let inputs: Vec<Option<Vec<usize>>> = (0..draft.stages.len()).map(|i| inputs_of(draft, i, &ids, faults)).collect();
    for (i, inputs) in inputs.iter().enumerate() {
        if let Some(inputs) = inputs {
            check_arity(draft, i, inputs, faults);
        }
    }
    let order = order(draft, &inputs, faults);
    check_ends(draft, &inputs, faults);
    // Branches are followed along the order, so only where there is one.
    if order.len() == draft.stages.len() {
        check_meetings(draft, &inputs, &order, faults);
        check_crossings(draft, &inputs, &order, faults);
    }
    Topology { inputs, order }
}

fn ids<'a>(draft: &'a Draft, faults: &mut Vec<DraftFault>) -> HashMap<&'a str, usize> {
    let mut ids = HashMap::new();
    for (i, stage) in draft.stages.iter().enumerate() {
        let Some(&first) = ids.get(stage.id.as_str()) else {
            ids.insert(stage.id.as_str(), i);
            continue;
        };
        let line = draft.stages.get(first).and_then(|stage: &super::DraftStage| stage.line);
        let other = line.map_or_else(|| format!("stage {first}"), |line| format!("the stage in line {line}"));
        let problem = format!("two stages have the id `{}`", stage.id);
        let help = format!("{other} has it; an id seeds what the stage draws and names it in reports: give another");
        faults.push(DraftFault::stage(i, problem, help).at(Where::Id));
    }
    ids
}

fn inputs_of(draft: &Draft, i: usize, ids: &HashMap<&str, usize>, faults: &mut Vec<DraftFault>) -> Option<Vec<usize>> {
    let stage = &draft.stages[i];
    match &stage.from {
        From::Ids(names) => named_inputs(draft, i, names, ids, faults),
        From::Above if stage.kind.is_none_or(|kind| kind == StageKind::Source) => stage.kind.is_some().then(Vec::new),
        From::Above if i == 0 => {
            let problem = format!("`{}` needs an input, and no stage is above it", stage.id);
            faults.push(DraftFault::stage(i, problem, "begin with a source, such as `type: source_manifest`"));
            None
        }
        From::Above if draft.stages[i - 1].kind == Some(StageKind::Sink) => {
            let above = &draft.stages[i - 1].id;
            let problem = format!("`{}` stands below the sink `{above}`, which gives nothing on", stage.id);
            let help = format!("say which stage `{}` reads: `from: ID`; or move the sink down", stage.id);
            faults.push(DraftFault::stage(i, problem, help));
            None
        }
        From::Above => Some(vec![i - 1]),
    }
}

fn named_inputs(
    draft: &Draft,
    i: usize,
    names: &[String],
    ids: &HashMap<&str, usize>,
    faults: &mut Vec<DraftFault>,
) -> Option<Vec<usize>> {
    let mut known: Vec<&str> =
        draft.stages.iter().map(|stage| stage.id.as_str()).filter(|id| *id != draft.stages[i].id).collect();
    known.dedup();
    let mut inputs = Vec::new();
    let mut whole = true;
    for (n, name) in names.iter().enumerate() {
        let Some(&input) = ids.get(name.as_str()) else {
            let fault = DraftFault::stage(i, format!("no stage has the id `{name}`"), suggest(name, &known));
            faults.push(fault.at(Where::From(n)));
            whole = false;
            continue;
        };
        if inputs.contains(&input) {
            let fault = DraftFault::stage(i, format!("`{name}` is named twice"), "name each input once");
            faults.push(fault.at(Where::From(n)));
            whole = false;
            continue;
        }
        if draft.stages[input].kind == Some(StageKind::Sink) {
            let problem = format!("`{name}` is a sink, which gives nothing on");
            let help = "read the stage before it: several stages may read one";
            faults.push(DraftFault::stage(i, problem, help).at(Where::From(n)));
            whole = false;
            continue;
        }
        inputs.push(input);
    }
    whole.then_some(inputs)
}

fn check_arity(draft: &Draft, i: usize, inputs: &[usize], faults: &mut Vec<DraftFault>) {
    let stage = &draft.stages[i];
    let Some(kind) = stage.kind else { return };
    let n = inputs.len();
    let fault = match kind {
        StageKind::Source if stage.from != From::Above => {
            Some((format!("`{}` is a source and reads no other stage", stage.id), "take `from` out".to_owned()))
        }
        StageKind::Merge if n < 2 => Some((
            format!("`{}` merges, so it needs two inputs or more, and has {n}", stage.id),
            "name them: `from: [a, b]`".to_owned(),
        )),
        StageKind::Map | StageKind::Fold | StageKind::Sink if n != 1 => Some((
            format!("`{}` reads one stage, and `from` names {n}", stage.id),
            "merge them first: concat, interleave, mix or zip".to_owned(),
        )),
        _ => None,
    };
    if let Some((problem, help)) = fault {
        let at = if stage.from == From::Above { Where::Stage } else { Where::From(0) };
        faults.push(DraftFault::stage(i, problem, help).at(at));
    }
}

/// Kahn's order, the first of the document first.
fn order(draft: &Draft, inputs: &[Option<Vec<usize>>], faults: &mut Vec<DraftFault>) -> Vec<usize> {
    let n = inputs.len();
    let feeds = |i: usize| inputs[i].iter().flatten();
    let mut done = vec![false; n];
    let mut order = Vec::with_capacity(n);
    while let Some(next) = (0..n).find(|&i| !done[i] && feeds(i).all(|&input| done[input])) {
        done[next] = true;
        order.push(next);
    }
    if let Some(start) = (0..n).find(|&i| !done[i]) {
        let ring = ring(start, |i| feeds(i).copied().find(|&input| !done[input]));
        let first = ring.iter().copied().min().unwrap_or(start);
        let turn = ring.iter().position(|&i| i == first).unwrap_or(0);
        let names: Vec<&str> =
            ring.iter().cycle().skip(turn).take(ring.len() + 1).map(|&i| draft.stages[i].id.as_str()).collect();
        let problem = format!("the stages go in a circle: {}", names.join(" -> "));
        let at = if draft.stages[first].from == From::Above { Where::Stage } else { Where::From(0) };
        faults.push(DraftFault::stage(first, problem, "a graph runs from sources to sinks; break the circle").at(at));
    }
    order
}

/// Stages of the circle that walking up from `start` ends in, in the direction of the data.
fn ring(start: usize, up: impl Fn(usize) -> Option<usize>) -> Vec<usize> {
    let mut walk = vec![start];
    while let Some(next) = up(walk[walk.len() - 1]) {
        if let Some(at) = walk.iter().position(|&i| i == next) {
            let mut ring = walk.split_off(at);
            ring.reverse();
            return ring;
        }
        walk.push(next);
    }
    walk
}

/// Every graph begins in a source and ends in sinks; whatever a stage gives is read.
fn check_ends(draft: &Draft, inputs: &[Option<Vec<usize>>], faults: &mut Vec<DraftFault>) {
    let has = |kind| draft.stages.iter().any(|stage| stage.kind.is_none_or(|k| k == kind));
    let already = faults.iter().any(|fault| fault.stage == Some(0));
    if !has(StageKind::Source) && !already {
        faults.push(DraftFault::graph("no stage is a source", "begin with one, such as `type: source_manifest`"));
    }
    if !has(StageKind::Sink) {
        let help = "end with one, such as `{ type: sink_shards, path: out }`, or `{ type: sink_null }` to measure";
        faults.push(DraftFault::graph("no stage is a sink: nothing would come of it", help));
        return;
    }
    for (i, stage) in draft.stages.iter().enumerate() {
        // Whoever names this stage wrongly, or stands below it without an input, was already told.
        let read = inputs.iter().flatten().flatten().any(|&input| input == i);
        let excused = (0..inputs.len()).any(|j| inputs[j].is_none() && wants(draft, j, i));
        if !read && !excused && stage.kind.is_some_and(|kind| kind != StageKind::Sink) {
            let problem = format!("nothing reads what `{}` gives", stage.id);
            let help = format!("name it in the `from` of another stage, end it in a sink, or take `{}` out", stage.id);
            faults.push(DraftFault::stage(i, problem, help));
        }
    }
}

/// Whether stage `j`, whose inputs are not all known, may have meant stage `i`.
fn wants(draft: &Draft, j: usize, i: usize) -> bool {
    match &draft.stages[j].from {
        From::Above => j == i + 1,
        From::Ids(_) => i != j,
    }
}

/// Branches of one stage may only meet again where both are read in step and neither drops, holds or reorders rows across
/// threads; else one branch fills its queue while the merge waits for the other, for ever.
fn check_meetings(draft: &Draft, inputs: &[Option<Vec<usize>>], order: &[usize], faults: &mut Vec<DraftFault>) {
    let n = inputs.len();
    let mut above: Vec<Vec<bool>> = vec![vec![false; n]; n];
    for &i in order {
        let mut mine = vec![false; n];
        mine[i] = true;
        for &input in inputs[i].iter().flatten() {
            (0..n).for_each(|k| mine[k] |= above[input][k]);
        }
        above[i] = mine;
    }
    for &i in order {
        let stage = &draft.stages[i];
        let Some(feeds) = inputs[i].as_ref().filter(|_| stage.kind == Some(StageKind::Merge)) else { continue };
        let shared = |k: usize| feeds.iter().filter(|&&input| above[input][k]).count() >= 2;
        let Some(&fork) = order.iter().rev().find(|&&k| shared(k)) else { continue };
        let branch_name = &draft.stages[fork].id;
        let problem = format!("the inputs of `{}` both come from `{branch_name}`", stage.id);
        let fault = if IN_STEP.contains(&stage.type_name.as_str()) {
            let between = |&&k: &&usize| k != i && above[i][k] && !shared(k);
            let holds = |k: usize| {
                let stage = &draft.stages[k];
                stage.kind != Some(StageKind::Map) && !HOLDS_NOTHING.contains(&stage.type_name.as_str())
            };
            let blocking = order.iter().filter(between).find(|&&k| holds(k));
            blocking.map(|&k| {
                let held = &draft.stages[k].id;
                let help = format!("`{held}` lies between and holds rows back, so the other branch would have to wait in memory; move `{held}` before `{branch_name}` or behind `{}`", stage.id);
                (problem, help)
            })
        } else {
            let help = format!(
                "`{}` reads one input at a time, so the other would have to wait in memory; use interleave or zip, or give each branch a source of its own",
                stage.type_name
            );
            Some((problem, help))
        };
        if let Some((problem, help)) = fault {
            faults.push(DraftFault::stage(i, problem, help).at(Where::From(0)));
        }
    }
}

/// Two merges over the same stages, each of which waits for what the other holds up: `concat [a, b]` beside `concat [b, a]`.
/// Without branches that meet, queues of any size suffice as long as stages form a tree, whichever way the edges point.
fn check_crossings(draft: &Draft, inputs: &[Option<Vec<usize>>], order: &[usize], faults: &mut Vec<DraftFault>) {
    // Stages connected so far carry the same number.
    let mut group: Vec<usize> = (0..inputs.len()).collect();
    for &i in order {
        let feeds = inputs[i].as_deref().unwrap_or_default();
        let tied = |a: usize, b: usize| group[a] == group[b] && !meet(inputs, order, [a, b]);
        let joined = feeds.iter().enumerate().find(|(n, input)| feeds[..*n].iter().any(|&k| tied(k, **input)));
        let told = faults.iter().any(|fault| fault.stage == Some(i));
        if let Some((n, &input)) = joined.filter(|_| !told) {
            let (id, other) = (&draft.stages[i].id, &draft.stages[input].id);
            let problem = format!("what `{id}` reads from `{other}` is also tied to its other inputs by another merge");
            let help = "each could wait for the other for ever: give the two merges sources of their own";
            faults.push(DraftFault::stage(i, problem, help).at(Where::From(n)));
        }
        for &input in feeds {
            let (old, new) = (group[input], group[i]);
            group.iter_mut().filter(|number| **number == old).for_each(|number| *number = new);
        }
    }
}

/// Whether two inputs come from one stage; [`check_meetings`] has judged those.
fn meet(inputs: &[Option<Vec<usize>>], order: &[usize], feeds: [usize; 2]) -> bool {
    let mut times = vec![0; inputs.len()];
    for feed in feeds {
        let mut above = vec![false; inputs.len()];
        above[feed] = true;
        for &k in order.iter().rev().filter(|&&k| inputs[k].is_some()) {
            if above[k] {
                times[k] += 1;
                inputs[k].iter().flatten().for_each(|&input| above[input] = true);
            }
        }
    }
    times.iter().any(|&n| n > 1)
}
