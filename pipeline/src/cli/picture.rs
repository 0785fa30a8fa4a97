//! Pictures of clips.
