"""kafka-dump-log over the files of a broker: records of every codec in several segments with their indexes and producer
snapshots, committed offsets, and the catalog. The files are looked at after a clean stop, and after kill -9 under load,
a start and a stop. Then copies are damaged, and the same checks must notice; and one is repaired, and they must not.

Other than the programs beside it, this one starts brokers of its own, from the binary it is given.
"""

import json
import pathlib
import random
import re
import shutil
import sys
import tempfile

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import check
import process
from check import expect, expect_true, step
from dump import Dump, as_json

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests" / "clients" / "driver"))
import brokers  # noqa: E402 (stands beside the runner)

TOPIC, GROUP = "dumped", "dumped-group"
PARTITIONS = 2
EACH = 200
WAIT = 30
# Small, so that there are several segments and many index entries in each.
SETTINGS = {"segment.bytes": "16384", "index.interval.bytes": "512"}
# Records of the catalog that Kafka does not have, from 10,001 on: the tool names them and goes on.
OUR_RECORDS = r"Unknown metadata id 100\d\d$"
FILES = {"log": "*.log", "index": "*.index", "timeindex": "*.timeindex", "snapshot": "*.snapshot"}


class Files:
    """One partition's directory, and the tool's looks at its files. Those of a `compacted` one may have gaps."""

    def __init__(self, folder, compacted=False):
        self.folder, self.compacted = folder, compacted

    def all(self, kind):
        """Its files of this kind, in the order of their offsets."""
        return sorted(self.folder.glob(FILES[kind]))

    def contents(self, *decoder):
        files = self.all("log") + self.all("snapshot")
        return Dump(files, "--deep-iteration", "--print-data-log", *decoder, compacted=self.compacted)

    def entries(self):
        return Dump(self.all("index") + self.all("timeindex"), "--verify-index-only")

    def order(self):
        return Dump(self.all("index") + self.all("timeindex"), "--index-sanity-check")

    def sound(self, *decoder, known=None):
        """Takes every look; the contents. A mismatch if there is a complaint that does not match `known`."""
        contents = self.contents(*decoder)
        for dump in (contents, self.entries(), self.order()):
            complaints = [each for each in dump.complaints if not (known and re.search(known, each))]
            expect(f"complaints of kafka-dump-log about {self.folder.name}", [], complaints[:5])
        return contents


class Broker:
    """A broker over the data of the last one; killed if the block is left with an error."""

    def __init__(self, binary, home):
        self.binary, self.home = binary, home

    def __enter__(self):
        self.running = brokers.streamd(self.binary, ROOT, self.home, self.home)
        self.address = self.running.address
        return self

    def stop(self):
        expect("what was wrong with the broker", [], self.running.stop())

    def kill(self):
        self.running.process.kill()
        self.running.process.wait()

    def __exit__(self, *error):
        self.running.__exit__(*error)


class Sent:
    """What was produced: where each acknowledged record is, and all that was tried."""

    def __init__(self):
        self.acknowledged, self.tried = {}, set()
        self.random = random.Random(7)

    def producer(self, broker, codec):
        """Idempotent, with batches of a few records each."""
        return Producer(
            {
                "bootstrap.servers": broker.address,
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 2,
                "batch.num.messages": 7,
                "partitioner": "murmur2_random",
            }
        )

    def one(self, producer, codec, n):
        """Sends a record that no codec makes small, some of them older than those before."""
        key, value = f"{codec}-{n}", self.random.randbytes(120).hex()
        self.tried.add((key, value))

        def delivered(error, message):
            if error is None:
                self.acknowledged[message.partition(), message.offset()] = (key, value)

        time = check.START + n * 10 - (500 if n % 9 == 0 else 0)
        producer.produce(TOPIC, key=key, value=value, timestamp=time, headers=[("n", str(n))], on_delivery=delivered)
        producer.poll(0)

    def every_codec(self, broker):
        for codec in check.CODECS:
            producer = self.producer(broker, codec)
            for n in range(EACH):
                self.one(producer, codec, n)
            expect(f"records not delivered with {codec}", 0, producer.flush(WAIT))

    def until_killed(self, broker):
        """Sends with every codec and kills the broker while records are under way."""
        before = len(self.acknowledged)
        producers = {codec: self.producer(broker, codec) for codec in check.CODECS}
        n = EACH
        while len(self.acknowledged) < before + 2 * EACH:
            expect_true("records until the kill", n < 100 * EACH, n)
            for codec, producer in producers.items():
                self.one(producer, codec, n)
            n += 1
        broker.kill()
        for producer in producers.values():
            producer.purge()
            producer.flush(WAIT)


def create(broker):
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=SETTINGS)])[TOPIC].result(timeout=WAIT)


def commit(broker, sent):
    """Commits the end of what was acknowledged, as a program that keeps its own positions; the offsets."""
    ends = {p: max(o for q, o in sent.acknowledged if q == p) + 1 for p in range(PARTITIONS)}
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": GROUP})
    positions = [TopicPartition(TOPIC, p, offset, metadata=f"at {offset}") for p, offset in ends.items()]
    for done in consumer.commit(offsets=positions, asynchronous=False):
        expect(f"commit of partition {done.partition}", None, done.error)
    consumer.close()
    return ends


def join(broker):
    """Makes the group a member, so that its log has a record of the group, too."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": GROUP, "enable.auto.commit": False})
    consumer.subscribe([TOPIC])
    check.wait_until("partitions assigned", WAIT, lambda: consumer.poll(0.1) or len(consumer.assignment()) == PARTITIONS)
    consumer.close()


def inspect(data, sent, committed, after_kill):
    """Everything on the disk, as Kafka's tool reads it."""
    for partition in range(PARTITIONS):
        inspect_partition(Files(data / f"{TOPIC}-{partition}"), partition, sent, after_kill)
    inspect_offsets(data, committed)
    catalog = Files(data / "__cluster_metadata-0").sound("--cluster-metadata-decoder", known=OUR_RECORDS)
    records = [as_json(value) for _, _, value in catalog.records()]
    names = {record["data"]["name"] for record in records if record and record["type"] == "TOPIC_RECORD"}
    expect_true("topics in the catalog's log", {TOPIC, "__consumer_offsets"} <= names, names)


def inspect_partition(files, partition, sent, after_kill):
    contents = files.sound()
    records = {offset: (key, value) for offset, key, value in contents.records()}
    expect(f"offsets in partition {partition}", list(range(len(records))), sorted(records))
    acknowledged = {offset: record for (p, offset), record in sent.acknowledged.items() if p == partition}
    kept = {offset: record for offset, record in records.items() if offset in acknowledged}
    expect_true(f"acknowledged records must be in partition {partition}", kept == acknowledged, differ(kept, acknowledged))
    others = {offset: record for offset, record in records.items() if offset not in acknowledged}
    # A record may have been written and its acknowledgement killed.
    expect_true("records that nobody sent", set(others.values()) <= sent.tried and (after_kill or not others), others)
    batches = contents.batches()
    expect(f"codecs in partition {partition}", sorted(check.CODECS), sorted({batch["compresscodec"] for batch in batches}))
    expect_true("batches must be of idempotent producers", all(int(b["producerId"]) >= 0 <= int(b["baseSequence"]) for b in batches), "")
    expect_true("there must be several segments", len(files.all("log")) >= 4, files.all("log"))
    for kind, entry_bytes in (("index", 8), ("timeindex", 12)):
        entries = sum(file.stat().st_size for file in files.all(kind)) // entry_bytes
        expect_true(f"there must be {kind} entries", entries > 20, entries)
    bases = [int(log.stem) for log in files.all("log")]
    if after_kill and bases[-1] == len(records) and bases[-1] not in contents.producers():
        # As in Kafka, a segment is made, then its snapshot, then its first batch: the kill came between.
        bases.pop()
    inspect_snapshots(files, bases[1:], batches, contents.producers())


def inspect_snapshots(files, bases, batches, known):
    """Every segment but the first begins with a snapshot, which knows the last batch of each producer before it."""
    expect(f"offsets of snapshots in {files.folder.name}", bases, sorted(known))
    for offset, producers in known.items():
        before = [batch for batch in batches if int(batch["lastOffset"]) < offset]
        expect(f"producers in snapshot {offset} of {files.folder.name}", last_of_each(before), last_of_each(producers))


def last_of_each(lines):
    """The last sequence and offset of each producer in these batches or lines of a snapshot."""
    return {line["producerId"]: (line["lastSequence"], line["lastOffset"]) for line in lines}


def inspect_offsets(data, committed):
    """The newest commits of the group, and that its members' record is there."""
    found, groups = {}, set()
    for folder in sorted(data.glob("__consumer_offsets-*")):
        files = Files(folder)
        if not any(log.stat().st_size for log in files.all("log")):
            continue
        for _, key, value in files.sound("--offsets-decoder").records():
            key, value = as_json(key), as_json(value)
            expect_true("a record of the offsets topic has a known key", key and key["type"] in ("1", "2"), key)
            if key["type"] == "2":
                groups.add(key["data"]["group"])
            elif key["data"]["group"] == GROUP:
                expect("topic of a commit", TOPIC, key["data"]["topic"])
                found[key["data"]["partition"]] = value and value["data"]["offset"]
    expect("committed offsets in the log", committed, found)
    expect("groups with a record of their own", {GROUP}, groups)


def differ(got, want):
    return sorted(offset for offset in want if got.get(offset) != want[offset])[:20]


def flip(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def cut(file):
    file.write_bytes(file.read_bytes()[:-10])


def drop_second_batch(log):
    sizes = [int(batch["size"]) for batch in Dump([log]).batches()]
    content = log.read_bytes()
    log.write_bytes(content[: sizes[0]] + content[sizes[0] + sizes[1] :])


def swap_entries(time_index):
    content = time_index.read_bytes()
    time_index.write_bytes(content[12:24] + content[:12] + content[24:])


def end_below_base(index):
    """Makes the last entry's offset one below that of the segment."""
    content = index.read_bytes()
    index.write_bytes(content[:-8] + b"\xff\xff\xff\xff" + content[-4:])


# What is done to one file of a copy, the look that must notice, and what the tool must say then.
DAMAGE = {
    "a byte of a record changes": ("log", lambda log: flip(log, 100), Files.contents, "isvalid: false"),
    "a log is cut": ("log", cut, Files.contents, "invalid bytes at the end"),
    "a batch is missing": ("log", drop_second_batch, Files.contents, "is followed by"),
    "a snapshot changes": ("snapshot", lambda snapshot: flip(snapshot, 12), Files.contents, "Snapshot is corrupt"),
    "an index entry has another offset": ("index", lambda index: flip(index, 3), Files.entries, "Mismatches in"),
    "an index ends before it begins": ("index", end_below_base, Files.order, "CorruptIndexException"),
    "a time changes in an index": ("timeindex", lambda index: flip(index, 7), Files.entries, "Found timestamp mismatch"),
    "times are out of order": ("timeindex", swap_entries, Files.entries, "Found out of order timestamp"),
}


def damage(data, scratch):
    """The looks must be able to fail: each kind of damage to a copy is noticed."""
    original = data / f"{TOPIC}-0"
    for what, (kind, harm, look, word) in DAMAGE.items():
        copy = Files(scratch / original.name)
        shutil.copytree(original, copy.folder)
        harm(copy.all(kind)[0])
        must_complain(what, look(copy), word)
        shutil.rmtree(copy.folder)
    must_complain("records are no metadata", Files(original).contents("--cluster-metadata-decoder"), "Error at")
    must_complain("records are no offsets", Files(original).contents("--offsets-decoder"), "Unknown record type")


def repaired(binary, data, scratch):
    """A copy in which a sealed segment was damaged, after `streamd repair`: the tool has nothing to say against it, and
    has every record but those that were given up."""
    name = f"{TOPIC}-0"
    whole = {offset: (key, value) for offset, key, value in Files(data / name).sound().records()}
    copy = scratch / "data"
    shutil.copytree(data, copy)
    files = Files(copy / name, compacted=True)
    flip(files.all("log")[1], 100)
    must_complain("a byte of a record changes", files.contents(), "isvalid: false")
    lost = json.loads(process.output([binary, "repair", name, "--yes", "-o", "json", "--data-dir", str(copy)]))["given_up"]
    expect("damaged stretches", 1, len(lost))
    gone = range(lost[0]["first_offset"], lost[0]["next_offset"])
    left = {offset: (key, value) for offset, key, value in files.sound().records()}
    expect("records after a repair", {offset: record for offset, record in whole.items() if offset not in gone}, left)
    # Where they were is an empty batch, so that only the records' offsets have a gap.
    ends = [(int(batch["baseOffset"]), int(batch["lastOffset"])) for batch in files.contents().batches()]
    expect_true("batches must follow on each other", all(b[0] == a[1] + 1 for a, b in zip(ends, ends[1:])), ends)


def must_complain(what, dump, word):
    expect_true(f"where {what}, kafka-dump-log must say {word!r}", any(word in each for each in dump.complaints), dump.complaints)


def run(binary):
    with tempfile.TemporaryDirectory(prefix="streamd-dump-") as home:
        home = pathlib.Path(home)
        data, sent = home / "data", Sent()
        with Broker(binary, home) as broker:
            step("make the topic, produce with every codec, commit, stop")
            create(broker)
            sent.every_codec(broker)
            join(broker)
            committed = commit(broker, sent)
            broker.stop()
        step("kafka-dump-log after a clean stop")
        inspect(data, sent, committed, after_kill=False)
        with Broker(binary, home) as broker:
            step("produce and commit, and kill -9 while records are under way")
            sent.every_codec(broker)
            join(broker)
            committed = commit(broker, sent)
            sent.until_killed(broker)
        with Broker(binary, home) as broker:
            step("start, recover and stop")
            # Every log: whatever a stop comes before is left to the next start.
            check.wait_until("recovery", WAIT, lambda: "recovered after an unclean stop" in broker.running.text())
            broker.stop()
        step("kafka-dump-log after kill -9, a start and a stop")
        inspect(data, sent, committed, after_kill=True)
        step("kafka-dump-log on damaged copies")
        (home / "damaged").mkdir()
        damage(data, home / "damaged")
        step("kafka-dump-log on what a repair leaves")
        repaired(binary, data, home / "damaged")
        segments = sum(len(Files(data / f"{TOPIC}-{p}").all("log")) for p in range(PARTITIONS))
        print(f"note: {len(sent.acknowledged):,} records in {segments} segments", flush=True)


if __name__ == "__main__":
    check.main("kafka-dump-log", process.kafka_version(), run, "BROKER_BINARY")
