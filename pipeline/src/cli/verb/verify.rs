//! `verify`: every checksum, one pass.

use std::fmt::Write as _;

use super::{checkpoint, fail, print};
use crate::cli::args::VerifyArgs;
use crate::cli::exit::Exit;
use crate::cli::format::{bytes, counted};
use crate::shard::{self, Damage};

/// Names each damaged shard and clip on stdout; exit 1 when there is damage.
pub fn verify(args: &VerifyArgs) -> Exit {
    if let Some(exit) = checkpoint::verify(&args.path) {
        return exit;
    }
    match shard::verify(&args.path) {
        Ok(report) => {
            let mut out = String::new();
            for damage in &report.damaged {
                out.push_str(&words(damage));
            }
            let _ = writeln!(
                out,
                "{}: {} with {}, {} checked: {}",
                args.path.display(),
                counted(report.parts, "shard"),
                counted(report.rows, "row"),
                bytes(report.bytes),
                if report.damaged.is_empty() {
                    "whole".to_owned()
                } else {
                    counted(report.damaged.len() as u64, "damaged shard")
                }
            );
            if !report.damaged.is_empty() {
                let _ = writeln!(
                    out,
                    "to mend: remove the damaged part files and run the graph again; it makes only those anew"
                );
            }
            let printed = print(&out);
            if report.damaged.is_empty() { printed } else { Exit::Failed }
        }
        Err(error) => fail(error),
    }
}

/// Clip ids of a damaged part that are named; the rest is counted.
const SHOWN_CLIPS: usize = 20;

fn words(damage: &Damage) -> String {
    let mut out = format!("{}: {}\n", damage.part, damage.problem);
    if !damage.pages.is_empty() {
        let pages: Vec<String> = damage.pages.iter().map(|(first, end)| format!("{first}..{end}")).collect();
        let _ = writeln!(out, "  bytes {}", pages.join(", "));
    }
    for clip_id in damage.clip_ids.iter().take(SHOWN_CLIPS) {
        let _ = writeln!(out, "  clip {clip_id}");
    }
    if damage.clip_ids.len() > SHOWN_CLIPS {
        let _ = writeln!(out, "  and {} more", counted((damage.clip_ids.len() - SHOWN_CLIPS) as u64, "clip"));
    }
    out
}
