//! A disk that is full: everybody's, or that of one machine alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::lan::{Lan, Process, place};
use crate::program::{Place, assert_same, files};
use crate::promises::SEEDED;

/// Blocks of 512 bytes, fewer than a shard has.
const FEW_BLOCKS: u32 = 48;

/// A folder with little room. It goes before the folder that it lies in.
struct Disk(PathBuf);

impl Disk {
    /// `None` where file systems may not be mounted.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(at).expect("a folder");
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).output().is_ok_and(|o| o.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(&self.0).status().expect("mount");
        assert!(grown.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, for executors may still be at work there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// An executor that can write no file as large as a shard.
fn small_executor(place: &Place, lan: &mut Lan) {
    let n = lan.executors.len();
    let args = format!("cluster executor --scheduler {} --slots 1 --name host{n}", lan.url);
    let program = place.command(&args);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -f {FEW_BLOCKS}; exec \"$0\" \"$@\"")]).arg(program.get_program());
    command.args(program.get_args()).current_dir(place.path("."));
    lan.joins(Process::spawn(place, &format!("executor{n}"), command));
}

/// The graph with its set on that disk.
fn on_disk() -> String {
    SEEDED.replace("path: out", "path: disk/out")
}

#[test]
fn a_full_disk_fails_the_job_by_name_and_the_same_command_completes_it() {
    let (place, whole) = place(80, &on_disk());
    let disk = Disk::mount(&place.path("disk"), "400k");
    let mut lan = Lan::new(&place, 0, "");
    for _ in 0..2 {
        // Without the right to mount, no executor can write a shard.
        if disk.is_some() { lan.executor(&place) } else { small_executor(&place, &mut lan) }
    }
    let ended = place.run(&lan.run(""));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let word = if disk.is_some() { "No space left on device" } else { "File too large" };
    assert!(ended.err.contains("on host") && ended.err.contains(", unit "), "{ended:?}");
    assert!(ended.err.contains("part-000") && ended.err.contains(word), "{ended:?}");
    if let Some(disk) = &disk {
        disk.grow("64m");
    } else {
        lan.executors.iter_mut().for_each(Process::kill);
        lan.executor(&place);
    }
    let again = place.done(&lan.run(""));
    assert!(again.out.contains("80 rows in 20 shards"), "{again:?}");
    assert_same(&whole, &files(&place.path("disk/out")), "after a full disk");
}

#[test]
fn where_one_disk_is_full_the_other_machine_does_the_work() {
    let (place, whole) = place(400, &on_disk());
    let mut lan = Lan::new(&place, 0, "");
    small_executor(&place, &mut lan);
    lan.executor(&place);
    let ended = place.done(&lan.run(""));
    assert_same(&whole, &files(&place.path("disk/out")), "with one full disk");
    assert!(ended.out.contains("host1: 100 shards") && !ended.out.contains("host0: "), "{ended:?}");
    assert!(lan.executors[0].said().contains("File too large"), "{}", lan.executors[0].said());
}
