//! From a draft to a graph: topology first, then the schemas from stage to stage.

use std::path::{Component, Path, PathBuf};

use ajepa_store::{is_misspelt, is_url};

use super::draft::{Draft, DraftFault, DraftStage, Where};
use super::topology::{self, IN_STEP};
use super::{Graph, Node};
use crate::schema::{ColumnType, Schema};
use crate::stage::{PlanError, StageKind, StagePlan};

/// Far above any graph that a person writes; keeps the quadratic checks short.
const MAX_STAGES: usize = 500;

/// Proves that the stages fit together, or names everything that does not.
///
/// # Errors
/// All faults found; a stage behind a faulty one is checked for what does not depend on its inputs. None, when the only faults are
/// those of stages that came without a config, which whoever read them has told.
pub fn check(draft: Draft) -> Result<Graph, Vec<DraftFault>> {
    if draft.stages.is_empty() {
        let help = "a pipeline has at least a source and a sink";
        return Err(vec![DraftFault::graph("`stages` is empty", help)]);
    }
    if draft.stages.len() > MAX_STAGES {
        let problem = format!("{} stages are more than the {MAX_STAGES} that a graph may have", draft.stages.len());
        return Err(vec![DraftFault::graph(problem, "split it, with shards in between")]);
    }
    let mut faults = Vec::new();
    let topology = topology::read(&draft, &mut faults);
    let mut planned: Vec<Option<(Vec<Schema>, StagePlan)>> = draft.stages.iter().map(|_| None).collect();
    for &i in &topology.order {
        if faults.iter().any(|fault| fault.stage == Some(i) && !matches!(fault.at, Where::Id)) {
            continue;
        }
        planned[i] = plan_stage(&draft, i, topology.inputs[i].as_deref(), &planned, &mut faults);
    }
    for (i, plan) in planned.iter().enumerate() {
        // Whoever was planned, well or not, has been heard; what is fed by a fault can still be asked for itself.
        if plan.is_none() && !faults.iter().any(|fault| fault.stage == Some(i)) {
            validate(&draft, i, &mut faults);
        }
    }
    shared_folders(&draft, &mut faults);
    (0..draft.stages.len()).for_each(|i| addresses(&draft, i, &mut faults));
    unverified(&draft, &topology, &mut faults);
    if faults.is_empty() { assemble(draft, &topology, planned) } else { Err(faults) }
}

/// Two sinks into one folder would supersede each other; a folder inside another's would be taken for its content. A sink
/// into the folder that a source reads would feed every run with what the one before it made.
fn shared_folders(draft: &Draft, faults: &mut Vec<DraftFault>) {
    let folder = |i: usize| Some(plain(draft.stages[i].parsed.as_ref()?.config.folder()?));
    let of_kind = |kind| move |i: &usize| draft.stages[*i].kind == Some(kind);
    let all = 0..draft.stages.len();
    for i in all.clone().filter(of_kind(StageKind::Sink)) {
        let Some(here) = folder(i) else { continue };
        let clash = |k: &usize| folder(*k).is_some_and(|there| here.starts_with(&there) || there.starts_with(&here));
        let read =
            all.clone().filter(of_kind(StageKind::Source)).find(|&k| folder(k).is_some_and(|there| there == here));
        let fault = if let Some(source) = read {
            own_source(i, &draft.stages[source].id)
        } else if let Some(other) = (0..i).filter(of_kind(StageKind::Sink)).find(clash) {
            let problem = format!("its folder is that of `{}`, or lies in it, or around it", draft.stages[other].id);
            DraftFault::stage(i, problem, "give each sink a folder of its own")
        } else {
            continue;
        };
        faults.push(fault.at(Where::Field("path".to_owned())));
    }
}

/// An address where only a path will do would be taken for a folder of that name; one of an unknown kind leads nowhere.
fn addresses(draft: &Draft, i: usize, faults: &mut Vec<DraftFault>) {
    let Some(parsed) = &draft.stages[i].parsed else { return };
    let fields = parsed.json.as_object().into_iter().flatten();
    for (field, value) in fields {
        let texts = match value {
            serde_json::Value::Array(items) => items.iter().filter_map(|item| item.as_str()).collect(),
            other => other.as_str().into_iter().collect::<Vec<_>>(),
        };
        for text in texts.into_iter().filter(|text| is_url(Path::new(text)) || is_misspelt(Path::new(text))) {
            let fault = if is_misspelt(Path::new(text)) {
                let help = "write s3://bucket/folder; a folder of this name is ./s3:";
                DraftFault::stage(i, format!("{text}: an address has two slashes"), help)
            } else if parsed.config.takes_addresses() {
                let Err(error) = ajepa_store::check(Path::new(text)) else { continue };
                DraftFault::stage(i, format!("{text} cannot be reached"), error.to_string())
            } else {
                let help = "object stores are read by sources of audio and shards, and written by `sink_shards`";
                DraftFault::stage(
                    i,
                    format!("{text}: `{}` takes paths of this machine", draft.stages[i].type_name),
                    help,
                )
            };
            faults.push(fault.at(Where::Field(field.clone())));
        }
    }
}

fn own_source(sink: usize, source: &str) -> DraftFault {
    let problem = format!("`{source}` reads this folder: every run would read what the one before it wrote");
    DraftFault::stage(sink, problem, "give the sink a folder of its own")
}

/// A trainer reads the shards in front of it by itself, and verifies every page.
fn unverified(draft: &Draft, topology: &topology::Topology, faults: &mut Vec<DraftFault>) {
    for (stage, inputs) in draft.stages.iter().zip(&topology.inputs) {
        let (true, Some(&[input])) = (stage.type_name == "sink_train", inputs.as_deref()) else { continue };
        let source = &draft.stages[input];
        let is_off = |json: &serde_json::Value| json.get("verify").is_some_and(|verify| verify == false);
        let json = source.parsed.as_ref().map(|parsed| &parsed.json);
        let path = json.and_then(|json| json.get("path")?.as_str()).map(Path::new);
        if source.type_name == "source_shards" && path.is_some_and(is_url) {
            let problem = format!("`{}` trains on files of this machine, and these shards are not", stage.id);
            let fault = DraftFault::stage(
                input,
                problem,
                "copy them to a disk first: `ajepa-pipe copy`, then name that folder",
            );
            faults.push(fault.at(Where::Field("path".to_owned())));
        }
        if source.type_name == "source_shards" && source.parsed.as_ref().is_some_and(|parsed| is_off(&parsed.json)) {
            let problem = format!("`{}` trains on verified shards alone, and `verify` is false", stage.id);
            let fault = DraftFault::stage(input, problem, "leave `verify` out");
            faults.push(fault.at(Where::Field("verify".to_owned())));
        }
    }
}

/// The path without `.` and `..`, as text: nothing is looked up.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    out.push("..");
                }
            }
            part => out.push(part),
        }
    }
    out
}

fn validate(draft: &Draft, i: usize, faults: &mut Vec<DraftFault>) {
    let config = draft.stages[i].parsed.as_ref().map(|parsed| &parsed.config);
    if let Some(Err(error)) = config.map(|config| config.validate()) {
        faults.push(plan_fault(draft, i, None, &[], error));
    }
}

fn plan_stage(
    draft: &Draft,
    i: usize,
    feeds: Option<&[usize]>,
    planned: &[Option<(Vec<Schema>, StagePlan)>],
    faults: &mut Vec<DraftFault>,
) -> Option<(Vec<Schema>, StagePlan)> {
    let stage = &draft.stages[i];
    let config = &stage.parsed.as_ref()?.config;
    let output = |&input: &usize| planned[input].as_ref()?.1.output.clone();
    let inputs: Vec<Schema> = feeds?.iter().map(output).collect::<Option<_>>()?;
    if let Some((n, difference)) = merge_difference(stage, &inputs) {
        let problem = format!("the inputs of `{}` do not have the same columns: {difference}", stage.id);
        let help = "bring them to one form first, with the same stages on both branches";
        faults.push(DraftFault::stage(i, problem, help).at(Where::From(n)));
        return None;
    }
    match config.plan(&inputs) {
        Ok(plan) if stage.kind == Some(plan.kind) => Some((inputs, plan)),
        Ok(plan) => {
            let problem =
                format!("`{}` plans as {:?} and is registered as {:?}", stage.type_name, plan.kind, stage.kind);
            faults.push(DraftFault::stage(i, problem, "this is a mistake in the stage, not in your file"));
            None
        }
        Err(error) => {
            faults.push(plan_fault(draft, i, feeds, &inputs, error));
            None
        }
    }
}

/// The error of a stage, and what the stage is fed when the fault may lie there.
fn plan_fault(draft: &Draft, i: usize, feeds: Option<&[usize]>, inputs: &[Schema], error: PlanError) -> DraftFault {
    let mut help = error.help;
    if let (Some(&[input]), [schema]) = (feeds, inputs) {
        let sep = if help.is_empty() { "" } else { "; " };
        help = format!("{help}{sep}`{}` gives {}", draft.stages[input].id, brief(schema));
    }
    let field = error.field.as_ref().map_or_else(String::new, |field| format!(".{field}"));
    let problem = format!("`{}{field}`: {}", draft.stages[i].id, error.problem);
    DraftFault::stage(i, problem, help).at(error.field.map_or(Where::Stage, Where::Field))
}

/// The columns of a schema that stages work on; all of them when there are none such.
pub fn brief(schema: &Schema) -> String {
    let heavy = schema.columns.iter().filter(|column| !matches!(column.kind, ColumnType::Plain(_)));
    let shown: Vec<String> = heavy.map(|column| format!("{} {}", column.name, column.kind)).collect();
    if shown.is_empty() { schema.to_string() } else { shown.join(", ") }
}

/// The first input of a merge that differs from input 0, and how. A `zip` puts different columns side by side.
fn merge_difference(stage: &DraftStage, inputs: &[Schema]) -> Option<(usize, String)> {
    if stage.kind != Some(StageKind::Merge) || stage.type_name == IN_STEP[0] {
        return None;
    }
    let (first, rest) = inputs.split_first()?;
    rest.iter().enumerate().find_map(|(n, other)| Some((n + 1, difference(first, other)?)))
}

fn difference(a: &Schema, b: &Schema) -> Option<String> {
    for column in &a.columns {
        let Some(other) = b.get(&column.name) else {
            return Some(format!("`{}` is in one only", column.name));
        };
        if column.kind != other.kind {
            return Some(match (&column.kind, &other.kind) {
                (ColumnType::Tensor(x), ColumnType::Tensor(y)) if x.to_string() == y.to_string() => {
                    format!("`{}` is {x} in both, of different front ends", column.name)
                }
                (x, y) => format!("`{}` is {x} and {y}", column.name),
            });
        }
    }
    let extra = b.columns.iter().find(|column| a.get(&column.name).is_none());
    extra
        .map(|column| format!("`{}` is in one only", column.name))
        .or_else(|| (a.extra != b.extra).then(|| "only one brings further columns of a manifest".to_owned()))
}

/// Puts the stages in order. With no fault found, only a stage whose own faults were told before can be in the way.
fn assemble(
    mut draft: Draft,
    topology: &topology::Topology,
    mut planned: Vec<Option<(Vec<Schema>, StagePlan)>>,
) -> Result<Graph, Vec<DraftFault>> {
    let mut rank = vec![0; draft.stages.len()];
    topology.order.iter().enumerate().for_each(|(at, &i)| rank[i] = at);
    let mut stages: Vec<Option<DraftStage>> = std::mem::take(&mut draft.stages).into_iter().map(Some).collect();
    let mut nodes = Vec::with_capacity(stages.len());
    for &i in &topology.order {
        let (stage, plan, feeds) = (stages[i].take(), planned[i].take(), topology.inputs[i].as_ref());
        let (Some(stage), Some((inputs, plan)), Some(feeds)) = (stage, plan, feeds) else {
            return Err(Vec::new());
        };
        let Some(parsed) = stage.parsed else { return Err(Vec::new()) };
        nodes.push(Node {
            id: stage.id,
            type_name: stage.type_name,
            from: feeds.iter().map(|&input| rank[input]).collect(),
            config: parsed.config,
            json: parsed.json,
            plan,
            inputs,
            line: stage.line,
        });
    }
    let Draft { pipeline, seed, on_error, resources, .. } = draft;
    Ok(Graph { pipeline, seed, nodes, on_error, resources })
}
