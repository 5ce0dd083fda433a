"""kafka-python, the client written in Python alone, against a broker."""

import threading

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, OffsetSpec
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

import check
from check import expect, expect_true, step

WAIT = 30


def run(broker):
    topic = check.fresh_name("kafka-python")
    group = f"{topic}-group"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    create(admin, topic)
    sent = produce(broker, topic)
    ledger = check.Ledger()
    step("first member of the group, from the earliest record")
    consume_part(broker, admin, topic, group, ledger)
    step("the same group again, from where it left off")
    consume_rest(broker, topic, group, ledger)
    ledger.complete(sent)
    look_up(broker, admin, topic, ledger)
    inspect_group(admin, topic, group, ledger)
    share(broker, topic, f"{topic}-shared")
    remove(admin, topic, [group, f"{topic}-shared"])
    admin.close()


def create(admin, topic):
    step("create a topic")
    new = {topic: {"num_partitions": check.PARTITIONS, "replication_factor": 1, "configs": {"retention.ms": "86400000"}}}
    admin.create_topics(new)
    check.settle()
    try:
        admin.create_topics(new)
        raise check.Mismatch("creating a topic twice: expected TOPIC_ALREADY_EXISTS, got success")
    except TopicAlreadyExistsError:
        pass
    step("list and describe it")
    expect_true("topic list must name the topic", topic in admin.list_topics(), admin.list_topics())
    described = admin.describe_topics([topic])[0]
    expect("partitions", list(range(check.PARTITIONS)), sorted(p["partition_index"] for p in described["partitions"]))
    brokers = [b["broker_id"] for b in admin.describe_cluster()["brokers"]]
    for partition in described["partitions"]:
        expect_true("leader must be a broker of the cluster", partition["leader_id"] in brokers, partition)
    config = admin.describe_configs([ConfigResource("topic", topic)])["topic"][topic]
    expect("retention.ms", "86400000", config["retention.ms"]["value"])


def produce(broker, topic):
    sent = {}
    for codec in check.CODECS:
        step(f"produce with {codec}")
        producer = KafkaProducer(
            bootstrap_servers=broker,
            acks="all",
            enable_idempotence=True,
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
        )
        futures = {}
        for n in [n for n in range(check.TOTAL) if check.codec_of(n) == codec]:
            futures[n] = producer.send(
                topic,
                key=check.key_of(n),
                value=check.value_of(n),
                headers=check.headers_of(n),
                timestamp_ms=check.time_of(n),
            )
        producer.flush(WAIT)
        for n, future in futures.items():
            metadata = future.get(WAIT)
            sent[n] = (metadata.partition, metadata.offset)
        producer.close()
    return sent


def consumer_of(broker, group, **more):
    return KafkaConsumer(
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        heartbeat_interval_ms=300,
        # Longer than this program waits for anything: a member that leaves must say so.
        session_timeout_ms=45000,
        max_partition_fetch_bytes=20000,
        max_poll_records=50,
        **more,
    )


def poll(consumer, milliseconds, ledger):
    """Gives what one poll brings to the ledger; how many records that were."""
    count = 0
    for partition, records in consumer.poll(timeout_ms=milliseconds).items():
        for r in records:
            ledger.take(partition.partition, r.offset, r.key, r.value, r.headers, r.timestamp)
            count += 1
    return count


def commit(consumer, topic, ledger):
    offsets = {TopicPartition(topic, p): OffsetAndMetadata(o, f"at {o}", -1) for p, o in ledger.next_offset.items()}
    consumer.commit(offsets)


def consume_part(broker, admin, topic, group, ledger):
    consumer = consumer_of(broker, group)
    consumer.subscribe([topic])
    check.wait_until("half of the records", WAIT, lambda: poll(consumer, 500, ledger) and len(ledger.seen) >= check.HALF, pause=0)
    commit(consumer, topic, ledger)
    described = admin.describe_groups([group])[group]
    expect("state of a group with a member", "Stable", described["group_state"])
    expect("members", 1, len(described["members"]))
    consumer.close()


def consume_rest(broker, topic, group, ledger):
    consumer = consumer_of(broker, group)
    consumer.subscribe([topic])
    check.wait_until("all records", WAIT, lambda: poll(consumer, 500, ledger) and len(ledger.seen) >= check.TOTAL, pause=0)
    expect("records after the last one", 0, poll(consumer, 1000, ledger))
    commit(consumer, topic, ledger)
    for partition, offset in ledger.next_offset.items():
        expect(f"offset committed in {partition}", offset, consumer.committed(TopicPartition(topic, partition)))
    consumer.close()


def look_up(broker, admin, topic, ledger):
    step("look offsets up, by place and by time, and seek there")
    partitions = [TopicPartition(topic, p) for p in range(check.PARTITIONS)]
    consumer = consumer_of(broker, None)
    ends = consumer.end_offsets(partitions)
    expect("end offsets", ledger.next_offset, {tp.partition: offset for tp, offset in ends.items()})
    starts = consumer.beginning_offsets(partitions)
    expect("beginning offsets", [0] * check.PARTITIONS, list(starts.values()))
    for n in (0, 123, check.TOTAL - 1):
        found = consumer.offsets_for_times({tp: check.time_of(n) for tp in partitions})
        for tp in partitions:
            want = ledger.first_at_or_after(tp.partition, check.time_of(n))
            expect(f"offset of time {n} in {tp.partition}", want, found[tp] and found[tp].offset)
    youngest = admin.list_partition_offsets({tp: OffsetSpec.MAX_TIMESTAMP for tp in partitions})
    for tp in partitions:
        last = max(n for n, place in ledger.seen.items() if place[0] == tp.partition)
        got = (youngest[tp].offset, youngest[tp].timestamp)
        expect(f"youngest record of {tp.partition}", (ledger.seen[last][1], check.time_of(last)), got)
    partition, offset = ledger.seen[321]
    at = TopicPartition(topic, partition)
    consumer.assign([at])
    consumer.seek(at, offset)
    records = check.wait_until("a record after a seek", WAIT, lambda: consumer.poll(timeout_ms=500))
    expect("value after a seek", check.value_of(321), records[at][0].value)
    consumer.close()


def inspect_group(admin, topic, group, ledger):
    step("list and describe the group")
    listed = {g["group_id"]: g for g in admin.list_groups()}
    expect_true("group list must name the group", group in listed, sorted(listed))
    expect("protocol type in the group list", "consumer", listed[group]["protocol_type"])
    described = admin.describe_groups([group])[group]
    expect("state of a group without members", "Empty", described["group_state"])
    committed = admin.list_group_offsets({group: None})[group]
    want = {TopicPartition(topic, p): (o, f"at {o}") for p, o in ledger.next_offset.items()}
    expect("offsets of the group, with their text", want, {tp: (o.offset, o.metadata) for tp, o in committed.items()})


class Member(threading.Thread):
    """A consumer on its own thread, as programs run them. Its polls are long, because this client loses an assignment
    whose answer arrives after a poll has given up."""

    def __init__(self, broker, topic, group):
        super().__init__(daemon=True)
        self.consumer = consumer_of(broker, group)
        self.consumer.subscribe([topic])
        self.seen = set()
        self.owned = set()
        self.leaving = False
        self.start()

    def run(self):
        while not self.leaving:
            for records in self.consumer.poll(timeout_ms=1000).values():
                for r in records:
                    self.seen.add(next(int(value) for name, value in r.headers if name == "n"))
            self.owned = {tp.partition for tp in self.consumer.assignment()}
        self.consumer.close()

    def leave(self):
        self.leaving = True
        self.join(WAIT)
        expect("a member that was told to leave still runs", False, self.is_alive())


def share(broker, topic, group):
    step("two members of one group")
    every = set(range(check.PARTITIONS))
    first = Member(broker, topic, group)
    check.wait_until("all partitions with the first member", WAIT, lambda: first.owned == every)
    second = Member(broker, topic, group)

    def divided():
        mine, yours = first.owned, second.owned
        return mine and yours and not mine & yours and mine | yours == every

    check.wait_until("partitions divided between two members", WAIT, divided)
    first.leave()
    check.wait_until("all partitions with the member that stayed", WAIT, lambda: second.owned == every)
    # Nothing was committed, so this member has read every record itself: what the other had comes again.
    check.wait_until("every record with the member that stayed", WAIT, lambda: len(second.seen) == check.TOTAL)
    second.leave()


def remove(admin, topic, groups):
    step("delete the groups and the topic")
    deleted = admin.delete_groups(groups)
    expect_true("each group's deletion must succeed", len(deleted) == len(groups), deleted)
    left = {g["group_id"] for g in admin.list_groups()} & set(groups)
    expect("deleted groups still listed", set(), left)
    admin.delete_topics([topic])
    check.settle()
    expect("deleted topic still listed", False, topic in admin.list_topics())


if __name__ == "__main__":
    check.main("kafka-python", kafka.__version__, run)
