//! The waveform of an edge: shared by the stages that work on sound.

use crate::schema::{AudioType, Schema};
use crate::stage::PlanError;

/// The waveform of the only input.
///
/// # Errors
/// [`PlanError`] when there is none.
pub fn waveform(inputs: &[Schema]) -> Result<&AudioType, PlanError> {
    let given = || inputs.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    inputs.first().and_then(Schema::audio).ok_or_else(|| {
        PlanError::new(format!("it needs a waveform, and is given {}", given()), "put `decode` before it")
    })
}

/// The waveform, when it is surely mono.
///
/// # Errors
/// [`PlanError`] when there is none, or it has or may have several channels.
pub fn mono(inputs: &[Schema]) -> Result<&AudioType, PlanError> {
    let audio = waveform(inputs)?;
    if audio.channels == Some(1) {
        return Ok(audio);
    }
    Err(PlanError::new(
        format!("it needs one channel, and is given {audio}"),
        "put `downmix` before it, or let `decode` give mono (its default)",
    ))
}
