//! Long polls that name one partition tens of thousands of times.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;

use crate::support::raw::{self, Connection};

const POLLS: usize = 4;
const MENTIONS: usize = 50_000;
const MAX_WAIT_MS: i32 = 500;
/// How long they and everybody beside them may take. It is a second; it was more than ten when each mention was one more
/// that the partition had to look at when a poll was over, for each of them.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn a_partition_that_is_named_again_and_again_is_waited_for_once() {
    let _alone = crate::alone();
    let broker = crate::broker("");
    let mut beside = Connection::to(broker.address());
    raw::create(&mut beside, "t", 1, &[]);
    let began = Instant::now();
    let mut polls: Vec<_> = (0..POLLS).map(|_| Connection::to(broker.address())).collect();
    for poll in &mut polls {
        let mut request = raw::fetch_from("t", (0..MENTIONS).map(|_| (0, 0)));
        request.max_wait_ms = MAX_WAIT_MS;
        poll.send(11, &request).unwrap();
    }
    while began.elapsed() < Duration::from_millis(2 * MAX_WAIT_MS as u64) {
        beside.patience(SOON);
        assert!(raw::is_served(&mut beside), "somebody else waits for them");
        thread::sleep(Duration::from_millis(10));
    }
    for poll in &mut polls {
        poll.patience(SOON);
        let (_, response) = poll.answer::<FetchRequest>(11).expect("an answer");
        assert_eq!(response.responses[0].partitions.len(), 1, "it is answered once");
    }
    assert!(began.elapsed() < SOON, "they took {:?}", began.elapsed());
}
