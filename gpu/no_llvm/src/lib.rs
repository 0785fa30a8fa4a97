//! The part of cubecl-llvm 0.11.3 that cubecl-cuda names: types, and a compiler that refuses.
//!
//! cubecl-cuda is built with both of its code generators and runs one, here the one through CUDA C++ (`cuda-cpp`). Nothing in
//! this crate runs, unless that feature is lost; then the first kernel fails with the words below.

use std::convert::Infallible;
use std::ffi::c_char;
use std::fmt;

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_server::compiler::{CompilationError, Compiler};
use cubecl_server::kernel::BufferIOAttr;

/// Generation of code for NVIDIA.
pub mod nvptx {
    /// Versions of PTX.
    pub mod ptx_version {
        use std::fmt;

        /// The version of PTX that a driver loads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct PtxVersion(i32);

        impl PtxVersion {
            /// Of a driver of this version; known of every one, as nobody asks further.
            #[must_use]
            pub fn for_driver(driver: i32) -> Option<Self> {
                Some(Self(driver))
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "ptx of driver {}", self.0)
            }
        }
    }
}

/// What the generators share.
pub mod shared {
    /// Features that lowering keeps.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// What code is made for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA.
            Nvptx,
        }

        /// Takes nothing away: no kernel comes this way.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

/// What code is made for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA.
    Nvptx,
}

/// The compiler that refuses.
#[derive(Debug, Clone, Default)]
pub struct PlironCompiler {
    /// What code would be made for.
    pub target: LlvmTarget,
}

/// What it would be told.
#[derive(Debug, Clone, Default)]
pub struct PlironOptions {
    /// Alignment of buffers on a processor.
    pub cpu_buffer_alignment: Option<u32>,
    /// Architecture of an AMD GPU.
    pub arch: Option<Infallible>,
    /// Architecture of an NVIDIA GPU.
    pub sm_arch: Option<SmArch>,
    /// The newest PTX that the driver loads.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether parameters of a launch lie in constant memory.
    pub grid_constants: bool,
}

/// PTX with what is needed to launch it.
#[derive(Debug, Clone)]
pub struct NvptxModule {
    /// The code, ended by a 0.
    pub ptx: Vec<c_char>,
    /// The name of the kernel.
    pub entrypoint: String,
    /// What it was made from.
    pub ir: String,
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// Which buffers are read and written.
    pub io: Vec<BufferIOAttr>,
}

/// What compiling gives.
#[derive(Debug, Clone)]
pub enum PlironArtifact {
    /// Code for NVIDIA.
    NvptxCode(NvptxModule),
    /// Code for anything else.
    Other,
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn buffer_io(made: &PlironArtifact) -> Option<Vec<BufferIOAttr>> {
        match made {
            PlironArtifact::NvptxCode(module) => Some(module.io.clone()),
            PlironArtifact::Other => None,
        }
    }

    fn compile(&mut self, _: KernelDefinition, _: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        let reason =
            "this program was built without LLVM, and without cubecl's feature `cuda-cpp` that needs none".to_owned();
        Err(CompilationError::Generic { reason, backtrace: BackTrace::capture() })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "ll"
    }
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NvptxCode(module) => f.write_str(&module.ir),
            Self::Other => Ok(()),
        }
    }
}
