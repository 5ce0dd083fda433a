//! Checkpoints beside producers: whoever finds the log taken by one is answered all the same.

use std::thread;

use kafka_protocol::messages::ProduceRequest;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// So many that a checkpoint holds the log for a while to copy what is known of them.
const IDEMPOTENT_PRODUCERS: i64 = 3000;

#[test]
fn a_lone_producer_is_answered_at_once_while_checkpoints_are_made() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    // Each segment that is full asks for a checkpoint.
    raw::create(&mut connection, "t", 1, &[("segment.bytes", "200000")]);
    let mut answers = connection.another();
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..IDEMPOTENT_PRODUCERS {
                let batch = raw::batch_of(1_000_000 + id, 0, 0, &[b"a"]);
                connection.send(9, &raw::produce("t", 0, 1, batch)).unwrap();
            }
        });
        for _ in 0..IDEMPOTENT_PRODUCERS {
            assert_eq!(raw::produced(&answers.answer::<ProduceRequest>(9).unwrap().1).0, 0);
        }
    });
    // A batch that is left behind in the queue stays there until the next one, which this producer does not send.
    let value = vec![7; 10_000];
    let request = raw::produce("t", 0, 1, raw::batch(&[&value])).with_timeout_ms(2000);
    let mut connection = Connection::to(broker.address());
    for nth in 0..2000 {
        let (error, offset) = raw::produced(&connection.call(9, &request));
        assert_eq!((error, offset), (0, IDEMPOTENT_PRODUCERS + nth));
    }
}
