//! [`Manifest`]: the whole truth about a corpus, a row per clip that is wanted.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::{Fs, PendingFile, RealFs};
use polars::prelude::*;

use crate::columns::TextLists;
use crate::error::DatasetError;
use crate::groups::Groups;
use crate::hash::dataset_hash;
use crate::parquet::read_parquet;
use crate::scan::{OK, UNCHECKED};

/// Under this name the dataset hash stands in the file's own metadata.
pub const HASH_KEY: &str = "ajepa.dataset_hash";

/// A clip that was wanted and is not held.
pub const MISSING: &str = "missing";
/// A clip that was left out by a list.
pub const EXCLUDED: &str = "excluded";

/// A corpus: what was wanted, where it is, and what is wrong with it.
///
/// | column | type | |
/// |---|---|---|
/// | `clip_id` | utf8 | no two alike |
/// | `path` | utf8 | file, tar or Parquet file; null when missing |
/// | `member`, `row` | utf8, u64 | member of the tar, row of the Parquet file |
/// | `start_s`, `duration_s` | f64 | the clip in that file; of a missing clip, in the publisher's recording |
/// | `rate_hz`, `channels`, `codec` | u32, u32, utf8 | |
/// | `labels`, `label_names` | list of utf8 | |
/// | `split`, `group` | utf8 | the group must not be on two sides of a split |
/// | `content_hash` | binary | of the decoded samples |
/// | `content_bytes`, `peak_db`, `rms_db` | u64, f32, f32 | |
/// | `duplicate_of` | utf8 | the clip of the same samples that stays when copies are left out: the first in no training split, or the first |
/// | `near_duplicate_of` | utf8 | the same for clips that sound the same |
/// | `status` | utf8 | `ok`, `unchecked`, `missing`, `corrupt`, `silent`, `too_short`, `excluded` |
/// | `reason`, `detail` | utf8 | the reason's code, and words |
///
/// Further columns of the scan travel along. Duplicates are clips as others: leave them out with `duplicate_of IS
/// NULL`.
///
/// # Example: from lists and files to a manifest
/// ```
/// use ajepa_datasets::{AudioSet, JoinConfig, Manifest, Ontology, Scan, join};
///
/// # let dir = tempfile::tempdir()?;
/// # let list = dir.path().join("eval_segments.csv");
/// # std::fs::write(&list, "--4gqARaEJE, 0.000, 10.000, \"/m/068hy\"\n00000000000, 30.000, 40.000, \"/m/068hy\"\n")?;
/// let audioset = AudioSet::read(&[("eval", &list)], Ontology::default())?;
/// let scan = Scan::of_listing(["audio/Y--4gqARaEJE.m4a", "audio/notes.wav"])?;
/// let joined = join(&audioset.wanted, &scan, &JoinConfig::default())?;
/// assert_eq!((joined.manifest.frame().height(), joined.manifest.usable()?.frame().height()), (2, 1));
///
/// let written = joined.manifest.write(&dir.path().join("eval.parquet"))?;
/// assert_eq!(Manifest::read(&written.all)?.hash()?, joined.manifest.hash()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Manifest {
    frame: DataFrame,
}

/// The two tables that [`Manifest::write`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `NAME.parquet`: the clips that can be used, for `source_manifest`.
    pub usable: PathBuf,
    /// `NAME.all.parquet`: every clip that was wanted.
    pub all: PathBuf,
    /// Rows of the first.
    pub n_usable: usize,
    /// Rows of the second.
    pub n_all: usize,
}

/// Columns that must be there for what the crate does; others may be left out of a table made by hand.
fn columns() -> [(&'static str, DataType); 8] {
    let texts = || DataType::List(Box::new(DataType::String));
    [
        ("clip_id", DataType::String),
        ("start_s", DataType::Float64),
        ("duration_s", DataType::Float64),
        ("labels", texts()),
        ("split", DataType::String),
        ("group", DataType::String),
        ("content_hash", DataType::Binary),
        ("status", DataType::String),
    ]
}

impl Manifest {
    /// A manifest from a table that has its columns; of those, all but `clip_id` and `status` are null where they are
    /// not there.
    ///
    /// # Errors
    /// [`DatasetError`] for a column that is missing or of another type, and for names that are null or come twice.
    pub fn of(mut frame: DataFrame) -> Result<Self, DatasetError> {
        let unusable = |problem: String| DatasetError::unusable("manifest", problem, "write it again with `dataset`");
        for (name, kind) in columns() {
            let column = match frame.column(name) {
                Ok(column) if *column.dtype() == kind => continue,
                Ok(column) if column.dtype().is_null() => Column::full_null(name.into(), frame.height(), &kind),
                Ok(column) => {
                    return Err(unusable(format!(
                        "the column {name:?} holds {} where {kind} is wanted",
                        column.dtype()
                    )));
                }
                Err(_) if ["clip_id", "status"].contains(&name) => {
                    return Err(unusable(format!("there is no column {name:?}")));
                }
                Err(_) => Column::full_null(name.into(), frame.height(), &kind),
            };
            frame.with_column(column)?;
        }
        frame.rechunk_mut_par();
        check_ids(frame.column("clip_id")?.str()?).map_err(unusable)?;
        Ok(Self { frame })
    }

    /// Reads a manifest from Parquet, and checks that its rows are those that were written.
    ///
    /// # Errors
    /// [`DatasetError`] when it cannot be read, is no manifest, or rotted.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let help = "write it again with `dataset`, or fetch it again";
        let unusable = |problem: String| DatasetError::unusable(path.display(), problem, help);
        let (frame, stored) = read_parquet(path, HASH_KEY, help)?;
        let manifest = Self::of(frame).map_err(|error| unusable(error.to_string()))?;
        if let Some(stored) = stored
            && stored != manifest.hash()?
        {
            return Err(unusable("its rows are not those that were written".to_owned()));
        }
        Ok(manifest)
    }

    /// Writes `NAME.parquet` with the clips that can be used, which `source_manifest` runs as it is, and
    /// `NAME.all.parquet` with every clip that was wanted. Each appears whole or not at all, in the place of what had
    /// its name.
    ///
    /// # Errors
    /// [`DatasetError`] for a path that does not end in `.parquet`, and when the disk refuses.
    pub fn write(&self, path: &Path) -> Result<Written, DatasetError> {
        if path.extension() != Some(OsStr::new("parquet")) || path.file_stem().is_none() {
            return Err(DatasetError::argument("path", path.display(), "a name that ends in .parquet"));
        }
        let (all, usable) = (path.with_extension("all.parquet"), self.usable()?);
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            std::fs::create_dir_all(folder).map_err(|error| DatasetError::io(folder, error))?;
        }
        write_table(self, &all)?;
        write_table(&usable, path)?;
        let (n_usable, n_all) = (usable.frame.height(), self.frame.height());
        Ok(Written { usable: path.to_owned(), all, n_usable, n_all })
    }

    /// The rows.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The rows, to go on with in polars.
    pub fn into_frame(self) -> DataFrame {
        self.frame
    }

    /// The names of all clips, in their order.
    ///
    /// # Errors
    /// [`DatasetError`] when polars refuses.
    pub fn clip_ids(&self) -> Result<Vec<String>, DatasetError> {
        Ok(self.texts("clip_id")?.iter().flatten().map(str::to_owned).collect())
    }

    /// The rows whose clips can be used: those with the status `ok` or `unchecked`.
    ///
    /// # Errors
    /// [`DatasetError`] when polars refuses.
    pub fn usable(&self) -> Result<Self, DatasetError> {
        let keep: BooleanChunked = self.usable_rows()?.into_iter().collect();
        Ok(Self { frame: self.frame.filter(&keep)? })
    }

    /// Whether each row's clip can be used.
    pub(crate) fn usable_rows(&self) -> Result<Vec<bool>, DatasetError> {
        let usable = |status: Option<&str>| matches!(status, Some(OK | UNCHECKED));
        Ok(self.texts("status")?.iter().map(usable).collect())
    }

    /// A name for the corpus: what is in it, wherever it lies and however it is ordered. For checkpoints and papers.
    ///
    /// It covers names, places in time, labels, splits, groups, contents and statuses of all rows; not paths, so that
    /// moving the files changes nothing. BLAKE3 over the sorted BLAKE3 hashes of the rows, in hexadecimal.
    ///
    /// # Errors
    /// [`DatasetError`] when polars refuses.
    pub fn hash(&self) -> Result<String, DatasetError> {
        dataset_hash(self)
    }

    /// The same with each clip that `reasons` names (clip, reason) given the status `excluded` and that reason. Clips
    /// that cannot be used anyway keep their own; names that are no clip's are nothing.
    ///
    /// # Errors
    /// [`DatasetError`] when polars refuses.
    pub fn excluding(mut self, reasons: &[(String, String)]) -> Result<Self, DatasetError> {
        let reasons: PlHashMap<&str, &str> =
            reasons.iter().map(|(id, reason)| (id.as_str(), reason.as_str())).collect();
        let usable = self.usable_rows()?;
        let n_rows = self.frame.height();
        let nothing = StringChunked::full_null("reason".into(), n_rows);
        let told = self.frame.column("reason").ok().map(|column| column.str().cloned()).transpose()?.unwrap_or(nothing);
        let (mut status, mut reason) = (Vec::with_capacity(n_rows), Vec::with_capacity(n_rows));
        let ids = self.texts("clip_id")?.iter().zip(self.texts("status")?.iter()).zip(told.iter());
        for (((id, own), told), usable) in ids.zip(usable) {
            let excluded = id.and_then(|id| reasons.get(id).copied()).filter(|_| usable);
            status.push(if excluded.is_some() { Some(EXCLUDED) } else { own });
            reason.push(excluded.or(told));
        }
        let status = StringChunked::from_iter_options("status".into(), status.into_iter()).into_column();
        let reason = StringChunked::from_iter_options("reason".into(), reason.into_iter()).into_column();
        self.frame.with_column(status)?;
        self.frame.with_column(reason)?;
        Ok(self)
    }

    /// The same with usable clips that are copies given the status `excluded`: those with the samples of another
    /// (`duplicate`), and where `near` is asked for those that sound like one (`near_duplicate`). Of copies in a training and another
    /// split the other one stays.
    ///
    /// # Errors
    /// [`DatasetError`] when polars refuses.
    pub fn without_duplicates(self, near: bool) -> Result<Self, DatasetError> {
        let mut reasons = Vec::new();
        let kinds = [("duplicate_of", "duplicate", true), ("near_duplicate_of", "near_duplicate", near)];
        for (column, reason, _) in kinds.into_iter().filter(|(.., asked)| *asked) {
            let Ok(column) = self.frame.column(column) else { continue };
            let copies = self.texts("clip_id")?.iter().zip(column.str()?.iter()).filter(|(_, of)| of.is_some());
            reasons.extend(copies.filter_map(|(id, _)| Some((id?.to_owned(), reason.to_owned()))));
        }
        // Of two reasons the first, which says more.
        reasons.reverse();
        self.excluding(&reasons)
    }

    /// The same with every path that is known put otherwise, such as from another folder on.
    ///
    /// # Errors
    /// [`DatasetError`] when polars refuses.
    pub fn with_paths(self, put: impl Fn(&str) -> String) -> Result<Self, DatasetError> {
        let paths = match self.frame.column("path") {
            Ok(column) => {
                StringChunked::from_iter_options("path".into(), column.str()?.iter().map(|path| path.map(&put)))
            }
            Err(_) => return Ok(self),
        };
        self.with_texts("path", paths)
    }

    /// The same with [`crate::balanced_weights`] as the column `weight`.
    ///
    /// # Errors
    /// [`DatasetError`] when polars refuses.
    pub fn with_weights(mut self) -> Result<Self, DatasetError> {
        let weights = crate::balanced_weights(&self)?;
        self.frame.with_column(weights)?;
        Ok(self)
    }

    pub(crate) fn texts(&self, name: &str) -> Result<&StringChunked, DatasetError> {
        Ok(self.frame.column(name)?.str()?)
    }

    pub(crate) fn label_lists(&self) -> Result<TextLists, DatasetError> {
        Ok(TextLists::of(self.frame.column("labels")?)?)
    }

    pub(crate) fn with_texts(mut self, name: &str, texts: StringChunked) -> Result<Self, DatasetError> {
        self.frame.with_column(texts.with_name(name.into()).into_column())?;
        Ok(self)
    }

    pub(crate) fn keeping(&self, rows: &BooleanChunked) -> Result<Self, DatasetError> {
        Ok(Self { frame: self.frame.filter(rows)? })
    }

    /// Rows that must not be on two sides of a split: of one group, of one content, or alike.
    pub(crate) fn leak_groups(&self) -> Result<Groups, DatasetError> {
        let mut groups = Groups::new(self.frame.height());
        groups.unite_equal(self.texts("group")?.iter());
        groups.unite_equal(self.frame.column("content_hash")?.binary()?.iter());
        let rows: PlHashMap<&str, u32> = self.texts("clip_id")?.iter().flatten().zip(0..).collect();
        for name in ["duplicate_of", "near_duplicate_of"] {
            let Ok(column) = self.frame.column(name) else { continue };
            for (first, row) in column.str()?.iter().zip(0..) {
                // A clip whose first was filtered away still belongs to the others of that first.
                if let Some(&first) = first.and_then(|first| rows.get(first)) {
                    groups.unite(first, row);
                }
            }
            groups.unite_equal(column.str()?.iter());
        }
        Ok(groups)
    }
}

fn check_ids(ids: &StringChunked) -> Result<(), String> {
    let mut seen: PlHashSet<&str> = PlHashSet::with_capacity(ids.len());
    for (id, row) in ids.iter().zip(1..) {
        let id = id.ok_or_else(|| format!("row {row} has no clip_id"))?;
        if !seen.insert(id) {
            return Err(format!("the clip_id {id:?} of row {row} is that of a row before it too"));
        }
    }
    Ok(())
}

fn write_table(manifest: &Manifest, path: &Path) -> Result<(), DatasetError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut file = PendingFile::create(&fs, path.to_owned())?;
    let hash = KeyValueMetadata::from_static(vec![(HASH_KEY.to_owned(), manifest.hash()?)]);
    ParquetWriter::new(&mut file).with_key_value_metadata(Some(hash)).finish(&mut manifest.frame.clone())?;
    Ok(file.commit()?)
}

/// The clips of a `rejects.parquet` and why each was rejected, for [`Manifest::excluding`]. Any Parquet table with the
/// column `clip_id` will do; without a column `reason`, the reason is `listed`.
///
/// # Errors
/// [`DatasetError`] when it cannot be read or has no `clip_id`.
pub fn read_rejects(path: &Path) -> Result<Vec<(String, String)>, DatasetError> {
    let help = "a list of clips has a column `clip_id`, as rejects.parquet has";
    let unusable = |problem: String| DatasetError::unusable(path.display(), problem, help);
    let (frame, _) = read_parquet(path, HASH_KEY, help)?;
    let texts = |name: &str| -> Result<StringChunked, DatasetError> {
        let column = frame.column(name).map_err(|error| unusable(error.to_string()))?;
        Ok(column.str().map_err(|error| unusable(error.to_string()))?.clone())
    };
    let ids = texts("clip_id")?;
    let reasons = if frame.column("reason").is_ok() { Some(texts("reason")?) } else { None };
    let reason = |row: usize| reasons.as_ref().and_then(|reasons| reasons.get(row)).unwrap_or("listed").to_owned();
    Ok(ids.iter().enumerate().filter_map(|(row, id)| Some((id?.to_owned(), reason(row)))).collect())
}
