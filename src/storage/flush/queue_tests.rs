//! The committer's queue: nothing is lost, nothing is late, nothing is starved.

use std::io;

use proptest::prelude::*;

use super::*;
use crate::storage::flush::{SyncMark, SyncNote};

#[derive(Default)]
struct Target(SyncMark);

impl SyncTarget for Target {
    fn mark(&self) -> &SyncMark {
        &self.0
    }
    fn note(&self) -> Option<SyncNote> {
        None
    }
    fn synced(&self, _: i64) {}
    fn failed(&self, _: &Arc<io::Error>) {}
}

fn targets(n: usize) -> Vec<Arc<dyn SyncTarget>> {
    (0..n).map(|_| Arc::new(Target::default()) as Arc<dyn SyncTarget>).collect()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn same(batch: &Batch, expected: &[&Arc<dyn SyncTarget>]) -> bool {
    let mut got: Vec<_> = batch.targets.iter().map(address).collect();
    let mut want: Vec<_> = expected.iter().map(|t| address(t)).collect();
    got.sort_unstable();
    want.sort_unstable();
    got == want
}

#[test]
fn who_is_waited_for_goes_at_once_and_takes_the_soon_along_but_not_the_background() {
    let t = targets(3);
    let mut queue = Queue::default();
    assert!(queue.push(t[0].clone(), When::Within(ms(1000)), ms(0)));
    assert!(queue.push(t[1].clone(), When::Soon, ms(0)));
    assert!(queue.take(ms(9)).is_none(), "nobody waits and 10 ms are not over");
    assert!(queue.push(t[2].clone(), When::Now, ms(9)));
    let batch = queue.take(ms(9)).unwrap();
    assert!(same(&batch, &[&t[1], &t[2]]));
    assert!(queue.take(ms(400)).is_none());
    assert!(same(&queue.take(ms(1000)).unwrap(), &[&t[0]]));
    assert!(queue.is_empty());
}

#[test]
fn soon_alone_goes_after_ten_milliseconds() {
    let t = targets(1);
    let mut queue = Queue::default();
    queue.push(t[0].clone(), When::Soon, ms(5));
    assert_eq!(queue.next_due(), Some(ms(15)));
    assert!(same(&queue.take(ms(15)).unwrap(), &[&t[0]]));
}

#[test]
fn a_background_round_takes_along_what_has_waited_for_half_its_time() {
    let t = targets(3);
    let mut queue = Queue::default();
    queue.push(t[0].clone(), When::Within(ms(1000)), ms(0));
    queue.push(t[1].clone(), When::Within(ms(1000)), ms(400));
    queue.push(t[2].clone(), When::Within(ms(1000)), ms(600));
    assert!(same(&queue.take(ms(1000)).unwrap(), &[&t[0], &t[1]]));
    assert_eq!(queue.next_due(), Some(ms(1600)));
}

#[test]
fn someday_waits_for_write_back_or_the_end() {
    let t = targets(2);
    let mut queue = Queue::default();
    assert!(!queue.push(t[0].clone(), When::Someday, ms(0)), "nothing to wake for");
    assert_eq!(queue.next_due(), None);
    assert!(queue.take(ms(1 << 40)).is_none());
    queue.write_back = true;
    assert!(same(&queue.take(ms(0)).unwrap(), &[&t[0]]));
    queue.push(t[1].clone(), When::Someday, ms(0));
    assert!(same(&queue.take_all(), &[&t[1]]));
}

#[test]
fn write_back_takes_the_dirtiest_first_a_slice_at_a_time() {
    let t = targets(3);
    let mut queue = Queue::default();
    for (target, mib) in t.iter().zip([1, 40, 20]) {
        target.mark().add_unsynced(mib << 20);
        queue.push(target.clone(), When::Someday, ms(0));
    }
    queue.write_back = true;
    assert!(same(&queue.take(ms(0)).unwrap(), &[&t[1]]), "40 MiB fill the slice");
    assert!(same(&queue.take(ms(0)).unwrap(), &[&t[0], &t[2]]));
    assert!(!queue.write_back, "nothing is left to write back");
}

#[test]
fn a_large_backlog_is_cut_into_slices_and_loses_nobody() {
    let t = targets(1000);
    let mut queue = Queue::default();
    for target in &t {
        queue.push(target.clone(), When::Within(ms(100)), ms(0));
    }
    let mut seen = 0;
    while let Some(batch) = queue.take(ms(100)) {
        assert!(batch.targets.len() <= SLICE_TARGETS_MAX);
        seen += batch.targets.len();
    }
    assert_eq!(seen, 1000);
}

#[test]
fn a_stream_of_acks_does_not_starve_the_background() {
    let t = targets(2);
    let mut queue = Queue::default();
    queue.push(t[1].clone(), When::Within(ms(100)), ms(0));
    queue.push(t[0].clone(), When::Now, ms(200));
    assert!(same(&queue.take(ms(200)).unwrap(), &[&t[0]]));
    queue.push(t[0].clone(), When::Now, ms(200));
    assert!(same(&queue.take(ms(200)).unwrap(), &[&t[1]]), "its turn");
    assert!(same(&queue.take(ms(200)).unwrap(), &[&t[0]]));
}

#[test]
fn a_target_with_a_slice_of_its_own_is_due_at_once() {
    let t = targets(1);
    let mut queue = Queue::default();
    queue.push(t[0].clone(), When::Within(ms(1000)), ms(0));
    assert!(queue.hurry(&t[0], ms(10)));
    assert!(same(&queue.take(ms(10)).unwrap(), &[&t[0]]));
    assert!(!queue.hurry(&t[0], ms(10)), "not queued, not hurried");
}

#[test]
fn rising_urgency_moves_a_target_and_never_doubles_it() {
    let t = targets(1);
    let mut queue = Queue::default();
    for when in [When::Someday, When::Within(ms(50)), When::Soon, When::Now, When::Soon, When::Someday] {
        queue.push(t[0].clone(), when, ms(0));
    }
    assert!(same(&queue.take(ms(0)).unwrap(), &[&t[0]]));
    assert!(queue.is_empty());
}

#[test]
fn an_earlier_promise_holds_when_the_urgency_rises() {
    let t = targets(1);
    let mut queue = Queue::default();
    queue.push(t[0].clone(), When::Within(ms(1)), ms(0));
    queue.push(t[0].clone(), When::Soon, ms(0));
    assert!(same(&queue.take(ms(1)).unwrap(), &[&t[0]]), "1 ms was promised, Soon alone would be 10");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push(usize, u8, u64),
    Pass(u64),
    WriteBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8_usize, 0..4_u8, 1..60_u64).prop_map(|(t, w, within)| Step::Push(t, w, within)),
        2 => (0..30_u64).prop_map(Step::Pass),
        1 => Just(Step::WriteBack),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// Against a plain model: the deadline each target was promised. The queue may be early, never late.
    #[test]
    fn every_target_is_taken_by_the_time_it_was_promised(steps in steps()) {
        let t = targets(8);
        let mut queue = Queue { gathering: 1, ..Queue::default() };
        let mut promised: HashMap<usize, Option<Duration>> = HashMap::new();
        let mut now = ms(0);
        for step in steps {
            match step {
                Step::Push(n, level, within) => {
                    let (when, due) = match level {
                        0 => (When::Someday, None),
                        1 => (When::Within(ms(within)), Some(now + ms(within))),
                        2 => (When::Soon, Some(now + SOON)),
                        _ => (When::Now, Some(now)),
                    };
                    let raises = t[n].mark().level() < when.level();
                    queue.push(t[n].clone(), when, now);
                    let promise = promised.entry(n).or_insert(due);
                    if raises {
                        *promise = match (*promise, due) { (Some(a), Some(b)) => Some(a.min(b)), (a, b) => a.or(b) };
                    }
                }
                Step::Pass(by) => now += ms(by),
                Step::WriteBack => queue.write_back = true,
            }
            while let Some(batch) = queue.take(now) {
                for target in &batch.targets {
                    prop_assert_eq!(target.mark().level(), 0);
                    let n = t.iter().position(|t| address(t) == address(target)).unwrap();
                    prop_assert!(promised.remove(&n).is_some(), "taken twice, or never pushed");
                }
            }
            for (n, due) in &promised {
                prop_assert!(due.is_none_or(|due| due > now), "target {} is late", n);
                prop_assert!(t[*n].mark().level() > 0);
            }
            let earliest = promised.values().flatten().min();
            if let Some(earliest) = earliest {
                prop_assert!(queue.next_due().is_some_and(|due| due <= *earliest), "nobody would wake for it");
            }
        }
        prop_assert_eq!(queue.take_all().targets.len(), promised.len());
        prop_assert!(queue.is_empty());
    }
}
