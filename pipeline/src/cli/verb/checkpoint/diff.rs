//! `checkpoint diff`: recipe, front end, and how far each tensor moved.

use std::fmt::Write as _;

use ajepa_model::checkpoint::{Checkpoint, CheckpointError};
use serde_json::{Value, json};

use super::{differences, open};
use crate::cli::args::DiffArgs;
use crate::cli::exit::Exit;
use crate::cli::format::counted;
use crate::cli::verb::{fail, print};
use crate::embed::digest;

/// The files that hold a model; moments of an optimiser say nothing about it.
const FILES: [&str; 3] = ["encoder.safetensors", "target.safetensors", "predictor.safetensors"];

/// How far one tensor moved.
struct Moved {
    name: String,
    /// Largest difference of two numbers.
    max_abs: f64,
    /// Length of the difference over the length of the first.
    relative: f64,
}

/// Prints where the two differ.
pub fn diff(args: &DiffArgs) -> Exit {
    let (one, other) = match (open(&args.one), open(&args.other)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    match tensors(&one, &other) {
        Ok((moved, apart)) => print(&(of_cards(&one, &other) + &of_tensors(moved, &apart, args.top.get()))),
        Err(error) => fail(error),
    }
}

fn of_cards(one: &Checkpoint, other: &Checkpoint) -> String {
    let about = |checkpoint: &Checkpoint| {
        let card = checkpoint.card();
        json!({
            "steps": card.steps, "seed": card.seed, "code_version": card.code_version, "recipe": card.recipe,
            "front_end": card.front_end, "data_hash": card.data_hash, "notes": card.notes, "digest": digest(card),
        })
    };
    let (one, other) = (about(one), about(other));
    let mut found = Vec::new();
    differences("", &one, &other, &mut found);
    if found.is_empty() {
        return "the cards say the same\n".to_owned();
    }
    let width = found.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    found.into_iter().fold(String::new(), |mut out, (key, one, other)| {
        let _ = writeln!(out, "{key:<width$}  {}  ->  {}", short(one), short(other));
        out
    })
}

fn short(value: &Value) -> String {
    match value {
        Value::Array(list) if list.len() > 8 => format!("[{} values]", list.len()),
        other => {
            let text = other.to_string();
            if text.chars().count() > 80 { text.chars().take(77).chain("...".chars()).collect() } else { text }
        }
    }
}

/// How far every tensor of both moved; and what only one has, or has in another shape.
fn tensors(one: &Checkpoint, other: &Checkpoint) -> Result<(Vec<Moved>, Vec<String>), CheckpointError> {
    let (mut moved, mut apart) = (Vec::new(), Vec::new());
    for file in FILES {
        if one.has(file) != other.has(file) {
            apart.push(format!("{file} is in one only"));
        }
        if !one.has(file) || !other.has(file) {
            continue;
        }
        let (a, b) = (one.tensors(file)?, other.tensors(file)?);
        let (names, theirs) = (a.names()?, b.names()?);
        for (name, shape) in &names {
            let place = format!("{}: {name}", file.trim_end_matches(".safetensors"));
            match theirs.iter().find(|(there, _)| there == name) {
                Some((_, there)) if there == shape => {
                    moved.push(distance(place, &a.numbers(name, shape)?, &b.numbers(name, shape)?));
                }
                Some((_, there)) => apart.push(format!("{place} is {shape:?} and {there:?}")),
                None => apart.push(format!("{place} is in the first only")),
            }
        }
        let new = theirs.iter().filter(|(there, _)| names.iter().all(|(name, _)| name != there));
        apart.extend(
            new.map(|(name, _)| format!("{}: {name} is in the second only", file.trim_end_matches(".safetensors"))),
        );
    }
    Ok((moved, apart))
}

fn distance(name: String, one: &[f32], other: &[f32]) -> Moved {
    let (mut max_abs, mut apart, mut length) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (&a, &b) in one.iter().zip(other) {
        let (a, d) = (f64::from(a), f64::from(b) - f64::from(a));
        // A NaN is the largest difference there is.
        max_abs = if d.is_nan() { f64::INFINITY } else { max_abs.max(d.abs()) };
        apart += d * d;
        length += a * a;
    }
    let relative = if apart == 0.0 { 0.0 } else { (apart / length).sqrt() };
    Moved { name, max_abs, relative: if relative.is_nan() { f64::INFINITY } else { relative } }
}

fn of_tensors(mut moved: Vec<Moved>, apart: &[String], top: usize) -> String {
    let n = moved.len();
    moved.retain(|tensor| tensor.max_abs > 0.0);
    moved.sort_by(|a, b| b.relative.total_cmp(&a.relative));
    let mut out = apart.iter().fold(String::new(), |out, words| out + words + "\n");
    let _ = writeln!(out, "{} of {} differ", moved.len(), counted(n as u64, "tensor"));
    let width = moved.iter().take(top).map(|tensor| tensor.name.len()).max().unwrap_or(0);
    if !moved.is_empty() {
        let _ = writeln!(out, "  {:<width$}  {:>10}  {:>10}", "", "largest", "relative");
    }
    for Moved { name, max_abs, relative } in moved.iter().take(top) {
        let _ = writeln!(out, "  {name:<width$}  {max_abs:>10.3e}  {relative:>10.3e}");
    }
    if moved.len() > top {
        let _ = writeln!(out, "  and {} more: --top {}", moved.len() - top, moved.len());
    }
    out
}
