"""aiokafka, the asyncio client, against a broker."""

import asyncio

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

import check
from check import expect, expect_true, step

WAIT = 30
TOPIC_ALREADY_EXISTS = 36


async def run(broker):
    topic = check.fresh_name("aiokafka")
    group = f"{topic}-group"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await create(admin, topic)
    sent = await produce(broker, topic)
    ledger = check.Ledger()
    step("first member of the group, from the earliest record")
    await consume_part(broker, admin, topic, group, ledger)
    step("the same group again, from where it left off")
    await consume_rest(broker, topic, group, ledger)
    ledger.complete(sent)
    await look_up(broker, topic, ledger)
    await inspect_group(admin, topic, group, ledger)
    await share(broker, topic, f"{topic}-shared")
    await remove(admin, topic)
    await admin.close()


async def create(admin, topic):
    step("create a topic")
    new = NewTopic(topic, check.PARTITIONS, 1, topic_configs={"retention.ms": "86400000"})
    answer = await admin.create_topics([new])
    expect("creating a topic", [(topic, 0)], [answer.topic_errors[0][:2]])
    check.settle()
    answer = await admin.create_topics([new])
    expect("creating a topic twice", [(topic, TOPIC_ALREADY_EXISTS)], [answer.topic_errors[0][:2]])
    step("list and describe it")
    listed = await admin.list_topics()
    expect_true("topic list must name the topic", topic in listed, listed)
    described = (await admin.describe_topics([topic]))[0]
    expect("partitions", list(range(check.PARTITIONS)), sorted(p["partition"] for p in described["partitions"]))
    brokers = [b["node_id"] for b in (await admin.describe_cluster())["brokers"]]
    for partition in described["partitions"]:
        expect_true("leader must be a broker of the cluster", partition["leader"] in brokers, partition)
    answer = (await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0]
    entries = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    expect("retention.ms", "86400000", entries["retention.ms"])


async def produce(broker, topic):
    sent = {}
    for codec in check.CODECS:
        step(f"produce with {codec}")
        producer = AIOKafkaProducer(
            bootstrap_servers=broker,
            acks="all",
            enable_idempotence=True,
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
        )
        await producer.start()
        futures = {}
        for n in [n for n in range(check.TOTAL) if check.codec_of(n) == codec]:
            futures[n] = await producer.send(
                topic,
                key=check.key_of(n),
                value=check.value_of(n),
                headers=check.headers_of(n),
                timestamp_ms=check.time_of(n),
            )
        for n, future in futures.items():
            metadata = await asyncio.wait_for(future, WAIT)
            sent[n] = (metadata.partition, metadata.offset)
        await producer.stop()
    return sent


def consumer_of(broker, group):
    return AIOKafkaConsumer(
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        heartbeat_interval_ms=300,
        # Longer than this program waits for anything: a member that leaves must say so.
        session_timeout_ms=45000,
        max_partition_fetch_bytes=20000,
    )


async def take(consumer, milliseconds, limit, ledger):
    """Gives what one call brings to the ledger; how many records that were."""
    batches = await consumer.getmany(timeout_ms=milliseconds, max_records=limit)
    for partition, records in batches.items():
        for r in records:
            ledger.take(partition.partition, r.offset, r.key, r.value, r.headers, r.timestamp)
    return sum(len(records) for records in batches.values())


async def take_until(consumer, count, ledger):
    async def loop():
        while len(ledger.seen) < count:
            await take(consumer, 500, 50, ledger)

    await within(f"{count} records", loop(), lambda: len(ledger.seen))


async def within(what, wait, got=lambda: None):
    try:
        return await asyncio.wait_for(wait, WAIT)
    except asyncio.TimeoutError:
        raise check.Mismatch(f"{what}: not so after {WAIT} s, got {got()}") from None


async def until(what, fact):
    async def loop():
        while not fact():
            await asyncio.sleep(0.05)

    await within(what, loop())


async def commit(consumer, topic, ledger):
    offsets = {TopicPartition(topic, p): OffsetAndMetadata(o, f"at {o}") for p, o in ledger.next_offset.items()}
    await consumer.commit(offsets)


async def consume_part(broker, admin, topic, group, ledger):
    consumer = consumer_of(broker, group)
    consumer.subscribe([topic])
    await consumer.start()
    await take_until(consumer, check.HALF, ledger)
    await commit(consumer, topic, ledger)
    described = (await admin.describe_consumer_groups([group]))[0].groups[0]
    error, name, state, kind = described[:4]
    expect("description of a group with a member", (0, group, "Stable", "consumer"), (error, name, state, kind))
    expect("members", 1, len(described[5]))
    await consumer.stop()


async def consume_rest(broker, topic, group, ledger):
    consumer = consumer_of(broker, group)
    consumer.subscribe([topic])
    await consumer.start()
    await take_until(consumer, check.TOTAL, ledger)
    expect("records after the last one", 0, await take(consumer, 1000, None, ledger))
    await commit(consumer, topic, ledger)
    for partition, offset in ledger.next_offset.items():
        expect(f"offset committed in {partition}", offset, await consumer.committed(TopicPartition(topic, partition)))
    await consumer.stop()


async def look_up(broker, topic, ledger):
    step("look offsets up, by place and by time, and seek there")
    partitions = [TopicPartition(topic, p) for p in range(check.PARTITIONS)]
    consumer = consumer_of(broker, None)
    await consumer.start()
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    expect("end offsets", ledger.next_offset, {tp.partition: offset for tp, offset in ends.items()})
    starts = await consumer.beginning_offsets(partitions)
    expect("beginning offsets", [0] * check.PARTITIONS, list(starts.values()))
    for n in (0, 123, check.TOTAL - 1):
        found = await consumer.offsets_for_times({tp: check.time_of(n) for tp in partitions})
        for tp in partitions:
            want = ledger.first_at_or_after(tp.partition, check.time_of(n))
            expect(f"offset of time {n} in {tp.partition}", want, found[tp] and found[tp].offset)
    partition, offset = ledger.seen[321]
    at = TopicPartition(topic, partition)
    consumer.assign([at])
    consumer.seek(at, offset)
    record = await within("a record after a seek", consumer.getone())
    expect("value after a seek", check.value_of(321), record.value)
    await consumer.stop()


async def inspect_group(admin, topic, group, ledger):
    step("list and describe the group")
    listed = [tuple(entry[:2]) for entry in await admin.list_consumer_groups()]
    expect_true("group list must name the group", (group, "consumer") in listed, listed)
    described = (await admin.describe_consumer_groups([group]))[0].groups[0]
    expect("description of a group without members", (0, group, "Empty"), tuple(described[:3]))
    committed = await admin.list_consumer_group_offsets(group)
    want = {TopicPartition(topic, p): (o, f"at {o}") for p, o in ledger.next_offset.items()}
    expect("offsets of the group, with their text", want, {tp: (o.offset, o.metadata) for tp, o in committed.items()})


class Member(ConsumerRebalanceListener):
    """A consumer with its own task, and what it owns at the moment."""

    def __init__(self, broker, group):
        self.consumer = consumer_of(broker, group)
        self.seen = set()
        self.owned = set()
        self.task = None

    async def join(self, topic):
        self.consumer.subscribe([topic], listener=self)
        await within("start of a member", self.consumer.start())
        self.task = asyncio.ensure_future(self.read())

    async def on_partitions_revoked(self, revoked):
        self.owned = set()

    async def on_partitions_assigned(self, assigned):
        self.owned = {tp.partition for tp in assigned}

    async def read(self):
        async for record in self.consumer:
            self.seen.add(next(int(value) for name, value in record.headers if name == "n"))

    async def leave(self):
        self.task.cancel()
        await within("a member leaving", self.consumer.stop())


async def share(broker, topic, group):
    step("two members of one group")
    every = set(range(check.PARTITIONS))
    first, second = Member(broker, group), Member(broker, group)

    def divided():
        mine, yours = first.owned, second.owned
        return mine and yours and not mine & yours and mine | yours == every

    await first.join(topic)
    await until("all partitions with the first member", lambda: first.owned == every)
    await second.join(topic)
    await until("partitions divided between two members", divided)
    await first.leave()
    await until("all partitions with the member that stayed", lambda: second.owned == every)
    # Nothing was committed, so this member has read every record itself: what the other had comes again.
    await until("every record with the member that stayed", lambda: len(second.seen) == check.TOTAL)
    await second.leave()


async def remove(admin, topic):
    step("delete the topic")
    answer = await admin.delete_topics([topic])
    expect("deleting the topic", [(topic, 0)], [tuple(entry[:2]) for entry in answer.topic_error_codes])
    check.settle()
    expect("deleted topic still listed", False, topic in await admin.list_topics())


if __name__ == "__main__":
    check.main("aiokafka", aiokafka.__version__, lambda broker: asyncio.run(run(broker)))
