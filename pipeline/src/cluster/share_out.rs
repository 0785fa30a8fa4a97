//! Units into tasks: big enough that handing one out costs nothing beside it, small enough that all executors end together.

/// Seconds of audio of a task: tens of seconds of one core's work, where a task costs some hundredths of one.
const TASK_S: f64 = 20_480.0;

/// Tasks for each place at least, so that none waits long for the last.
const TASKS_PER_SLOT: usize = 8;

/// Puts the units `todo` into tasks of about as much audio, whole units each, the longest first. `seconds` says how much audio each unit
/// of the job is.
pub fn share_out(seconds: &[f64], todo: &[usize], slots: usize) -> Vec<Vec<usize>> {
    let fair = todo.iter().map(|&unit| seconds[unit]).sum::<f64>() / (TASKS_PER_SLOT * slots.max(1)) as f64;
    let target = TASK_S.min(fair);
    let mut tasks: Vec<(f64, Vec<usize>)> = Vec::new();
    for &unit in todo {
        match tasks.last_mut() {
            Some((filled, task)) if *filled + seconds[unit] <= target => {
                *filled += seconds[unit];
                task.push(unit);
            }
            _ => tasks.push((seconds[unit], vec![unit])),
        }
    }
    tasks.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    tasks.into_iter().map(|(_, task)| task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_units_come_together_and_large_ones_stay_alone() {
        let small = [640.0; 1000];
        let all: Vec<usize> = (0..1000).collect();
        let tasks = share_out(&small, &all, 2);
        assert!(tasks.iter().all(|task| task.len() <= 32) && tasks.len() == 32, "{} tasks", tasks.len());
        assert_eq!(share_out(&[40_960.0; 3], &[0, 1, 2], 1).len(), 3);
        assert_eq!(share_out(&[100.0, 7000.0, 200.0], &[0, 1, 2], 100), [vec![1], vec![2], vec![0]]);
        assert!(share_out(&small, &[], 4).is_empty());
    }

    #[test]
    fn audio_counts_and_not_clips() {
        // Ten-second clips, and as many of an hour each: those are a task by themselves, and begin first.
        let seconds: Vec<f64> = (0..640).map(|unit| if unit % 64 == 63 { 64.0 * 3600.0 } else { 640.0 }).collect();
        let all: Vec<usize> = (0..640).collect();
        let tasks = share_out(&seconds, &all, 1);
        assert!(tasks[..10].iter().all(|task| task.len() == 1 && task[0] % 64 == 63), "{:?}", &tasks[..11]);
        let audio = |task: &Vec<usize>| task.iter().map(|&unit| seconds[unit]).sum::<f64>();
        assert!(tasks[10..].iter().all(|task| audio(task) <= TASK_S) && tasks.len() == 30, "{} tasks", tasks.len());
        assert!(tasks.is_sorted_by(|one, next| audio(one) >= audio(next)));
    }

    proptest! {
        #[test]
        fn every_unit_is_in_one_task_and_no_task_of_several_is_too_long(
            seconds in prop::collection::vec(0.0f64..50_000.0, 0..200),
            slots in 0usize..40,
        ) {
            let todo: Vec<usize> = (0..seconds.len()).filter(|unit| unit % 3 != 0).collect();
            let tasks = share_out(&seconds, &todo, slots);
            let mut all: Vec<usize> = tasks.concat();
            all.sort_unstable();
            prop_assert_eq!(all, todo);
            prop_assert!(tasks.iter().all(|task| !task.is_empty()));
            let audio = |task: &Vec<usize>| task.iter().map(|&unit| seconds[unit]).sum::<f64>();
            prop_assert!(tasks.iter().all(|task| task.len() == 1 || audio(task) <= TASK_S));
        }
    }
}
