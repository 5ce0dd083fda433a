//! What a crash at any step of a swap leaves, and what is made of it.

use std::sync::Arc;

use super::*;
use crate::record::control::{ControlType, Marker, build_marker};
use crate::record::{BatchBuilder, NewRecord};
use crate::storage::compaction::testing::{Log, eager, records};
use crate::storage::log::Opened;
use crate::storage::testing::*;
use crate::storage::txn_index::AbortedTransaction;

/// A log of two small segments, a third that stays and an active one, and the directory as it stood when the output
/// over the first two was complete as `.cleaned` and no name had changed.
struct Scene {
    /// The directory before the first step.
    before: Rig,
    bases: Vec<i64>,
    /// What a reader sees of the old segments, and of the new ones.
    old: Vec<String>,
    new: Vec<String>,
    /// Aborted transactions of the log: frames of theirs are in the old segments and in the new one.
    aborted: Vec<AbortedTransaction>,
}

impl Scene {
    fn new() -> Self {
        Self::with(false)
    }

    /// With a transaction that was aborted, or without one.
    fn with(has_aborted: bool) -> Self {
        let segment_bytes = if has_aborted { 600 } else { 400 };
        let mut log = Log::new(eager(segment_bytes));
        if has_aborted {
            let mut data = BatchBuilder::new().producer(7, 0, 0).transactional(true);
            let key = NewRecord { timestamp: NOW, key: Some(b"a"), value: Some(b"0"), headers: &[] };
            data.push(&key);
            let marker = Marker { kind: ControlType::Abort, coordinator_epoch: 0 };
            let marker = build_marker(marker, 7, 0, NOW).unwrap();
            append(&mut log.opened.writer, &[data.build().unwrap(), marker]);
            let entry =
                AbortedTransaction { producer_id: 7, first_offset: 0, last_offset: 1, last_stable_offset: 2 };
            log.opened.writer.note_aborted(entry);
            log.aborted = vec![entry];
        }
        log.append(&["a=1", "b=1", "c=1"]);
        log.append(&["a=2"]);
        log.roll();
        log.append(&["b=2", "b=3", "d=1"]);
        log.roll();
        let bases: Vec<i64> = log.spans().iter().map(|(base, _)| *base).take(2).collect();
        let large = "v".repeat(usize::try_from(segment_bytes).unwrap());
        log.append(&[format!("x={large}").as_str()]);
        log.roll();
        log.append(&["y=1"]);
        let (old, before) = (log.shown(), log.rig.image());
        let cleaned = log.clean().unwrap();
        let new = log.shown();
        assert!(new.len() < old.len());
        assert_eq!((cleaned.segments, bases.len()), ((3, 2), 2), "the first two became one: {cleaned:?}");
        // The output as it was before its names changed.
        for kind in OUTPUT_KINDS.into_iter().filter(|kind| has_aborted || *kind != FileKind::TxnIndex) {
            let name = SegmentFileName { offset: bases[0], kind, state: FileState::Cleaned };
            fs::copy(log.rig.path(bases[0], kind), name.path_in(&before.dir)).unwrap();
        }
        Self { before, bases, old, new, aborted: log.aborted.clone() }
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
                // Nothing replays transactions here: without a row their index would be made from nothing.
                let aborted = opened.reader.aborted(0, i64::MAX, true).unwrap();
                if with_row && aborted != self.aborted {
                    return Err(format!("{steps:?}: {aborted:?}"));
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
    for has_aborted in [false, true] {
        let scene = Scene::with(has_aborted);
        let steps = steps(&scene.bases, has_aborted);
        let decided = steps.iter().position(|step| *step == Step::Decide).unwrap();
        for done in 0..=steps.len() {
            // Once all outputs have their `.swap` names the swap is finished, before that it is undone.
            let wanted = done >= decided;
            assert_eq!(scene.check(&steps[..done]), Ok(vec![wanted]), "{done} of {steps:?}");
        }
    }
}

#[test]
fn a_power_cut_between_two_syncs_leaves_the_old_or_the_new() {
    for has_aborted in [false, true] {
        check_power_cuts(&Scene::with(has_aborted), has_aborted);
    }
}

fn check_power_cuts(scene: &Scene, has_aborted: bool) {
    let steps = steps(&scene.bases, has_aborted);
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
