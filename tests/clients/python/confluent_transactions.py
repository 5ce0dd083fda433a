"""librdkafka's transactions, through confluent-kafka, against a broker."""

import time

import confluent_kafka
from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

import check
import ledgers
from check import expect, expect_true, step

WAIT = 30
EACH = ledgers.EACH


def run(broker):
    name = check.fresh_name("confluent-txn")
    admin = AdminClient({"bootstrap.servers": broker})
    source, target = f"{name}-in", f"{name}-out"
    for future in admin.create_topics([NewTopic(topic, check.PARTITIONS, 1) for topic in (source, target)]).values():
        future.result(timeout=WAIT)
    check.settle()
    producer = producer_of(broker, f"{name}-a")
    ends(broker, producer, source)
    held_back(broker, admin, producer, source)
    fenced(broker, producer, source, f"{name}-a")
    process(broker, admin, source, target, name)
    for future in admin.delete_topics([source, target]).values():
        future.result(timeout=WAIT)


def producer_of(broker, transactional_id):
    producer = Producer({"bootstrap.servers": broker, "transactional.id": transactional_id, "linger.ms": 5})
    producer.init_transactions(WAIT)
    return producer


def consumer_of(broker, group, isolation):
    return Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
        }
    )


def write(producer, topic, words):
    """One record a word, spread over the partitions."""
    for n, word in enumerate(words):
        producer.produce(topic, key=f"k{n}", value=word, partition=n % check.PARTITIONS)
    expect("records not delivered", 0, producer.flush(WAIT))


def read(broker, topic, isolation):
    """What a consumer of this isolation sees from the first record on to the end it is told, by partition."""
    consumer = consumer_of(broker, f"{topic}-reader", isolation)
    consumer.assign([TopicPartition(topic, p, 0) for p in range(check.PARTITIONS)])
    seen, ended = {p: [] for p in range(check.PARTITIONS)}, set()
    end = time.monotonic() + WAIT
    while len(ended) < check.PARTITIONS:
        expect_true(f"the end of every partition of {topic}", time.monotonic() < end, ended)
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            ended.add(message.partition())
        else:
            seen[message.partition()].append(message.value().decode())
    consumer.close()
    return seen


def ends(broker, producer, topic):
    step("commit, abort, commit")
    for kind in ledgers.ROUNDS:
        producer.begin_transaction()
        write(producer, topic, ledgers.words(kind))
        producer.commit_transaction(WAIT) if kind != "aborted" else producer.abort_transaction(WAIT)
    check.settle()
    expect("what is committed", ledgers.committed(), read(broker, topic, "read_committed"))
    expect("all that was written", ledgers.everything(), read(broker, topic, "read_uncommitted"))


def ends_of(admin, topic, isolation):
    asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(check.PARTITIONS)}
    found = admin.list_offsets(asked, isolation_level=isolation)
    return {tp.partition: future.result(timeout=WAIT).offset for tp, future in found.items()}


def held_back(broker, admin, producer, topic):
    step("an open transaction holds readers back")
    before = ends_of(admin, topic, IsolationLevel.READ_COMMITTED)
    producer.begin_transaction()
    write(producer, topic, ledgers.words("open"))
    expect("the stable end", before, ends_of(admin, topic, IsolationLevel.READ_COMMITTED))
    moved = {p: before[p] + EACH // check.PARTITIONS for p in before}
    expect("the end", moved, ends_of(admin, topic, IsolationLevel.READ_UNCOMMITTED))
    expect("what is committed", ledgers.committed(), read(broker, topic, "read_committed"))
    producer.abort_transaction(WAIT)
    check.settle()
    # One more for the marker.
    expect("the end after it", {p: moved[p] + 1 for p in moved}, ends_of(admin, topic, IsolationLevel.READ_COMMITTED))


def fenced(broker, producer, topic, transactional_id):
    step("a second producer of the same transactional id")
    producer.begin_transaction()
    write(producer, topic, ledgers.words("zombie"))
    second = producer_of(broker, transactional_id)
    try:
        producer.commit_transaction(WAIT)
        raise check.Mismatch("the first producer's commit: expected a refusal, got success")
    except KafkaException as error:
        expect("the first producer's commit is fatal", True, error.args[0].fatal())
    second.begin_transaction()
    write(second, topic, ledgers.words("last"))
    second.commit_transaction(WAIT)
    check.settle()
    expect("what is committed", ledgers.committed("last"), read(broker, topic, "read_committed"))


def process(broker, admin, source, target, name):
    """Reads, writes what it read to the other topic, commits both as one; some transactions are aborted."""
    step("read, process, write")
    group = f"{name}-group"
    consumer = consumer_of(broker, group, "read_committed")
    consumer.subscribe([source])
    producer = producer_of(broker, f"{name}-b")
    wanted = sum(len(words) for words in ledgers.committed("last").values())
    done, batch, turn = 0, [], 0
    end = time.monotonic() + WAIT
    while done < wanted:
        expect_true("records processed in time", time.monotonic() < end, done)
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            batch.append(message)
        if len(batch) < min(7, wanted - done):
            continue
        turn += 1
        producer.begin_transaction()
        for message in batch:
            producer.produce(target, value=message.value(), partition=message.partition())
        positions = [p for p in consumer.position(consumer.assignment()) if p.offset >= 0]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), WAIT)
        if turn % 3 == 0:
            producer.abort_transaction(WAIT)
            for position in consumer.committed(consumer.assignment(), WAIT):
                consumer.seek(TopicPartition(source, position.partition, max(position.offset, 0)))
        else:
            producer.commit_transaction(WAIT)
            done += len(batch)
        batch = []
    expect_true("some were aborted", turn >= 3, turn)
    check.settle()
    expect("what came out", ledgers.committed("last"), read(broker, target, "read_committed"))
    asked = [TopicPartition(source, p) for p in range(check.PARTITIONS)]
    committed = {p.partition: p.offset for p in consumer.committed(asked, WAIT)}
    stable = ends_of(admin, source, IsolationLevel.READ_COMMITTED)
    for p, offset in committed.items():
        # A position stands behind the last record, or behind the marker that follows it.
        expect_true(f"offset committed in {p}", stable[p] - 1 <= offset <= stable[p], (offset, stable[p]))
    consumer.close()


if __name__ == "__main__":
    library = confluent_kafka.libversion()[0]
    check.main("confluent-transactions", f"{confluent_kafka.version()} (librdkafka {library})", run)
