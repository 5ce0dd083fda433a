"""kafka-dump-log over compacted partitions: batches of every codec that lost some of their records or all of them, with
tombstones that wait for their time and tombstones whose time was up, cleaned by the broker several times, killed once.

As dump_log.py, whose looks it shares, this one starts brokers of its own, from the binary it is given.
"""

import os
import pathlib
import random
import tempfile

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import check
import process
from check import expect, expect_true, step
from dump_log import Broker, Files, inspect_snapshots

# What is in a topic's name: whether its tombstones are still there at the end.
TOPICS = {"tombstones-kept": 3_600_000, "tombstones-gone": 0}
KEYS, EACH, ROUNDS = 40, 120, 3
WAIT = 30
SETTINGS = {
    "cleanup.policy": "compact",
    "segment.bytes": "16384",
    "index.interval.bytes": "512",
    "min.cleanable.dirty.ratio": "0.01",
    # Closes the last segment, too, so that all is compacted a second after it was written.
    "max.compaction.lag.ms": "1000",
}


class Updates:
    """What was produced: of every topic the acknowledged records by offset, and the last value of each key."""

    def __init__(self):
        self.records = {topic: {} for topic in TOPICS}
        self.random = random.Random(11)

    def send(self, broker, codec, count):
        """Updates of this codec's keys, every tenth a deletion, by a producer of their own."""
        settings = {"enable.idempotence": True, "compression.type": codec, "linger.ms": 2, "batch.num.messages": 7}
        producer = Producer({"bootstrap.servers": broker.address, **settings})
        for n in range(count):
            key = f"{codec}-{self.random.randrange(KEYS)}"
            value = None if n % 10 == 3 else self.random.randbytes(100).hex()
            for topic in TOPICS:
                producer.produce(topic, key=key, value=value, partition=0, on_delivery=self.delivered(topic, key, value))
            producer.poll(0)
        expect(f"records not delivered with {codec}", 0, producer.flush(WAIT))

    def delivered(self, topic, key, value):
        def note(error, message):
            expect("error of a delivery", None, error)
            self.records[topic][message.offset()] = (key, value)

        return note

    def lasts(self, topic):
        """The last record of each key: its offset and value."""
        return {key: (offset, value) for offset, (key, value) in sorted(self.records[topic].items())}

    def end(self, topic):
        return max(self.records[topic]) + 1


def cleaned_to(data, topic):
    """Up to where the broker has compacted it, as its checkpoint tells."""
    file = data / "cleaner-offset-checkpoint"
    lines = file.read_text().split("\n") if file.exists() else []
    return max((int(line.split()[2]) for line in lines if line.startswith(f"{topic} 0 ")), default=0)


def wait_until_clean(data, updates):
    for topic in TOPICS:
        check.wait_until(f"compaction of {topic}", WAIT, lambda topic=topic: cleaned_to(data, topic) >= updates.end(topic))


def create(broker):
    admin = AdminClient({"bootstrap.servers": broker.address})
    topics = [
        NewTopic(topic, 1, 1, config={**SETTINGS, "delete.retention.ms": str(kept)}) for topic, kept in TOPICS.items()
    ]
    for made in admin.create_topics(topics).values():
        made.result(timeout=WAIT)


def inspect(data, topic, updates):
    files = Files(data / f"{topic}-0", compacted=True)
    contents = files.sound()
    found = {offset: (key, value) for offset, key, value in contents.records()}
    others = {offset: record for offset, record in found.items() if updates.records[topic].get(offset) != record}
    expect(f"records of {topic} that are not what was sent", {}, others)
    lasts = updates.lasts(topic)
    live = {key: last for key, last in lasts.items() if last[1] is not None}
    expect(f"values left in {topic}", live, {key: (at, value) for at, (key, value) in found.items() if value is not None})
    deleted = {key: last for key, last in lasts.items() if last[1] is None}
    expect_true(f"keys of {topic} that end deleted", len(deleted) > 5, deleted)
    tombstones = {key: (at, value) for at, (key, value) in found.items() if value is None}
    expect(f"tombstones left in {topic}", {} if TOPICS[topic] == 0 else deleted, tombstones)
    inspect_batches(files, topic, contents)


def inspect_batches(files, topic, contents):
    batches = contents.batches()
    full = [batch for batch in batches if int(batch["count"]) > 0]
    expect(f"codecs in {topic}", sorted(check.CODECS), sorted({batch["compresscodec"] for batch in full}))
    expect_true(f"{topic} must have emptied batches: producers are known by them", len(full) < len(batches), batches)
    short = [batch for batch in full if int(batch["count"]) <= int(batch["lastOffset"]) - int(batch["baseOffset"])]
    expect_true(f"{topic} must have batches that lost records", short, full)
    marked = [batch for batch in full if batch["deleteHorizonMs"].startswith("OptionalLong[")]
    expect_true(f"{topic} must have batches with delete horizons", marked, full)
    bases = [int(log.stem) for log in files.all("log")]
    expect_true(f"{topic} must have several segments", len(bases) >= 3, bases)
    for kind, entry_bytes in (("index", 8), ("timeindex", 12)):
        entries = sum(file.stat().st_size for file in files.all(kind)) // entry_bytes
        expect_true(f"there must be {kind} entries in {topic}", entries > 10, entries)
    inspect_snapshots(files, bases[1:], batches, contents.producers())
    gaps = Files(files.folder).contents().complaints
    expect_true(f"gaps in {topic} must be seen where none may be", any("is followed by" in gap for gap in gaps), gaps)


def run(binary):
    os.environ["STREAMD_LOG_CLEANER_BACKOFF_MS"] = "50"
    with tempfile.TemporaryDirectory(prefix="streamd-compacted-") as home:
        home = pathlib.Path(home)
        data, updates = home / "data", Updates()
        for turn in range(ROUNDS):
            with Broker(binary, home) as broker:
                step(f"produce with every codec and wait for compaction, round {turn + 1}")
                if turn == 0:
                    create(broker)
                for codec in check.CODECS:
                    updates.send(broker, codec, EACH)
                wait_until_clean(data, updates)
                if turn == ROUNDS - 1:
                    # What goes by its time goes with the cleaning after that.
                    updates.send(broker, "none", 1)
                    wait_until_clean(data, updates)
                    broker.stop()
                else:
                    broker.kill()
        step("kafka-dump-log after kill -9 twice, more compaction and a clean stop")
        for topic in TOPICS:
            inspect(data, topic, updates)
        counts = [len(updates.records[topic]) for topic in TOPICS]
        print(f"note: of {sum(counts):,} records the last of {KEYS * len(check.CODECS)} keys", flush=True)


if __name__ == "__main__":
    check.main("kafka-dump-compacted", process.kafka_version(), run, "BROKER_BINARY")
