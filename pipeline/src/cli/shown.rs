//! What a job shows while it goes: its graph, and then each of its trainings.

use super::progress::{Progress, ProgressMode};
use crate::engine::Snapshot;
use crate::job::Event;

#[cfg(feature = "train")]
use super::live::TrainView;

/// Shows a job on stderr.
#[derive(Debug)]
pub struct Shown {
    /// There until the first training begins.
    graph: Option<Progress>,
    last: Snapshot,
    #[cfg(feature = "train")]
    mode: ProgressMode,
    /// The training that goes on, by the id of its stage.
    #[cfg(feature = "train")]
    training: Option<(String, TrainView)>,
}

impl Shown {
    /// As `--progress` says.
    pub fn new(mode: ProgressMode) -> Self {
        Self {
            graph: Some(Progress::new(mode)),
            last: Snapshot::default(),
            #[cfg(feature = "train")]
            mode,
            #[cfg(feature = "train")]
            training: None,
        }
    }

    /// Shows the job as it is now.
    pub fn update(&mut self, event: &Event<'_>) {
        match event {
            Event::Running(snapshot) => {
                if let Some(graph) = &mut self.graph {
                    graph.update(snapshot);
                    self.last = (*snapshot).clone();
                }
            }
            #[cfg(feature = "train")]
            Event::Device { stage, name } => {
                if self.mode != ProgressMode::Off {
                    eprintln!("{stage} computes on {name}");
                }
            }
            #[cfg(feature = "train")]
            Event::Training { stage, moment } => {
                self.end_graph();
                if self.training.as_ref().is_none_or(|(id, _)| id != stage) {
                    self.end_training();
                }
                let view = || ((*stage).to_owned(), TrainView::new(self.mode));
                self.training.get_or_insert_with(view).1.update(moment);
            }
        }
    }

    /// Says in a line each what was done.
    pub fn finish(mut self) {
        self.end_graph();
        #[cfg(feature = "train")]
        self.end_training();
    }

    fn end_graph(&mut self) {
        if let Some(mut graph) = self.graph.take() {
            graph.finish(&self.last);
        }
    }

    #[cfg(feature = "train")]
    fn end_training(&mut self) {
        if let Some((_, mut view)) = self.training.take() {
            view.finish();
        }
    }
}
