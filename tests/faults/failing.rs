//! Disks that fail: a write, a sync, a read. Nothing that was not written is acknowledged, what is on disk is served,
//! and one line says what, where and what to do.

use crate::injector::{self, EIO, READS, SYNCS, WRITES};
use crate::scene::*;
use crate::support::raw::{self, Connection};

/// Topics that retention takes nothing from: the raw records are years old.
const KEEP: &[(&str, &str)] = &[("retention.ms", "-1")];

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn a_failed_write_ends_one_partition_and_no_other() {
    let Some((mut broker, faults)) = injector::broker("") else { return };
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "bad", 1, KEEP);
    raw::create(&mut connection, "good", 1, KEEP);
    assert_eq!(produce(&broker, "bad", 0, b"first"), (0, 0));
    assert_eq!(produce(&broker, "good", 0, b"first"), (0, 0));

    faults.set(&WRITES, "/bad-0/", EIO, 0);
    assert_eq!(produce(&broker, "bad", 0, b"lost"), (STORAGE_ERROR, -1));
    assert!(!faults.met().is_empty(), "the write was to fail");
    faults.clear();
    for _ in 0..3 {
        assert_eq!(produce(&broker, "bad", 0, b"late"), (STORAGE_ERROR, -1), "it stays out of service");
    }
    assert_eq!(produce(&broker, "good", 0, b"second"), (0, 1), "others go on");
    assert_eq!(values(&broker, "bad", 0), ["first"], "what is on disk is served");
    let line = broker.wait_for_log("a write failed");
    for part in ["bad-0", "Input/output error", "restart"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    assert_eq!(lines_with(&broker, "a write failed"), 1, "said once");

    broker.restart();
    assert_eq!(produce(&broker, "bad", 0, b"second"), (0, 1));
    assert_eq!(values(&broker, "bad", 0), ["first", "second"]);
    assert_eq!(values(&broker, "good", 0), ["first", "second"]);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_nothing_unsynced_shown() {
    let Some((mut broker, faults)) = injector::broker("") else { return };
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, KEEP);
    raw::create(&mut connection, "other", 1, KEEP);
    assert_eq!(produce(&broker, "t", 0, b"first"), (0, 0));
    assert_eq!(produce(&broker, "other", 0, b"first"), (0, 0));

    faults.set(&SYNCS, "/t-0/", EIO, 0);
    assert_eq!(produce(&broker, "t", 0, b"lost"), (STORAGE_ERROR, -1));
    assert!(faults.met().iter().any(|call| call.contains("/t-0/")), "{:?}", faults.met());
    faults.clear();
    // A second sync would succeed, and prove nothing.
    for topic in ["t", "other"] {
        assert_eq!(produce(&broker, topic, 0, b"late"), (STORAGE_ERROR, -1));
        assert_eq!(values(&broker, topic, 0), ["first"], "what was durable is served, and no more");
    }
    let line = broker.wait_for_log("a sync failed");
    for part in ["t-0", "Input/output error", "restart"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    assert_eq!(lines_with(&broker, "a sync failed"), 1, "said once");
    broker.signal("TERM");
    assert_eq!(broker.wait().code(), Some(1), "the stop says that something was left behind");

    broker.up();
    for topic in ["t", "other"] {
        let found = values(&broker, topic, 0);
        assert_eq!(found[0], "first");
        let next = i64::try_from(found.len()).expect("few");
        assert_eq!(produce(&broker, topic, 0, b"next"), (0, next));
        assert_eq!(values(&broker, topic, 0), [found, texts(&["next"])].concat());
    }
}

#[test]
fn a_failed_sync_of_metadata_is_never_answered_with_success() {
    for path in ["__cluster_metadata-0", "/streamd.manifest"] {
        let Some((mut broker, faults)) = injector::broker("") else { return };
        let mut connection = Connection::to(broker.address());
        raw::create(&mut connection, "t", 1, &[("segment.bytes", "20000"), ("retention.ms", "-1")]);
        assert_eq!(produce(&broker, "t", 0, b"first"), (0, 0));
        faults.set(&SYNCS, path, EIO, 0);
        let request = raw::create_request("never", 1, &[]);
        let code = Connection::to(broker.address()).call(5, &request).topics[0].error_code;
        // Rolls ask for checkpoints, and those write the manifest.
        let large = [b'x'; 9_000];
        let mut acknowledged = 1;
        wait_for("the fault is met", || {
            acknowledged += i64::from(produce(&broker, "t", 0, &large).0 == 0);
            !faults.met().is_empty()
        });
        if path.contains("metadata") {
            assert_ne!(code, 0, "a topic that may vanish must not be promised");
        }
        broker.wait_for_log("a sync failed");
        assert_eq!(produce(&broker, "t", 0, b"late").0, STORAGE_ERROR, "{path}");
        faults.clear();
        broker.kill();
        broker.up();
        let found = i64::try_from(values(&broker, "t", 0).len()).expect("few");
        assert!(found >= acknowledged, "{path}: {found} of {acknowledged}");
        assert_eq!(produce(&broker, "t", 0, b"next"), (0, found));
    }
}

/// Fetches over connections of its own until there is an answer, and returns its error and how often the broker ended
/// a connection instead.
fn fetch(broker: &crate::support::Broker, topic: &str, offset: i64) -> (i16, usize, usize) {
    for ended in 0..10 {
        let mut connection = Connection::to(broker.address());
        if let Ok(response) = connection.ask(11, &raw::fetch(topic, 0, offset, 0)) {
            let (error, _, records) = raw::fetched(&response, offset);
            return (error, records.len(), ended);
        }
    }
    panic!("the broker ends every connection");
}

#[test]
fn a_page_that_cannot_be_read_is_one_fetchs_error() {
    let Some((broker, faults)) = injector::broker("") else { return };
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    raw::create(&mut connection, "other", 1, KEEP);
    assert_eq!(produce(&broker, "other", 0, b"first"), (0, 0));
    // Batches that are sent by `sendfile`, from a segment that is sealed.
    for _ in 0..4 {
        assert_eq!(produce(&broker, "t", 0, &[b'x'; 400_000]).0, 0);
    }
    assert_eq!(fetch(&broker, "t", 0), (0, 4, 0));

    // The header is read, and the rest of the batch is not to be had.
    faults.set(&READS, "/t-0/00000000000000000000.log", EIO, 8192);
    let (error, _, ended) = fetch(&broker, "t", 0);
    assert_eq!(error, STORAGE_ERROR);
    assert!(ended <= 1, "{ended} connections were ended before that was known");
    assert!(!faults.met().is_empty());
    assert_eq!(fetch(&broker, "t", 3).0, 0, "other segments are served");
    assert_eq!(fetch(&broker, "other", 0), (0, 1, 0), "other partitions are served");
    assert_eq!(produce(&broker, "t", 0, b"more").0, 0, "and appended to, the same as this one");
    faults.clear();
    assert_eq!(fetch(&broker, "t", 0).0, 0, "what can be read again is served again");
    assert_eq!(lines_with(&broker, "a write failed") + lines_with(&broker, "a sync failed"), 0);
}
