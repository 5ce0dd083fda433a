//! What transactions cost those who have none: nobody asks a coordinator about them.

use kafka_protocol::messages::{MetadataRequest, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use streamd::record::build::{BatchBuilder, NewRecord};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const STATE: &str = "__transaction_state";
/// The first version of Produce whose batches add their partition to the transaction, and the last before it.
const VERSIONS: [i16; 2] = [11, 12];

/// The coordinators' topic is made when the first of them is looked for.
fn a_coordinator_was_asked(connection: &mut Connection) -> bool {
    let all = connection.call(9, &MetadataRequest::default().with_topics(None));
    all.topics.iter().any(|topic| topic.name.as_ref().is_some_and(|name| name.as_str() == STATE))
}

#[test]
fn batches_without_the_transactional_bit_ask_no_coordinator() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    let id = Some(TransactionalId(StrBytes::from_static_str("a")));
    for sequence in 0..50 {
        for batch in [raw::batch(&[b"plain"]), raw::batch_of(7, 0, sequence, &[b"idempotent"])] {
            for version in VERSIONS {
                // The second is a repetition; and a producer that has a transactional id may write without it.
                let request = raw::produce("t", 0, -1, batch.clone()).with_transactional_id(id.clone());
                assert_eq!(raw::produced(&connection.call(version, &request)).0, 0);
            }
        }
    }
    assert!(!a_coordinator_was_asked(&mut connection));
    // As it is of these, whatever it says.
    let mut builder = BatchBuilder::new().producer(8, 0, 0).transactional(true);
    builder.push(&NewRecord { timestamp: 1_700_000_000_000, value: Some(b"v"), ..NewRecord::default() });
    let request = raw::produce("t", 0, -1, builder.build().unwrap()).with_transactional_id(id);
    assert_ne!(raw::produced(&connection.call(VERSIONS[1], &request)).0, 0);
    assert!(a_coordinator_was_asked(&mut connection));
}
