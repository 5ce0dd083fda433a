//! What was acknowledged is there after a restart and after kill -9, once.

use rdkafka::producer::FutureRecord;

use crate::clients::{PATIENCE, create, producer, read_all, send, value};
use crate::support::Broker;

#[tokio::test(flavor = "multi_thread")]
async fn records_and_topics_survive_a_restart() {
    let mut broker = Broker::start();
    let cluster = broker.cluster_id.clone();
    create(&broker, "t", 2, &[]).await;
    let first = producer(&broker, &[]);
    for n in 0..20 {
        send(&first, "t", n % 2, "k", &n.to_string()).await;
    }
    drop(first);
    broker.restart();
    assert_eq!(broker.cluster_id, cluster);
    assert_eq!(read_all(&broker, "t", 0).len(), 10);
    let second = producer(&broker, &[]);
    assert_eq!(send(&second, "t", 1, "k", "after").await, 10, "offsets go on where they were");
    let records = read_all(&broker, "t", 1);
    assert_eq!(value(&records[10]), "after");
    assert_eq!(value(&records[9]), "19");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_survive_a_kill_in_every_fsync_mode() {
    for fsync in ["batch", "always", "interval(1s)", "never"] {
        let mut broker = Broker::with(&format!("[durability]\nfsync = \"{fsync}\"\n"));
        create(&broker, "t", 1, &[]).await;
        let first = producer(&broker, &[("acks", "all")]);
        for n in 0..50 {
            assert_eq!(send(&first, "t", 0, "k", &n.to_string()).await, n);
        }
        drop(first);
        broker.kill();
        broker.up();
        let values: Vec<String> = read_all(&broker, "t", 0).iter().map(|r| value(r).to_owned()).collect();
        assert_eq!(values, (0..50).map(|n: i64| n.to_string()).collect::<Vec<_>>(), "{fsync}");
        assert_eq!(send(&producer(&broker, &[]), "t", 0, "k", "next").await, 50, "{fsync}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s47_s49_an_idempotent_producer_goes_on_across_a_restart() {
    let mut broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    // The same address before and after, so that the producer finds the broker again.
    let address = broker.address().to_owned();
    let producer = producer(
        &broker,
        &[("enable.idempotence", "true"), ("reconnect.backoff.max.ms", "100"), ("retry.backoff.ms", "50")],
    );
    for n in 0..30 {
        if n == 10 {
            broker.stop();
            broker.up_at(&address);
        }
        if n == 20 {
            broker.kill();
            broker.up_at(&address);
        }
        let payload = n.to_string();
        let sent = producer.send(FutureRecord::<(), _>::to("t").payload(&payload), PATIENCE).await;
        sent.map_err(|(error, _)| error).expect("acknowledged");
    }
    let values: Vec<String> = read_all(&broker, "t", 0).iter().map(|r| value(r).to_owned()).collect();
    assert_eq!(values, (0..30).map(|n| n.to_string()).collect::<Vec<_>>(), "each once, in order");
}
