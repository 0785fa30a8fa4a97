//! NVIDIA GPUs.

use std::path::PathBuf;

use ajepa_model::GpuKind;
use ajepa_model::device::{DeviceError, Driver};
use burn::tensor::{Device, DeviceType};

use crate::trial::trial;

/// Opens CUDA devices.
pub fn driver() -> Driver {
    Driver { kind: GpuKind::Cuda, count, open }
}

fn count() -> Result<usize, String> {
    if !is_there(Library::Driver) {
        return Err("no CUDA driver found: libcuda is not there".to_owned());
    }
    Ok(Device::enumerate(DeviceType::Cuda).len())
}

fn open(index: usize) -> Result<(Device, String), DeviceError> {
    if !is_there(Library::Nvrtc) {
        return Err(missing("libnvrtc, which compiles the kernels, is not there"));
    }
    let headers = include_path().ok_or_else(|| missing("CUDA's headers, which the kernels include, are not there"))?;
    if !headers.join("cuda_bf16.h").exists() {
        return Err(missing(&format!("{} has no cuda_bf16.h", headers.display())));
    }
    let device = Device::cuda(index);
    let name = trial(&device).map_err(|problem| missing(&problem))?;
    Ok((device, name))
}

fn missing(problem: &str) -> DeviceError {
    let help = "it needs the driver, libnvrtc of CUDA 12 (LD_LIBRARY_PATH) and CUDA's headers (CUDA_PATH/include), such as the packages \
                nvidia-cuda-nvrtc-cu12 and nvidia-cuda-runtime-cu12 bring; `device: cpu` runs everywhere";
    DeviceError { problem: problem.to_owned(), help: help.to_owned() }
}

/// Where cubecl looks for headers, which panics when it finds none.
fn include_path() -> Option<PathBuf> {
    let named = std::env::var_os("CUDA_PATH").map(PathBuf::from);
    let usual = || ["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from).into_iter().find(|path| path.exists());
    let by_distribution = || PathBuf::from("/usr/bin/nvcc").exists().then(|| PathBuf::from("/usr"));
    Some(named.or_else(usual).or_else(by_distribution)?.join("include"))
}

#[derive(Clone, Copy)]
enum Library {
    Driver,
    Nvrtc,
}

/// Whether a library can be loaded: cudarc panics later where it cannot.
#[allow(unsafe_code)]
fn is_there(library: Library) -> bool {
    // SAFETY: both load a library under its usual names and close it again. What runs then are NVIDIA's own initialisers, which run
    // as well when the library is used.
    unsafe {
        match library {
            Library::Driver => cudarc::driver::sys::is_culib_present(),
            Library::Nvrtc => cudarc::nvrtc::sys::is_culib_present(),
        }
    }
}
