"""`streamd import kafka` on a directory that Apache Kafka writes while the test looks on (tests/data/kafka/make): what
librdkafka then reads from streamd is what was produced to Kafka, groups go on where they were, Kafka's own directory is
untouched, and kafka-dump-log has nothing to say against ours.

Other than the programs beside it, this one starts brokers of its own, from the binary it is given.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

import check
import process
from check import expect, expect_true, step
from dump import Dump

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests" / "clients" / "driver"))
import brokers  # noqa: E402 (stands beside the runner)

MAKE = ROOT / "tests" / "data" / "kafka" / "make"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
MAKE_SECONDS = 120


def produced():
    """What Make.java produced to `orders`, by partition and offset: key and value."""
    found = {}
    for nth, codec in enumerate(CODECS):
        for n in range(20):
            key = None if n % 3 == 0 else f"k{n}"
            value = None if n == 7 else f"{codec}-{n}-{'x' * 40}"
            found[n % 2, 10 * nth + n // 2] = (key, value)
    found |= {(0, 50 + n): (f"p{n}", "idempotent") for n in range(3)}
    return found


def make(packed):
    """A Kafka is started, filled, stopped in order, and its data directory packed."""
    command = [str(MAKE), os.environ["KAFKA_JARS"], str(packed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAKE_SECONDS)
    if done.returncode != 0:
        raise check.Mismatch(f"{MAKE}: {(done.stdout + done.stderr)[-600:]}")


COMMITTED = {(0, 5 * turn + n): (None, f"c{turn}-{n}") for turn in range(3) for n in range(4)}
TRIMMED = {(0, n): (None, f"t{n}") for n in range(17, 30)}
# Five keys, written twenty times; the last of them deleted at the end.
STATES = {f"key{n}": "v19" for n in range(4)}


def sums(folder):
    """Of every file its bytes and the time of its last change."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


def records(address, group, assign=None):
    """What a consumer reads until nothing comes any more: from the start of `assign`, or what its group gives it."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": group,
            "check.crcs": True,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    if assign:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in assign])
    else:
        consumer.subscribe(["orders"])
    found, at_end = {}, set()
    while len(at_end) < (len(assign) if assign else 2):
        message = consumer.poll(20)
        expect_true("a message or an end must come", message is not None, message)
        if message.error():
            expect_true("only ends are told", message.error().name() == "_PARTITION_EOF", message.error())
            at_end.add(message.partition())
            continue
        texts = [each.decode() if each is not None else None for each in (message.key(), message.value())]
        found[message.partition(), message.offset()] = tuple(texts)
    consumer.close()
    return found


def dumped(kafka, data):
    """kafka-dump-log over what was taken; what it says of gaps in offsets is what it says of Kafka's own files."""
    for folder in sorted(data.glob("[a-z]*-[0-9]")):
        logs = sorted(folder.glob("*.log"))
        indexes = sorted(folder.glob("*.index")) + sorted(folder.glob("*.timeindex"))
        contents = ("--deep-iteration", "--print-data-log")
        ours = Dump(logs, *contents, compacted=folder.name == "states-0")
        theirs = Dump(sorted((kafka / folder.name).glob("*.log")), *contents)
        expect(f"gaps in {folder.name}", theirs.gaps, ours.gaps)
        # A segment of less than an index interval has no index until it is rolled.
        for dump in [ours] + ([Dump(indexes, "--verify-index-only")] if indexes else []):
            expect(f"complaints of kafka-dump-log about {folder.name}", [], dump.complaints[:5])


def compacted(kafka, address):
    """The compacted topic: every record that Kafka's cleaner left, at its offset, and of each key the last."""
    left = Dump(sorted((kafka / "states-0").glob("*.log")), "--deep-iteration", "--print-data-log").records()
    found = records(address, "reader", [("states", 0)])
    expect("records of states", {(0, offset): (key, value) for offset, key, value in left}, found)
    expect_true("Kafka must have compacted", len(found) < 60, len(found))
    last = {key: value for _, (key, value) in sorted(found.items())}
    expect("last values of states", STATES, {key: value for key, value in last.items() if value is not None})


def run(binary):
    with tempfile.TemporaryDirectory(prefix="streamd-import-") as home:
        home = pathlib.Path(home)
        step("Apache Kafka writes a data directory")
        make(home / "kafka.tar.gz")
        with tarfile.open(home / "kafka.tar.gz") as packed:
            packed.extractall(home / "kafka", filter="data")
        kafka, data = home / "kafka" / "data", home / "data"
        before = sums(kafka)
        step("import it")
        command = [binary, "import", "kafka", str(kafka), "--except", "aborted", "--data-dir", str(data)]
        said = process.output(command)
        expect_true("the import says what it did not take", "SCRAM users: 1" in said, said)
        expect("Kafka's own files", before, sums(kafka))
        step("kafka-dump-log on what was taken")
        dumped(kafka, data)
        with brokers.streamd(pathlib.Path(binary), ROOT, home, home) as broker:
            step("read it back")
            expect("records of orders", produced(), records(broker.address, "reader", [("orders", 0), ("orders", 1)]))
            expect("records of committed", COMMITTED, records(broker.address, "reader", [("committed", 0)]))
            expect("records of trimmed", TRIMMED, records(broker.address, "reader", [("trimmed", 0)]))
            compacted(kafka, broker.address)
            for group in ("billing", "shipping"):
                step(f"group {group} goes on where it was")
                rest = {at: record for at, record in produced().items() if at[1] >= (20, 40)[at[0]]}
                expect(f"records that {group} had not read", rest, records(broker.address, group))
            expect("what was wrong with the broker", [], broker.stop())
        print(f"note: {len(produced())} records of orders in 5 codecs, 4 topics, 2 groups", flush=True)


if __name__ == "__main__":
    check.main("kafka-import", process.kafka_version(), run, "BROKER_BINARY")
