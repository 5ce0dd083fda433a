"""What every Python program of this folder shares: the records it writes and the checks on what comes back.

A record's place in the sequence travels in its header `n`, so that a consumer can tell what the rest of the record
must be. The programs of the other languages write and check the same records.
"""

import os
import sys
import time
import traceback

PARTITIONS = 3
TOTAL = 500
HALF = TOTAL // 2
USERS = 37
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
LARGE = 7
# The first record's timestamp in milliseconds; record n follows n milliseconds later.
START = (int(time.time()) - 3600) * 1000


class Mismatch(Exception):
    """The broker's answer is not what Kafka promises."""


def expect(what, want, got):
    """Stops the program if `got` is not `want`."""
    if want != got:
        raise Mismatch(f"{what}: expected {clip(want)}, got {clip(got)}")


def expect_true(what, fact, got):
    """Stops the program if `fact` does not hold of `got`."""
    if not fact:
        raise Mismatch(f"{what}: got {clip(got)}")


def clip(value):
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + f"... ({len(text)} characters)"


def step(text):
    """Says on the program's log what it does next."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def settle():
    """Time for a broker that answers an admin request before everybody sees what it did, as Apache Kafka does. The
    runner gives none to streamd, whose answer means done."""
    time.sleep(int(os.environ.get("CLIENTS_SETTLE_MS", "0")) / 1000)


def fresh_name(client):
    """A name for topics and groups that no earlier run has used."""
    return f"clients-{client}-{os.getpid()}-{int(time.time()) % 1_000_000}"


def codec_of(n):
    """The codec that record `n` is sent with: a fifth of the records for each."""
    return CODECS[n * len(CODECS) // TOTAL]


def key_of(n):
    """Record `n`'s key. Some have none."""
    return None if n % 50 == 10 else f"user-{n * 7 % USERS}".encode()


def value_of(n):
    """Record `n`'s value. One is large, some are null, some are empty."""
    if n % 50 == 20:
        return None
    if n % 50 == 30:
        return b""
    if n == LARGE:
        return b"large " + bytes(i * 31 % 251 for i in range(300_000))
    return f"record {n} Zürich ".encode() + b"0123456789" * (n % 40)


def headers_of(n):
    """Record `n`'s headers: its number, one name twice, and an empty value."""
    return [("n", str(n).encode()), ("twice", b"first"), ("twice", b"second"), ("empty", b"")]


def time_of(n):
    """Record `n`'s timestamp in milliseconds."""
    return START + n


class Ledger:
    """Checks each record as it is consumed, and keeps what has been seen."""

    def __init__(self):
        self.seen = {}
        self.next_offset = {}
        self.last = {}
        self.partition_of_key = {}

    def take(self, partition, offset, key, value, headers, timestamp):
        """One record, as the client gave it to its user."""
        at = f"record at {partition}:{offset}"
        numbers = [v for k, v in headers or [] if k == "n"]
        expect(f"{at}, number of headers named n", 1, len(numbers))
        n = int(numbers[0])
        at = f"{at} (n={n})"
        expect(f"{at}, key", key_of(n), key)
        expect(f"{at}, value", value_of(n), value)
        expect(f"{at}, headers", headers_of(n), [(k, v) for k, v in headers])
        expect(f"{at}, timestamp", time_of(n), timestamp)
        expect(f"{at}, offset", self.next_offset.get(partition, 0), offset)
        expect_true(f"{at}, must come after n={self.last.get(partition, -1)}", n > self.last.get(partition, -1), n)
        expect(f"{at}, earlier place of the same record", None, self.seen.get(n))
        if key is not None:
            expect(f"{at}, partition of key {key}", self.partition_of_key.setdefault(key, partition), partition)
        self.seen[n] = (partition, offset)
        self.next_offset[partition] = offset + 1
        self.last[partition] = n

    def complete(self, sent):
        """Every record must have been seen, exactly once, in all partitions, each where the producer was told."""
        expect("records consumed", TOTAL, len(self.seen))
        expect("record numbers missing", [], [n for n in range(TOTAL) if n not in self.seen])
        expect("partitions with records", list(range(PARTITIONS)), sorted(self.next_offset))
        expect("sum of the next offsets", TOTAL, sum(self.next_offset.values()))
        for n in range(TOTAL):
            expect(f"place of record {n}, as acknowledged and as consumed", sent.get(n), self.seen[n])

    def first_at_or_after(self, partition, timestamp):
        """The offset that a lookup by time must find, None if there is none."""
        offsets = [o for n, (p, o) in self.seen.items() if p == partition and time_of(n) >= timestamp]
        return min(offsets, default=None)


def wait_until(what, seconds, attempt, pause=0.1):
    """Calls `attempt` until it returns something true; a mismatch after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        got = attempt()
        if got:
            return got
        if time.monotonic() > end:
            raise Mismatch(f"{what}: not so after {seconds} s")
        time.sleep(pause)


def main(client, version, program, argument="HOST:PORT"):
    """Runs `program` with its argument; exits 0 if it ends, 1 with one FAIL line if it does not."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} {argument}")
    print(f"version: {version}", flush=True)
    try:
        program(sys.argv[1])
    except Exception as error:  # Whatever it is, the run has failed and must say so on one line.
        traceback.print_exc()
        print(f"FAIL {client}: {type(error).__name__}: {error}", flush=True)
        # Client threads that still retry must not keep the process.
        sys.stderr.flush()
        os._exit(1)
    print("PASS", flush=True)
    os._exit(0)
