"""kafka-python's transactions against a broker."""

import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import InvalidProducerEpochError, ProducerFencedError
from kafka.structs import OffsetAndMetadata

import check
import ledgers
from check import expect, expect_true, step

WAIT = 30


def run(broker):
    name = check.fresh_name("kafka-python-txn")
    source, target = f"{name}-in", f"{name}-out"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    new = {"num_partitions": check.PARTITIONS, "replication_factor": 1}
    admin.create_topics({source: new, target: new})
    check.settle()
    producer = producer_of(broker, f"{name}-a")
    ends(broker, producer, source)
    held_back(broker, admin, producer, source, f"{name}-a")
    fenced(broker, producer, source, f"{name}-a")
    process(broker, source, target, name)
    admin.delete_topics([source, target])
    admin.close()


def producer_of(broker, transactional_id):
    producer = KafkaProducer(bootstrap_servers=broker, transactional_id=transactional_id, linger_ms=5)
    producer.init_transactions()
    return producer


def consumer_of(broker, group, isolation):
    return KafkaConsumer(
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level=isolation,
        fetch_max_wait_ms=100,
        max_poll_records=7,
    )


def partitions_of(topic):
    return [TopicPartition(topic, p) for p in range(check.PARTITIONS)]


def write(producer, topic, words):
    """One record a word, spread over the partitions."""
    sent = [
        producer.send(topic, key=f"k{n}".encode(), value=word.encode(), partition=n % check.PARTITIONS)
        for n, word in enumerate(words)
    ]
    producer.flush(WAIT)
    for future in sent:
        future.get(WAIT)


def read(broker, topic, isolation):
    """What a consumer of this isolation sees from the first record on to the end it is told, by partition."""
    consumer = consumer_of(broker, None, isolation)
    partitions = partitions_of(topic)
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    seen, told = {p: [] for p in range(check.PARTITIONS)}, consumer.end_offsets(partitions)
    end = time.monotonic() + WAIT
    while any(consumer.position(partition) < told[partition] for partition in partitions):
        expect_true(f"the end of every partition of {topic}", time.monotonic() < end, seen)
        for partition, records in consumer.poll(timeout_ms=200).items():
            seen[partition.partition] += [record.value.decode() for record in records]
    consumer.close()
    return seen


def ends(broker, producer, topic):
    step("commit, abort, commit")
    for kind in ledgers.ROUNDS:
        producer.begin_transaction()
        write(producer, topic, ledgers.words(kind))
        producer.abort_transaction() if kind == "aborted" else producer.commit_transaction()
    check.settle()
    expect("what is committed", ledgers.committed(), read(broker, topic, "read_committed"))
    expect("all that was written", ledgers.everything(), read(broker, topic, "read_uncommitted"))


def stable_ends(broker, topic):
    consumer = consumer_of(broker, None, "read_committed")
    found = consumer.end_offsets(partitions_of(topic))
    consumer.close()
    return {partition.partition: offset for partition, offset in found.items()}


def held_back(broker, admin, producer, topic, transactional_id):
    step("an open transaction holds readers back")
    before = stable_ends(broker, topic)
    producer.begin_transaction()
    write(producer, topic, ledgers.words("open"))
    expect("the stable end", before, stable_ends(broker, topic))
    expect("what is committed", ledgers.committed(), read(broker, topic, "read_committed"))
    described = admin.describe_transactions([transactional_id])[transactional_id]
    expect("its state", "Ongoing", described.state.value)
    producer.abort_transaction()
    check.settle()
    # One more for the marker.
    moved = {p: offset + ledgers.EACH // check.PARTITIONS + 1 for p, offset in before.items()}
    expect("the stable end after it", moved, stable_ends(broker, topic))


def fenced(broker, producer, topic, transactional_id):
    step("a second producer of the same transactional id")
    producer.begin_transaction()
    write(producer, topic, ledgers.words("zombie"))
    second = producer_of(broker, transactional_id)
    try:
        producer.commit_transaction()
        raise check.Mismatch("the first producer's commit: expected a refusal, got success")
    except (ProducerFencedError, InvalidProducerEpochError) as refused:
        step(f"refused: {type(refused).__name__}")
    second.begin_transaction()
    write(second, topic, ledgers.words("last"))
    second.commit_transaction()
    check.settle()
    expect("what is committed", ledgers.committed("last"), read(broker, topic, "read_committed"))
    second.close()


def process(broker, source, target, name):
    """Reads, writes what it read to the other topic, commits both as one; some transactions are aborted."""
    step("read, process, write")
    consumer = consumer_of(broker, f"{name}-group", "read_committed")
    consumer.subscribe([source])
    producer = producer_of(broker, f"{name}-b")
    wanted = sum(len(words) for words in ledgers.committed("last").values())
    done = turn = 0
    end = time.monotonic() + WAIT
    while done < wanted:
        expect_true("records processed in time", time.monotonic() < end, done)
        taken = consumer.poll(timeout_ms=200)
        if not taken:
            continue
        turn += 1
        producer.begin_transaction()
        for partition, records in taken.items():
            for record in records:
                producer.send(target, value=record.value, partition=partition.partition)
        offsets = {at: OffsetAndMetadata(records[-1].offset + 1, "", -1) for at, records in taken.items()}
        producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
        if turn % 3 == 0:
            producer.abort_transaction()
            for partition in taken:
                consumer.seek(partition, consumer.committed(partition) or 0)
        else:
            producer.commit_transaction()
            done += sum(map(len, taken.values()))
    expect_true("some were aborted", turn >= 3, turn)
    check.settle()
    expect("what came out", ledgers.committed("last"), read(broker, target, "read_committed"))
    stable = stable_ends(broker, source)
    for partition in partitions_of(source):
        # Behind the last record, which a marker follows.
        expect(f"offset committed in {partition.partition}", stable[partition.partition] - 1, consumer.committed(partition))
    producer.close()
    consumer.close()


if __name__ == "__main__":
    check.main("kafka-python-transactions", kafka.__version__, run)
