//! `embed`: frozen features of new audio.

use ajepa_model::EncoderChoice;

use super::run::execute;
use crate::cli::args::{EmbedArgs, Encoder};
use crate::cli::exit::Exit;
use crate::embed::{EmbedGraph, Rows, embed_graph};
use crate::job::JobOptions;
use crate::stages::Registry;

/// Replays the checkpoint's front end over the audio; exits as `run` does.
pub fn embed(args: &EmbedArgs, registry: &Registry) -> Exit {
    let checkpoint = match super::checkpoint::open(&args.checkpoint) {
        Ok(checkpoint) => checkpoint,
        Err(exit) => return exit,
    };
    let asked = [
        (args.windows, Rows::Windows),
        (args.layers, Rows::Layers),
        (args.frames, Rows::Frames),
        (args.tokens, Rows::Tokens),
    ];
    let rows = asked.into_iter().find(|(asked, _)| *asked).map_or(Rows::Clips, |(_, rows)| rows);
    let wanted = EmbedGraph {
        audio: args.audio.clone(),
        out: args.out.clone(),
        encoder: args.encoder.map(EncoderChoice::from),
        rows,
        hop_s: args.hop,
        device: args.device,
        together: None,
    };
    match embed_graph(&checkpoint, &wanted, registry) {
        Ok(graph) => {
            let options = JobOptions { jobs: args.jobs.map(std::num::NonZero::get), ..JobOptions::default() };
            execute(&graph, options, args.progress, &args.reports)
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::Usage
        }
    }
}

impl From<Encoder> for EncoderChoice {
    fn from(encoder: Encoder) -> Self {
        match encoder {
            Encoder::Target => Self::Target,
            Encoder::Context => Self::Context,
        }
    }
}
