//! `checkpoint import`: a published file of PyTorch's, or what `checkpoint export` wrote, becomes a checkpoint.

use std::fmt::Write as _;
use std::num::NonZero;
use std::sync::Arc;

use ajepa_model::checkpoint::About;
use ajepa_model::checkpoint::pytorch::{Exported, ImportError, ImportOptions, Imported, List};
use ajepa_model::{EncoderChoice, Preset};
use ajepa_store::{Fs, RealFs};
use serde_json::Value;

use super::show::preset_name;
use crate::cli::args::{ImportArgs, PublishedPreset};
use crate::cli::exit::Exit;
use crate::cli::format::{count, counted};
use crate::cli::verb::{fail, print};
use crate::embed::{encoder_words, published_front_end};
use crate::stages::Registry;

/// Writes the folder, whole or not at all.
pub fn import(args: &ImportArgs, registry: &Registry) -> Exit {
    match Exported::find(&args.path) {
        Ok(Some(exported)) => of_export(args, &exported),
        Ok(None) => of_published(args, registry),
        Err(ImportError::Unknown { path, problem }) => {
            let exit = fail(format!("{}: {problem}", path.display()));
            eprintln!(
                "  help: another version of this program wrote it, or somebody since: export the checkpoint again"
            );
            exit
        }
        Err(error) => refused(args, &error),
    }
}

fn of_export(args: &ImportArgs, exported: &Exported) -> Exit {
    if args.preset.is_some() || args.heads.is_some() || args.skip_unexpected {
        eprintln!("error: {}: its config.json says what it is", args.path.display());
        eprintln!("  help: leave out --preset, --heads and --skip-unexpected");
        return Exit::Usage;
    }
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let saved = exported.save(&fs, &args.out, front_end(exported.config()));
    ended(args, saved, || export_text(args, exported))
}

/// The front end of an export with the sources again that its first stages are fed by; where their clips lay is not known.
fn front_end(config: &Value) -> Value {
    let mut front_end = config["front_end"].clone();
    let sources = config["sources"].as_array().cloned().unwrap_or_default();
    if let Some(stages) = front_end.get_mut("stages").and_then(Value::as_array_mut) {
        stages.splice(0..0, sources);
    }
    front_end
}

fn of_published(args: &ImportArgs, registry: &Registry) -> Exit {
    let options = ImportOptions {
        preset: args.preset.map(Preset::from),
        n_heads: args.heads.map(NonZero::get),
        skip_unexpected: args.skip_unexpected,
    };
    let imported = match Imported::open(&args.path, options) {
        Ok(imported) => imported,
        Err(error) => return refused(args, &error),
    };
    let front_end = match published_front_end(imported.preset(), registry) {
        Ok(front_end) => front_end,
        Err(errors) => return fail(errors),
    };
    let about = About { front_end: serde_json::to_value(front_end).unwrap_or_default(), ..About::default() };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let saved = imported.save(&fs, &args.out, about);
    ended(args, saved, || text(args, &imported))
}

/// How the writing ended; `text` is what is said when it went well.
fn ended(args: &ImportArgs, saved: Result<bool, ImportError>, text: impl Fn() -> String) -> Exit {
    match saved {
        Ok(true) => print(&text()),
        Ok(false) => {
            eprintln!("error: {} is there already: it stays as it is; name another folder", args.out.display());
            Exit::Usage
        }
        Err(error) => refused(args, &error),
    }
}

fn refused(args: &ImportArgs, error: &ImportError) -> Exit {
    let exit = fail(error);
    let help = match error {
        ImportError::Unreadable { .. } if args.path.is_dir() => {
            "name a file of PyTorch's, or a folder that `checkpoint export` wrote: model.safetensors with config.json"
        }
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

fn export_text(args: &ImportArgs, exported: &Exported) -> String {
    let list = if exported.encoder() == EncoderChoice::Target { List::Target } else { List::Context };
    format!(
        "{}: an encoder that `checkpoint export` wrote\n  {}\n  {} steps\n  {}: {}\n{}: written\n",
        args.path.display(),
        encoder_words(&exported.recipe().encoder),
        count(exported.steps()),
        list.words(),
        counted(exported.n_tensors() as u64, "tensor"),
        args.out.display()
    )
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
