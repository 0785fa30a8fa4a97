//! From a file of PyTorch's to a checkpoint: which preset it is, whether all of it is there, and the writing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ajepa_store::Fs;
use serde_json::json;

use super::super::card::{Card, FORMAT};
use super::super::learner::{About, FILES};
use super::super::write::{FileSource, TensorSource, write};
use super::error::{ImportError, some};
use super::layout::{Generation, Role, clean};
use super::source::Source;
use super::value::Kind;
use crate::config::{Preset, Recipe};
use crate::jepa::{encoder_of, predictor_of};
use crate::params::Spec;
use crate::positions::{Positions, sin_cos, sin_cos_timm};

/// Width of a head in every published size.
const HEAD_WIDTH: usize = 64;

/// What is not to be read from the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// Which preset; by layout and positions when `None`.
    pub preset: Option<Preset>,
    /// Attention heads, which no tensor tells; by the file's hyper-parameters, or the width over 64, when `None`.
    pub n_heads: Option<usize>,
    /// Leave tensors out that nothing is known of, where they would be refused.
    pub skip_unexpected: bool,
}

/// A list of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// The encoder that was trained.
    Context,
    /// Its moving average.
    Target,
    /// The predictor.
    Predictor,
}

impl List {
    fn file(self) -> &'static str {
        FILES[self as usize].1
    }
}

/// Of each list its tensors, and what they are called in the file.
pub(super) type Lists = BTreeMap<List, Vec<(Spec, String)>>;

/// A file that was found to hold a published model, every name and shape compared; its numbers are read when it is saved.
pub struct Imported {
    path: PathBuf,
    source: Source,
    generation: Generation,
    preset: Preset,
    recipe: Recipe,
    steps: u64,
    lists: Lists,
    left_out: Vec<String>,
}

impl Imported {
    /// Opens `path`, says which preset it is, and compares all names and shapes with it.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] for a file that is damaged, hostile or none of PyTorch's; [`ImportError::Unknown`] for another
    /// model; [`ImportError::Mismatch`] with the names that are missing, unexpected or of another shape.
    pub fn open(path: &Path, options: ImportOptions) -> Result<Self, ImportError> {
        let source = Source::open(path)?;
        let sorted = Sorted::new(path, &source)?;
        let preset = sorted.preset(path, &source, options.preset)?;
        let recipe = sorted.recipe(path, &source, preset, options.n_heads)?;
        let (lists, left_out) = sorted.lists(path, &source, &recipe, options.skip_unexpected)?;
        source.check_size(lists.values().flatten().map(|(_, theirs)| theirs.as_str()))?;
        let steps = source.steps().unwrap_or_default();
        let generation = sorted.generation;
        Ok(Self { path: path.to_owned(), source, generation, preset, recipe, steps, lists, left_out })
    }

    /// Which of the published layouts.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Which preset.
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// The preset with the sizes of the file.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Steps that it was trained for, where the file says it.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Which lists of parameters it has.
    pub fn lists(&self) -> impl Iterator<Item = List> {
        self.lists.keys().copied()
    }

    /// Tensors of one of them.
    pub fn n_tensors(&self, list: List) -> usize {
        self.lists.get(&list).map_or(0, Vec::len)
    }

    /// What of the file was not taken, and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Writes the checkpoint `dir`: encoders, predictor where there is one, no optimiser. `false` when there is a folder of that name
    /// already, which stays.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] for numbers that cannot be read or are not finite; nothing is left then.
    pub fn save(&self, fs: &Arc<dyn Fs>, dir: &Path, about: About) -> Result<bool, ImportError> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let card = Card {
            format: FORMAT,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            steps: self.steps,
            seed: 0,
            recipe: self.recipe.clone(),
            front_end: about.front_end,
            data_hash: about.data_hash,
            place: about.place,
            notes: json!({ "imported": { "file": name, "preset": self.preset, "layout": self.generation.words() } }),
            files: Vec::new(),
        };
        save(&self.source, &self.lists, fs, dir, card)
    }
}

/// Writes a checkpoint of lists of tensors out of a file.
pub(super) fn save(
    source: &Source,
    lists: &Lists,
    fs: &Arc<dyn Fs>,
    dir: &Path,
    card: Card,
) -> Result<bool, ImportError> {
    let fault = RefCell::new(None);
    let read = &|theirs: &str| {
        source.numbers(theirs).unwrap_or_else(|error| {
            fault.borrow_mut().get_or_insert(error);
            // Of another length than its shape, which ends the writing.
            Vec::new()
        })
    };
    let files = lists.iter().map(|(list, tensors)| {
        let tensors = tensors.iter().map(|(spec, theirs)| TensorSource {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            numbers: Box::new(move || read(theirs)),
        });
        FileSource { name: list.file(), tensors: tensors.collect() }
    });
    let files: Vec<FileSource<'_>> = files.collect();
    let written = write(fs, dir, card, &files);
    drop(files);
    match fault.into_inner() {
        Some(fault) => Err(fault),
        None => Ok(written?),
    }
}

/// The names of a file, by what they are here.
struct Sorted {
    generation: Generation,
    parameters: BTreeMap<List, BTreeMap<String, String>>,
    positions: BTreeMap<List, String>,
    front_end: Vec<String>,
    other_predictor: Vec<String>,
    unexpected: Vec<String>,
}

impl Sorted {
    fn new(path: &Path, source: &Source) -> Result<Self, ImportError> {
        let names = clean(source.described().keys().map(String::as_str));
        let generation = Generation::of(names.iter().map(|(name, _)| name.as_str())).ok_or_else(|| {
            let all: Vec<String> = source.described().keys().cloned().collect();
            let problem = if all.is_empty() {
                "it holds no tensors".to_owned()
            } else {
                format!("no encoder of a published layout is among its tensors: {}", some(&all))
            };
            ImportError::unknown(path, problem)
        })?;
        let mut sorted = Self {
            generation,
            parameters: BTreeMap::new(),
            positions: BTreeMap::new(),
            front_end: Vec::new(),
            other_predictor: Vec::new(),
            unexpected: Vec::new(),
        };
        let mut shared = Vec::new();
        for (name, theirs) in names {
            let theirs = theirs.to_owned();
            let before = match generation.role(&name) {
                Role::Parameter(list, ours) => sorted.parameters.entry(list).or_default().insert(ours, theirs),
                Role::Positions(list) => sorted.positions.insert(list, theirs),
                Role::Shared(ours) => {
                    shared.push((ours, theirs));
                    None
                }
                Role::FrontEnd => push(&mut sorted.front_end, theirs),
                Role::OtherPredictor => push(&mut sorted.other_predictor, theirs),
                Role::Unexpected => push(&mut sorted.unexpected, theirs),
            };
            if let Some(before) = before {
                return Err(ImportError::unknown(path, format!("{before} is in it twice, with and without a prefix")));
            }
        }
        for (ours, theirs) in shared {
            for of_list in sorted.parameters.values_mut() {
                of_list.insert(ours.clone(), theirs.clone());
            }
        }
        Ok(sorted)
    }

    /// Encoders that are there, the trained one first.
    fn encoders(&self) -> impl Iterator<Item = List> {
        [List::Context, List::Target].into_iter().filter(|list| self.parameters.contains_key(list))
    }

    fn shape<'a>(&self, source: &'a Source, list: List, name: &str) -> Option<&'a [usize]> {
        let theirs = self.parameters.get(&list)?.get(name)?;
        Some(&source.described().get(theirs)?.shape)
    }

    fn preset(&self, path: &Path, source: &Source, asked: Option<Preset>) -> Result<Preset, ImportError> {
        let tokens = self.positions.values().next().and_then(|name| source.described()[name].shape.get(1)).copied();
        let of_layout: &[Preset] = match self.generation {
            Generation::Of2025 => &[Preset::Code225b816, Preset::Paper2025],
            Generation::Of2026 => &[Preset::Base2026],
        };
        let n_tokens = |preset: Preset| preset.recipe().patchify().map_or(0, |patchify| patchify.n_tokens());
        match (asked, tokens) {
            (Some(asked), _) => Ok(asked),
            (None, Some(tokens)) => {
                of_layout.iter().copied().find(|&preset| n_tokens(preset) == tokens).ok_or_else(|| {
                    let known: Vec<String> = of_layout.iter().map(|&preset| n_tokens(preset).to_string()).collect();
                    let layout = self.generation.words();
                    let problem = format!(
                        "its pictures have {tokens} patches, those of the layout {layout} {}",
                        known.join(" or ")
                    );
                    ImportError::unknown(path, problem)
                })
            }
            (None, None) => {
                let problem = "it has no table of positions (pos_embed), which tells its preset; name the preset";
                Err(ImportError::unknown(path, problem))
            }
        }
    }

    fn recipe(
        &self,
        path: &Path,
        source: &Source,
        preset: Preset,
        n_heads: Option<usize>,
    ) -> Result<Recipe, ImportError> {
        let unknown = |problem: String| ImportError::unknown(path, problem);
        let mut recipe = preset.recipe();
        let list = self.encoders().next().ok_or_else(|| unknown("there is no encoder in it".to_owned()))?;
        let patch_shape = recipe.patchify()?.patch_shape();
        let width = match self.shape(source, list, "patch_embed.proj.weight") {
            Some(&[width, 1, rows, cols]) if [rows, cols] == patch_shape => width,
            Some(other) => {
                let problem = format!(
                    "its patches are embedded by {other:?}; those of the preset are [width, 1, {}, {}]",
                    patch_shape[0], patch_shape[1]
                );
                return Err(unknown(problem));
            }
            None => return Err(unknown("its encoder embeds no patches (patch_embed.proj.weight)".to_owned())),
        };
        let hidden = self.shape(source, list, "blocks.0.mlp.fc1.weight").and_then(|shape| shape.first()).copied();
        recipe.encoder.width = width;
        recipe.encoder.depth = self.depth(list, "blocks.");
        recipe.encoder.mlp_ratio = hidden.unwrap_or(4 * width) / width.max(1);
        let said = n_heads.or_else(|| source.n_heads());
        recipe.encoder.n_heads = match said {
            Some(n_heads) => n_heads,
            None if width.is_multiple_of(HEAD_WIDTH) => width / HEAD_WIDTH,
            None => {
                return Err(unknown(format!(
                    "it does not say how many heads share its {width} numbers; name their number"
                )));
            }
        };
        recipe.positions = self.positions_kind(path, source, &recipe)?;
        if let Some(&[width, _]) = self.shape(source, List::Predictor, "predictor_embed.weight") {
            if width != recipe.predictor.width {
                recipe.predictor.n_heads = recipe.encoder.n_heads;
            }
            recipe.predictor.width = width;
            recipe.predictor.depth = self.depth(List::Predictor, "predictor_blocks.");
            let hidden = self.shape(source, List::Predictor, "predictor_blocks.0.mlp.fc1.weight");
            recipe.predictor.mlp_ratio = hidden.and_then(|shape| shape.first()).unwrap_or(&(4 * width)) / width.max(1);
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// Blocks that are named; their number is bounded by the tensors there are.
    fn depth(&self, list: List, prefix: &str) -> usize {
        let names = self.parameters.get(&list).into_iter().flat_map(BTreeMap::keys);
        let numbers = names.filter_map(|name| name.strip_prefix(prefix)?.split('.').next());
        numbers.collect::<BTreeSet<_>>().len()
    }

    /// Which order of positions the encoders were trained with, by the tables in the file.
    fn positions_kind(&self, path: &Path, source: &Source, recipe: &Recipe) -> Result<Positions, ImportError> {
        let grid = recipe.patchify()?.grid();
        let mut found = None;
        for (list, theirs) in self.positions.iter().filter(|(list, _)| **list != List::Predictor) {
            let described = &source.described()[theirs];
            let width = recipe.encoder.width;
            if described.shape != [1, grid.n_tokens(), width] {
                let problem = format!("{theirs} is {:?}, wanted {:?}", described.shape, [1, grid.n_tokens(), width]);
                return Err(ImportError::unknown(path, problem));
            }
            let numbers = source.numbers(theirs)?;
            let least = if matches!(described.kind, Kind::F32 | Kind::F64) { 1e-4 } else { 1e-2 };
            let is = |table: Vec<f32>| table.iter().zip(&numbers).all(|(a, b)| (a - b).abs() <= least);
            let kind = if is(sin_cos(grid, width)) {
                Positions::SinCos
            } else if is(sin_cos_timm(grid, width)) {
                Positions::SinCosTimm
            } else {
                let problem = format!(
                    "{theirs} is no table of fixed positions of {} x {} patches: learnt ones are not supported",
                    grid.rows, grid.cols
                );
                return Err(ImportError::unknown(path, problem));
            };
            if *found.get_or_insert(kind) != kind {
                return Err(ImportError::unknown(
                    path,
                    format!("{theirs} ({list:?}) has other positions than the other encoder"),
                ));
            }
        }
        Ok(found.unwrap_or(match self.generation {
            Generation::Of2025 => Positions::SinCos,
            Generation::Of2026 => Positions::SinCosTimm,
        }))
    }

    /// Every tensor of every list by its name in the file, and what is left out.
    fn lists(
        &self,
        path: &Path,
        source: &Source,
        recipe: &Recipe,
        skip_unexpected: bool,
    ) -> Result<(Lists, Vec<String>), ImportError> {
        let mut fit = Fit { unexpected: self.unexpected.clone(), ..Fit::default() };
        let mut lists = Lists::new();
        for (&list, of_list) in &self.parameters {
            lists.insert(list, fit.take(list, of_list, source, recipe)?);
        }
        let mut left_out = Vec::new();
        if skip_unexpected && !fit.unexpected.is_empty() {
            left_out.push(format!("unexpected: {}", some(&fit.unexpected)));
            fit.unexpected.clear();
        }
        fit.into_result(path)?;
        if !self.front_end.is_empty() {
            left_out.push(format!("computed here: {}", some(&self.front_end)));
        }
        if !self.other_predictor.is_empty() {
            let n = self.other_predictor.len();
            left_out.push(format!(
                "its predictor ({n} tensors), which gives context tokens no positions; training begins a new one"
            ));
        }
        Ok((lists, left_out))
    }
}

/// Where the tensors of a file do not fit.
#[derive(Default)]
pub(super) struct Fit {
    missing: Vec<String>,
    unexpected: Vec<String>,
    misshapen: Vec<String>,
}

impl Fit {
    /// The tensors of a list, each with what it is called in the file; `of_list` has the names there by those here.
    pub(super) fn take(
        &mut self,
        list: List,
        of_list: &BTreeMap<String, String>,
        source: &Source,
        recipe: &Recipe,
    ) -> Result<Vec<(Spec, String)>, ImportError> {
        let layout = match list {
            List::Predictor => predictor_of(recipe).1,
            List::Context | List::Target => encoder_of(recipe, recipe.patchify()?.patch_shape()).1,
        };
        let mut rest = of_list.clone();
        let mut taken = Vec::new();
        for spec in layout.specs() {
            let Some(theirs) = rest.remove(&spec.name) else {
                self.missing.push(format!("{} of the {}", spec.name, list.words()));
                continue;
            };
            let described = &source.described()[&theirs];
            if described.shape != spec.shape || matches!(described.kind, Kind::I64 | Kind::Other) {
                let kind = if matches!(described.kind, Kind::I64 | Kind::Other) { " of integers" } else { "" };
                self.misshapen.push(format!("{theirs} is {:?}{kind}, wanted {:?}", described.shape, spec.shape));
            }
            taken.push((spec.clone(), theirs));
        }
        self.unexpected.extend(rest.into_values());
        Ok(taken)
    }

    pub(super) fn into_result(self, path: &Path) -> Result<(), ImportError> {
        let Self { missing, mut unexpected, misshapen } = self;
        if missing.is_empty() && unexpected.is_empty() && misshapen.is_empty() {
            return Ok(());
        }
        unexpected.sort_unstable();
        Err(ImportError::Mismatch { path: path.to_owned(), missing, unexpected, misshapen })
    }
}

impl List {
    /// How people call it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Context => "context encoder",
            Self::Target => "target encoder",
            Self::Predictor => "predictor",
        }
    }
}

fn push(list: &mut Vec<String>, name: String) -> Option<String> {
    list.push(name);
    None
}
