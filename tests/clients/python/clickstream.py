"""A clickstream as people write it with confluent-kafka: a careful producer, and a consumer that commits after every
single message. Prints the events and the commits that got through in a second; nothing here asserts on time."""

import json
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import check
from check import expect, expect_true, step

EVENTS = 10_000
USERS = 250
FLUSH_EVERY = 1_000
PARTITIONS = 6
PAGES = ["/", "/search", "/basket", "/checkout", "/account"]
# A consumer that sees no record for so long has lost some.
QUIET = 30


def run(broker):
    topic = check.fresh_name("clickstream")
    group = f"{topic}-sessions"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(timeout=30)
    check.settle()
    produced = produce_events(broker, topic)
    consumed = consume_events(broker, topic, group)
    nothing_left(broker, topic, group)
    admin.delete_topics([topic])[topic].result(timeout=30)
    print(f"note: {EVENTS / produced:,.0f} events/s produced, {EVENTS / consumed:,.0f} commits/s", flush=True)


def event(n):
    """Event `n`: the user's id, and what the user did."""
    user, visit = f"user-{n * 17 % USERS}", n // USERS
    return user, {"user": user, "visit": visit, "page": PAGES[n % len(PAGES)], "session": f"{user}-{visit // 10}"}


def produce_events(broker, topic):
    """Sends all events; the seconds it took."""
    step(f"produce {EVENTS} events, flushing every {FLUSH_EVERY}")
    producer = Producer(
        {
            "bootstrap.servers": broker,
            "acks": "all",
            "retries": 5,
            "linger.ms": 10,
            "batch.size": 65536,
            "compression.type": "snappy",
            "enable.idempotence": True,
        }
    )
    failed = []
    delivered = 0

    def report(error, _message):
        nonlocal delivered
        if error is not None:
            failed.append(error)
        else:
            delivered += 1

    start = time.monotonic()
    for n in range(EVENTS):
        user, click = event(n)
        producer.produce(topic, key=user, value=json.dumps(click), on_delivery=report)
        producer.poll(0)
        if (n + 1) % FLUSH_EVERY == 0:
            expect("events left after a flush", 0, producer.flush(60))
    seconds = time.monotonic() - start
    expect("events not delivered", [], failed)
    expect("events delivered", EVENTS, delivered)
    return seconds


def consumer_of(broker, topic, group):
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.min.bytes": 1,
            "fetch.wait.max.ms": 500,
        }
    )
    consumer.subscribe([topic])
    return consumer


def consume_events(broker, topic, group):
    """Reads all events and commits each; the seconds from the first record to the last commit."""
    step("consume them, with a synchronous commit for each")
    consumer = consumer_of(broker, topic, group)
    next_visit = {}
    ends = {}
    start = None
    last = time.monotonic()
    count = 0
    while count < EVENTS:
        message = consumer.poll(1.0)
        if message is None:
            expect_true(f"a record within {QUIET} s, after {count}", time.monotonic() - last < QUIET, None)
            continue
        if message.error():
            raise KafkaException(message.error())
        last = time.monotonic()
        start = start or last
        user = message.key().decode()
        click = json.loads(message.value())
        expect("user of the event and key of its record", user, click["user"])
        expect(f"next visit of {user}", next_visit.get(user, 0), click["visit"])
        next_visit[user] = click["visit"] + 1
        expect(f"offset in {message.partition()}", ends.get(message.partition(), 0), message.offset())
        ends[message.partition()] = message.offset() + 1
        done = consumer.commit(message=message, asynchronous=False)
        expect("error of a commit", None, done[0].error)
        expect("offset committed", message.offset() + 1, done[0].offset)
        count += 1
    seconds = time.monotonic() - start
    expect("visits of each user", {f"user-{u}": EVENTS // USERS for u in range(USERS)}, next_visit)
    asked = [TopicPartition(topic, p) for p in sorted(ends)]
    expect("offsets committed", ends, {tp.partition: tp.offset for tp in consumer.committed(asked, timeout=30)})
    consumer.close()
    return seconds


def nothing_left(broker, topic, group):
    """A restarted consumer of the same group has nothing to read again."""
    step("start the consumer again: nothing must come")
    consumer = consumer_of(broker, topic, group)
    check.wait_until("partitions assigned", 30, lambda: consumer.poll(0.1) or len(consumer.assignment()) == PARTITIONS)
    for _ in range(5):
        message = consumer.poll(0.3)
        expect("record after the last commit", None, message and (message.partition(), message.offset()))
    consumer.close()


if __name__ == "__main__":
    check.main("clickstream", f"confluent-kafka {confluent_kafka.version()}", run)
