//! The Python module `ajepa._ajepa`: a thin layer over the workspace's crates, made pleasant by the Python files beside it.
//!
//! Numbers go to Python in place (`memory`), configs come as JSON and are read by the crates' own types, and whatever takes
//! longer than a look lets go of the GIL.

#![allow(clippy::needless_pass_by_value, reason = "what comes from Python comes by value")]

mod convert;
mod encoder;
mod errors;
mod feed;
mod front_end;
mod memory;
mod run;
mod samples;
mod shards;

use pyo3::prelude::*;

#[pymodule]
fn _ajepa(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("AjepaError", module.py().get_type::<errors::AjepaError>())?;
    module.add_class::<memory::Memory>()?;
    module.add_class::<front_end::FrontEnd>()?;
    module.add_class::<shards::Shards>()?;
    module.add_class::<feed::Feed>()?;
    module.add_class::<encoder::Encoder>()?;
    module.add_class::<run::Run>()?;
    module.add_class::<run::Rows>()?;
    module.add_function(wrap_pyfunction!(run::check, module)?)?;
    module.add_function(wrap_pyfunction!(encoder::read_table, module)?)
}
