//! Whether a training fits into the machine: asked before anything is begun, for the system's answer would be to kill it.

use std::path::Path;

use bytesize::ByteSize;

use super::TrainingFault;
use crate::schema::Schema;
use crate::stages::sink_train::SinkTrainConfig;

/// Bytes that this process may take beyond what it has: what the machine has available, and what the control groups that it is in
/// leave of their limits. `None` where the system does not tell.
pub fn available_bytes() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| of_machine(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    machine.into_iter().chain(of_groups(Path::new("/sys/fs/cgroup"), &groups)).min()
}

/// `MemAvailable` of /proc/meminfo: what is free, or can be had from caches.
fn of_machine(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// What each control group with a limit leaves, by /proc/self/cgroup: the process's own and all around it, in both versions.
fn of_groups(root: &Path, groups: &str) -> Vec<u64> {
    let mut rooms = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, names) = match controllers {
            "" => (root.to_owned(), ["memory.max", "memory.current"]),
            "memory" => (root.join("memory"), ["memory.limit_in_bytes", "memory.usage_in_bytes"]),
            _ => continue,
        };
        // Inside a container the path may be the host's, while the root is the container's own group: that one counts too.
        let own = root.join(path.trim_start_matches('/'));
        rooms.extend(own.ancestors().take_while(|dir| dir.starts_with(&root)).filter_map(|dir| of_group(dir, names)));
    }
    rooms
}

/// The limit less what is in use and could not be had back from caches; `None` for a group without a limit.
fn of_group(dir: &Path, [limit, used]: [&str; 2]) -> Option<u64> {
    let number = |name: &str| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let stat = std::fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
    Some(number(limit)?.saturating_sub(number(used)?.saturating_sub(cached.unwrap_or(0))))
}

/// Refuses a training on pictures of `inputs` that takes more than there is.
pub(super) fn fits(config: &SinkTrainConfig, inputs: &[Schema], available: u64) -> Result<(), TrainingFault> {
    let of = |batch_clips: usize, accumulate: usize| {
        let config = SinkTrainConfig { batch_clips, accumulate, ..config.clone() };
        config.memory(inputs).map_err(|error| TrainingFault::usage(error.problem, error.help))
    };
    let needed = of(config.batch_clips, config.accumulate)?;
    if needed.total_bytes() <= available {
        return Ok(());
    }
    let problem = format!(
        "training takes about {}: {} for parameters, moments and moving average, {} for a batch of {} clips; {} can be had here",
        ByteSize::b(needed.total_bytes()),
        ByteSize::b(needed.lasting_bytes),
        ByteSize::b(needed.step_bytes),
        config.batch_clips,
        ByteSize::b(available)
    );
    // Estimates are not to the byte: what is proposed leaves a tenth.
    let fits = |clips: &usize| of(*clips, 2).is_ok_and(|memory| memory.total_bytes() <= available / 10 * 9);
    let halved = std::iter::successors(Some(config.batch_clips / 2), |clips| Some(clips / 2)).take_while(|n| *n > 0);
    let help = match halved.into_iter().find(fits) {
        Some(clips) => format!(
            "`batch_clips: {clips}` with `accumulate: {}` makes steps of as many clips in the memory of {clips}; or a smaller model",
            (config.batch_clips * config.accumulate).div_ceil(clips)
        ),
        None => "a smaller model (`preset: tiny`, a narrower or shallower encoder), or a machine with more memory"
            .to_owned(),
    };
    Err(TrainingFault::usage(problem, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_the_least_that_any_group_around_leaves() {
        let meminfo = "MemTotal:       24000000 kB\nMemFree:  100 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(of_machine(meminfo), Some(20_000_000 << 10));
        assert_eq!(of_machine("MemTotal: 1 kB\n"), None);
        let dir = tempfile::tempdir().unwrap();
        let group = |path: &str, limit: &str, used: &str, cached: &str| {
            let dir = dir.path().join(path);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("memory.max"), format!("{limit}\n")).unwrap();
            std::fs::write(dir.join("memory.current"), format!("{used}\n")).unwrap();
            std::fs::write(dir.join("memory.stat"), format!("anon 5\ninactive_file {cached}\n")).unwrap();
        };
        group("slice", "1000", "700", "200");
        group("slice/job", "max", "600", "0");
        assert_eq!(of_groups(dir.path(), "0::/slice/job\n"), [500]);
        // The host's path, which is not to be seen from inside.
        group("", "900", "100", "0");
        assert_eq!(of_groups(dir.path(), "0::/elsewhere/x\n"), [800]);
        let old = dir.path().join("memory/job");
        std::fs::create_dir_all(&old).unwrap();
        std::fs::write(old.join("memory.limit_in_bytes"), "300").unwrap();
        std::fs::write(old.join("memory.usage_in_bytes"), "400").unwrap();
        assert_eq!(of_groups(dir.path(), "3:cpu:/job\n4:memory:/job\n"), [0]);
    }

    #[test]
    fn a_smaller_batch_is_proposed_that_fits() {
        let text = "
stages:
  - { type: source_folder, path: a }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: log_mel, preset: base-2026 }
  - { type: sink_train, path: out, batch_clips: 48, accumulate: 3 }
";
        let graph = crate::config::load_str("test", text, &[], &crate::stages::builtin()).unwrap();
        let node = graph.nodes.last().unwrap();
        let config = node.config.training().unwrap();
        let needed = config.memory(&node.inputs).unwrap().total_bytes();
        assert!(fits(config, &node.inputs, needed).is_ok());
        let fault = fits(config, &node.inputs, needed - 1).unwrap_err();
        assert!(fault.is_usage && fault.problem.contains("a batch of 48 clips"), "{fault:?}");
        assert!(fault.help.contains("`batch_clips: 24` with `accumulate: 6` "), "{fault:?}");
        // 90 MiB for the parameters, 24 for gradients that are summed, and a tenth to spare.
        let fault = fits(config, &node.inputs, needed / 4).unwrap_err();
        assert!(fault.help.contains("`batch_clips: 3` with `accumulate: 48` "), "{fault:?}");
        assert!(fits(config, &node.inputs, 50 << 20).unwrap_err().help.starts_with("a smaller model"));
    }
}
