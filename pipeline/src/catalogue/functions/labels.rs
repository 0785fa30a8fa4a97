//! `label_name`, `label_id`, `under`, `under_names`: the classes of the ontology by name and id.

use std::sync::Arc;

use arrow::array::{ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::args::{fault, text_type, texts};
use super::ontology::{Ontology, OntologyPlace};

pub fn functions(ontology: &OntologyPlace) -> Vec<ScalarUDF> {
    let of = |name| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Labels { name, ontology: ontology.clone(), signature })
    };
    [Asked::Name, Asked::Id, Asked::Under, Asked::UnderNames].map(of).into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Name,
    Id,
    Under,
    UnderNames,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Labels {
    name: Asked,
    ontology: OntologyPlace,
    signature: Signature,
}

impl ScalarUDFImpl for Labels {
    fn name(&self) -> &str {
        match self.name {
            Asked::Name => "label_name",
            Asked::Id => "label_id",
            Asked::Under => "under",
            Asked::UnderNames => "under_names",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        let [kind] = kinds else { return plan_err!("{} takes one text, not {}", self.name(), kinds.len()) };
        Ok(vec![text_type(self.name(), kind)?])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.name {
            Asked::Name | Asked::Id => DataType::Utf8,
            Asked::Under | Asked::UnderNames => DataType::new_list(DataType::Utf8, true),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(argument) = args.args.first() else { return plan_err!("{} takes one text", self.name()) };
        let ontology = self.ontology.get().map_err(|words| fault(format!("{}: {words}", self.name())))?;
        let classes = texts(argument)?;
        let values: arrow::array::ArrayRef = match self.name {
            Asked::Name => Arc::new(each(&classes, |id| ontology.name(id))),
            Asked::Id => Arc::new(each(&classes, |name| ontology.id(name))),
            Asked::Under => self.below(&classes, &ontology, |(id, _)| id)?,
            Asked::UnderNames => self.below(&classes, &ontology, |(_, name)| name)?,
        };
        match argument {
            ColumnarValue::Scalar(_) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            ColumnarValue::Array(_) => Ok(ColumnarValue::Array(values)),
        }
    }
}

fn each<'a>(classes: &'a StringArray, find: impl Fn(&'a str) -> Option<&'a str>) -> StringArray {
    classes.iter().map(|class| find(class?)).collect()
}

impl Labels {
    fn below(
        &self,
        classes: &StringArray,
        ontology: &Ontology,
        shown: for<'a> fn((&'a str, &'a str)) -> &'a str,
    ) -> Result<arrow::array::ArrayRef> {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for class in classes {
            let Some(class) = class else {
                lists.append_null();
                continue;
            };
            let found = ontology.under(class).map_err(|words| fault(format!("{}: {words}", self.name())))?;
            lists.append_value(found.into_iter().map(|at| Some(shown(ontology.class(at)))));
        }
        Ok(Arc::new(lists.finish()))
    }
}
