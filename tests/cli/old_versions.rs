//! The client in the versions of Kafka 2.1: what an older broker would have it speak.

use std::time::Duration;

use streamd::client::consumer::{Consumer, Event};
use streamd::client::membership::{Membership, Offsets};
use streamd::client::offsets::{self, Isolation, Place};
use streamd::client::producer::{Acks, Producer, Settings};
use streamd::client::topics::{self, NewTopic};
use streamd::client::{Address, Client, KAFKA_2_1, Options, groups};
use streamd::record::NewRecord;
use streamd::types::Codec;

use crate::scene::Scene;

async fn old_client(scene: &Scene) -> Client {
    let options = Options {
        brokers: Address::parse_list(scene.address()).unwrap(),
        client_id: "old".to_owned(),
        timeout: Duration::from_secs(20),
        ceilings: KAFKA_2_1,
    };
    Client::connect(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_in_the_versions_of_kafka_2_1() {
    let scene = Scene::new();
    let (name, group) = (scene.name("old"), scene.name("old-group"));
    let client = old_client(&scene).await;
    let topic = NewTopic { name: name.clone(), partitions: Some(2), ..NewTopic::default() };
    for outcome in topics::create(&client, &[topic]).await.unwrap() {
        outcome.unwrap();
    }
    let settings = topics::settings(&client, &name).await.unwrap();
    assert!(settings.iter().any(|setting| setting.name == "retention.ms"));

    let how = Settings { acks: Acks::All, codec: Codec::Zstd, idempotent: true };
    let mut producer = Producer::start(client.clone(), &name, how).await.unwrap();
    for n in 0..100_i32 {
        let value = n.to_be_bytes();
        producer
            .push(Some(n % 2), &NewRecord { timestamp: 1, value: Some(&value), ..NewRecord::default() })
            .unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(producer.written().records, 100);
    let ends = offsets::list(&client, &name, &[0, 1], Place::End, Isolation::ReadCommitted).await.unwrap();
    assert_eq!(ends, [(0, 50), (1, 50)].into());

    let mut member = Membership::new(client.clone(), &group, std::slice::from_ref(&name));
    let assignment = member.join().await.unwrap().clone();
    assert_eq!(assignment, [(name.clone(), vec![0, 1])].into());
    let topic = topics::find(&client, &name, false).await.unwrap();
    let mut consumer = Consumer::new(client.clone(), Isolation::ReadUncommitted);
    consumer.assign(&topic, 0, 0);
    consumer.assign(&topic, 1, 40);
    let mut values = Vec::new();
    while values.len() < 60 {
        let Event::Records(fetched) = consumer.next().await.unwrap() else { continue };
        for partition in &fetched {
            for batch in partition.batches() {
                for record in &partition.records(&batch.unwrap()).unwrap() {
                    let record = record.unwrap();
                    if record.offset >= partition.from {
                        values.push(i32::from_be_bytes(record.value.unwrap().try_into().unwrap()));
                    }
                }
            }
        }
    }
    values.sort_unstable();
    let expected = (0..100).filter(|n| n % 2 == 0 || *n >= 80).collect::<Vec<_>>();
    assert_eq!(values, expected);

    let committed: Offsets = [((name.clone(), 0), 50), ((name.clone(), 1), 45)].into();
    member.commit(&committed).await.unwrap();
    assert_eq!(member.committed().await.unwrap(), committed);
    let described = groups::describe(&client, &group).await.unwrap();
    assert_eq!((described.state.as_str(), described.assignor.as_str()), ("Stable", "range"));
    assert_eq!(described.members[0].assignment, assignment);
    assert_eq!(described.committed, committed);
    member.leave().await.unwrap();
    assert!(groups::list(&client).await.unwrap().iter().any(|listed| listed.group == group));
    for outcome in topics::delete(&client, &[name]).await.unwrap() {
        outcome.unwrap();
    }
}
