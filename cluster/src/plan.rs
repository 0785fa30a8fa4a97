//! The plan of a job: our node over a scan whose partitions are the tasks. The only plan that goes through the gate.
//!
//! Ballista cuts a plan into tasks at its leaf, and knows only leaves of `DataFusion`'s: so the items lie in a scan of memory, and our
//! node, which carries the text of the job, stands on it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use ballista_core::execution_plans::ShuffleWriterExec;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::PhysicalPlanNode;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;

use super::error::ClusterError;

/// What our node begins with, and its version.
const MAGIC: &[u8] = b"ajepa-work 1\n";

/// The column of the scan.
const ITEM: &str = "item";

/// Does the items that its input lists. It is not run by `DataFusion`: an executor takes it apart.
#[derive(Debug)]
pub(crate) struct WorkExec {
    job: Arc<str>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl WorkExec {
    fn new(job: Arc<str>, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            input.properties().output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { job, input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for WorkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkExec")
    }
}

impl ExecutionPlan for WorkExec {
    fn name(&self) -> &'static str {
        "WorkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let only = children.pop().filter(|_| children.is_empty());
        let only = only.ok_or_else(|| DataFusionError::Internal("WorkExec has one input".to_owned()))?;
        Ok(Arc::new(Self::new(self.job.clone(), only)))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(DataFusionError::NotImplemented("work is done by `ajepa-pipe cluster executor`".to_owned()))
    }
}

/// Ours, and Ballista's writer above it.
#[derive(Debug, Default)]
pub(crate) struct WorkCodec(BallistaPhysicalExtensionCodec);

impl PhysicalExtensionCodec for WorkCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        cx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(job) = bytes.strip_prefix(MAGIC) else { return self.0.try_decode(bytes, inputs, cx, converter) };
        let job = std::str::from_utf8(job).map_err(|e| DataFusionError::Plan(e.to_string()))?;
        let [input] = inputs else { return Err(DataFusionError::Plan("work has one input".to_owned())) };
        Ok(Arc::new(WorkExec::new(job.into(), input.clone())))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(work) = node.downcast_ref::<WorkExec>() else { return self.0.try_encode(node, bytes, converter) };
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(work.job.as_bytes());
        Ok(())
    }
}

/// The bytes of a job: its text, and the items of each of its tasks.
pub(crate) fn encode_job(job: &str, tasks: &[Vec<String>]) -> Result<Vec<u8>, ClusterError> {
    let fault = |e: DataFusionError| ClusterError::Plan(e.to_string());
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(ITEM, DataType::Utf8, false)]));
    let partition = |items: &Vec<String>| {
        let column: ArrayRef = Arc::new(StringArray::from_iter_values(items));
        RecordBatch::try_new(schema.clone(), vec![column]).map(|batch| vec![batch])
    };
    let partitions = tasks.iter().map(partition).collect::<Result<Vec<_>, _>>();
    let partitions = partitions.map_err(|e| ClusterError::Plan(e.to_string()))?;
    let scan = MemorySourceConfig::try_new(&partitions, schema, None).map_err(fault)?;
    let plan = WorkExec::new(job.into(), DataSourceExec::from_data_source(scan));
    let node = PhysicalPlanNode::try_from_physical_plan(Arc::new(plan), &WorkCodec::default()).map_err(fault)?;
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes).map_err(fault)?;
    Ok(bytes)
}

/// What a client handed in, if it is our node over a scan of memory and nothing else: its text and the number of its tasks.
/// Nothing is decoded but the outline.
pub(crate) fn outline(bytes: &[u8]) -> Result<(String, usize), ClusterError> {
    let fault = |why: &str| ClusterError::Plan(why.to_owned());
    let node = PhysicalPlanNode::try_decode(bytes).map_err(|_| fault("the bytes are no plan"))?;
    let Some(PhysicalPlanType::Extension(work)) = node.physical_plan_type else {
        return Err(fault("its root is another node"));
    };
    let job =
        work.node.strip_prefix(MAGIC).ok_or_else(|| fault("its root is another extension, or another version"))?;
    let job = std::str::from_utf8(job).map_err(|_| fault("its text is not UTF-8"))?.to_owned();
    let [input] = work.inputs.as_slice() else { return Err(fault("work has one input")) };
    match &input.physical_plan_type {
        Some(PhysicalPlanType::MemoryScan(scan)) if scan.sort_information.is_empty() => {
            Ok((job, scan.partitions.len()))
        }
        _ => Err(fault("its input is no list of items")),
    }
}

/// What an executor is handed: the text of the job and the items of this task.
pub(crate) fn decode_task(bytes: &[u8]) -> Result<(String, Vec<String>), ClusterError> {
    let fault = |why: String| ClusterError::Plan(why);
    let node = PhysicalPlanNode::try_decode(bytes).map_err(|e| fault(e.to_string()))?;
    let plan = node.try_into_physical_plan(&TaskContext::default(), &WorkCodec::default());
    let plan = plan.map_err(|e| fault(e.to_string()))?;
    let other = |plan: &dyn ExecutionPlan| fault(format!("{} is not done here", plan.name()));
    let writer = plan.downcast_ref::<ShuffleWriterExec>().ok_or_else(|| other(plan.as_ref()))?;
    let below = writer.children();
    let [work] = below.as_slice() else { return Err(other(plan.as_ref())) };
    let work = work.downcast_ref::<WorkExec>().ok_or_else(|| other(work.as_ref()))?;
    let scan = work.input.downcast_ref::<DataSourceExec>().ok_or_else(|| other(work.input.as_ref()))?;
    let source: &dyn std::any::Any = scan.data_source().as_ref();
    let scan = source.downcast_ref::<MemorySourceConfig>().ok_or_else(|| other(work.input.as_ref()))?;
    let mut items = Vec::new();
    for batch in scan.partitions().iter().flatten() {
        let column = batch.column_by_name(ITEM).and_then(|column| column.as_string_opt::<i32>());
        let column = column.ok_or_else(|| fault("it has no items".to_owned()))?;
        items.extend(column.iter().flatten().map(str::to_owned));
    }
    Ok((work.job.to_string(), items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::empty::EmptyExec;

    fn bytes_of(plan: Arc<dyn ExecutionPlan>) -> Vec<u8> {
        let node = PhysicalPlanNode::try_from_physical_plan(plan, &WorkCodec::default()).unwrap();
        let mut bytes = Vec::new();
        node.try_encode(&mut bytes).unwrap();
        bytes
    }

    fn plan_of(bytes: &[u8]) -> Arc<dyn ExecutionPlan> {
        let node = PhysicalPlanNode::try_decode(bytes).unwrap();
        node.try_into_physical_plan(&TaskContext::default(), &WorkCodec::default()).unwrap()
    }

    fn tasks() -> Vec<Vec<String>> {
        vec![vec!["a".into(), "b".into()], vec!["c".into()]]
    }

    #[test]
    fn a_job_comes_through_as_it_went_in() {
        let bytes = encode_job("the job", &tasks()).unwrap();
        assert_eq!(outline(&bytes).unwrap(), ("the job".to_owned(), 2));
        let plan = plan_of(&bytes);
        let writer = ShuffleWriterExec::try_new("j".to_owned().into(), 1, plan, String::new()).unwrap();
        let (job, items) = decode_task(&bytes_of(Arc::new(writer))).unwrap();
        assert_eq!((job.as_str(), items), ("the job", vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn any_other_plan_is_refused_at_the_gate_and_by_the_executor() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(ITEM, DataType::Utf8, false)]));
        let empty: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(schema));
        let ours = plan_of(&encode_job("job", &tasks()).unwrap());
        let forged: Vec<Arc<dyn ExecutionPlan>> = vec![
            empty.clone(),
            Arc::new(CoalescePartitionsExec::new(ours.clone())),
            Arc::new(WorkExec::new("job".into(), empty)),
            Arc::new(WorkExec::new("job".into(), ours.clone())),
            Arc::new(ShuffleWriterExec::try_new("j".to_owned().into(), 1, ours, String::new()).unwrap()),
        ];
        for plan in forged {
            let name = plan.name().to_owned();
            assert!(outline(&bytes_of(plan)).is_err(), "{name}");
        }
        assert!(outline(b"\xff\xff\xff").is_err());
        assert!(decode_task(&encode_job("job", &tasks()).unwrap()).is_err(), "a task has Ballista's writer above it");
    }
}
