//! A bad batch stops the cleaning of its partition, and nothing else.

use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::support::Broker;
use crate::updates::Updates;
use crate::{EAGER, clean_to, create, wait_until_clean};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_batch_is_named_and_nothing_is_dropped_on_its_account() {
    let mut broker = Broker::with(&format!("{EAGER}\"log.cleaner.enable\" = false\n"));
    for topic in ["bad", "good"] {
        create(&broker, topic, &[("segment.bytes", "100000")]).await;
        let mut updates = Updates::new(&broker, topic, 100, 10_000, "none");
        updates.send(10_000);
        updates.wait();
    }
    broker.stop();
    assert_eq!(clean_to(&broker, "good", 0), None, "the cleaner is off");
    let dir = broker.data().join("bad-0");
    let logs = || {
        let files = fs::read_dir(&dir).expect("the directory").flatten();
        let mut logs: Vec<_> = files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
            .collect();
        logs.sort();
        logs
    };
    let before = logs();
    assert!(before.len() > 3);
    let file = fs::OpenOptions::new().read(true).write(true).open(&before[1]).expect("the second segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 90).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], 90).expect("another byte");

    broker.set_config(EAGER);
    broker.up();
    let line = broker.wait_for_log("is not compacted until");
    assert!(line.contains(before[1].to_str().expect("a path")) && line.contains("\"bad\""), "{line}");
    wait_until_clean(&broker, "good", 0, 9_000);
    assert_eq!(clean_to(&broker, "bad", 0), None);
    assert!(before.iter().all(|path| logs().contains(path)), "no segment went");
    let said = broker.log().matches("is not compacted until").count();
    assert_eq!(said, 1, "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_its_checkpoint_is_compacted_anew() {
    let mut broker = Broker::with(EAGER);
    create(&broker, "t", &[("segment.bytes", "100000")]).await;
    let mut updates = Updates::new(&broker, "t", 100, 25_000, "none");
    updates.send(10_000);
    let end = updates.wait();
    wait_until_clean(&broker, "t", 0, end);
    // As if the log had lost its end: what it grows to is not clean.
    let file = broker.data().join("cleaner-offset-checkpoint");
    let address = broker.address().to_owned();
    broker.stop();
    let text = fs::read_to_string(&file).expect("the checkpoint");
    fs::write(&file, text.replace(&format!("t 0 {end}"), &format!("t 0 {}", end + 10_000))).expect("another");
    assert_eq!(clean_to(&broker, "t", 0), Some(end + 10_000));
    broker.up_at(&address);
    broker.wait_for_log("ends before the offset up to which it was compacted");
    updates.send(15_000);
    let end = updates.wait();
    wait_until_clean(&broker, "t", 0, end);
    let found = crate::reader::read(&crate::config(&broker), "t");
    assert_eq!(found.values, updates.last_values(0));
    assert_eq!(found.records - found.tombstones, found.values.len(), "only last values are left");
}
