//! Topics made, listed, grown, deleted and made again.

use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::producer::FutureRecord;
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::{PATIENCE, admin, consumer, create, producer, read_all, send, value};
use crate::support::Broker;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_described_grown_and_deleted() {
    let broker = Broker::start();
    create(&broker, "t", 2, &[("retention.ms", "12345")]).await;
    let admin = admin(&broker);
    let options = AdminOptions::new();
    let again = NewTopic::new("t", 1, TopicReplication::Fixed(1));
    let refused = admin.create_topics([&again], &options).await.unwrap();
    assert_eq!(refused, [Err(("t".to_owned(), RDKafkaErrorCode::TopicAlreadyExists))]);

    let configs = admin.describe_configs([&ResourceSpecifier::Topic("t")], &options).await.unwrap();
    let retention = configs[0].as_ref().unwrap().get("retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.is_default), (Some("12345"), false));

    admin.create_partitions([&NewPartitions::new("t", 5)], &options).await.unwrap()[0].as_ref().unwrap();
    let metadata = consumer(&broker, &[]).fetch_metadata(Some("t"), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 5);

    admin.delete_topics(&["t"], &options).await.unwrap()[0].as_ref().unwrap();
    let metadata = consumer(&broker, &[]).fetch_metadata(None, PATIENCE).unwrap();
    assert!(metadata.topics().iter().all(|topic| topic.name() != "t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_s89_a_topic_made_again_is_empty() {
    let broker = Broker::start();
    let producer = producer(&broker, &[]);
    for round in 0..5 {
        create(&broker, "t", 1, &[]).await;
        let value_now = format!("round {round}");
        assert_eq!(send(&producer, "t", 0, "k", &value_now).await, 0, "offsets begin at 0 again");
        let records = read_all(&broker, "t", 0);
        assert_eq!(records.iter().map(value).collect::<Vec<_>>(), [value_now.as_str()]);
        admin(&broker).delete_topics(&["t"], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s83_a_topic_is_made_by_the_first_record_to_it() {
    let broker = Broker::with("[kafka]\n\"num.partitions\" = 3\n");
    let producer = producer(&broker, &[]);
    let record = FutureRecord::<(), _>::to("new").payload("v");
    producer.send(record, PATIENCE).await.map_err(|(error, _)| error).expect("acknowledged");
    let metadata = consumer(&broker, &[]).fetch_metadata(Some("new"), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn s83_nothing_is_made_where_that_is_switched_off() {
    let broker = Broker::with("[kafka]\n\"auto.create.topics.enable\" = false\n");
    let producer = crate::clients::config(&broker, &[("message.timeout.ms", "2000")])
        .create::<rdkafka::producer::FutureProducer>()
        .unwrap();
    producer.send(FutureRecord::<(), _>::to("new").payload("v"), PATIENCE).await.expect_err("no such topic");
}
