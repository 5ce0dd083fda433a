"""confluent-kafka, the Python binding of librdkafka, against a broker."""

import time

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType

import check
from check import expect, expect_true, step

WAIT = 30


def run(broker):
    topic = check.fresh_name("confluent")
    group = f"{topic}-group"
    admin = AdminClient({"bootstrap.servers": broker})
    create(admin, topic)
    sent = produce(broker, topic)
    step("offsets of the partitions")
    ends = list_offsets(admin, topic, OffsetSpec.latest())
    expect("sum of the latest offsets", check.TOTAL, sum(ends.values()))
    expect("earliest offsets", {p: 0 for p in range(check.PARTITIONS)}, list_offsets(admin, topic, OffsetSpec.earliest()))

    ledger = check.Ledger()
    step("first member of the group, from the earliest record")
    consume_part(broker, admin, topic, group, ledger)
    step("the same group again, from where it left off")
    consume_rest(broker, topic, group, ledger)
    ledger.complete(sent)
    lookup_by_time(broker, topic, ledger)
    inspect_group(admin, topic, group, ends)
    share(broker, topic, f"{topic}-shared")
    grow(admin, topic)
    remove(admin, topic, [group, f"{topic}-shared"])


def results(futures):
    """The results of an admin call by name, or its first error."""
    return {name: future.result(timeout=WAIT) for name, future in futures.items()}


def create(admin, topic):
    step("create a topic")
    new = NewTopic(topic, check.PARTITIONS, 1, config={"retention.ms": "86400000"})
    results(admin.create_topics([new]))
    check.settle()
    try:
        results(admin.create_topics([new]))
        raise check.Mismatch("creating a topic twice: expected TOPIC_ALREADY_EXISTS, got success")
    except KafkaException as error:
        expect("creating a topic twice", KafkaError.TOPIC_ALREADY_EXISTS, error.args[0].code())
    step("list and describe it")
    listed = admin.list_topics(timeout=WAIT)
    expect_true("topic list must name the topic", topic in listed.topics, sorted(listed.topics))
    partitions = listed.topics[topic].partitions
    expect("partitions", list(range(check.PARTITIONS)), sorted(partitions))
    for partition in partitions.values():
        expect_true("leader must be a broker of the list", partition.leader in listed.brokers, partition.leader)
        expect("replicas in sync", partition.replicas, partition.isrs)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = list(results(admin.describe_configs([resource])).values())[0]
    expect("retention.ms", "86400000", config["retention.ms"].value)
    expect("retention.ms is a default", False, config["retention.ms"].is_default)
    expect("cleanup.policy", "delete", config["cleanup.policy"].value)
    expect("cleanup.policy is a default", True, config["cleanup.policy"].is_default)


def produce(broker, topic):
    sent = {}

    def delivered(n):
        def report(error, message):
            if error is not None:
                raise KafkaException(error)
            sent[n] = (message.partition(), message.offset())

        return report

    for codec in check.CODECS:
        step(f"produce with {codec}")
        # The same records as every client, so the same hash of the key.
        producer = Producer(
            {
                "bootstrap.servers": broker,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 5,
                "partitioner": "murmur2_random",
            }
        )
        for n in [n for n in range(check.TOTAL) if check.codec_of(n) == codec]:
            producer.produce(
                topic,
                key=check.key_of(n),
                value=check.value_of(n),
                headers=check.headers_of(n),
                timestamp=check.time_of(n),
                on_delivery=delivered(n),
            )
        expect(f"records not delivered with {codec}", 0, producer.flush(WAIT))
    expect("records acknowledged", check.TOTAL, len(sent))
    return sent


def list_offsets(admin, topic, spec):
    asked = {TopicPartition(topic, p): spec for p in range(check.PARTITIONS)}
    return {tp.partition: result.offset for tp, result in results(admin.list_offsets(asked)).items()}


def consumer_of(broker, group):
    return Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "heartbeat.interval.ms": 300,
            # Longer than this program waits for anything: a member that leaves must say so.
            "session.timeout.ms": 45000,
            "topic.metadata.refresh.interval.ms": 500,
            # Small answers, so that the first half does not come with the second.
            "max.partition.fetch.bytes": 20000,
        }
    )


def take_until(consumer, ledger, count):
    end = time.monotonic() + WAIT
    while len(ledger.seen) < count:
        if time.monotonic() > end:
            raise check.Mismatch(f"consume: expected {count} records within {WAIT} s, got {len(ledger.seen)}")
        take(consumer.poll(0.5), ledger)


def take(message, ledger):
    """Gives a polled message to the ledger; True if there was one."""
    if message is None:
        return False
    if message.error():
        raise KafkaException(message.error())
    _, timestamp = message.timestamp()
    ledger.take(message.partition(), message.offset(), message.key(), message.value(), message.headers(), timestamp)
    return True


def positions(topic, ledger):
    return [TopicPartition(topic, p, offset, metadata=f"at {offset}") for p, offset in ledger.next_offset.items()]


def consume_part(broker, admin, topic, group, ledger):
    consumer = consumer_of(broker, group)
    consumer.subscribe([topic])
    take_until(consumer, ledger, check.HALF)
    for done in consumer.commit(offsets=positions(topic, ledger), asynchronous=False):
        expect(f"commit of partition {done.partition}", None, done.error)
    described = results(admin.describe_consumer_groups([group]))[group]
    expect("state of a group with a member", "STABLE", described.state.name)
    expect("members", 1, len(described.members))
    assigned = sorted(tp.partition for tp in described.members[0].assignment.topic_partitions)
    expect("partitions assigned to the only member", list(range(check.PARTITIONS)), assigned)
    consumer.close()


def consume_rest(broker, topic, group, ledger):
    consumer = consumer_of(broker, group)
    consumer.subscribe([topic])
    take_until(consumer, ledger, check.TOTAL)
    expect("a record after the last one", False, take(consumer.poll(1), ledger))
    consumer.commit(offsets=positions(topic, ledger), asynchronous=False)
    asked = [TopicPartition(topic, p) for p in range(check.PARTITIONS)]
    committed = {tp.partition: tp.offset for tp in consumer.committed(asked, timeout=WAIT)}
    expect("offsets committed", ledger.next_offset, committed)
    consumer.close()


def lookup_by_time(broker, topic, ledger):
    step("look offsets up by time, and seek there")
    consumer = consumer_of(broker, f"{topic}-none")
    for n in (0, 123, check.TOTAL - 1):
        asked = [TopicPartition(topic, p, check.time_of(n)) for p in range(check.PARTITIONS)]
        for found in consumer.offsets_for_times(asked, timeout=WAIT):
            want = ledger.first_at_or_after(found.partition, check.time_of(n))
            # librdkafka gives the end of the partition (-1) where nothing is that young.
            expect(f"offset of time {n} in {found.partition}", -1 if want is None else want, found.offset)
    partition, offset = ledger.seen[321]
    consumer.assign([TopicPartition(topic, partition, offset)])
    message = check.wait_until("a record after a seek", WAIT, lambda: consumer.poll(0.5))
    expect("error after a seek", None, message.error())
    expect("value after a seek", check.value_of(321), message.value())
    consumer.close()


def inspect_group(admin, topic, group, ends):
    step("list and describe the group")
    groups = admin.list_consumer_groups().result(timeout=WAIT)
    expect("errors of the group list", [], groups.errors)
    states = {g.group_id: g.state.name for g in groups.valid}
    expect("state in the group list", "EMPTY", states.get(group))
    described = results(admin.describe_consumer_groups([group]))[group]
    expect("state of a group without members", "EMPTY", described.state.name)
    expect("members", [], described.members)
    asked = ConsumerGroupTopicPartitions(group)
    committed = results(admin.list_consumer_group_offsets([asked]))[group]
    want = {p: (offset, f"at {offset}") for p, offset in ends.items()}
    expect("offsets of the group, with their text", want, {tp.partition: (tp.offset, tp.metadata) for tp in committed.topic_partitions})


def share(broker, topic, group):
    step("two members of one group")
    first, second = consumer_of(broker, group), consumer_of(broker, group)
    seen = set()

    def poll(consumer):
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            expect_true("topic of a record", message.topic() == topic, message.topic())
            if consumer is second:
                seen.add(next(int(value) for name, value in message.headers() if name == "n"))

    def owned(consumer):
        return {tp.partition for tp in consumer.assignment()}

    every = set(range(check.PARTITIONS))

    def divided():
        poll(first)
        poll(second)
        mine, yours = owned(first), owned(second)
        return mine and yours and not mine & yours and mine | yours == every

    first.subscribe([topic])
    check.wait_until("all partitions with the first member", WAIT, lambda: poll(first) or owned(first) == every)
    second.subscribe([topic])
    check.wait_until("partitions divided between two members", WAIT, divided)
    first.close()
    check.wait_until("all partitions with the member that stayed", WAIT, lambda: poll(second) or owned(second) == every)
    # Nothing was committed, so this member has read every record itself: what the other had comes again.
    check.wait_until("every record with the member that stayed", WAIT, lambda: poll(second) or len(seen) == check.TOTAL, pause=0)
    second.close()


def grow(admin, topic):
    step("add a partition")
    results(admin.create_partitions([NewPartitions(topic, check.PARTITIONS + 1)]))
    check.settle()
    listed = admin.list_topics(topic, timeout=WAIT)
    expect("partitions after one was added", list(range(check.PARTITIONS + 1)), sorted(listed.topics[topic].partitions))


def remove(admin, topic, groups):
    step("delete the groups and the topic")
    results(admin.delete_consumer_groups(groups))
    left = {g.group_id for g in admin.list_consumer_groups().result(timeout=WAIT).valid}
    expect("deleted groups still listed", set(), left & set(groups))
    results(admin.delete_topics([topic]))
    check.settle()
    expect("deleted topic still listed", False, topic in admin.list_topics(timeout=WAIT).topics)


if __name__ == "__main__":
    library = confluent_kafka.libversion()[0]
    check.main("confluent-kafka", f"{confluent_kafka.version()} (librdkafka {library})", run)
