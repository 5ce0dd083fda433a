"""Apache Kafka's own command-line tools against a broker: kafka-topics, kafka-console-producer, kafka-console-consumer,
kafka-get-offsets, kafka-consumer-groups, kafka-configs, kafka-delete-records and kafka-log-dirs, each as the process that
Kafka's scripts start."""

import json
import tempfile

import check
import process
from check import expect, expect_true, step

TOTAL = 60
TOPICS = "TopicCommand"
PRODUCER = "ConsoleProducer"
CONSUMER = "consumer.ConsoleConsumer"
GROUPS = "consumer.group.ConsumerGroupCommand"
OFFSETS = "GetOffsetShell"
CONFIGS = "kafka.admin.ConfigCommand"
DELETE_RECORDS = "DeleteRecordsCommand"
LOG_DIRS = "LogDirsCommand"


def command(name, broker, *arguments):
    return process.kafka_tool(name, "--bootstrap-server", broker, *arguments)


def tool(name, broker, *arguments, given=""):
    return process.output(command(name, broker, *arguments), given)


def line_of(n):
    """Record `n` as the console producer reads it and, with the same separators, the consumer prints it."""
    value = "NULL" if n % 20 == 15 else f"record {n} Zürich"
    return f"n:{n},kind:click\tuser-{n % 7}\t{value}"


def produce(broker, topic):
    for codec in ("none", "zstd"):
        step(f"kafka-console-producer, with {codec}")
        properties = ["parse.key=true", "parse.headers=true", "null.marker=NULL"]
        readers = [text for each in properties for text in ("--reader-property", each)]
        half = range(TOTAL // 2) if codec == "none" else range(TOTAL // 2, TOTAL)
        given = "".join(line_of(n) + "\n" for n in half)
        tool(PRODUCER, broker, "--topic", topic, "--compression-codec", codec, *readers, given=given)


def consume(broker, topic, group, count):
    step(f"kafka-console-consumer, {count} records")
    shown = ["print.headers=true", "print.key=true", "print.partition=true", "print.offset=true", "null.literal=NULL"]
    formatters = [text for each in shown for text in ("--formatter-property", each)]
    limits = ["--max-messages", str(count), "--timeout-ms", "20000"]
    lines = tool(CONSUMER, broker, "--topic", topic, "--group", group, "--from-beginning", *limits, *formatters).splitlines()
    expect("lines of the console consumer", count, len(lines))
    return lines


def check_lines(lines):
    """Both halves together: every record once, offsets without a gap, and a user's records in order."""
    next_offset, next_of_user = {}, {}
    for line in lines:
        partition, offset, rest = line.split("\t", 2)
        expect_true("a line must begin with its partition", partition.startswith("Partition:"), line)
        expect(f"offset in {partition}", f"Offset:{next_offset.get(partition, 0)}", offset)
        next_offset[partition] = next_offset.get(partition, 0) + 1
        user = rest.split("\t")[1]
        n = next_of_user.get(user, int(user.removeprefix("user-")))
        expect(f"next record of {user}", line_of(n), rest)
        next_of_user[user] = n + 7
    return {int(partition.removeprefix("Partition:")): end for partition, end in next_offset.items()}


def columns(text, topic):
    """The rows that `kafka-consumer-groups --describe` prints for a topic, by partition: (current, end, lag)."""
    rows = [line.split() for line in text.splitlines() if topic in line.split()]
    return {int(row[2]): (row[3], row[4], row[5]) for row in rows}


def run(broker):
    topic = check.fresh_name("kafka-tools")
    group = f"{topic}-group"
    step("kafka-topics: create, list, describe")
    wanted = ["--create", "--topic", topic, "--partitions", str(check.PARTITIONS), "--config", "retention.ms=86400000"]
    expect("words of kafka-topics --create", f"Created topic {topic}.", tool(TOPICS, broker, *wanted).strip())
    check.settle()
    again = process.run(command(TOPICS, broker, *wanted))
    expect("exit code of creating a topic twice", 1, again.returncode)
    expect_true("creating a topic twice must say that it exists", "already exists" in again.stdout, again.stdout + again.stderr)
    expect_true("topic list must name the topic", topic in tool(TOPICS, broker, "--list").splitlines(), "")
    described = tool(TOPICS, broker, "--describe", "--topic", topic)
    for words in (f"PartitionCount: {check.PARTITIONS}", "ReplicationFactor: 1", "retention.ms=86400000"):
        expect_true(f"description must say {words!r}", words in described, described)

    produce(broker, topic)
    lines = consume(broker, topic, group, TOTAL // 3)
    lines += consume(broker, topic, group, TOTAL - TOTAL // 3)
    ends = check_lines(lines)
    step("kafka-get-offsets")
    want = sorted(f"{topic}:{p}:{ends.get(p, 0)}" for p in range(check.PARTITIONS))
    expect("lines of kafka-get-offsets", want, sorted(tool(OFFSETS, broker, "--topic", topic).split()))
    inspect(broker, topic, group, ends)
    reset(broker, topic, group, ends)
    configure(broker, topic)
    trim(broker, topic, ends)
    step("delete the group and the topic")
    tool(GROUPS, broker, "--delete", "--group", group)
    expect("deleted group still listed", False, group in tool(GROUPS, broker, "--list").splitlines())
    tool(TOPICS, broker, "--delete", "--topic", topic)
    check.settle()
    expect("deleted topic still listed", False, topic in tool(TOPICS, broker, "--list").splitlines())


def inspect(broker, topic, group, ends):
    step("kafka-consumer-groups: list, describe")
    expect_true("group list must name the group", group in tool(GROUPS, broker, "--list").splitlines(), "")
    rows = columns(tool(GROUPS, broker, "--describe", "--group", group), topic)
    want = {p: (str(end), str(end), "0") for p, end in ends.items()}
    # Partitions without records have a committed offset of 0 too: the consumer commits all it owns.
    expect("offsets and lag of the group", want, {p: row for p, row in rows.items() if p in ends})
    state = tool(GROUPS, broker, "--describe", "--group", group, "--state")
    expect_true("state of the group must be Empty", "Empty" in state.split(), state)


def reset(broker, topic, group, ends):
    step("kafka-consumer-groups: reset the offsets, and read again from there")
    tool(GROUPS, broker, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
    rows = columns(tool(GROUPS, broker, "--describe", "--group", group), topic)
    want = {p: ("0", str(end), str(end)) for p, end in ends.items()}
    expect("offsets and lag after the reset", want, {p: row for p, row in rows.items() if p in ends})
    expect("offsets read after the reset", ends, check_lines(consume(broker, topic, group, TOTAL)))


def configure(broker, topic):
    step("kafka-configs: change settings and take them back")
    entity = ["--entity-type", "topics", "--entity-name", topic]
    tool(CONFIGS, broker, "--alter", *entity, "--add-config", "retention.ms=123456789,cleanup.policy=[compact,delete]")
    check.settle()
    described = tool(CONFIGS, broker, "--describe", *entity)
    for words in ("retention.ms=123456789", "cleanup.policy=compact,delete"):
        expect_true(f"settings must have {words!r}", words in described, described)
    tool(CONFIGS, broker, "--alter", *entity, "--delete-config", "retention.ms,cleanup.policy")
    check.settle()
    described = tool(CONFIGS, broker, "--describe", *entity)
    expect_true("settings must be back at their defaults", "cleanup.policy" not in described, described)
    refused = process.run(command(CONFIGS, broker, "--alter", *entity, "--add-config", "retention.ms=soon"))
    expect_true("a bad value must be refused", "Not a number" in refused.stdout + refused.stderr, refused.stdout + refused.stderr)


def trim(broker, topic, ends):
    step("kafka-delete-records and kafka-log-dirs")
    partition, end = max(ends.items(), key=lambda one: one[1])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as wanted:
        row = {"topic": topic, "partition": partition, "offset": end - 1}
        json.dump({"version": 1, "partitions": [row]}, wanted)
        wanted.flush()
        said = tool(DELETE_RECORDS, broker, "--offset-json-file", wanted.name)
    expect_true("the new start must be told", f"low_watermark: {end - 1}" in said, said)
    starts = tool(OFFSETS, broker, "--topic", topic, "--time", "earliest").split()
    expect_true("the new start must be seen", f"{topic}:{partition}:{end - 1}" in starts, starts)
    said = tool(LOG_DIRS, broker, "--describe", "--topic-list", topic)
    rows = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["brokers"][0]["logDirs"][0]["partitions"]
    sizes = {row["partition"]: row["size"] for row in rows}
    expect("partitions with a size", check.PARTITIONS, len(sizes))
    expect_true("a partition with records must take room", sizes[f"{topic}-{partition}"] > 0, sizes)


if __name__ == "__main__":
    check.main("kafka-tools", process.kafka_version(), run)
