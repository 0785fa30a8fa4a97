//! `copy`: a set of shards to another place, checked on its way.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{fail, print};
use crate::cli::args::CopyArgs;
use crate::cli::exit::Exit;
use crate::cli::format::{bytes, counted};
use crate::cli::progress::{PLAIN_EVERY_S, ProgressMode};
use crate::shard::{self, Copied, ShardError};

/// Says on stdout what was copied; exit 1 when a byte is not what it should be.
pub fn copy(args: &CopyArgs) -> Exit {
    let since = Instant::now();
    let mut shown = Shown::new(args.progress);
    let copied = shard::copy(&args.from, &args.to, &mut |now, of| shown.update(now, of));
    shown.bar.finish_and_clear();
    match copied {
        Ok(Copied { parts, bytes: n, kept, .. }) => {
            let kept = if kept > 0 { format!(", {} there already", counted(kept, "shard")) } else { String::new() };
            let rate = n as f64 / since.elapsed().as_secs_f64().max(1e-9) / 1e6;
            let (what, to) = (counted(parts, "shard"), args.to.display());
            print(&format!("{to}: {what} with {} copied and checked{kept} ({rate:.0} MB/s)\n", bytes(n)))
        }
        Err(error) => {
            let exit = fail(&error);
            match error {
                ShardError::Checksum { .. } | ShardError::Size { .. } => {
                    eprintln!("  help: `ajepa-pipe verify {}` names all that is damaged", args.from.display());
                }
                ShardError::Io { .. } => eprintln!("  help: the same command goes on from there"),
                _ => {}
            }
            exit
        }
    }
}

struct Shown {
    bar: ProgressBar,
    plain: bool,
    told: Instant,
}

impl Shown {
    fn new(mode: ProgressMode) -> Self {
        let live = mode == ProgressMode::Auto && std::io::stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(
            " {bar:32} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, plain: !live && mode != ProgressMode::Off, told: Instant::now() }
    }

    fn update(&mut self, now: Copied, of: u64) {
        let done = now.bytes + now.kept_bytes;
        self.bar.set_length(of);
        self.bar.set_position(done);
        if self.plain && self.told.elapsed() >= Duration::from_secs_f64(PLAIN_EVERY_S) {
            self.told = Instant::now();
            eprintln!("{} of {} are there", bytes(done), bytes(of));
        }
    }
}
