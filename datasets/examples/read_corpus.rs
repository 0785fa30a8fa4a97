//! Reads AudioSet's lists from a folder, joins them with a list of files, and says how long each step took and what memory reading took.
//!
//! `read_corpus LISTS FILES.txt` prints one line of JSON; `bench/manifest.py` runs it beside pandas.

use std::path::PathBuf;
use std::time::Instant;

use ajepa_datasets::{AudioSet, JoinConfig, Scan, balanced_weights, join};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(lists), Some(files)) = (arguments.next(), arguments.next()) else {
        return Err("give the folder of the lists, and a text with a path a line".into());
    };
    let start = Instant::now();
    let audioset = AudioSet::open(&lists)?;
    let read_s = start.elapsed().as_secs_f64();
    let read_peak_mib = peak_mib().unwrap_or(f64::NAN);

    let start = Instant::now();
    let text = std::fs::read_to_string(&files)?;
    let scan = Scan::of_listing(text.lines())?;
    let joined = join(&audioset.wanted, &scan, &JoinConfig::default())?;
    let join_s = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let weights = balanced_weights(&joined.manifest)?;
    let weights_s = start.elapsed().as_secs_f64();

    let found = joined.manifest.usable()?.frame().height();
    let weight = weights.f64()?.iter().flatten().sum::<f64>();
    let rows = audioset.wanted.frame().height();
    println!(
        "{{\"rows\": {rows}, \"found\": {found}, \"weight\": {weight:.6}, \"read_s\": {read_s:.3}, \
         \"read_peak_mib\": {read_peak_mib:.0}, \"join_s\": {join_s:.3}, \"weights_s\": {weights_s:.3}}}"
    );
    Ok(())
}

/// The most memory the process has had so far, where the kernel tells.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    kib.parse::<f64>().ok().map(|kib| kib / 1024.0)
}
