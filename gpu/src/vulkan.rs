//! GPUs with a Vulkan driver.

use ajepa_model::GpuKind;
use ajepa_model::device::{DeviceError, Driver};
use burn::tensor::{Device, DeviceType};

use crate::trial::trial;

/// Opens Vulkan devices: discrete GPUs first, then integrated and virtual ones; a driver that computes on the CPU comes last.
pub fn driver() -> Driver {
    Driver { kind: GpuKind::Vulkan, count, open }
}

fn count() -> Result<usize, String> {
    Ok(Device::enumerate(DeviceType::Vulkan).len())
}

fn open(index: usize) -> Result<(Device, String), DeviceError> {
    let help = "see to its Vulkan driver; `device: cpu` runs everywhere";
    let missing = |problem: String| DeviceError { problem, help: help.to_owned() };
    let found = Device::enumerate(DeviceType::Vulkan).into_iter().nth(index);
    let device = found.ok_or_else(|| missing("it has gone".to_owned()))?;
    let name = trial(&device).map_err(missing)?;
    Ok((device, name))
}
