"""aiokafka's transactions against a broker."""

import asyncio

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced

import check
import ledgers
from check import expect, expect_true, step

WAIT = 30


async def run(broker):
    name = check.fresh_name("aiokafka-txn")
    source, target = f"{name}-in", f"{name}-out"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic(topic, check.PARTITIONS, 1) for topic in (source, target)])
    check.settle()
    producer = await producer_of(broker, f"{name}-a")
    await ends(broker, producer, source)
    await held_back(broker, producer, source)
    await fenced(broker, producer, source, f"{name}-a")
    await process(broker, source, target, name)
    await admin.delete_topics([source, target])
    await admin.close()


async def producer_of(broker, transactional_id):
    producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id=transactional_id, linger_ms=5)
    await producer.start()
    return producer


def consumer_of(broker, group, isolation):
    return AIOKafkaConsumer(
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level=isolation,
    )


async def write(producer, topic, words):
    """One record a word, spread over the partitions."""
    sent = [
        await producer.send(topic, key=f"k{n}".encode(), value=word.encode(), partition=n % check.PARTITIONS)
        for n, word in enumerate(words)
    ]
    await asyncio.gather(*sent)


async def read(broker, topic, isolation, count):
    """The first `count` records that a consumer of this isolation sees, and what comes in half a second after them."""
    consumer = consumer_of(broker, None, isolation)
    await consumer.start()
    partitions = [TopicPartition(topic, p) for p in range(check.PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    seen, quiet = {p: [] for p in range(check.PARTITIONS)}, 0
    end = asyncio.get_running_loop().time() + WAIT
    while quiet < 1:
        expect_true(f"{count} records of {topic}", asyncio.get_running_loop().time() < end, seen)
        taken = await consumer.getmany(timeout_ms=500)
        for partition, messages in taken.items():
            seen[partition.partition] += [m.value.decode() for m in messages]
        quiet += sum(map(len, seen.values())) >= count and not taken
    await consumer.stop()
    return seen


def total(seen):
    return sum(map(len, seen.values()))


async def expect_read(broker, topic, isolation, wanted):
    expect(f"what is {isolation}", wanted, await read(broker, topic, isolation, total(wanted)))


async def ends(broker, producer, topic):
    step("commit, abort, commit")
    for kind in ledgers.ROUNDS:
        await producer.begin_transaction()
        await write(producer, topic, ledgers.words(kind))
        await (producer.abort_transaction() if kind == "aborted" else producer.commit_transaction())
    await expect_read(broker, topic, "read_committed", ledgers.committed())
    await expect_read(broker, topic, "read_uncommitted", ledgers.everything())


async def held_back(broker, producer, topic):
    step("an open transaction holds readers back")
    await producer.begin_transaction()
    await write(producer, topic, ledgers.words("open"))
    await expect_read(broker, topic, "read_committed", ledgers.committed())
    await producer.abort_transaction()


async def fenced(broker, producer, topic, transactional_id):
    step("a second producer of the same transactional id")
    await producer.begin_transaction()
    await write(producer, topic, ledgers.words("zombie"))
    second = await producer_of(broker, transactional_id)
    try:
        await producer.commit_transaction()
        raise check.Mismatch("the first producer's commit: expected a refusal, got success")
    except ProducerFenced:
        pass
    await second.begin_transaction()
    await write(second, topic, ledgers.words("last"))
    await second.commit_transaction()
    await expect_read(broker, topic, "read_committed", ledgers.committed("last"))
    await second.stop()


async def process(broker, source, target, name):
    """Reads, writes what it read to the other topic, commits both as one; some transactions are aborted."""
    step("read, process, write")
    group = f"{name}-group"
    consumer = consumer_of(broker, group, "read_committed")
    await consumer.start()
    consumer.subscribe([source])
    producer = await producer_of(broker, f"{name}-b")
    wanted = total(ledgers.committed("last"))
    done = turn = 0
    end = asyncio.get_running_loop().time() + WAIT
    while done < wanted:
        expect_true("records processed in time", asyncio.get_running_loop().time() < end, done)
        taken = await consumer.getmany(timeout_ms=200, max_records=7)
        if not taken:
            continue
        turn += 1
        await producer.begin_transaction()
        for partition, messages in taken.items():
            for message in messages:
                await producer.send(target, value=message.value, partition=partition.partition)
        offsets = {partition: messages[-1].offset + 1 for partition, messages in taken.items()}
        await producer.send_offsets_to_transaction(offsets, group)
        if turn % 3 == 0:
            await producer.abort_transaction()
            for partition in taken:
                consumer.seek(partition, await consumer.committed(partition) or 0)
        else:
            await producer.commit_transaction()
            done += sum(map(len, taken.values()))
    expect_true("some were aborted", turn >= 3, turn)
    await expect_read(broker, target, "read_committed", ledgers.committed("last"))
    for p in range(check.PARTITIONS):
        expect_true(f"an offset is committed in {p}", await consumer.committed(TopicPartition(source, p)), p)
    await producer.stop()
    await consumer.stop()


if __name__ == "__main__":
    check.main("aiokafka-transactions", aiokafka.__version__, lambda broker: asyncio.run(run(broker)))
