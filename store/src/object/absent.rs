//! What stands in for object stores where the feature `objects` is off: a word that says so.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::Fs;
use crate::place::{About, Fetch, Opened, Wanted};

fn absent<T>() -> io::Result<T> {
    let cure = "this program was built without object stores: build it with `--features objects`";
    Err(io::Error::new(io::ErrorKind::Unsupported, cure))
}

pub fn check(_: &Path) -> io::Result<()> {
    absent()
}

pub fn plain(_: &Path) -> io::Result<PathBuf> {
    absent()
}

pub fn fs(_: &Path) -> io::Result<Arc<dyn Fs>> {
    absent()
}

pub fn open(_: &Path) -> io::Result<Opened> {
    absent()
}

pub fn copy_to_temporary(_: &Path) -> io::Result<File> {
    absent()
}

pub fn list(_: &Path, _: bool, _: usize) -> io::Result<Vec<(String, About)>> {
    absent()
}

pub fn about(_: &[String]) -> Vec<io::Result<About>> {
    Vec::new()
}

pub fn fetch(_: Vec<Wanted>) -> Fetch {
    Fetch::of(absent())
}
