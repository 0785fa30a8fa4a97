//! A finished set to another place, from a disk to an object store and back: every byte is checked on its way, and what is there
//! already is kept.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Checksums, Fs, Opened, PageWriter, PendingFile, commit_bytes, fs_of};

use super::error::ShardError;
use super::layout;
use super::manifest::{MAX_JSON_BYTES, Manifest, PartInfo};

/// Bytes that are read at once.
const STEP_BYTES: usize = 1 << 20;

/// What [`copy`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Parts that were copied.
    pub parts: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Parts that were there already, of the right length.
    pub kept: u64,
    /// Bytes of these.
    pub kept_bytes: u64,
}

/// Copies the finished set `from` to `to`; each is a folder or the address of one. The manifest goes last: until then there is no set.
///
/// A copy that was cut off goes on where it was. `told` is called as bytes arrive, with what is done and with the bytes of the whole set.
///
/// # Errors
/// [`ShardError`]; a part whose bytes are not those of the manifest is not copied. Other files of a set at `to` are refused.
pub fn copy(from: &Path, to: &Path, told: &mut dyn FnMut(Copied, u64)) -> Result<Copied, ShardError> {
    let manifest = Manifest::read(from)?;
    let (source, target) = (fs_of(from)?, fs_of(to)?);
    let read = |fs: &dyn Fs, path: &Path| fs.read(path, MAX_JSON_BYTES);
    let path = from.join(layout::MANIFEST);
    let bytes = read(source.as_ref(), &path).map_err(|e| ShardError::io("read", &path, e))?;
    begin(&target, to, &bytes)?;
    let mut copied = Copied::default();
    told(copied, manifest.bytes);
    let parts: Vec<PathBuf> = manifest.parts.iter().map(|part| to.join(&part.file)).collect();
    for (part, there) in manifest.parts.iter().zip(target.len_all(&parts)) {
        if there.is_ok_and(|len| len == part.bytes) {
            copied.kept += 1;
            copied.kept_bytes += part.bytes;
        } else {
            let before = copied.bytes;
            copy_part(from, &target, to, part, manifest.page_bytes, &mut |n| {
                copied.bytes = before + n;
                told(copied, manifest.bytes);
            })?;
            copied.parts += 1;
        }
        told(copied, manifest.bytes);
    }
    let rejects = from.join(layout::REJECTS);
    match read(source.as_ref(), &rejects) {
        Ok(rejects) => commit_bytes(&target, to.join(layout::REJECTS), &rejects)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(ShardError::io("read", &rejects, error)),
    }
    commit_bytes(&target, to.join(layout::MANIFEST), &bytes)?;
    let begun = to.join(BEGUN);
    match target.remove(&begun) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ShardError::io("remove", &begun, error)),
        _ => Ok(copied),
    }
}

/// The claim of a copy that is under way: the manifest under another name.
const BEGUN: &str = "manifest.copying.json";

/// Sees to it that nothing of a set is at `to` but what a copy of this very one has left.
fn begin(target: &Arc<dyn Fs>, to: &Path, manifest: &[u8]) -> Result<(), ShardError> {
    let refuse = |files: String| Err(ShardError::Foreign { dir: to.to_owned(), files });
    let there = |name: &str| match target.read(&to.join(name), MAX_JSON_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ShardError::io("read", &to.join(name), error)),
    };
    match there(layout::MANIFEST)? {
        Some(other) if other != manifest => return refuse("another set".to_owned()),
        Some(_) => return Ok(()),
        None => {}
    }
    if there(BEGUN)?.is_some_and(|begun| begun == manifest) {
        return Ok(());
    }
    target.create_dir_all(to).map_err(|e| ShardError::io("create", to, e))?;
    let names = target.list(to).map_err(|e| ShardError::io("list", to, e))?;
    if let Some(name) =
        names.iter().find(|name| layout::is_file_of_a_set(name) || *name == layout::UNITS || *name == BEGUN)
    {
        return refuse(format!("{name} of another set"));
    }
    Ok(commit_bytes(target, to.join(BEGUN), manifest)?)
}

fn copy_part(
    from: &Path,
    target: &Arc<dyn Fs>,
    to: &Path,
    part: &PartInfo,
    page_bytes: u64,
    told: &mut dyn FnMut(u64),
) -> Result<(), ShardError> {
    let path = from.join(&part.file);
    let Opened { len, mut reader } = ajepa_store::open(&path).map_err(|e| ShardError::io("open", &path, e))?;
    if len != part.bytes {
        return Err(ShardError::Size { part: part.file.clone(), expected: part.bytes, found: len });
    }
    let mut out = PageWriter::new(PendingFile::create(target, to.join(&part.file))?, page_bytes);
    let (mut step, mut n) = (vec![0; STEP_BYTES], 0);
    loop {
        let got = reader.read(&mut step).map_err(|e| ShardError::io("read", &path, e))?;
        if got == 0 {
            break;
        }
        out.write_all(&step[..got]).map_err(|e| ShardError::io("write", &to.join(&part.file), e))?;
        n += got as u64;
        told(n);
    }
    let (file, bytes, pages) = out.finish();
    if bytes != part.bytes {
        return Err(ShardError::Size { part: part.file.clone(), expected: part.bytes, found: bytes });
    }
    check_pages(part, page_bytes, &pages)?;
    Ok(file.commit()?)
}

fn check_pages(part: &PartInfo, page_bytes: u64, found: &Checksums) -> Result<(), ShardError> {
    let Some(bad) = part.pages.0.iter().zip(&found.0).position(|(wanted, found)| wanted != found) else {
        return Ok(());
    };
    let start = bad as u64 * page_bytes;
    Err(ShardError::Checksum { part: part.file.clone(), start, end: part.bytes.min(start + page_bytes) })
}
