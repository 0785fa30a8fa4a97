//! Names in the published files, and what each of them is here.

use super::import::List;

/// Which code wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The code behind the paper: `encoder`, `target_encoder`, `predictor`.
    Of2025,
    /// The re-implementation behind `Audio-JEPA-base`: `student`, `teacher`, and one embedding of patches for both.
    Of2026,
}

/// What a tensor is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// A parameter of a list, by its name here.
    Parameter(List, String),
    /// A parameter of both encoders.
    Shared(String),
    /// The table of positions of a list: computed here, and compared.
    Positions(List),
    /// Filters and windows of the front end: computed here.
    FrontEnd,
    /// A predictor that works in another way than ours: its context tokens have no positions.
    OtherPredictor,
    /// Nothing that is known.
    Unexpected,
}

/// Embedding of patches in files of 2026.
const SHARED: &str = "patch_embed.patch_embed.";

impl Generation {
    /// By the names in a file, [`clean`]ed.
    pub(super) fn of<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<Self> {
        names.find_map(|name| match name {
            _ if name.starts_with(SHARED) => Some(Self::Of2026),
            _ if name.ends_with("encoder.patch_embed.proj.weight") => Some(Self::Of2025),
            _ => None,
        })
    }

    /// What the tensor of this name is.
    pub(super) fn role(self, name: &str) -> Role {
        match self {
            Self::Of2025 => role_2025(name),
            Self::Of2026 => role_2026(name),
        }
    }

    /// How people call it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Of2025 => "of 2025 (encoder, target_encoder)",
            Self::Of2026 => "of 2026 (student, teacher)",
        }
    }
}

fn role_2025(name: &str) -> Role {
    let lists = [("encoder.", List::Context), ("target_encoder.", List::Target), ("predictor.", List::Predictor)];
    let found = lists.into_iter().find_map(|(prefix, list)| Some((list, name.strip_prefix(prefix)?)));
    match found {
        Some((list, "pos_embed" | "predictor_pos_embed")) => Role::Positions(list),
        Some((list, rest)) => Role::Parameter(list, renamed(rest)),
        None => Role::Unexpected,
    }
}

fn role_2026(name: &str) -> Role {
    if let Some(rest) = name.strip_prefix(SHARED) {
        return Role::Shared(format!("patch_embed.{rest}"));
    }
    if name.starts_with("spectrogram.") {
        return Role::FrontEnd;
    }
    if name == "mask_token" || name.starts_with("predictor") {
        return Role::OtherPredictor;
    }
    let lists = [("student.", List::Context), ("encoder.", List::Context), ("teacher.", List::Target)];
    let found = lists.into_iter().find_map(|(prefix, list)| Some((list, name.strip_prefix(prefix)?)));
    // An encoder by itself has no name before it.
    match found.unwrap_or((List::Context, name)) {
        (list, "pos_embed") => Role::Positions(list),
        (list, rest) if rest.starts_with("blocks.") || rest.starts_with("norm.") => {
            Role::Parameter(list, renamed(rest))
        }
        _ => Role::Unexpected,
    }
}

/// Attention is called otherwise in the older code and in `timm`; queries, keys and values lie in the same order in all of them.
fn renamed(name: &str) -> String {
    name.replace(".attn.qkv.", ".attn.Wqkv.").replace(".attn.proj.", ".attn.out_proj.")
}

/// Names without what `torch.compile` and wrappers of modules put before them; an encoder by itself is called `encoder`.
pub(super) fn clean<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(String, &'a str)> {
    let mut cleaned: Vec<(String, &str)> = names.map(|name| (name.replace("_orig_mod.", ""), name)).collect();
    for wrapper in ["module.", "model."] {
        if cleaned.iter().all(|(name, _)| name.starts_with(wrapper)) {
            for (name, _) in &mut cleaned {
                name.drain(..wrapper.len());
            }
        }
    }
    if cleaned.iter().any(|(name, _)| name == "patch_embed.proj.weight") {
        for (name, _) in &mut cleaned {
            name.insert_str(0, "encoder.");
        }
    }
    cleaned
}
