//! GPUs with a Vulkan driver.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ajepa_model::GpuKind;
use ajepa_model::device::{DeviceError, Driver};
use burn::tensor::{Device, DeviceType};

use crate::trial::trial;

/// Before the number of a device: the program is to try it, and to do nothing else.
const TRY: &str = "--try-vulkan";

/// How long a driver may take to compile one kernel.
const PATIENCE: Duration = Duration::from_secs(120);

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
    try_apart(index).map_err(missing)?;
    let device = Device::enumerate(DeviceType::Vulkan).into_iter().nth(index);
    let device = device.ok_or_else(|| missing("it has gone".to_owned()))?;
    let name = trial(&device).map_err(missing)?;
    Ok((device, name))
}

/// Tries the device in a process of its own. Drivers of Vulkan are not only loaded into the process, they compile there, and some die of
/// a kernel that they cannot read: lavapipe of Mesa 22 and 25 do.
fn try_apart(index: usize) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("it cannot be tried: {error}");
    let program = std::env::current_exe().map_err(cannot)?;
    let mut command = Command::new(program);
    command.arg(TRY).arg(index.to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(cannot)?;
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            child.kill().and_then(|()| child.wait()).map_err(cannot)?;
            return Err(format!("its driver did not compile a kernel within {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut words = String::new();
    if let Some(stdout) = child.stdout.take() {
        // A line: it fits into the pipe.
        stdout.take(4096).read_to_string(&mut words).map_err(cannot)?;
    }
    match status.code() {
        Some(0) => Ok(()),
        Some(_) if !words.trim().is_empty() => Err(words.trim().to_owned()),
        _ => Err(format!("its driver crashed while it compiled a kernel ({})", ended(status))),
    }
}

#[cfg(unix)]
fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
}

#[cfg(not(unix))]
fn ended(status: ExitStatus) -> String {
    status.to_string()
}

/// In the process that was begun for it: tries the device, and says in a line what is wrong with it. `None` in any other.
pub fn tried() -> Option<bool> {
    let mut arguments = std::env::args().skip(1);
    let index = arguments.next().filter(|first| first == TRY).and_then(|_| arguments.next()?.parse().ok())?;
    let device = Device::enumerate(DeviceType::Vulkan).into_iter().nth(index);
    let answer = device.map_or_else(|| Err("it has gone".to_owned()), |device| trial(&device));
    if let Err(problem) = &answer {
        println!("{problem}");
    }
    Some(answer.is_ok())
}
