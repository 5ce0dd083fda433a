//! Every rule finds the history that breaks it, and none finds anything in a sound one.

use crate::record::{
    Ends, History, Outcome, Place, Reading, Refusal, Seen, Told, Transaction, TxnId, Word, Write,
};
use crate::rules::{Final, Groups, Violation, check};

const IN: Place = ("in", 0);
const OUT: Place = ("out", 0);
const GROUP: &str = "g";

fn groups() -> Groups {
    Groups { input: "in", outputs: vec![(GROUP, "out")] }
}

fn word(client: u32, seq: u32, index: u32) -> Word {
    Word { txn: TxnId { client, seq }, index, input: None }
}

/// A writer's transactions of two records each, the second of them aborted, the third of unknown outcome; a worker that
/// copies the first's and commits offsets with that; a reader of each partition, and what all of them were told.
struct Scene {
    history: History,
    end: Final,
}

impl Scene {
    fn sound() -> Self {
        let (history, mut end) = (History::default(), Final::default());
        for (seq, outcome) in [(0, Outcome::Committed), (1, Outcome::Aborted), (2, Outcome::Unknown)] {
            let mut txn = Transaction::new(TxnId { client: 1, seq });
            for index in 0..2 {
                let offset = Some(i64::from(seq * 3 + index));
                txn.writes.push(Write { place: IN, word: word(1, seq, index), offset });
            }
            txn.outcome = outcome;
            txn.ending = (outcome != Outcome::Aborted).then(|| history.tick());
            txn.done = (outcome == Outcome::Committed).then(|| history.tick());
            history.transactions.lock().push(txn);
        }
        let mut copy = Transaction::new(TxnId { client: 2, seq: 0 });
        for index in 0..2_u32 {
            let input = Some((0, i64::from(index)));
            let word = Word { input, ..word(2, 0, index) };
            copy.writes.push(Write { place: OUT, word, offset: Some(i64::from(index)) });
            end.visible.entry(OUT).or_default().push((i64::from(index), word.value()));
        }
        copy.offsets = Some((GROUP, [(0, 2)].into()));
        let before = (history.tick(), history.tick());
        (copy.ending, copy.outcome) = (Some(history.tick()), Outcome::Committed);
        copy.done = Some(history.tick());
        history.transactions.lock().push(copy);
        let after = (history.tick(), history.tick());
        for (offset, (asked, at)) in [(-1, before), (2, after)] {
            history.told.lock().push(Told { group: GROUP, partition: 0, offset, asked, at });
        }
        let visible = (0..2).map(|i| (i64::from(i), word(1, 0, i).value())).collect();
        end.visible.insert(IN, visible);
        for (place, next) in [(IN, 8), (OUT, 3)] {
            let records = &end.visible[&place];
            let seen = records
                .iter()
                .map(|(offset, value)| Seen { offset: *offset, value: value.clone(), at: history.tick() })
                .collect();
            history.readings.lock().push((place, Reading { seen, next }));
            for ends in [(0, 3), (next, next)] {
                history.ends.lock().push(Ends { place, stable: ends.0, high: ends.1 });
            }
            end.ends.push(Ends { place, stable: next, high: next });
        }
        Self { history, end }
    }

    fn violations(&self) -> Vec<Violation> {
        check(&self.history, &self.end, &groups())
    }

    fn input(&mut self) -> &mut Vec<(i64, Vec<u8>)> {
        self.end.visible.get_mut(&IN).unwrap()
    }

    /// Without what the reader of the input was given.
    fn unread(self) -> Self {
        self.history.readings.lock().remove(0);
        self
    }
}

fn holds(scene: &Scene, wanted: &Violation) {
    let found = scene.violations();
    assert!(found.contains(wanted), "{wanted:?} is not among {found:?}");
}

#[test]
fn words_read_back_and_nothing_else_does() {
    for word in [word(1, 2, 3), Word { input: Some((4, 5)), ..word(0, 0, 0) }] {
        assert_eq!(Word::parse(&word.value()), Some(word));
    }
    for text in ["", "1.2.3", "1.2;", "a.b.c;", "1.2.3@4;", "1.2.3@4:x;"] {
        assert_eq!(Word::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_sound_history_passes_whatever_became_of_the_unknown() {
    assert_eq!(Scene::sound().violations(), []);
    let mut visible = Scene::sound().unread();
    visible.input().extend([(6, word(1, 2, 0).value()), (7, word(1, 2, 1).value())]);
    assert_eq!(visible.violations(), []);
}

#[test]
fn a_committed_record_that_is_gone_or_moved_is_lost() {
    let mut scene = Scene::sound().unread();
    scene.input().pop();
    let lost = Violation::Lost { place: IN, word: word(1, 0, 1), offset: Some(1) };
    holds(&scene, &lost);
    let mut scene = Scene::sound().unread();
    scene.input()[1].0 = 2;
    holds(&scene, &lost);
}

#[test]
fn a_record_that_is_there_twice_is_found() {
    let mut scene = Scene::sound().unread();
    scene.input().push((6, word(1, 0, 1).value()));
    holds(&scene, &Violation::Twice { place: IN, word: word(1, 0, 1), offsets: [1, 6] });
}

#[test]
fn an_aborted_record_is_found_in_the_end_and_in_a_reading_of_before() {
    let aborted = Violation::AbortedRead { place: IN, word: word(1, 1, 0) };
    let mut scene = Scene::sound().unread();
    scene.input().push((3, word(1, 1, 0).value()));
    holds(&scene, &aborted);
    let scene = Scene::sound();
    let seen = Seen { offset: 3, value: word(1, 1, 0).value(), at: scene.history.tick() };
    scene.history.readings.lock()[0].1.seen.push(seen);
    holds(&scene, &aborted);
    holds(&scene, &Violation::Changed { place: IN, offset: 3 });
}

#[test]
fn a_record_that_is_read_before_its_commit_is_found() {
    let scene = Scene::sound();
    // The last tick of all but one lies behind every reading.
    scene.history.transactions.lock()[0].ending = Some(scene.history.tick());
    holds(&scene, &Violation::EarlyRead { place: IN, word: word(1, 0, 0) });
}

#[test]
fn a_transaction_of_which_a_part_is_visible_is_torn() {
    let mut scene = Scene::sound().unread();
    scene.input().push((6, word(1, 2, 0).value()));
    let torn = Violation::Torn { txn: TxnId { client: 1, seq: 2 }, visible: 1, of: 2 };
    assert_eq!(scene.violations(), [torn]);
}

#[test]
fn records_that_change_places_are_found() {
    let mut scene = Scene::sound().unread();
    scene.input()[0].1 = word(1, 0, 1).value();
    scene.input()[1].1 = word(1, 0, 0).value();
    holds(&scene, &Violation::Reordered { place: IN, word: word(1, 0, 0), behind: word(1, 0, 1) });
}

#[test]
fn a_record_that_nobody_wrote_is_found() {
    let mut scene = Scene::sound().unread();
    scene.input().push((6, b"nonsense".to_vec()));
    holds(&scene, &Violation::Phantom { place: IN, offset: 6 });
    // A word that belongs to another partition.
    scene.input()[2].1 = Word { input: Some((0, 0)), ..word(2, 0, 0) }.value();
    holds(&scene, &Violation::Phantom { place: IN, offset: 6 });
}

#[test]
fn a_record_that_a_reader_passed_is_found() {
    let scene = Scene::sound();
    scene.history.readings.lock()[0].1.seen.remove(0);
    holds(&scene, &Violation::Missed { place: IN, offset: 0 });
}

#[test]
fn inputs_that_are_processed_twice_or_never_are_found() {
    let mut scene = Scene::sound();
    let again = scene.end.visible[&OUT][1].1.clone();
    scene.end.visible.get_mut(&OUT).unwrap().push((3, again));
    holds(&scene, &Violation::Processed { group: GROUP, input: (0, 1), times: 2 });
    let scene = Scene::sound();
    scene.history.told.lock()[1].offset = 1;
    holds(&scene, &Violation::Processed { group: GROUP, input: (0, 1), times: 1 });
    let mut scene = Scene::sound();
    scene.end.visible.get_mut(&OUT).unwrap().pop();
    holds(&scene, &Violation::Processed { group: GROUP, input: (0, 1), times: 0 });
}

#[test]
fn offsets_that_come_early_late_or_go_back_are_found() {
    let scene = Scene::sound();
    scene.history.told.lock()[0].offset = 2;
    holds(&scene, &Violation::EarlyOffset { group: GROUP, partition: 0, offset: 2 });
    let scene = Scene::sound();
    scene.history.transactions.lock()[3].outcome = Outcome::Aborted;
    holds(&scene, &Violation::EarlyOffset { group: GROUP, partition: 0, offset: 2 });
    let scene = Scene::sound();
    scene.history.told.lock()[1].offset = -1;
    let stale = Violation::StaleOffset { group: GROUP, partition: 0, offset: -1, acknowledged: 2 };
    holds(&scene, &stale);
    let scene = Scene::sound();
    let (asked, at) = (scene.history.tick(), scene.history.tick());
    let back = Told { group: GROUP, partition: 0, offset: 1, asked, at };
    scene.history.told.lock().push(back);
    holds(&scene, &Violation::OffsetBack { group: GROUP, partition: 0, from: 2, to: 1 });
}

#[test]
fn ends_that_go_back_and_readers_that_stay_held_back_are_found() {
    let scene = Scene::sound();
    scene.history.ends.lock().push(Ends { place: IN, stable: 7, high: 8 });
    holds(&scene, &Violation::EndBack { place: IN, what: "stable end", from: 8, to: 7 });
    let scene = Scene::sound();
    scene.history.ends.lock().push(Ends { place: IN, stable: 9, high: 8 });
    holds(&scene, &Violation::EndBack { place: IN, what: "stable end beyond the end", from: 9, to: 8 });
    let mut scene = Scene::sound();
    scene.end.ends[0].stable = 6;
    holds(&scene, &Violation::HeldBack { place: IN, stable: 6, high: 8 });
}

#[test]
fn a_refusal_without_reason_is_found() {
    let scene = Scene::sound();
    let refusal = Refusal { txn: TxnId { client: 1, seq: 0 }, what: "EndTxn", code: 49 };
    scene.history.refusals.lock().push(refusal.clone());
    assert_eq!(scene.violations(), [Violation::Refused(refusal)]);
}
