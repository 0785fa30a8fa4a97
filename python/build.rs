//! Tells the linker on macOS that an interpreter will bring Python's functions; nothing is told elsewhere.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
