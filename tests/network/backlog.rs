//! Readers of what was appended long ago: the same bytes come whether they are in memory or have to be read from disk,
//! in answers that are much larger than a socket takes at once.

use crate::support::Broker;
use crate::support::cold::{self, DiskReads};
use crate::support::raw::{self, Connection};

/// More than the stretch at the end of a log that is taken to be in memory.
const BATCHES: usize = 30;
const VALUE_BYTES: usize = 700_000;

fn value(nth: usize) -> Vec<u8> {
    let byte = |at| u8::try_from((at / 7 + nth * 31) % 251).unwrap();
    (0..VALUE_BYTES).map(byte).collect()
}

fn reads_all(broker: &Broker) {
    let mut connection = Connection::to(broker.address());
    let read = raw::read_all(&mut connection, "t", 0);
    assert_eq!(read.len(), BATCHES);
    for (nth, record) in read.iter().enumerate() {
        assert_eq!(record.offset, nth as i64);
        assert!(record.value == value(nth), "the value of record {nth} is another");
    }
}

#[test]
fn a_backlog_is_read_from_disk_as_from_memory() {
    for settings in [vec![], vec![("segment.bytes", "4194304")]] {
        let broker = Broker::start();
        let mut connection = Connection::to(broker.address());
        raw::create(&mut connection, "t", 1, &settings);
        for nth in 0..BATCHES {
            let response = connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[&value(nth)])));
            assert_eq!(raw::produced(&response), (0, nth as i64));
        }
        let disk = DiskReads::of(&broker);
        let from_disk = || disk.as_ref().map(|disk| usize::try_from(disk.bytes()).unwrap());
        cold::forget(&broker.data());
        reads_all(&broker);
        let first = from_disk();
        // Parts of it are mapped now, and stay.
        cold::forget(&broker.data());
        reads_all(&broker);
        if let (Some(first), Some(both)) = (first, from_disk()) {
            let (all, second) = (BATCHES * VALUE_BYTES, both - first);
            eprintln!("of {all} bytes {first} came from the disk, and {second} when they were read again");
            assert!(first * 10 > all * 9, "of {all} bytes {first} came from the disk");
            assert!(second > VALUE_BYTES, "of {all} bytes that were read again {second} came from the disk");
        }
    }
}

#[test]
fn readers_of_a_backlog_that_take_their_time_get_all_of_it() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    for nth in 0..BATCHES {
        connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[&value(nth)])));
    }
    let mut slow: Vec<_> = (0..4).map(|_| Connection::to(broker.address())).collect();
    for connection in &mut slow {
        connection.send(11, &raw::fetch("t", 0, 0, 0)).unwrap();
    }
    reads_all(&broker);
    for connection in &mut slow {
        let response = connection.answer::<kafka_protocol::messages::FetchRequest>(11).unwrap().1;
        let (error, end, records) = raw::fetched(&response, 0);
        assert_eq!((error, end), (0, BATCHES as i64));
        assert!(records.len() > 8, "{} records in 8 MiB", records.len());
        assert!(records.iter().enumerate().all(|(nth, record)| record.value == value(nth)));
    }
}
