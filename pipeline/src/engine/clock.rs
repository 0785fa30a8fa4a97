//! Who is working now: busy time per stage, told apart even where a stage pulls from the stream of the one before it.
//!
//! Each worker thread has one clock. Entering a stage stops the time of the one that called it, so the times of a fused
//! chain add up to the time of the chain.

use std::cell::RefCell;
use std::time::Instant;

struct Clock {
    busy_ns: Vec<u64>,
    current: Option<usize>,
    since: Instant,
    blamed: Option<usize>,
}

thread_local! {
    static CLOCK: RefCell<Clock> =
        RefCell::new(Clock { busy_ns: Vec::new(), current: None, since: Instant::now(), blamed: None });
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

/// Hands over the nanoseconds of each stage since the last call.
pub fn drain(mut each: impl FnMut(usize, u64)) {
    CLOCK.with_borrow_mut(|clock| {
        for (stage, busy_ns) in clock.busy_ns.iter_mut().enumerate() {
            if *busy_ns > 0 {
                each(stage, std::mem::take(busy_ns));
            }
        }
    });
}

fn switch(to: Option<usize>) -> Option<usize> {
    CLOCK.with_borrow_mut(|clock| {
        let now = Instant::now();
        if let Some(stage) = clock.current {
            if clock.busy_ns.len() <= stage {
                clock.busy_ns.resize(stage + 1, 0);
            }
            clock.busy_ns[stage] += (now - clock.since).as_nanos() as u64;
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
        let outer = enter(1);
        spin(4);
        let inner = enter(0);
        spin(8);
        leave(inner);
        leave(outer);
        let mut busy = [0_u64; 2];
        drain(|stage, ns| busy[stage] = ns);
        assert!(busy[0] >= 8_000_000 && busy[1] >= 4_000_000, "{busy:?}");
        assert!(busy[1] < busy[0], "the caller's time holds the callee's: {busy:?}");
        assert_eq!(current(), None);
    }
}
