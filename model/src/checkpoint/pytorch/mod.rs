//! Checkpoints that PyTorch wrote, in the layouts that Audio-JEPA was published in.
//!
//! ```text
//! 2025 (`paper-2025`, `code-225b816`): {encoder,target_encoder,predictor}.*    attn.Wqkv, attn.out_proj; older attn.qkv, attn.proj
//! 2026 (`base-2026`):                  {student,teacher}.*, and one patch_embed.patch_embed.proj for both
//! ```
//! What `checkpoint export` wrote has tensors named as here, and a `config.json` that says all that a published file does not.
//!
//! A `.ckpt` is a zip archive with a pickle in it, and a pickle is a program. It is parsed and never run: what is not a tensor, a
//! container, a number or a string is left alone (`pickle.rs`). Readers of others were looked at: the one that came nearest, burn's
//! pytorch-reader 0.22, refuses files in whose hyper-parameters an object of an unknown class holds tensors, and unpacks what is
//! compressed.

mod archive;
mod error;
mod exported;
mod import;
mod layout;
mod pickle;
mod source;
#[cfg(test)]
mod tests;
mod value;

pub use error::ImportError;
pub use exported::{EXPORTED_TYPE, Exported};
pub use import::{ImportOptions, Imported, List};
pub use layout::Generation;
