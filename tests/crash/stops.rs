//! Ends in order and what comes after: nothing to recover, nothing lost, quick, and words that help.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;

use crate::history::Sent;
use crate::load::Producer;
use crate::support::raw::{self, Connection};
use crate::support::{Broker, streamd};

/// What a stop may take on a machine that is busy with other tests. On a quiet one it takes a few milliseconds.
const QUICK: Duration = Duration::from_secs(2);

fn append(broker: &Broker, topic: &str, values: &[&str]) {
    let mut connection = Connection::to(broker.address());
    for value in values {
        let request = raw::produce(topic, 0, -1, raw::batch(&[value.as_bytes()]));
        assert_eq!(raw::produced(&connection.call(9, &request)).0, 0);
    }
}

fn values(broker: &Broker, topic: &str) -> Vec<String> {
    let records = raw::read_all(&mut Connection::to(broker.address()), topic, 0);
    records.into_iter().map(|read| String::from_utf8(read.value).unwrap()).collect()
}

#[test]
fn a_stop_in_order_leaves_nothing_to_recover_in_any_fsync_mode() {
    for fsync in ["batch", "always", "interval(1s)", "never"] {
        let mut broker = Broker::with(&format!("[durability]\nfsync = \"{fsync}\"\n"));
        raw::create(&mut Connection::to(broker.address()), "t", 1, &[("segment.bytes", "200")]);
        append(&broker, "t", &["a", "b", "c", "d", "e"]);
        let began = Instant::now();
        broker.stop();
        assert!(began.elapsed() < QUICK, "{fsync}: the stop took {:?}", began.elapsed());
        let before = broker.log().len();
        broker.up();
        assert_eq!(values(&broker, "t"), ["a", "b", "c", "d", "e"], "{fsync}");
        append(&broker, "t", &["f"]);
        assert_eq!(values(&broker, "t").len(), 6, "{fsync}");
        let log = broker.log().split_off(before);
        assert!(log.contains("ready in"), "{log}");
        assert!(!log.contains("recover"), "{fsync}: something was recovered after a stop in order\n{log}");
    }
}

#[test]
fn a_start_after_a_kill_says_what_it_recovered() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    append(&broker, "t", &["a", "b"]);
    broker.kill();
    broker.up();
    let line = broker.wait_for_log("recovered after an unclean stop");
    assert!(line.contains("\"truncated_bytes\":0") && line.contains("\"failed\":0"), "{line}");
    assert_eq!(values(&broker, "t"), ["a", "b"]);
    // Two kills in a row, the second without a single append: nothing changes.
    broker.kill();
    let before = broker.log().len();
    broker.up();
    assert_eq!(values(&broker, "t"), ["a", "b"]);
    // What was recovered once and stopped in order needs no recovery again.
    broker.wait_for_log_from(before, "recovered after an unclean stop");
    broker.stop();
    let before = broker.log().len();
    broker.up();
    assert_eq!(values(&broker, "t"), ["a", "b"]);
    assert!(!broker.log()[before..].contains("recover"), "{}", broker.log());
}

#[test]
fn an_idle_broker_stops_at_once() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 3, &[]);
    // Clients that are connected and ask for nothing, and one that waits at the end of a log.
    let idle: Vec<_> = (0..20).map(|_| Connection::to(broker.address())).collect();
    let mut waiting = Connection::to(broker.address());
    waiting.send(11, &raw::fetch("t", 0, 0, 60_000)).unwrap();
    let began = Instant::now();
    broker.stop();
    assert!(began.elapsed() < QUICK, "the stop took {:?}", began.elapsed());
    drop((idle, waiting));
}

#[test]
fn a_reader_that_does_not_read_does_not_hold_up_a_stop() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    let value = vec![7; 500_000];
    let mut connection = Connection::to(broker.address());
    for _ in 0..40 {
        connection.call(9, &raw::produce("t", 0, 1, raw::batch(&[&value])));
    }
    let mut slow = Connection::to(broker.address());
    for _ in 0..10 {
        slow.send(11, &raw::fetch("t", 0, 0, 0)).unwrap();
    }
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    broker.stop();
    assert!(began.elapsed() < Duration::from_secs(15), "the stop took {:?}", began.elapsed());
}

#[test]
fn a_stop_while_producers_are_at_work_is_quick_and_loses_nothing_acknowledged() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 3, &[]);
    let address = broker.address().to_owned();
    let mut producers: Vec<_> = (0..3).map(|id| Producer::new(id, "t", 3, id != 0, 7)).collect();
    let mut took = Duration::ZERO;
    let produced: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            producers.iter_mut().map(|producer| scope.spawn(|| producer.run(&address))).collect();
        thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        broker.stop();
        took = began.elapsed();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(took < Duration::from_secs(5), "the stop took {took:?}");
    broker.up();
    let mut connection = Connection::to(broker.address());
    let logs: Vec<_> = (0..3).map(|partition| raw::read_all(&mut connection, "t", partition)).collect();
    for ((_, partition), offset, sent) in produced.iter().flat_map(|produced| &produced.acknowledged) {
        let read = &logs[usize::try_from(*partition).unwrap()][usize::try_from(*offset).unwrap()];
        assert_eq!((read.offset, Sent::parse(&read.value)), (*offset, Some(*sent)));
    }
    assert!(produced.iter().all(|produced| !produced.acknowledged.is_empty()), "nothing was tried");
}

#[test]
fn what_was_sent_before_a_stop_is_answered_or_the_connection_ends() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    let mut connection = Connection::to(broker.address());
    for n in 0..200 {
        connection.send(9, &raw::produce("t", 0, -1, raw::batch(&[n.to_string().as_bytes()]))).unwrap();
    }
    broker.signal("TERM");
    let mut acknowledged = Vec::new();
    while let Ok((_, response)) = connection.answer::<ProduceRequest>(9) {
        if let (0, offset) = raw::produced(&response) {
            acknowledged.push(offset);
        }
    }
    broker.wait_until_stopped();
    broker.up();
    let held = values(&broker, "t");
    for offset in acknowledged {
        let offset = usize::try_from(offset).unwrap();
        assert_eq!(held[offset], offset.to_string());
    }
}

#[test]
fn a_producer_that_never_pauses_does_not_hold_up_a_stop() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    let mut writer = Connection::to(broker.address());
    let mut reader = writer.another();
    thread::scope(|scope| {
        scope.spawn(|| {
            let request = raw::produce("t", 0, -1, raw::batch(&[b"and another"]));
            while writer.send(9, &request).is_ok() {}
        });
        let answers = scope.spawn(|| {
            let mut answers: i64 = 0;
            while let Ok((_, response)) = reader.answer::<ProduceRequest>(9) {
                let (error, offset) = raw::produced(&response);
                if error == 0 {
                    assert_eq!(offset, answers);
                    answers += 1;
                }
            }
            answers
        });
        thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        broker.stop();
        assert!(began.elapsed() < Duration::from_secs(15), "the stop took {:?}", began.elapsed());
        broker.up();
        let answers = answers.join().unwrap();
        assert!(answers > 0, "nothing was tried");
        let held = values(&broker, "t").len();
        assert!(i64::try_from(held).unwrap() >= answers, "{held} of {answers} are there");
    });
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    // A stop that cannot end soon by itself: a producer that is owed an answer which the disk does not give.
    let mut broker = Broker::start();
    broker.signal("TERM");
    broker.signal("TERM");
    let status = broker.wait();
    assert!(matches!(status.code(), Some(0 | 143)), "{status}");
    let mut broker = Broker::start();
    broker.signal("INT");
    broker.wait_until_stopped();
    broker.wait_for_log("SIGINT: stopping");
}

#[test]
fn a_data_directory_that_is_in_use_is_refused_with_the_holder() {
    let broker = Broker::start();
    let data = broker.data();
    let (code, _, stderr) = streamd(&["--data-dir", data.to_str().unwrap(), "--port", "0"], None);
    assert_eq!(code, 1, "{stderr}");
    let full = data.canonicalize().unwrap();
    let holder = format!("data_dir {} is locked by streamd pid {} since ", full.display(), broker.pid());
    assert!(stderr.contains(&holder) && stderr.contains("--data-dir DIR"), "{stderr}");
    append_works(&broker);
}

#[test]
fn a_port_that_is_in_use_is_refused_with_the_holder() {
    let broker = Broker::start();
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("listen.kafka={}", broker.address());
    let (code, _, stderr) = streamd(&["--data-dir", dir.path().to_str().unwrap(), "--set", &listen], None);
    assert_eq!(code, 1, "{stderr}");
    let told = format!("cannot listen on {}: in use by pid {} (streamd)", broker.address(), broker.pid());
    assert!(stderr.contains(&told), "{stderr}");
    append_works(&broker);
}

fn append_works(broker: &Broker) {
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    append(broker, "t", &["a"]);
    assert_eq!(values(broker, "t"), ["a"]);
}

/// What a broker whose data directory is not there any more says, and that it ends with an error.
fn ends_without_its_directory(broker: &mut Broker, why: &str) {
    let began = Instant::now();
    let status = broker.wait();
    assert_eq!(status.code(), Some(1), "{}", broker.log());
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    let lost = broker.wait_for_log("the data directory is lost");
    assert!(lost.contains(why) && lost.contains("ERROR"), "{lost}");
    let last = broker.log().lines().last().unwrap().to_owned();
    let data = broker.data();
    assert!(last.contains(&format!("data_dir {} was removed or replaced", data.display())), "{last}");
    assert!(last.contains("Put the directory back"), "{last}");
}

#[test]
fn a_data_directory_that_is_removed_ends_the_broker_and_its_acknowledgements() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    append(&broker, "t", &["a"]);
    let mut connection = Connection::to(broker.address());
    std::fs::remove_dir_all(broker.data()).unwrap();
    // With acks=all nothing is acknowledged from this moment on: the sync finds out.
    let request = raw::produce("t", 0, -1, raw::batch(&[b"b"]));
    assert_eq!(raw::produced(&connection.call(9, &request)).0, 56, "KAFKA_STORAGE_ERROR");
    ends_without_its_directory(&mut broker, "it was removed");
    assert!(!broker.data().exists(), "nothing was made anew");
}

#[test]
fn a_data_directory_that_is_moved_or_replaced_ends_the_broker_and_is_left_alone() {
    for fsync in ["batch", "interval(1s)"] {
        let mut broker = Broker::with(&format!("[durability]\nfsync = \"{fsync}\"\n"));
        raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
        append(&broker, "t", &["a"]);
        let aside = broker.path("aside");
        std::fs::rename(broker.data(), &aside).unwrap();
        std::fs::create_dir(broker.data()).unwrap();
        ends_without_its_directory(&mut broker, "another directory is in its place");
        assert_eq!(std::fs::read_dir(broker.data()).unwrap().count(), 0, "the other one is left alone");
        // Put back, it serves what it held.
        std::fs::remove_dir(broker.data()).unwrap();
        std::fs::rename(&aside, broker.data()).unwrap();
        broker.up();
        assert_eq!(values(&broker, "t"), ["a"], "{fsync}");
    }
}

#[test]
fn a_data_directory_that_is_emptied_ends_the_broker() {
    let mut broker = Broker::start();
    append_works(&broker);
    // As `rm -rf data/*` does it: names with a dot stay.
    for entry in std::fs::read_dir(broker.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }
    ends_without_its_directory(&mut broker, "meta.properties is gone");
}

#[test]
fn a_stop_that_cannot_bring_everything_to_disk_is_an_error_and_says_what_failed() {
    let mut broker = Broker::start();
    append_works(&broker);
    std::fs::remove_dir_all(broker.data().join("t-0")).unwrap();
    broker.signal("TERM");
    assert_eq!(broker.wait().code(), Some(1), "{}", broker.log());
    let line = broker.wait_for_log("not everything could be brought to disk");
    assert!(line.contains("ERROR") && line.contains("t-0: No such file or directory"), "{line}");
    assert!(line.contains("The next start recovers"), "{line}");
}
