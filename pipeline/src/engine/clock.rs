//! Who is working now: busy time per stage, told apart even where a stage pulls from the stream of the one before it.
//!
//! Each worker thread has one clock. Entering a stage stops the time of the one that called it, so the times of a fused
//! chain add up to the time of the chain.

use std::cell::RefCell;
use std::time::Instant;

/// What a stage did on one thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time at work.
    pub busy_ns: u64,
    /// Rows it took.
    pub rows_in: u64,
    /// Rows it gave on.
    pub rows_out: u64,
}

struct Clock {
    usage: Vec<Usage>,
    current: Option<usize>,
    since: Instant,
    blamed: Option<usize>,
}

thread_local! {
    static CLOCK: RefCell<Clock> =
        RefCell::new(Clock { usage: Vec::new(), current: None, since: Instant::now(), blamed: None });
}

/// Time runs for `stage` from now on; returns who ran before, for [`leave`].
pub fn enter(stage: usize) -> Option<usize> {
    switch(Some(stage))
}

/// Gives the time back to whoever [`enter`] named.
pub fn leave(previous: Option<usize>) {
    switch(previous);
}

/// The stage at work on this thread.
pub fn current() -> Option<usize> {
    CLOCK.with_borrow(|clock| clock.current)
}

/// Notes that an error began in `stage`; the first note of a row counts.
pub fn blame(stage: usize) {
    CLOCK.with_borrow_mut(|clock| {
        clock.blamed.get_or_insert(stage);
    });
}

/// Takes the note of [`blame`].
pub fn take_blame() -> Option<usize> {
    CLOCK.with_borrow_mut(|clock| clock.blamed.take())
}

/// Stops the time of everybody, while the thread does something else; the answer goes into [`leave`].
pub fn pause() -> Option<usize> {
    switch(None)
}

/// A row goes into `stage`, given by `from`.
pub fn count_row(from: Option<usize>, stage: Option<usize>) {
    CLOCK.with_borrow_mut(|clock| {
        if let Some(from) = from {
            clock.usage_of(from).rows_out += 1;
        }
        if let Some(stage) = stage {
            clock.usage_of(stage).rows_in += 1;
        }
    });
}

/// Hands over what each stage did since the last call.
pub fn drain(mut each: impl FnMut(usize, Usage)) {
    CLOCK.with_borrow_mut(|clock| {
        for (stage, usage) in clock.usage.iter_mut().enumerate() {
            if *usage != Usage::default() {
                each(stage, std::mem::take(usage));
            }
        }
    });
}

impl Clock {
    fn usage_of(&mut self, stage: usize) -> &mut Usage {
        if self.usage.len() <= stage {
            self.usage.resize(stage + 1, Usage::default());
        }
        &mut self.usage[stage]
    }
}

fn switch(to: Option<usize>) -> Option<usize> {
    CLOCK.with_borrow_mut(|clock| {
        let now = Instant::now();
        if let Some(stage) = clock.current {
            let busy_ns = (now - clock.since).as_nanos() as u64;
            clock.usage_of(stage).busy_ns += busy_ns;
        }
        clock.since = now;
        std::mem::replace(&mut clock.current, to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_stages_do_not_count_twice() {
        let spin = |ms: u64| {
            let start = Instant::now();
            while start.elapsed().as_millis() < u128::from(ms) {}
        };
        let begun = Instant::now();
        let outer = enter(1);
        spin(4);
        let inner = enter(0);
        spin(8);
        leave(inner);
        leave(outer);
        let passed_ns = begun.elapsed().as_nanos() as u64;
        let mut busy = [0_u64; 2];
        drain(|stage, usage| busy[stage] = usage.busy_ns);
        assert!(busy[0] >= 8_000_000 && busy[1] >= 4_000_000, "{busy:?}");
        assert!(busy[0] + busy[1] <= passed_ns, "the caller's time holds the callee's: {busy:?}");
        assert_eq!(current(), None);
    }
}
