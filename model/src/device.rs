//! Where a model runs: what a user writes, what the program was built with, what the machine has.
//!
//! This crate computes on the CPU and on any [`Device`] it is handed. Which kinds of GPU a *program* can open is the program's
//! matter: it names them once, before anything runs, by [`add_drivers`]. So neither this crate nor whoever builds it needs anything of a GPU.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use burn::tensor::Device;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A kind of GPU, by what it is reached through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GpuKind {
    /// NVIDIA's.
    Cuda,
    /// Whatever has a Vulkan driver.
    Vulkan,
}

impl GpuKind {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
        }
    }

    /// As people call it.
    fn name(self) -> &'static str {
        match self {
            Self::Cuda => "CUDA",
            Self::Vulkan => "Vulkan",
        }
    }

    /// What tells a user more.
    fn asks(self) -> &'static str {
        match self {
            Self::Cuda => "`nvidia-smi` lists the devices of this machine",
            Self::Vulkan => "`vulkaninfo --summary` lists the devices of this machine",
        }
    }
}

/// Where to run, as a user says it: `auto`, `cpu`, `cuda`, `cuda:1`, `vulkan`, `vulkan:1`.
///
/// # Example: the second GPU
/// ```
/// use ajepa_model::{DeviceChoice, GpuKind};
/// assert_eq!("cuda:1".parse(), Ok(DeviceChoice::Gpu(GpuKind::Cuda, 1)));
/// assert_eq!(DeviceChoice::Gpu(GpuKind::Vulkan, 0).to_string(), "vulkan");
/// assert!("cuda:x".parse::<DeviceChoice>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first CUDA device where the program and the machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU: the same numbers to the last bit whenever it is done again.
    Cpu,
    /// A GPU by its index.
    Gpu(GpuKind, usize),
}

impl DeviceChoice {
    /// Whether nobody has chosen.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// The device, proven to compute.
    ///
    /// # Errors
    /// [`DeviceError`] for what the program or the machine does not have. `auto` fails only where there is a GPU that does not work:
    /// to go on in silence on a CPU would cost its user days.
    pub fn open(self) -> Result<OpenDevice, DeviceError> {
        self.open_with(drivers())
    }

    fn open_with(self, drivers: &[Driver]) -> Result<OpenDevice, DeviceError> {
        let cpu = || OpenDevice { device: Device::flex(), name: "cpu".to_owned() };
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Gpu(kind, index) => open(drivers, kind, index),
            Self::Auto => match drivers.iter().find(|driver| driver.kind == GpuKind::Cuda) {
                Some(driver) if (driver.count)().is_ok_and(|n| n > 0) => open(drivers, GpuKind::Cuda, 0),
                _ => Ok(cpu()),
            },
        }
    }
}

fn open(drivers: &[Driver], kind: GpuKind, index: usize) -> Result<OpenDevice, DeviceError> {
    let (word, name) = (kind.word(), kind.name());
    let Some(driver) = drivers.iter().find(|driver| driver.kind == kind) else {
        let kinds: Vec<&str> = drivers.iter().map(|driver| driver.kind.word()).collect();
        let has = if kinds.is_empty() { "the CPU alone".to_owned() } else { format!("{} and cpu", kinds.join(", ")) };
        return Err(DeviceError {
            problem: format!("this program was built without {word}: it has {has}"),
            help: "`gpu/build.sh` builds one with GPUs; `device: cpu` runs everywhere".to_owned(),
        });
    };
    let n = (driver.count)()
        .map_err(|problem| DeviceError { problem, help: format!("{}; `device: cpu` runs everywhere", kind.asks()) })?;
    if index >= n {
        let there = match n {
            0 => format!("no {name} device found"),
            1 => format!("there is one {name} device, `{word}`"),
            n => format!("there are {n} {name} devices, `{word}:0` to `{word}:{}`", n - 1),
        };
        let problem = if n == 0 { there } else { format!("no device {word}:{index}: {there}") };
        return Err(DeviceError { problem, help: format!("{}; `device: cpu` runs everywhere", kind.asks()) });
    }
    let (device, called) = (driver.open)(index).map_err(|missing| DeviceError {
        problem: format!("{word}:{index} is there and cannot be used: {}", missing.problem),
        help: missing.help,
    })?;
    Ok(OpenDevice { device, name: format!("{word}:{index} ({called})") })
}

/// A device that has been tried.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// The device.
    pub device: Device,
    /// What people call it: `cpu`, `cuda:0 (NVIDIA H100 80GB HBM3)`.
    pub name: String,
}

/// A device that the program or the machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct DeviceError {
    /// What is wrong.
    pub problem: String,
    /// What would cure it.
    pub help: String,
}

/// How a program opens GPUs of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    /// The kind.
    pub kind: GpuKind,
    /// How many there are; what is missing where there can be none.
    pub count: fn() -> Result<usize, String>,
    /// The device of an index below the count, once it has computed something, and the name that it gives itself.
    pub open: fn(usize) -> Result<(Device, String), DeviceError>,
}

static DRIVERS: OnceLock<Vec<Driver>> = OnceLock::new();

/// Says which GPUs this program can open. Called once by its `main`, before anything runs; later calls change nothing.
pub fn add_drivers(drivers: Vec<Driver>) {
    let _ = DRIVERS.set(drivers);
}

fn drivers() -> &'static [Driver] {
    DRIVERS.get().map_or(&[], Vec::as_slice)
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is no device: auto, cpu, cuda, cuda:1, vulkan, vulkan:1");
        let (word, index) = match text.split_once(':') {
            Some((word, index)) => (word, Some(index.parse::<u16>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let index = index.map(usize::from);
        match (word, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Gpu(GpuKind::Cuda, index.unwrap_or(0))),
            ("vulkan", index) => Ok(Self::Gpu(GpuKind::Vulkan, index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(kind, 0) => f.write_str(kind.word()),
            Self::Gpu(kind, index) => write!(f, "{}:{index}", kind.word()),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl JsonSchema for DeviceChoice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DeviceChoice".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(auto|cpu|(cuda|vulkan)(:[0-9]+)?)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CUDA with two devices, the second of them broken; a CPU stands in for the first.
    const TWO: Driver = Driver {
        kind: GpuKind::Cuda,
        count: || Ok(2),
        open: |index| match index {
            0 => Ok((Device::flex(), "a stand-in".to_owned())),
            _ => Err(DeviceError { problem: "it is on fire".to_owned(), help: "water".to_owned() }),
        },
    };

    fn cuda(index: usize) -> DeviceChoice {
        DeviceChoice::Gpu(GpuKind::Cuda, index)
    }

    fn error(choice: DeviceChoice, drivers: &[Driver]) -> String {
        let DeviceError { problem, help } = choice.open_with(drivers).unwrap_err();
        format!("{problem}; {help}")
    }

    #[test]
    fn what_is_written_is_read_and_written_alike() {
        for text in ["auto", "cpu", "cuda", "cuda:3", "vulkan", "vulkan:1"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda:0".parse::<DeviceChoice>().unwrap().to_string(), "cuda");
        for text in ["", "gpu", "cpu:0", "auto:1", "cuda:", "cuda:-1", "cuda:1x", "CUDA"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_that_is_there_has_its_name() {
        assert_eq!(cuda(0).open_with(&[TWO]).unwrap().name, "cuda:0 (a stand-in)");
        assert_eq!(DeviceChoice::Cpu.open_with(&[TWO]).unwrap().name, "cpu");
    }

    #[test]
    fn auto_takes_cuda_where_it_is_and_the_cpu_elsewhere() {
        let auto = DeviceChoice::Auto;
        assert_eq!(auto.open_with(&[TWO]).unwrap().name, "cuda:0 (a stand-in)");
        assert_eq!(auto.open_with(&[]).unwrap().name, "cpu");
        let none = Driver { count: || Err("no CUDA driver found".to_owned()), ..TWO };
        assert_eq!(auto.open_with(&[none]).unwrap().name, "cpu");
        // Vulkan is asked for by name.
        assert_eq!(auto.open_with(&[Driver { kind: GpuKind::Vulkan, ..TWO }]).unwrap().name, "cpu");
    }

    #[test]
    fn auto_does_not_pass_over_a_broken_gpu_in_silence() {
        let open = |_| Err(DeviceError { problem: "libnvrtc is not there".to_owned(), help: "install it".to_owned() });
        let words = error(DeviceChoice::Auto, &[Driver { open, ..TWO }]);
        assert_eq!(words, "cuda:0 is there and cannot be used: libnvrtc is not there; install it");
    }

    #[test]
    fn what_is_not_there_is_said_with_a_cure() {
        let without = error(cuda(0), &[]);
        assert!(
            without.starts_with("this program was built without cuda: it has the CPU alone; `gpu/build.sh`"),
            "{without}"
        );
        let other = error(cuda(0), &[Driver { kind: GpuKind::Vulkan, ..TWO }]);
        assert!(other.starts_with("this program was built without cuda: it has vulkan and cpu;"), "{other}");
        let no_driver = Driver { count: || Err("no CUDA driver found".to_owned()), ..TWO };
        assert!(error(cuda(0), &[no_driver]).starts_with("no CUDA driver found; `nvidia-smi`"));
        let no_device = Driver { count: || Ok(0), ..TWO };
        assert!(error(cuda(0), &[no_device]).starts_with("no CUDA device found; "));
        let beyond = error(cuda(5), &[TWO]);
        assert!(beyond.starts_with("no device cuda:5: there are 2 CUDA devices, `cuda:0` to `cuda:1`; "), "{beyond}");
        assert_eq!(error(cuda(1), &[TWO]), "cuda:1 is there and cannot be used: it is on fire; water");
    }
}
