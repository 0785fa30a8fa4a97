//! How well a head does, in the measure of its task.

use super::super::{Labels, accuracy, mean_average_precision, mean_average_precision_of_all};
use super::{Examples, Frames, Head};

/// What a task counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Share of clips whose class was found.
    Accuracy,
    /// Mean over classes that some clip has of the average precision.
    MeanPrecision,
    /// The same over all classes, one that no clip has counting 0: what scikit-learn, and so X-ARES, does.
    MeanPrecisionOfAll,
    /// F1 over segments: of `frames` frames each, the rest at the end left out; a class is there where it is in one of them.
    SegmentF1 {
        /// Frames of a segment; 1 or more.
        frames: usize,
        /// Over what.
        average: Average,
        /// Clips that are filled up to the longest of them: frames that were filled in count, as they do for X-ARES.
        batch_len: usize,
    },
}

/// Over what an F1 is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// All segments and classes together.
    Micro,
    /// The mean over classes; one that never is, in truth or prediction, counts 0.
    Macro,
}

impl Measure {
    /// How well `head` does on `examples`; NaN where there is nothing that this measure can count.
    pub fn of(self, head: &Head, examples: &Examples<'_>) -> f64 {
        match (self, examples) {
            (Self::SegmentF1 { frames, average, batch_len }, Examples::Frames(clips)) => {
                segment_f1(head, clips, frames.max(1), average, batch_len.max(1))
            }
            _ => match (head.votes_of(examples), examples.labels()) {
                (Ok(votes), Some(labels)) => self.of_votes(&votes, labels),
                _ => f64::NAN,
            },
        }
    }

    /// The same of votes for clips.
    pub fn of_votes(self, votes: &super::Votes, labels: &Labels) -> f64 {
        match (self, labels) {
            (Self::Accuracy, Labels::One(truth)) => accuracy(&votes.winners(), truth),
            (Self::MeanPrecision, _) => mean_average_precision(votes.values(), votes.n_classes(), labels),
            (Self::MeanPrecisionOfAll, _) => mean_average_precision_of_all(votes.values(), votes.n_classes(), labels),
            _ => f64::NAN,
        }
    }
}

/// Right, said and true, of a class.
type Counts = [u64; 3];

fn segment_f1(head: &Head, clips: &Frames<'_>, frames: usize, average: Average, batch_len: usize) -> f64 {
    let n_classes = head.n_classes();
    let mut counts: Vec<Counts> = vec![[0; 3]; n_classes];
    let all: Vec<u32> = (0..clips.n_clips() as u32).collect();
    for which in all.chunks(batch_len) {
        let n = clips.longest(which);
        let (rows, _) = clips.batch(which);
        let logits = head.logits(&rows);
        for (k, &clip) in which.iter().enumerate() {
            let truth = clips.truth(clip, n);
            for segment in 0..n / frames {
                let span = segment * frames..(segment + 1) * frames;
                for (class, count) in counts.iter_mut().enumerate() {
                    let said = span.clone().any(|frame| logits[(class, k * n + frame)] > 0.0);
                    let is = span.clone().any(|frame| truth[frame].contains(&(class as u32)));
                    *count = [count[0] + u64::from(said && is), count[1] + u64::from(said), count[2] + u64::from(is)];
                }
            }
        }
    }
    match average {
        Average::Macro => counts.iter().map(f1).sum::<f64>() / n_classes.max(1) as f64,
        Average::Micro => f1(&counts.iter().fold([0; 3], |sum, count| std::array::from_fn(|i| sum[i] + count[i]))),
    }
}

fn f1([right, said, is]: &Counts) -> f64 {
    if said + is == 0 { 0.0 } else { 2.0 * *right as f64 / (said + is) as f64 }
}
