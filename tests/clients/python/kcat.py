"""kcat, as Debian packages it with an older librdkafka, against a broker. It has no admin commands: its topic comes to be
by producing to it."""

import json

import check
from check import expect, expect_true, step
from process import output, run

EACH = 60
TOTAL = EACH * len(check.CODECS)
HEADERS = ["client", "kcat", "twice", "first", "twice", "second"]


def key_of(n):
    return f"user-{n * 7 % check.USERS}"


def value_of(n):
    """Every thirtieth record is a tombstone."""
    return None if n % 30 == 20 else f"record {n} Zürich"


class Ledger:
    """Checks kcat's JSON envelopes. The key tells whose record it is; a user's records come in order."""

    def __init__(self):
        self.next_offset = {}
        self.left = {}
        for n in range(TOTAL):
            self.left.setdefault(key_of(n), []).append(value_of(n))
        self.records = []

    def take(self, line):
        record = json.loads(line)
        partition, offset, key = record["partition"], record["offset"], record["key"]
        at = f"record at {partition}:{offset}"
        expect(f"{at}, offset", self.next_offset.get(partition, 0), offset)
        self.next_offset[partition] = offset + 1
        expect_true(f"{at}, key must have records left", self.left.get(key), key)
        expect(f"{at}, value", self.left[key].pop(0), record["payload"])
        expect(f"{at}, headers", HEADERS, record["headers"])
        expect(f"{at}, kind of timestamp", "create", record["tstype"])
        self.records.append(record)

    def complete(self):
        expect("records missing", {}, {key: left for key, left in self.left.items() if left})


def kcat(broker, *arguments, given=""):
    return output(["kcat", "-b", broker, *arguments], given)


def consume(broker, *arguments):
    """The JSON envelopes that a consumer prints."""
    return kcat(broker, "-q", "-J", "-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=300", *arguments).splitlines()


def program(broker):
    topic = check.fresh_name("kcat")
    group = f"{topic}-group"
    for at, codec in enumerate(check.CODECS):
        step(f"produce with {codec}" + (" to a topic that is not there yet" if at == 0 else ""))
        lines = [f"{key_of(n)}:{value_of(n) or ''}\n" for n in range(at * EACH, (at + 1) * EACH)]
        headers = [text for name, value in zip(HEADERS[::2], HEADERS[1::2]) for text in ("-H", f"{name}={value}")]
        sure = ["-X", "acks=all", "-X", "enable.idempotence=true"]
        kcat(broker, "-P", "-t", topic, "-K", ":", "-Z", "-z", codec, *headers, *sure, given="".join(lines))
    step("list")
    listed = json.loads(kcat(broker, "-L", "-J"))
    partitions = next((t["partitions"] for t in listed["topics"] if t["topic"] == topic), [])
    expect_true("topic list must name the topic with its partitions", len(partitions) > 0, listed["topics"])
    expect("leaders of the partitions", {listed["brokers"][0]["id"]}, {p["leader"] for p in partitions})

    step("read to the end, without a group")
    whole = Ledger()
    for line in consume(broker, "-C", "-t", topic, "-o", "beginning", "-e"):
        whole.take(line)
    whole.complete()
    offsets_and_times(broker, topic, whole)

    step("a group reads a half, commits as it leaves, and reads the rest when it comes back")
    parts = Ledger()
    for part in (TOTAL // 2, TOTAL - TOTAL // 2):
        lines = consume(broker, "-c", str(part), "-G", group, topic)
        expect("records of a group's part", part, len(lines))
        for line in lines:
            parts.take(line)
    parts.complete()
    expect("records left for the group", [], consume(broker, "-e", "-G", group, topic))


def offsets_and_times(broker, topic, whole):
    step("ask for offsets, and read from a time on")
    for partition, end in whole.next_offset.items():
        mine = [r for r in whole.records if r["partition"] == partition]
        time = mine[len(mine) // 2]["ts"]
        first = next(r["offset"] for r in mine if r["ts"] >= time)
        for asked, want in ((-2, 0), (-1, end), (time, first)):
            got = kcat(broker, "-Q", "-t", f"{topic}:{partition}:{asked}")
            expect(f"offset of time {asked}", f"{topic} [{partition}] offset {want}", got.strip())
        got = [json.loads(line)["offset"] for line in consume(broker, "-C", "-t", topic, "-p", str(partition), "-o", f"s@{time}", "-e")]
        expect(f"offsets from time {time} on", list(range(first, end)), got)


if __name__ == "__main__":
    words = run(["kcat", "-V"]).stdout.replace(",", "").split()
    versions = [word for word in words if word[:1].isdigit() and word.count(".") == 2]
    check.main("kcat", f"{versions[0]} (librdkafka {versions[1]})", program)
