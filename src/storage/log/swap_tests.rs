//! What a crash at any step of a swap leaves, and what is made of it.

use std::sync::Arc;

use super::*;
use crate::storage::compaction::testing::{Log, eager, records};
use crate::storage::log::Opened;
use crate::storage::testing::*;

/// A log of two small segments, a third that stays and an active one, and the directory as it stood when the output
/// over the first two was complete as `.cleaned` and no name had changed.
struct Scene {
    /// The directory before the first step.
    before: Rig,
    bases: Vec<i64>,
    /// What a reader sees of the old segments, and of the new ones.
    old: Vec<String>,
    new: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let mut log = Log::new(eager(400));
        log.append(&["a=1", "b=1", "c=1"]);
        log.append(&["a=2"]);
        log.roll();
        log.append(&["b=2", "b=3", "d=1"]);
        log.roll();
        let bases: Vec<i64> = log.spans().iter().map(|(base, _)| *base).take(2).collect();
        log.append(&[format!("x={}", "v".repeat(400)).as_str()]);
        log.roll();
        log.append(&["y=1"]);
        let (old, before) = (log.shown(), log.rig.image());
        let cleaned = log.clean().unwrap();
        let new = log.shown();
        assert!(new.len() < old.len());
        assert_eq!((cleaned.segments, bases.len()), ((3, 2), 2), "the first two became one: {cleaned:?}");
        // The output as it was before its names changed.
        for kind in OUTPUT_KINDS.into_iter().filter(|kind| *kind != FileKind::TxnIndex) {
            let name = SegmentFileName { offset: bases[0], kind, state: FileState::Cleaned };
            fs::copy(log.rig.path(bases[0], kind), name.path_in(&before.dir)).unwrap();
        }
        Self { before, bases, old, new }
    }

    fn after(&self, steps: &[Step]) -> Rig {
        let image = self.before.image();
        for step in steps {
            // A step whose file another one has moved is one that did not reach the disk.
            let _ = step.perform(&image.dir);
        }
        image
    }

    /// Opens what a crash left, with the manifest's row and without it, twice each: the old records or the new ones.
    fn check(&self, steps: &[Step]) -> Result<Vec<bool>, String> {
        let mut are_new = Vec::new();
        for with_row in [true, false] {
            let mut image = self.after(steps);
            image.sync_on_open = false;
            if !with_row {
                image.lose_manifest();
            }
            for _ in 0..2 {
                let opened = image.open();
                if !opened.report.damage.is_empty() {
                    return Err(format!("{steps:?}: {:?}", opened.report));
                }
                let shown = shown(&opened);
                if shown != self.old && shown != self.new {
                    return Err(format!("{steps:?}: {shown:?}, {:?}", opened.report));
                }
                let left: Vec<String> = image.names();
                if left.iter().any(|name| name.ends_with(".cleaned") || name.ends_with(".swap")) {
                    return Err(format!("{steps:?}: {left:?}"));
                }
                are_new.push(shown == self.new);
            }
        }
        are_new.dedup();
        Ok(are_new)
    }
}

fn shown(opened: &Opened) -> Vec<String> {
    let text =
        |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let each = records(&opened.reader);
    each.iter().map(|r| format!("{} {}={}", r.offset, text(&r.key), text(&r.value))).collect()
}

#[test]
fn a_kill_at_any_step_leaves_the_old_or_the_new() {
    let scene = Scene::new();
    let steps = steps(&scene.bases, false);
    let decided = steps.iter().position(|step| *step == Step::Decide).unwrap();
    for done in 0..=steps.len() {
        // Once all outputs have their `.swap` names the swap is finished, before that it is undone.
        let wanted = done >= decided;
        assert_eq!(scene.check(&steps[..done]), Ok(vec![wanted]), "{done} of {steps:?}");
    }
}

#[test]
fn a_power_cut_between_two_syncs_leaves_the_old_or_the_new() {
    let scene = Scene::new();
    let steps = steps(&scene.bases, false);
    let there = |step: &&Step| match step {
        Step::Remove(name) => name.path_in(&scene.before.dir).exists(),
        _ => true,
    };
    let steps: Vec<Step> = steps.iter().filter(there).copied().collect();
    let decided = steps.iter().position(|step| *step == Step::Decide).unwrap();
    // Any of the steps between two syncs may have reached the disk.
    for (done, open) in
        [(&steps[..0], &steps[..decided]), (&steps[..=decided], &steps[decided + 1..steps.len() - 1])]
    {
        for subset in 0..1_u32 << open.len() {
            let some =
                open.iter().enumerate().filter(|(nth, _)| subset >> nth & 1 == 1).map(|(_, step)| *step);
            let steps: Vec<Step> = done.iter().copied().chain(some).collect();
            assert!(scene.check(&steps).is_ok(), "{:?}", scene.check(&steps));
        }
    }
}

/// Negative control: without the sync in the middle, a power cut can lose what both held.
#[test]
fn the_rig_sees_a_loss() {
    let scene = Scene::new();
    let wrong: Vec<Step> =
        steps(&scene.bases, false).into_iter().filter(|step| matches!(step, Step::Remove(_))).collect();
    assert!(scene.check(&wrong).is_err());
}

#[test]
fn a_swap_that_cannot_begin_is_undone() {
    let mut log = Log::new(eager(400));
    log.append(&["a=1", "a=2"]);
    log.roll();
    log.append(&["a=3"]);
    log.roll();
    // A directory in the way of the first new name.
    let name = SegmentFileName { offset: 0, kind: FileKind::TimeIndex, state: FileState::Swap };
    let in_the_way = name.path_in(&log.rig.dir);
    fs::create_dir(&in_the_way).unwrap();
    let pace = crate::storage::compaction::Pace::new(crate::types::Clock::manual(0), 0.0);
    let cleaned = log.try_clean(&pace).unwrap();
    assert!(cleaned.fault.is_some() && cleaned.removed.is_empty());
    assert!(!log.opened.log.is_failed());
    fs::remove_dir(&in_the_way).unwrap();
    assert!(!log.rig.names().iter().any(|name| name.ends_with(".cleaned") || name.ends_with(".swap")));
    assert_eq!(log.shown(), ["0 a=1", "1 a=2", "2 a=3"]);
    log.clean().unwrap();
    assert_eq!(log.shown(), ["2 a=3"]);
}

#[test]
fn a_checkpoint_that_was_under_way_does_not_bring_the_old_segments_back() {
    let mut log = Log::new(eager(400));
    log.append(&["a=1", "a=2"]);
    log.roll();
    log.append(&["a=3"]);
    log.roll();
    log.append(&["b=1"]);
    let mark = log.opened.writer.mark();
    let note = log.opened.log.prepare_checkpoint(&mark, None, false).unwrap().unwrap();
    assert_eq!(note.row.segments.len(), 3, "it has seen the old segments");
    let shared = Arc::clone(&log.opened.log);
    std::thread::scope(|threads| {
        let cleaning = threads.spawn(|| log.clean().unwrap());
        // The swap is done, and its row waits for the checkpoint's.
        while shared.state.lock().segments.len() > 2 {
            std::thread::yield_now();
        }
        shared.checkpointed(&note.row);
        cleaning.join().unwrap();
    });
    let row = log.rig.row.clone().unwrap();
    assert_eq!(row.segments.iter().map(|segment| segment.base).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(row.checkpoint, note.row.checkpoint);
    log.reopen(true);
    assert_eq!(log.shown(), ["2 a=3", "3 b=1"]);
}

#[test]
fn an_old_segment_never_reads_from_the_new_file() {
    let mut log = Log::new(eager(400));
    log.append(&["a=1", "a=2"]);
    log.append(&["b=1"]);
    log.roll();
    log.append(&["b=2"]);
    log.roll();
    let segment = log.opened.log.state.lock().segments[0].clone();
    log.clean().unwrap();
    // Whoever holds the segment reads what it was, or is told that it is gone.
    let files = log.rig.files.clone();
    let open = |wait| segment.open(&files, wait);
    let file = open(crate::storage::pread::Wait::MayBlock).unwrap();
    assert_eq!(file.log().metadata().unwrap().len(), segment.len());
    drop(file);
    while !segment.try_close() {}
    let gone = open(crate::storage::pread::Wait::MayBlock).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
}
