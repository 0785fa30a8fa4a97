//! `inspect`: what is in a folder of shards; pictures of its clips with their patches and masks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ajepa_ops::mask::{Mask, MaskConfig, Masker};
use ajepa_ops::patch::{PatchGrid, Patchify, PatchifyConfig, TimeAxis};
use ajepa_ops::seed;
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;

use super::{checkpoint, embeddings, fail, print};
use crate::cli::args::{InspectArgs, PatchSize};
use crate::cli::exit::Exit;
use crate::cli::format::{bytes, counted};
use crate::cli::picture::{Canvas, FrequencyAxis, Layout, MelClip, PatchRole, PictureOptions, contact_sheet, draw};
use crate::config;
use crate::front_end::frame_s;
use crate::shard::{Manifest, RowRef, ShardError, ShardSet, TensorInfo};

/// Prints what the manifest says; draws clips when asked to.
pub fn inspect(args: &InspectArgs) -> Exit {
    if let Some(exit) = checkpoint::inspect(&args.path).or_else(|| embeddings::inspect(&args.path)) {
        return exit;
    }
    if args.path.is_file() {
        let is_graph = args.path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let cure = if is_graph { "`explain` shows a graph" } else { "name the folder it is in" };
        return Trouble::Usage(format!("{} is a file; inspect shows a folder of shards: {cure}", args.path.display()))
            .tell();
    }
    let set = match ShardSet::open(&args.path) {
        Ok(set) => set,
        Err(error) => return fail(error),
    };
    if args.unused {
        return match unused(&args.path, set.manifest()) {
            Ok(parts) => print(&parts.iter().fold(String::new(), |out, part| out + &part.display().to_string() + "\n")),
            Err(error) => fail(error),
        };
    }
    let exit = print(&summary(&args.path, set.manifest()));
    match &args.png {
        Some(folder) => match pictures(args, &set, folder) {
            Ok(n) => {
                eprintln!("{} in {}", counted(n as u64, "picture"), folder.display());
                exit
            }
            Err(why) => why.tell(),
        },
        None => exit,
    }
}

/// Stands in where the real grid is not known: large enough for any mask that is possible at all.
const SOME_GRID: PatchGrid = PatchGrid { rows: 32, cols: 32 };

/// What went wrong while drawing.
enum Trouble {
    Usage(String),
    Failed(String),
}

impl Trouble {
    fn tell(self) -> Exit {
        match self {
            Self::Usage(why) => {
                eprintln!("error: {why}");
                Exit::Usage
            }
            Self::Failed(why) => fail(why),
        }
    }

    fn of(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

fn summary(path: &Path, manifest: &Manifest) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}: {} in {}, {}",
        path.display(),
        counted(manifest.rows, "row"),
        counted(manifest.parts.len() as u64, "shard"),
        bytes(manifest.bytes)
    );
    let _ = writeln!(
        out,
        "pipeline {}, generation {}, graph {}",
        manifest.pipeline, manifest.generation, manifest.fingerprint
    );
    let _ = writeln!(
        out,
        "{} from the sources, {} left out by filters, {} refused",
        counted(manifest.clips, "clip"),
        manifest.filtered,
        manifest.rejects
    );
    out.push_str(&beside(path, manifest));
    let _ = writeln!(out, "\ncolumns");
    for column in &manifest.columns {
        let tensor = manifest.tensors.iter().find(|tensor| tensor.column == column.name);
        let _ = writeln!(out, "  {:<14} {}", column.name, tensor.map_or_else(|| column.arrow.clone(), tensor_words));
    }
    for tensor in manifest.tensors.iter().filter(|tensor| !tensor.mean.is_empty()) {
        let range = |values: &[f64]| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            format!("{low:.2} to {high:.2}")
        };
        let std: Vec<f64> = tensor.variance.iter().map(|v| v.sqrt()).collect();
        let _ = writeln!(
            out,
            "\n{}: mean by bin {}, deviation {}, over {} frames",
            tensor.column,
            range(&tensor.mean),
            range(&std),
            tensor.n_frames
        );
    }
    out
}

/// Parts of generations before that of `manifest`, which names none of them.
fn unused(path: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>, ShardError> {
    let parts = manifest.parts_beside(path)?.into_iter().filter(|part| part.generation < manifest.generation);
    Ok(parts.map(|part| path.join(part.file)).collect())
}

/// A line on parts of other generations in the folder; nothing where there are none.
fn beside(path: &Path, manifest: &Manifest) -> String {
    let parts = manifest.parts_beside(path).unwrap_or_default();
    let generations: std::collections::BTreeSet<u32> = parts.iter().map(|part| part.generation).collect();
    if parts.is_empty() {
        return String::new();
    }
    let mut line = format!(
        "{} beside it in {} that manifest.json does not name, {}",
        counted(generations.len() as u64, "other generation"),
        counted(parts.len() as u64, "part"),
        bytes(parts.iter().map(|part| part.bytes).sum())
    );
    if parts.iter().any(|part| part.generation < manifest.generation) {
        let _ = write!(line, ";\n  `ajepa-pipe inspect {} --unused` lists what may be deleted", path.display());
    }
    line + "\n"
}

fn tensor_words(tensor: &TensorInfo) -> String {
    let dims: Vec<String> = tensor.shape.iter().zip(&tensor.axes).map(|(n, axis)| format!("{n} {axis}")).collect();
    format!("{:?}[{}]", tensor.dtype, dims.join(" x ")).to_lowercase()
}

fn pictures(args: &InspectArgs, set: &ShardSet, folder: &Path) -> Result<usize, Trouble> {
    let tensors = &set.manifest().tensors;
    let whole = tensors.iter().find_map(|tensor| Some((tensor, Drawn::whole(tensor)?)));
    let found = whole.or_else(|| tensors.iter().find_map(|tensor| Some((tensor, Drawn::of_patches(tensor)?))));
    let (tensor, drawn_from) = found.ok_or_else(|| {
        let problem =
            "there is no column with an axis `frames`, and none of its patches, to draw; --png wants log-mel shards";
        Trouble::Usage(problem.to_owned())
    })?;
    let style = Style::new(args, set, tensor, drawn_from)?;
    if folder.exists() && !folder.is_dir() {
        return Err(Trouble::Usage(format!("--png wants a folder to draw into, and {} is a file", folder.display())));
    }
    std::fs::create_dir_all(folder).map_err(|error| Trouble::Failed(format!("{}: {error}", folder.display())))?;
    let mut drawn = Vec::new();
    for row in wanted_rows(args, set)? {
        let row = set.row(row).map_err(Trouble::of)?;
        let (name, canvas) = style.draw(tensor, &row)?;
        let file = folder.join(format!("{:03}_{}.png", drawn.len(), file_name(&name)));
        write_png(&file, &canvas)?;
        drawn.push(canvas);
    }
    if drawn.len() > 1 {
        let sheet = contact_sheet(&drawn, 2).map_err(Trouble::of)?;
        write_png(&folder.join("sheet.png"), &sheet)?;
    }
    Ok(drawn.len())
}

fn write_png(file: &Path, canvas: &Canvas) -> Result<(), Trouble> {
    let png = canvas.to_png().map_err(Trouble::of)?;
    std::fs::write(file, png).map_err(|error| Trouble::Failed(format!("{}: {error}", file.display())))
}

/// A clip id as a file name: nothing that a file system could mistake.
fn file_name(clip_id: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    clip_id.chars().take(80).map(safe).collect()
}

fn wanted_rows(args: &InspectArgs, set: &ShardSet) -> Result<Vec<u64>, Trouble> {
    if args.clip_ids.is_empty() {
        return Ok((0..set.n_rows().min(args.clips.get() as u64)).collect());
    }
    let mut found = Vec::new();
    for at in 0..set.n_rows() {
        let row = set.row(at).map_err(Trouble::of)?;
        if args.clip_ids.iter().any(|id| row.text("clip_id").is_some_and(|known| known == id)) {
            found.push(at);
        }
    }
    if found.is_empty() {
        return Err(Trouble::Usage(format!("no row has the clip_id {}", args.clip_ids.join(" or "))));
    }
    Ok(found)
}

/// The picture that a tensor column holds, whole or in patches.
struct Drawn {
    shape: [usize; 2],
    time_axis: TimeAxis,
    /// What puts it together again, where it is in patches.
    patches: Option<Patchify>,
}

impl Drawn {
    fn whole(tensor: &TensorInfo) -> Option<Self> {
        let [rows, cols] = tensor.shape[..] else { return None };
        Some(Self { shape: [rows, cols], time_axis: time_axis(&tensor.axes)?, patches: None })
    }

    /// As `patchify` has said it of its tokens.
    fn of_patches(tensor: &TensorInfo) -> Option<Self> {
        let said = |key: &str| tensor.front_end.get(key).cloned().unwrap_or_default();
        let shape: [usize; 2] = serde_json::from_value(said("picture_shape")).ok()?;
        let axes: Vec<String> = serde_json::from_value(said("picture_axes")).ok()?;
        let config: PatchifyConfig = serde_json::from_value(said("patchify")).ok()?;
        let time_axis = time_axis(&axes)?;
        let patches = config.build(shape, time_axis).ok()?;
        let fits = tensor.shape == [patches.n_tokens(), patches.token_len()];
        fits.then_some(Self { shape, time_axis, patches: Some(patches) })
    }

    fn put_together(&self, values: Vec<f32>) -> Result<Vec<f32>, Trouble> {
        let Some(patches) = &self.patches else { return Ok(values) };
        let mut picture = vec![0.0; self.shape.iter().product()];
        patches.unpatchify(&values, &mut picture).map_err(Trouble::of)?;
        Ok(picture)
    }

    /// The patches it is stored in.
    fn patch_size(&self) -> Option<PatchSize> {
        let [frames, mels] = self.time_axis.time_mel(self.patches.as_ref()?.patch_shape());
        Some(PatchSize { frames, mels })
    }
}

fn time_axis(axes: &[String]) -> Option<TimeAxis> {
    match axes.iter().position(|axis| axis == "frames")? {
        0 => Some(TimeAxis::Rows),
        _ => Some(TimeAxis::Cols),
    }
}

/// How all pictures of one call are drawn.
struct Style {
    picture: Drawn,
    layout: Layout,
    hop_s: f64,
    frequency: FrequencyAxis,
    patch: Option<PatchSize>,
    /// The patches, when they are drawn or the shard holds masks over them.
    grid: Option<PatchGrid>,
    mask: Option<(Masker, PatchGrid)>,
    seed: u64,
}

impl Style {
    fn new(args: &InspectArgs, set: &ShardSet, tensor: &TensorInfo, picture: Drawn) -> Result<Self, Trouble> {
        let (shape, time_axis) = (picture.shape, picture.time_axis);
        let has_masks = set.manifest().columns.iter().any(|column| column.name == "context");
        let usual = picture.patch_size().unwrap_or(PatchSize { frames: 16, mels: 16 });
        let patch = args.patch.or((args.mask.is_some() || has_masks).then_some(usual));
        let grid = patch.map(|patch| grid(patch, shape, time_axis)).transpose().map_err(|trouble| {
            // A mask that no grid could have is the nearer fault.
            let of_mask = args.mask.as_ref().and_then(|fields| masker(fields, SOME_GRID, time_axis).err());
            of_mask.unwrap_or(trouble)
        })?;
        let mask = match (&args.mask, grid) {
            (Some(fields), Some(grid)) => Some((masker(fields, grid, time_axis)?, grid)),
            _ => None,
        };
        Ok(Self {
            layout: if time_axis == TimeAxis::Rows { Layout::FramesMels } else { Layout::MelsFrames },
            picture,
            hop_s: frame_s(&tensor.front_end).unwrap_or(1.0),
            frequency: FrequencyAxis::of_front_end(&tensor.front_end),
            patch,
            grid,
            mask,
            seed: args.seed,
        })
    }

    fn draw(&self, tensor: &TensorInfo, row: &RowRef) -> Result<(String, Canvas), Trouble> {
        let values = row.tensor(&tensor.column);
        let values = values.ok_or_else(|| Trouble::Failed(format!("column {} holds no tensor", tensor.column)))?;
        let values = self.picture.put_together(values)?;
        let [n_frames, n_mels] = self.picture.time_axis.time_mel(self.picture.shape);
        let (clip_id, labels) = (row.text("clip_id").unwrap_or_default().to_owned(), row.labels().join(", "));
        let drawn = self.mask.clone().map(|(masker, grid)| roles(masker, grid, self.seed, &clip_id));
        let roles = drawn.or_else(|| self.grid.and_then(|grid| stored_roles(row, grid)));
        let clip = MelClip {
            values: &values,
            n_frames,
            n_mels,
            layout: self.layout,
            n_valid: row.u32("n_frames").map_or(n_frames, |n| n as usize),
            hop_s: self.hop_s,
            frequency: self.frequency,
            title: &clip_id,
            note: &labels,
        };
        let options = PictureOptions { scale: 0, range: None, patch: self.patch, roles: roles.as_deref() };
        let canvas = draw(&clip, &options).map_err(|error| Trouble::Usage(error.to_string()))?;
        Ok((clip_id, canvas))
    }
}

fn bad(error: &ajepa_ops::ConfigError) -> Trouble {
    Trouble::Usage(format!("{error}; {}", error.help))
}

fn grid(patch: PatchSize, shape: [usize; 2], time_axis: TimeAxis) -> Result<PatchGrid, Trouble> {
    let patchify = PatchifyConfig { patch_frames: patch.frames, patch_mels: patch.mels };
    Ok(patchify.build(shape, time_axis).map_err(|error| bad(&error))?.grid())
}

fn masker(fields: &str, grid: PatchGrid, time_axis: TimeAxis) -> Result<Masker, Trouble> {
    let config: MaskConfig =
        config::parse_text("--mask", fields).map_err(|errors| Trouble::Usage(errors.to_string()))?;
    config.build(grid, time_axis).map_err(|error| bad(&error))
}

/// The mask that the graph drew for this row, when its tokens are those of `grid`.
fn stored_roles(row: &RowRef, grid: PatchGrid) -> Option<Vec<PatchRole>> {
    let mut roles = vec![PatchRole::Unused; grid.n_tokens()];
    for (column, role) in [("context", PatchRole::Context), ("target", PatchRole::Target)] {
        let tokens = row.batch.column_by_name(column)?.as_list_opt::<i32>()?.value(row.index);
        for &token in tokens.as_primitive_opt::<UInt32Type>()?.values() {
            *roles.get_mut(token as usize)? = role;
        }
    }
    Some(roles)
}

fn roles(mut masker: Masker, grid: PatchGrid, run_seed: u64, clip_id: &str) -> Vec<PatchRole> {
    let clip_seed = seed::derive(&[run_seed, seed::hash_str(clip_id)]);
    let mut roles = vec![PatchRole::Unused; grid.n_tokens()];
    if let Some(Mask { context, target, .. }) = masker.draw(run_seed, clip_seed).first() {
        for (tokens, role) in [(context, PatchRole::Context), (target, PatchRole::Target)] {
            for &token in tokens {
                roles[token as usize] = role;
            }
        }
    }
    roles
}
