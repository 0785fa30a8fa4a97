//! What frozen features know: probes that are quick, have no luck in them and say how sure they are.
//!
//! | probe | what it asks |
//! |---|---|
//! | [`KnnConfig`] | are a clip's nearest neighbours of its class? |
//! | [`LinearConfig`] | does a hyperplane tell the classes apart? |
//! | [`HeadConfig`] | the same, learnt in few epochs as X-ARES 0.1.3 does: for numbers beside published ones |
//! | ... behind [`Pool::attention`] | is it in some frames of a clip, where the mean over all loses it? |
//! | ... behind [`Pool::layers`] | is it in some layer of the encoder, where the last has lost it? |
//!
//! Both take [`Labelled`] features, a split to learn from and one to be asked about, and give [`Scores`]. Everything is a function of
//! its arguments: the digits are the same for any number of threads.
//!
//! # Example: two classes, two directions
//! ```
//! use ajepa_model::probe::{Features, KnnConfig, Labelled, Labels};
//! let train = Features::new(2, &[1.0, 0.1, 0.9, -0.1, 0.1, 1.0, -0.1, 0.9])?;
//! let labels = Labels::One(vec![0, 0, 1, 1]);
//! let train = Labelled::new(train, &labels)?;
//! let test = Features::new(2, &[3.0, 0.5, 0.0, 2.0])?;
//! let labels = Labels::One(vec![0, 1]);
//! let test = Labelled::new(test, &labels)?;
//! assert_eq!(KnnConfig { k: 2, ..KnnConfig::default() }.score(train, test)?.accuracy, Some(1.0));
//! # Ok::<(), ajepa_model::probe::ProbeError>(())
//! ```

mod features;
mod head;
mod knn;
mod linear;
mod logistic;
mod score;

pub use features::{Features, Labelled, Labels, ProbeError};
pub use head::{Average, Examples, Fitted, Frames, Head, HeadConfig, Measure, Order, Pool, Sets, xares_order};
pub use knn::{KnnConfig, Similarity};
pub use linear::{LinearConfig, LinearProbe};
pub use score::{
    Interval, Scores, Votes, accuracy, balanced_accuracy, mean_average_precision, mean_average_precision_of_all,
};

/// Does `one` for each of `jobs`, in the pool that the model's arithmetic runs on; results in the order of the jobs.
///
/// # Errors
/// The first that one of them gave.
pub fn each<T: Sync, R: Send, E: Send>(
    jobs: &[T],
    one: impl Fn(&T) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    use rayon::prelude::*;
    jobs.par_iter().map(one).collect()
}
