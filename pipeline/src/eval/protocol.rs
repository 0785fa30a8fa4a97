//! How a task is run and scored: the tasks of X-ARES 0.1.3, and what holds for any other.

use ajepa_model::probe::Average;
use serde::Serialize;

/// Whose rules hold. Numbers of the two are never set beside each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// True lengths, cosine, every crop, no epoch chosen on what is scored.
    #[default]
    Clean,
    /// As X-ARES 0.1.3 runs, quirks and all: the only numbers that may stand beside published ones.
    Xares,
}

/// What a task asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Which of several classes a clip is.
    OneLabel,
    /// Which classes a clip is.
    Labels,
    /// Which classes a frame is, scored over segments.
    Frames {
        /// Seconds of a segment.
        segment_s: f64,
        /// Over what F1 is taken.
        average: Average,
        /// Seconds that have labels in every clip; to the end of its last event where `None`.
        labelled_s: Option<f64>,
    },
    /// What this program cannot run, and why.
    NotRun(&'static str),
}

impl Kind {
    /// The measure, in the word that tables have for it.
    pub fn measure(self) -> &'static str {
        match self {
            Self::OneLabel => "accuracy",
            Self::Labels => "mAP",
            Self::Frames { average: Average::Macro, .. } => "segment F1, macro",
            Self::Frames { .. } => "segment F1, micro",
            Self::NotRun(_) => "",
        }
    }
}

/// How a task is run and scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protocol {
    /// What it asks; told by the labels where `None`.
    pub kind: Option<Kind>,
    /// Classes that a probe tells apart; those that occur where that is more.
    pub n_classes: usize,
    /// Seconds of a crop; whole clips where `None`.
    pub crop_s: Option<f64>,
    /// Clips that are encoded, and filled up with silence, together; in `clean` mode one.
    pub encode_clips: usize,
    /// Epochs of the trained probe.
    pub epochs: usize,
    /// Clips of a step of it.
    pub batch_len: usize,
    /// What a class that is there weighs more than one that is not.
    pub positive_weight: f32,
    /// Whether neighbours are asked in `xares` mode.
    pub knn: bool,
    /// Weight in averages of many tasks.
    pub weight: u32,
}

/// For tasks that are not of X-ARES.
const OWN: Protocol = Protocol {
    kind: None,
    n_classes: 0,
    crop_s: None,
    encode_clips: 16,
    epochs: 10,
    batch_len: 32,
    positive_weight: 1.0,
    knn: true,
    weight: 1,
};

const fn clips(n_classes: usize, weight: u32) -> Protocol {
    Protocol { kind: Some(Kind::OneLabel), n_classes, weight, ..OWN }
}

const fn needs(what: &'static str, weight: u32) -> Protocol {
    Protocol { kind: Some(Kind::NotRun(what)), weight, knn: false, ..OWN }
}

const DESED: Kind = Kind::Frames { segment_s: 1.0, average: Average::Macro, labelled_s: Some(10.0) };
const MAESTRO: Kind = Kind::Frames { segment_s: 0.1, average: Average::Micro, labelled_s: None };

/// By the tasks' folders; see shared/XARES.md.
const XARES: [(&str, Protocol); 22] = [
    ("asvspoof2015", Protocol { epochs: 5, batch_len: 64, ..clips(2, 2000) }),
    ("clotho", needs("captions need a text encoder", 1045)),
    ("cremad", clips(6, 1116)),
    ("desed", Protocol { kind: Some(DESED), knn: false, ..clips(10, 1153) }),
    ("esc50", clips(50, 400)),
    ("fluentspeechcommands", Protocol { encode_clips: 1, ..clips(248, 2000) }),
    ("freemusicarchive", Protocol { crop_s: Some(10.0), epochs: 3, ..clips(8, 800) }),
    (
        "fsd50k",
        Protocol { kind: Some(Kind::Labels), crop_s: Some(10.0), batch_len: 64, knn: false, ..clips(200, 2000) },
    ),
    ("fsdkaggle2018", Protocol { epochs: 3, batch_len: 64, knn: false, ..clips(41, 1600) }),
    ("gtzan_genre", clips(10, 100)),
    ("libricount", Protocol { batch_len: 64, ..clips(11, 1144) }),
    ("librispeech", needs("transcripts need a language model", 10_000)),
    ("librispeechmalefemale", Protocol { crop_s: Some(5.0), ..clips(2, 2620) }),
    (
        "maestro",
        Protocol {
            kind: Some(MAESTRO),
            encode_clips: 1,
            epochs: 50,
            batch_len: 1,
            positive_weight: 10.0,
            knn: false,
            ..clips(87, 65)
        },
    ),
    ("nsynthinstument", clips(11, 2000)),
    ("ravdess", clips(8, 360)),
    ("speechcommandsv1", Protocol { batch_len: 64, ..clips(30, 2000) }),
    ("urbansound8k", clips(10, 873)),
    ("vocalimitations", Protocol { encode_clips: 1, epochs: 20, ..clips(302, 1867) }),
    ("vocalsound", clips(6, 2000)),
    ("voxceleb1", Protocol { crop_s: Some(6.0), ..clips(1251, 2000) }),
    ("voxlingua33", Protocol { crop_s: Some(10.0), batch_len: 64, ..clips(33, 1609) }),
];

impl Protocol {
    /// Of the task of that name or folder.
    pub fn of(name: &str) -> Self {
        XARES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(OWN, |(_, protocol)| *protocol)
    }

    /// Whether it asks about frames.
    pub fn asks_frames(&self) -> bool {
        matches!(self.kind, Some(Kind::Frames { .. }))
    }

    /// Whether neighbours are asked.
    pub fn asks_neighbours(&self, mode: Mode, kind: Kind) -> bool {
        match (mode, kind) {
            (Mode::Xares, _) => self.knn && kind == Kind::OneLabel,
            (Mode::Clean, _) => matches!(kind, Kind::OneLabel | Kind::Labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_tables() {
        let sum = |of: &dyn Fn(&Protocol) -> bool| -> u32 {
            XARES.iter().map(|(_, protocol)| protocol).filter(|p| of(p)).map(|p| p.weight).sum()
        };
        assert_eq!(sum(&|_| true), 38_752);
        assert_eq!(sum(&|p| p.knn), 22_889);
        assert!(XARES.iter().all(|(name, _)| ajepa_datasets::XaresTask::of(name).is_some()));
        assert_eq!(Protocol::of("ESC50").n_classes, 50);
        assert_eq!(Protocol::of("birds"), OWN);
    }
}
