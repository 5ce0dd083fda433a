//! What operators do beside the coordinator.

use kafka_protocol::messages::WriteTxnMarkersRequest;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};

use crate::client::{Client, Plan};
use crate::record::{History, Outcome};
use crate::rig::CONFIG;
use crate::support::Broker;
use crate::support::raw::{self, Connection};
use crate::wire::Line;

fn plan(commit: bool) -> Plan {
    Plan { writes: vec![(("t", 0), None), (("t", 1), None)], offsets: None, commit }
}

/// Another Kafka's coordinator may have been at a higher epoch, and an operator may copy it.
#[test]
fn s57_a_marker_of_a_higher_coordinator_epoch_does_not_keep_the_coordinators_own_out() {
    for newer in [false, true] {
        let broker = Broker::with(CONFIG);
        let mut connection = Connection::to(broker.address());
        raw::create(&mut connection, "t", 2, &[]);
        let mut client = Client::new(broker.address(), &History::default().into(), 0, newer);
        assert_eq!(client.transact(&plan(true)), Outcome::Committed);
        client.begin(&plan(true));
        let (producer_id, epoch) = client.producer();
        let topic =
            WritableTxnMarkerTopic::default().with_name(raw::name("t")).with_partition_indexes(vec![0]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(producer_id.into())
            .with_producer_epoch(epoch)
            .with_coordinator_epoch(1_000)
            .with_topics(vec![topic]);
        let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
        let response = connection.call(1, &request);
        assert_eq!(response.markers[0].topics[0].partitions[0].error_code, 0, "{response:?}");
        client.end(true).expect("it is ended");
        let mut line = Line::to(broker.address());
        for partition in 0..2 {
            let ends = line.ends(("t", partition));
            assert_eq!(ends.stable, ends.high, "t-{partition}: an end is visible when it is answered");
        }
        assert_eq!(client.transact(&plan(true)), Outcome::Committed);
    }
}
