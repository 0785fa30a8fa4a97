//! Embeddings of new audio: the front end of a checkpoint replayed over it, its encoder, and what tokens become.

mod pooling;
mod published;
mod replay;

use ajepa_model::checkpoint::Card;
use ajepa_model::{EncoderChoice, EncoderConfig};

pub use pooling::{Pooling, mean};
pub use published::published_front_end;
pub use replay::{EmbedGraph, ReplayError, Rows, embed_graph, picture_stages};

/// Names the numbers of a checkpoint's encoders: equal weights, equal digest, wherever the folder lies and whatever it is called.
///
/// Taken over the checksums that its card has of the encoders' files, so that no file need be read.
pub fn digest(card: &Card) -> String {
    let mut hasher = blake3::Hasher::new();
    for choice in [EncoderChoice::Target, EncoderChoice::Context] {
        for file in card.files.iter().filter(|file| file.name == choice.file()) {
            hasher.update(file.name.as_bytes()).update(&file.bytes.to_le_bytes());
            file.pages.0.iter().for_each(|page| {
                hasher.update(&page.to_le_bytes());
            });
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// `encoder` in the words of its config: `192 wide, 12 deep, 3 heads`.
pub fn encoder_words(encoder: &EncoderConfig) -> String {
    format!("{} wide, {} deep, {} heads", encoder.width, encoder.depth, encoder.n_heads)
}
