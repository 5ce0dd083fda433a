//! A stop of the broker: what is in the log is never answered with an error.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::ack::NotAppended;
use super::testing::*;
use super::{OpenFault, Whose};
use crate::config::TopicSettings;

#[test]
fn what_waits_for_the_disk_at_a_stop_is_acknowledged_by_it() {
    let rig = Rig::new(TopicSettings::default());
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    let release = Stall::begin(rig.committer());
    let appended = enqueue(&partition, record(b"b"));
    partition.drain();
    assert_eq!(partition.reader().end(), 2, "it is in the log");
    thread::scope(|scope| {
        let stop = scope.spawn(|| rig.table.close_all());
        while partition.closed().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        let late = enqueue(&partition, record(b"c"));
        partition.drain();
        assert_eq!(answer(&late), Err(NotAppended::Stopping), "what is not in the log may be sent again");
        thread::sleep(Duration::from_millis(20));
        assert_eq!(appended.result(0), None);
        drop(release);
        stop.join().unwrap().unwrap();
    });
    assert_eq!(offset(answer(&appended)), 1);
    assert_eq!(values(&partition).len(), 2);
}

#[test]
fn what_waits_for_a_disk_that_fails_at_a_stop_is_not_answered() {
    let rig = Rig::new(TopicSettings::default());
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    let release = Stall::begin(rig.committer());
    let appended = enqueue(&partition, record(b"b"));
    partition.drain();
    thread::scope(|scope| {
        let stop = scope.spawn(|| rig.table.close_all());
        while partition.closed().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        rig.table.environment().health.fail(io::Error::other("the disk is gone"));
        drop(release);
        assert!(stop.join().unwrap().is_err(), "and the stop is not a clean one");
    });
    assert_eq!(appended.result(0), None, "it may be in the log, and may not");
}

#[test]
fn nothing_is_opened_or_tidied_up_behind_a_stop() {
    let rig = Rig::new(TopicSettings::default());
    assert_eq!(rig.table.unless_stopping(|| 7), Some(7));
    rig.table.close_all().unwrap();
    assert_eq!(rig.table.unless_stopping(|| 7), None);
    let living = |_| Whose::Living;
    assert!(matches!(rig.try_open("t", id(1), &living), Err(OpenFault::Stopping)));
    assert!(rig.table.all().is_empty());
}

#[test]
fn a_stop_waits_for_what_is_being_tidied_up() {
    let rig = Rig::new(TopicSettings::default());
    let tidied = AtomicBool::new(false);
    thread::scope(|scope| {
        let (begun, has_begun) = mpsc::channel();
        let (rig, tidied) = (&rig, &tidied);
        scope.spawn(move || {
            rig.table.unless_stopping(|| {
                begun.send(()).unwrap();
                thread::sleep(Duration::from_millis(50));
                tidied.store(true, Ordering::SeqCst);
            })
        });
        has_begun.recv().unwrap();
        rig.table.close_all().unwrap();
        assert!(tidied.load(Ordering::SeqCst));
    });
}
