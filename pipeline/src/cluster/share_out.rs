//! Units into tasks: big enough that handing one out costs nothing beside it, small enough that all executors end together.

use crate::stage::Unit;

/// Clips of a task: tens of seconds of one core's work, where a task costs some hundredths of one.
const CLIPS: u64 = 2048;

/// Tasks for each place at least, so that none waits long for the last.
const TASKS_PER_SLOT: u64 = 8;

/// Puts the units `todo` into tasks of about the same number of clips, whole units each, the largest first.
pub fn share_out(units: &[Unit], todo: &[usize], slots: usize) -> Vec<Vec<usize>> {
    let clips_of = |task: &Vec<usize>| task.iter().map(|&unit| units[unit].n_clips).sum::<u64>();
    let total: u64 = todo.iter().map(|&unit| units[unit].n_clips).sum();
    let fair = total.div_ceil(TASKS_PER_SLOT * slots.max(1) as u64);
    let target = CLIPS.min(fair).max(1);
    let mut tasks: Vec<Vec<usize>> = Vec::new();
    let mut filled = target;
    for &unit in todo {
        if filled >= target {
            tasks.push(Vec::new());
            filled = 0;
        }
        filled += units[unit].n_clips.max(1);
        if let Some(task) = tasks.last_mut() {
            task.push(unit);
        }
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(clips_of(task)));
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(clips: &[u64]) -> Vec<Unit> {
        clips.iter().map(|&n_clips| Unit { n_clips, key: [0; 16] }).collect()
    }

    #[test]
    fn small_units_come_together_and_large_ones_stay_alone() {
        let small = units(&[64; 1000]);
        let all: Vec<usize> = (0..1000).collect();
        let tasks = share_out(&small, &all, 2);
        assert!(tasks.iter().all(|task| task.len() <= 32) && tasks.len() == 32, "{} tasks", tasks.len());
        assert_eq!(share_out(&units(&[4096; 3]), &[0, 1, 2], 1).len(), 3);
        assert_eq!(share_out(&units(&[10, 700, 20]), &[0, 1, 2], 100), [vec![1], vec![2], vec![0]]);
        assert!(share_out(&small, &[], 4).is_empty());
    }

    proptest! {
        #[test]
        fn every_unit_is_in_one_task(clips in prop::collection::vec(0u64..5000, 0..200), slots in 0usize..40) {
            let units = units(&clips);
            let todo: Vec<usize> = (0..clips.len()).filter(|unit| unit % 3 != 0).collect();
            let tasks = share_out(&units, &todo, slots);
            let mut all: Vec<usize> = tasks.concat();
            all.sort_unstable();
            prop_assert_eq!(all, todo);
            prop_assert!(tasks.iter().all(|task| !task.is_empty()));
        }
    }
}
