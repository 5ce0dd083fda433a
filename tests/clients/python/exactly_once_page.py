"""The programs of docs/exactly-once.md, as they stand there, against a broker.

Each is run, killed in the middle with no chance to say goodbye, and run again, together with a second one that joins its
group and is killed as well, and through a time in which no invoice is taken: every order must come out as an invoice
once, and no other.
`exactly_once_page.py BROKER [LANGUAGE...]` runs those of these languages; without any, all whose tools are installed.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

import check
from check import expect, expect_true, step

CLIENTS = pathlib.Path(__file__).resolve().parents[1]
PAGE = CLIENTS.parents[1] / "docs" / "exactly-once.md"
WAIT = 60
TOPICS = ["orders", "invoices"]
EACH = 1000
# The end of a transaction takes this in a log. Apache Kafka refuses it, too, where a topic takes less.
MARKER_BYTES = 78
SESSION = {
    "python": ('"group.id": "billing"', '"group.id": "billing", "session.timeout.ms": 6000'),
    "java": ('"group.id", "billing",', '"group.id", "billing", "session.timeout.ms", "6000",'),
    "go": ('kgo.ConsumerGroup("billing"),', 'kgo.ConsumerGroup("billing"), kgo.SessionTimeout(6*time.Second),'),
    "js": ("groupId: 'billing' }", "groupId: 'billing', sessionTimeout: 6000 }"),
}


def blocks():
    """The page's programs, by language. The only change: a group notices sooner that a member was killed."""
    found = re.findall(r"^```(python|java|go|js)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    expect("programs on the page", list(SESSION), [language for language, _ in found])
    programs = {}
    for language, code in found:
        before, after = SESSION[language]
        expect(f"places for the session's length in {language}", 1, code.count(before))
        programs[language] = code.replace(before, after)
    return programs


def python(code, folder):
    return [sys.executable, put(folder, "billing.py", code)]


def java(code, folder):
    path = put(folder, "Billing.java", code)
    jars = f"{os.environ['KAFKA_JARS']}/*"
    subprocess.run(["javac", "-Werror", "-Xlint:all", "-cp", jars, "-d", folder, path], check=True)
    return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{folder}:{jars}", "Billing"]


def go(code, folder):
    path = put(folder, "billing.go", code)
    program = f"{folder}/billing"
    subprocess.run(["go", "build", "-o", program, path], cwd=CLIENTS / "go", check=True)
    return [program]


def js(code, folder):
    return ["node", put(folder, "billing.js", code)]


LANGUAGES = {
    "python": (python, lambda: True),
    "java": (java, lambda: shutil.which("javac") and os.environ.get("KAFKA_JARS")),
    "go": (go, lambda: shutil.which("go")),
    "js": (js, lambda: shutil.which("node") and os.environ.get("NODE_PATH")),
}


def put(folder, name, text):
    path = pathlib.Path(folder) / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(broker):
    programs = blocks()
    wanted = sys.argv[2:] or [language for language, (_, is_there) in LANGUAGES.items() if is_there()]
    admin = AdminClient({"bootstrap.servers": broker})
    for language in wanted:
        step(f"the program in {language}")
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            prepare, _ = LANGUAGES[language]
            code = programs[language]
            both = [prepare(code, first), prepare(code.replace("billing-1", "billing-2"), second)]
            # As the page says, KafkaJS does not tell one of a group from another; and what is refused for good ends it.
            attempt(broker, admin, [command + [broker] for command in both[: 1 if language == "js" else 2]])
    print(f"note: {', '.join(wanted)}")


def attempt(broker, admin, commands):
    for future in admin.create_topics([NewTopic(topic, check.PARTITIONS, 1) for topic in TOPICS]).values():
        future.result(timeout=WAIT)
    check.settle()
    writer = Producer({"bootstrap.servers": broker, "transactional.id": "shop-1"})
    writer.init_transactions(WAIT)
    wanted = write(writer, "first")
    write(writer, "dropped", commit=False)
    with started(commands[0]):
        until("some invoices", lambda: read(broker))
        # With a transaction open or not: it gets no time to say which.
        wanted += write(writer, "second")
    with started(commands[0]):
        until("every invoice", lambda: len(read(broker)) >= len(wanted))
        if len(commands) > 1:
            # Whatever it sends is refused: it has to abort, and to read the same orders again.
            limit(admin, MARKER_BYTES)
            wanted += write(writer, "refused")
            time.sleep(3)
            limit(admin, 1048588)
            wanted += write(writer, "taken")
            until("what was refused, and what came next", lambda: len(read(broker)) >= len(wanted))
        for command in commands[1:]:
            with started(command):
                for n in range(15):
                    wanted += write(writer, f"shared-{n}")
                    time.sleep(0.3)
        wanted += write(writer, "last")
        until("the last invoices", lambda: len(read(broker)) >= len(wanted))
        time.sleep(1)
        expect("invoices", sorted(wanted), read(broker))
    for future in admin.delete_topics(TOPICS).values():
        future.result(timeout=WAIT)
    until("the group's members are gone", lambda: gone(admin))


def limit(admin, size):
    """The largest batch that the invoices take."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    wanted = [ConfigResource("topic", "invoices", incremental_configs=[entry])]
    for future in admin.incremental_alter_configs(wanted).values():
        future.result(timeout=WAIT)


def gone(admin):
    """Whether the group is deleted. Members that were killed are in it until their session is over."""
    try:
        admin.delete_consumer_groups(["billing"])["billing"].result(timeout=WAIT)
        return True
    except Exception as error:
        return "GROUP_ID_NOT_FOUND" in str(error) or "does not exist" in str(error)


def write(producer, round_, commit=True):
    """Some orders in a transaction, and what they are."""
    orders = [f"{round_}-{n}" for n in range(EACH)]
    producer.begin_transaction()
    for n, order in enumerate(orders):
        producer.produce("orders", key=f"k{n}", value=order)
    expect("orders not delivered", 0, producer.flush(WAIT))
    producer.commit_transaction(WAIT) if commit else producer.abort_transaction(WAIT)
    return orders


def read(broker):
    """The invoices that a reader of committed records sees."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "auditor", "enable.partition.eof": True, "enable.auto.commit": False})
    consumer.assign([TopicPartition("invoices", p, 0) for p in range(check.PARTITIONS)])
    seen, ended = [], set()
    end = time.monotonic() + WAIT
    while len(ended) < check.PARTITIONS:
        expect_true("the end of every partition", time.monotonic() < end, ended)
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            ended.add(message.partition())
        else:
            seen.append(message.value().decode())
    consumer.close()
    return sorted(seen)


def until(what, done):
    end = time.monotonic() + WAIT
    while not done():
        expect_true(what, time.monotonic() < end, "too late")
        time.sleep(0.05)


class started:
    """A program that runs until it is killed."""

    def __init__(self, command):
        self.process = subprocess.Popen(command)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ended = self.process.poll()
        self.process.kill()
        self.process.wait()
        expect("the program's exit code before it was killed", None, ended)


if __name__ == "__main__":
    check.main("exactly-once-page", "docs/exactly-once.md", run)
