//! `inspect`: what is in a folder of shards; pictures of its clips with their patches and masks.

use std::fmt::Write as _;
use std::path::Path;

use ajepa_ops::mask::{Mask, MaskConfig, Masker};
use ajepa_ops::patch::{PatchGrid, PatchifyConfig, TimeAxis};
use ajepa_ops::seed;
use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt32Type;

use super::{fail, print};
use crate::cli::args::{InspectArgs, PatchSize};
use crate::cli::exit::Exit;
use crate::cli::format::{bytes, counted};
use crate::cli::picture::{Canvas, FrequencyAxis, Layout, MelClip, PatchRole, PictureOptions, contact_sheet, draw};
use crate::columns::tensor_values;
use crate::config;
use crate::shard::{Manifest, RowRef, ShardSet, TensorInfo};

/// Prints what the manifest says; draws clips when asked to.
pub fn inspect(args: &InspectArgs) -> Exit {
    let set = match ShardSet::open(&args.path) {
        Ok(set) => set,
        Err(error) => return fail(error),
    };
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

fn tensor_words(tensor: &TensorInfo) -> String {
    let dims: Vec<String> = tensor.shape.iter().zip(&tensor.axes).map(|(n, axis)| format!("{n} {axis}")).collect();
    format!("{:?}[{}]", tensor.dtype, dims.join(" x ")).to_lowercase()
}

fn pictures(args: &InspectArgs, set: &ShardSet, folder: &Path) -> Result<usize, Trouble> {
    let is_picture = |tensor: &&TensorInfo| tensor.shape.len() == 2 && tensor.axes.iter().any(|axis| axis == "frames");
    let tensor = set.manifest().tensors.iter().find(is_picture).ok_or_else(|| {
        Trouble::Usage("there is no column with an axis `frames` to draw; --png wants log-mel shards".to_owned())
    })?;
    let style = Style::new(args, set, tensor)?;
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
        if args.clip_ids.iter().any(|id| text(&row, "clip_id") == *id) {
            found.push(at);
        }
    }
    if found.is_empty() {
        return Err(Trouble::Usage(format!("no row has the clip_id {}", args.clip_ids.join(" or "))));
    }
    Ok(found)
}

fn text(row: &RowRef, column: &str) -> String {
    let texts = row.batch.column_by_name(column).and_then(|column| column.as_string_opt::<i32>());
    texts.map_or_else(String::new, |texts| texts.value(row.index).to_owned())
}

/// How all pictures of one call are drawn.
struct Style {
    layout: Layout,
    shape: [usize; 2],
    hop_s: f64,
    frequency: FrequencyAxis,
    patch: Option<PatchSize>,
    /// The patches, when they are drawn or the shard holds masks over them.
    grid: Option<PatchGrid>,
    mask: Option<(Masker, PatchGrid)>,
    seed: u64,
}

impl Style {
    fn new(args: &InspectArgs, set: &ShardSet, tensor: &TensorInfo) -> Result<Self, Trouble> {
        let time_first = tensor.axes[0] == "frames";
        let shape = [tensor.shape[0], tensor.shape[1]];
        let time_axis = if time_first { TimeAxis::Rows } else { TimeAxis::Cols };
        let has_masks = set.manifest().columns.iter().any(|column| column.name == "context");
        let usual = PatchSize { frames: 16, mels: 16 };
        let patch = args.patch.or((args.mask.is_some() || has_masks).then_some(usual));
        let grid = patch.map(|patch| grid(patch, shape, time_axis)).transpose()?;
        let mask = match (&args.mask, grid) {
            (Some(fields), Some(grid)) => Some((masker(fields, grid, time_axis)?, grid)),
            _ => None,
        };
        Ok(Self {
            layout: if time_first { Layout::FramesMels } else { Layout::MelsFrames },
            shape,
            hop_s: find(&tensor.front_end, "frame_s").and_then(serde_json::Value::as_f64).unwrap_or(1.0),
            frequency: frequency(&tensor.front_end),
            patch,
            grid,
            mask,
            seed: args.seed,
        })
    }

    fn draw(&self, tensor: &TensorInfo, row: &RowRef) -> Result<(String, Canvas), Trouble> {
        let column = row.batch.column_by_name(&tensor.column).and_then(|column| column.as_fixed_size_list_opt());
        let values = column.and_then(|column| tensor_values(column.value(row.index).as_ref()));
        let values = values.ok_or_else(|| Trouble::Failed(format!("column {} holds no tensor", tensor.column)))?;
        let [n_frames, n_mels] =
            if self.layout == Layout::FramesMels { self.shape } else { [self.shape[1], self.shape[0]] };
        let n_valid = row.batch.column_by_name("n_frames").and_then(|column| column.as_primitive_opt::<UInt32Type>());
        let (clip_id, labels) = (text(row, "clip_id"), labels(row));
        let drawn = self.mask.clone().map(|(masker, grid)| roles(masker, grid, self.seed, &clip_id));
        let roles = drawn.or_else(|| self.grid.and_then(|grid| stored_roles(row, grid)));
        let clip = MelClip {
            values: &values,
            n_frames,
            n_mels,
            layout: self.layout,
            n_valid: n_valid.map_or(n_frames, |column| column.value(row.index) as usize),
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

fn labels(row: &RowRef) -> String {
    let lists = row.batch.column_by_name("labels").and_then(|column| column.as_list_opt::<i32>());
    let Some(list) = lists.filter(|lists| lists.is_valid(row.index)).map(|lists| lists.value(row.index)) else {
        return String::new();
    };
    let texts = list.as_string_opt::<i32>();
    texts.map_or_else(String::new, |texts| texts.iter().flatten().collect::<Vec<_>>().join(", "))
}

/// A field of the front end, however many stages have wrapped it.
fn find<'a>(front_end: &'a serde_json::Value, key: &str) -> Option<&'a serde_json::Value> {
    let map = front_end.as_object()?;
    map.get(key).or_else(|| map.values().find_map(|inner| find(inner, key)))
}

/// The edges of the filter bank from its centres, which are evenly spaced in mel.
fn frequency(front_end: &serde_json::Value) -> FrequencyAxis {
    let centres = find(front_end, "mel_centres_hz").and_then(serde_json::Value::as_array);
    let centres: Vec<f64> = centres.into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
    let [first, second, .., last] = centres[..] else { return FrequencyAxis::Bins };
    let mel = |hz: f64| 1127.0 * (hz / 700.0).ln_1p();
    let hz = |mel: f64| 700.0 * (mel / 1127.0).exp_m1();
    let step = mel(second) - mel(first);
    FrequencyAxis::Htk { min_hz: hz(mel(first) - step).max(0.0), max_hz: hz(mel(last) + step) }
}
