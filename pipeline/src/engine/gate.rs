//! One large clip at a time: a worker that must hold more than its share of the memory waits until no other does.
//!
//! So the longest clip that a graph takes does not depend on the number of workers, and the memory still has a bound.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

thread_local! {
    /// Passes of this thread: it may work on a second chain while a row of the first one is under way.
    static PASSES: Cell<usize> = const { Cell::new(0) };
}

/// See the module.
#[derive(Default)]
pub struct Gate {
    taken: Mutex<bool>,
    left: Condvar,
}

/// The right to hold a large clip, until it is dropped.
pub struct Pass {
    gate: Arc<Gate>,
}

impl Gate {
    /// Waits for the right; a thread that has it gets it again at once.
    pub fn enter(self: &Arc<Self>) -> Pass {
        let passes = PASSES.get();
        if passes == 0 {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            while *taken {
                taken = self.left.wait(taken).unwrap_or_else(PoisonError::into_inner);
            }
            *taken = true;
        }
        PASSES.set(passes + 1);
        Pass { gate: self.clone() }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let passes = PASSES.get().saturating_sub(1);
        PASSES.set(passes);
        if passes == 0 {
            *self.gate.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
            self.gate.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn one_thread_at_a_time_and_as_often_as_it_likes() {
        let gate = Arc::new(Gate::default());
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let outer = gate.enter();
                        let inner = gate.enter();
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                        drop(outer);
                        drop(inner);
                    }
                });
            }
        });
    }
}
