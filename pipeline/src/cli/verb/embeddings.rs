//! `inspect` of a file of embeddings: what made it, and what a row is.

use std::fmt::Write as _;
use std::path::Path;

use super::print;
use crate::cli::exit::Exit;
use crate::cli::format::{bytes, counted};
use crate::stages::sink_embeddings::{About, RowsOf, read_about};

/// Prints what the file says of itself; `None` for what is no file of embeddings.
pub fn inspect(path: &Path) -> Option<Exit> {
    let is_such = path.extension().is_some_and(|e| e == "parquet" || e == "pq" || e == "npy");
    if !is_such || !path.is_file() {
        return None;
    }
    match read_about(path) {
        Ok(about) => about.map(|about| print(&summary(path, &about))),
        Err(error) => Some(super::fail(error)),
    }
}

fn summary(path: &Path, about: &About) -> String {
    let mut out = String::new();
    let size = std::fs::metadata(path).map_or(0, |found| found.len());
    let _ = writeln!(out, "{}: {}, {}", path.display(), counted(about.rows, "embedding"), bytes(size));
    let row = match about.rows_of {
        RowsOf::Clip => "a clip, the mean over its frames",
        RowsOf::Window => "a window of a clip",
        RowsOf::Frame => "a frame of tokens",
    };
    let dims: Vec<String> = about.shape.iter().zip(&about.axes).map(|(n, axis)| format!("{n} {axis}")).collect();
    let _ = writeln!(out, "a row is {row}: f32[{}]", dims.join(" x "));
    if let (Some(window_s), Some(hop_s)) = (about.window_s, about.hop_s) {
        let _ = writeln!(out, "pictures of {window_s:.6} s, a frame of tokens every {hop_s:.6} s");
    }
    let _ = writeln!(out, "{} from the sources, {} refused", counted(about.clips, "clip"), about.rejects);
    let encoder = &about.made_by["encoder"];
    let word = |key: &str| encoder[key].as_str().unwrap_or("?");
    if encoder.is_object() {
        let _ = writeln!(
            out,
            "made by the {} encoder of {}, digest {}",
            word("encoder"),
            word("checkpoint"),
            word("digest")
        );
    }
    let _ = writeln!(out, "graph {}", about.fingerprint);
    out
}
