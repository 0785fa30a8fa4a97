//! `checkpoint import`: a published file of PyTorch's becomes a checkpoint.

use std::fmt::Write as _;
use std::num::NonZero;
use std::sync::Arc;

use ajepa_model::Preset;
use ajepa_model::checkpoint::About;
use ajepa_model::checkpoint::pytorch::{ImportError, ImportOptions, Imported, List};
use ajepa_store::{Fs, RealFs};

use super::show::preset_name;
use crate::cli::args::{ImportArgs, PublishedPreset};
use crate::cli::exit::Exit;
use crate::cli::format::{count, counted};
use crate::cli::verb::{fail, print};
use crate::embed::{encoder_words, published_front_end};
use crate::stages::Registry;

/// Writes the folder, whole or not at all.
pub fn import(args: &ImportArgs, registry: &Registry) -> Exit {
    let options = ImportOptions {
        preset: args.preset.map(Preset::from),
        n_heads: args.heads.map(NonZero::get),
        skip_unexpected: args.skip_unexpected,
    };
    let imported = match Imported::open(&args.path, options) {
        Ok(imported) => imported,
        Err(error) => return refused(&error),
    };
    let front_end = match published_front_end(imported.preset(), registry) {
        Ok(front_end) => front_end,
        Err(errors) => return fail(errors),
    };
    let about = About { front_end: serde_json::to_value(front_end).unwrap_or_default(), ..About::default() };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    match imported.save(&fs, &args.out, about) {
        Ok(true) => print(&text(args, &imported)),
        Ok(false) => {
            eprintln!("error: {} is there already: it stays as it is; name another folder", args.out.display());
            Exit::Usage
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &ImportError) -> Exit {
    let exit = fail(error);
    let help = match error {
        ImportError::Unreadable { .. } => "a file that is cut short or edited cannot be mended; download it again",
        ImportError::Unknown { .. } => {
            "known are the layouts of 2025 (encoder, target_encoder) and 2026 (student, teacher); --preset and --heads say \
             what no tensor tells"
        }
        ImportError::Mismatch { missing, misshapen, .. } if missing.is_empty() && misshapen.is_empty() => {
            "--skip-unexpected leaves them out"
        }
        ImportError::Mismatch { .. } => "it is another model, or a part of one",
        ImportError::Model(_) | ImportError::Checkpoint(_) => return exit,
    };
    eprintln!("  help: {help}");
    exit
}

fn text(args: &ImportArgs, imported: &Imported) -> String {
    let mut out = String::new();
    let name = preset_name(imported.preset());
    let _ = writeln!(out, "{}: {name}, in the layout {}", args.path.display(), imported.generation().words());
    let _ = writeln!(out, "  {}", encoder_words(&imported.recipe().encoder));
    if imported.steps() > 0 {
        let _ = writeln!(out, "  {} steps", count(imported.steps()));
    }
    for list in imported.lists() {
        let _ = writeln!(out, "  {}: {}", list.words(), counted(imported.n_tensors(list) as u64, "tensor"));
    }
    for absent in [List::Context, List::Target].into_iter().filter(|list| imported.lists().all(|there| there != *list))
    {
        let _ = writeln!(out, "  {}: none", absent.words());
    }
    for left_out in imported.left_out() {
        let _ = writeln!(out, "  left out, {left_out}");
    }
    let _ = writeln!(out, "{}: written", args.out.display());
    out
}

impl From<PublishedPreset> for Preset {
    fn from(preset: PublishedPreset) -> Self {
        match preset {
            PublishedPreset::Paper2025 => Self::Paper2025,
            PublishedPreset::Code225b816 => Self::Code225b816,
            PublishedPreset::Base2026 => Self::Base2026,
        }
    }
}
