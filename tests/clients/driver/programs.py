"""The programs, and how one of them is run."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import install

CLIENTS = install.CLIENTS
TIMEOUT_SECONDS = 150
TAIL_LINES = 25


@dataclasses.dataclass
class Program:
    """A client's program: what it needs, and the words that start it, given what is installed and the broker."""

    name: str
    installers: tuple
    commands: tuple
    start: object
    alone: bool = False
    # It starts brokers of its own, from streamd's binary.
    starts_brokers: bool = False


def in_venv(script):
    return lambda installed, broker: [str(installed.python), str(CLIENTS / "python" / script), broker.address]


def built_go(name):
    return lambda installed, broker: [str(installed.go_programs / name), broker.address]


def node(script):
    return lambda installed, broker: ["node", str(CLIENTS / "node" / script), broker.address]


def on_jvm(main, classes, jars, broker):
    log4j = CLIENTS / "java" / "log4j2.properties"
    fast = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={log4j}"]
    return ["java", *fast, "-cp", f"{classes}:{jars}/*", main, broker.address]


def java(main):
    return lambda installed, broker: on_jvm(main, installed.classes, installed.jars, broker)


def flink(main):
    return lambda installed, broker: on_jvm(main, installed.flink_classes, installed.flink_jars, broker)


def plain_python(script):
    return lambda installed, broker: [sys.executable, str(CLIENTS / "python" / script), broker.address]


def page(language):
    script = in_venv("exactly_once_page.py")
    return lambda installed, broker: [*script(installed, broker), language]


def dump_log(installed, broker):
    return [str(installed.python), str(CLIENTS / "python" / "dump_log.py"), str(broker.binary)]


def dump_compacted(installed, broker):
    return [str(installed.python), str(CLIENTS / "python" / "dump_compacted.py"), str(broker.binary)]


def import_kafka(installed, broker):
    return [str(installed.python), str(CLIENTS / "python" / "import_kafka.py"), str(broker.binary)]


# In this order: those that are installed soonest come first.
PROGRAMS = [
    Program("kcat", (), ("kcat",), plain_python("kcat.py")),
    Program("kafkajs", ("node",), ("node", "npm"), node("kafkajs.js")),
    Program("confluent-kafka", ("python",), ("venv",), in_venv("confluent.py")),
    Program("kafka-python", ("python",), ("venv",), in_venv("kafka_python.py")),
    Program("aiokafka", ("python",), ("venv",), in_venv("aio.py")),
    Program("kafka-clients", ("java",), ("java", "javac", "mvn"), java("KafkaClients")),
    Program("kafka-tools", ("java",), ("java", "javac", "mvn"), plain_python("kafka_tools.py")),
    Program("kafka-transactions", ("java",), ("java", "javac", "mvn"), plain_python("kafka_transactions.py")),
    Program("kafka-dump-log", ("python", "java"), ("venv", "java", "javac", "mvn"), dump_log, starts_brokers=True),
    Program("kafka-dump-compacted", ("python", "java"), ("venv", "java", "javac", "mvn"), dump_compacted, starts_brokers=True),
    Program("kafka-import", ("python", "java"), ("venv", "java", "javac", "mvn"), import_kafka, starts_brokers=True),
    Program("franz-go", ("go",), ("go",), built_go("franz")),
    Program("kafka-go", ("go",), ("go",), built_go("segmentio")),
    Program("sarama", ("go",), ("go",), built_go("sarama")),
    Program("confluent-transactions", ("python",), ("venv",), in_venv("confluent_transactions.py")),
    Program("aiokafka-transactions", ("python",), ("venv",), in_venv("aio_transactions.py")),
    Program("kafka-python-transactions", ("python",), ("venv",), in_venv("kafka_python_transactions.py")),
    Program("kafkajs-transactions", ("node",), ("node", "npm"), node("transactions.js")),
    Program("java-transactions", ("java",), ("java", "javac", "mvn"), java("Transactions")),
    Program("kafka-streams", ("java",), ("java", "javac", "mvn"), java("StreamsKilled")),
    Program("kafka-connect", ("java",), ("java", "javac", "mvn"), java("ConnectKilled")),
    Program("flink", ("flink",), ("java", "javac", "mvn"), flink("FlinkFailover")),
    Program("franz-go-transactions", ("go",), ("go",), built_go("franztxn")),
    Program("sarama-transactions", ("go",), ("go",), built_go("saramatxn")),
    # A broker for each: they use the topics and the group that the page names.
    Program("page-python", ("python",), ("venv",), page("python"), alone=True),
    Program("page-java", ("python", "java"), ("venv", "java", "javac", "mvn"), page("java"), alone=True),
    Program("page-go", ("python", "go"), ("venv", "go"), page("go"), alone=True),
    Program("page-kafkajs", ("python", "node"), ("venv", "node", "npm"), page("js"), alone=True),
    Program("clickstream", ("python",), ("venv",), in_venv("clickstream.py"), alone=True),
]
RUNNING = set()
NAMES = [program.name for program in PROGRAMS]


def choose(only, has_binary):
    """The programs asked for, all if none is named; without streamd's binary, all that need none."""
    if not only:
        return [program for program in PROGRAMS if has_binary or not program.starts_brokers]
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in NAMES]
    if unknown or not wanted:
        sys.exit(f"no such client: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    chosen = [program for program in PROGRAMS if program.name in wanted]
    for program in chosen:
        if program.starts_brokers and not has_binary:
            sys.exit(f"{program.name} starts brokers itself, and only streamd's: leave --kafka and --attach out")
    return chosen


@dataclasses.dataclass
class Result:
    """What came of a program."""

    program: Program
    outcome: str
    seconds: float
    log: pathlib.Path
    reason: str = ""
    version: str = "?"
    note: str = ""

    @property
    def passed(self):
        return self.outcome == "passed"

    def tail(self):
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return text.splitlines()[-TAIL_LINES:]


def run(program, installed, broker, logs):
    """Runs the program to its end or its time limit."""
    log = logs / f"{program.name}.log"
    try:
        for installer in program.installers:
            installed.wait(installer)
    except install.Failed as error:
        return Result(program, "FAILED", 0.0, log, str(error))
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "NODE_PATH": str(installed.node_modules),
        "KAFKA_JARS": str(installed.jars),
        "KAFKA_LOG4J": str(CLIENTS / "java" / "log4j2.properties"),
        "CLIENTS_SETTLE_MS": str(broker.settle_ms),
    }
    start = time.monotonic()
    with log.open("wb") as out:
        code = finish(program.start(installed, broker), environment, out)
    result = Result(program, "passed", time.monotonic() - start, log)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    result.version = said(lines, "version: ") or "?"
    result.note = said(lines, "note: ") or ""
    if code is None:
        result.outcome, result.reason = "TIMED OUT", f"still running after {TIMEOUT_SECONDS} s"
    elif code != 0 or "PASS" not in lines:
        result.outcome, result.reason = "FAILED", said(lines, "FAIL ") or f"exit code {code}"
    if not broker.alive():
        result.outcome, result.reason = "FAILED", result.reason + " (the broker is not running any more)"
    return result


def finish(command, environment, out):
    """The exit code; None if it had to be killed, with all that it started."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    RUNNING.add(process)
    try:
        return process.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    finally:
        RUNNING.discard(process)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kill_all():
    """Ends whatever still runs, with all that it started."""
    for process in list(RUNNING):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def said(lines, word):
    """What follows this word on the last line that begins with it."""
    return next((line[len(word) :] for line in reversed(lines) if line.startswith(word)), None)
