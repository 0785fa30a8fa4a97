//! `verify`: every checksum, one pass.

use std::fmt::Write as _;

use super::{fail, print};
use crate::cli::args::VerifyArgs;
use crate::cli::exit::Exit;
use crate::cli::format::{bytes, counted};
use crate::shard;

/// Names each damaged shard and clip on stdout; exit 1 when there is damage.
pub fn verify(args: &VerifyArgs) -> Exit {
    match shard::verify(&args.path) {
        Ok(report) => {
            let mut out = String::new();
            for damage in &report.damaged {
                let _ = writeln!(out, "{damage}");
            }
            let _ = writeln!(
                out,
                "{}: {} with {}, {} checked: {}",
                args.path.display(),
                counted(report.parts, "shard"),
                counted(report.rows, "row"),
                bytes(report.bytes),
                if report.damaged.is_empty() { "whole".to_owned() } else { counted(report.damaged.len() as u64, "damaged shard") }
            );
            let printed = print(&out);
            if report.damaged.is_empty() { printed } else { Exit::Failed }
        }
        Err(error) => fail(error),
    }
}
