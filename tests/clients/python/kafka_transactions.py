"""Apache Kafka's kafka-transactions against a broker: a transaction whose producer was killed is listed, described and
ended."""

import subprocess
import time

import check
import process
from check import expect, expect_true, step

TRANSACTIONS = "TransactionsCommand"


def tool(name, broker, *arguments):
    return process.output(process.kafka_tool(name, "--bootstrap-server", broker, *arguments))


def rows(text):
    """The cells of a table that kafka-transactions prints, by heading."""
    lines = [line.split("\t") for line in text.splitlines() if line.strip()]
    headings = [cell.strip() for cell in lines[0]]
    return [dict(zip(headings, (cell.strip() for cell in line))) for line in lines[1:]]


def run(broker):
    topic = check.fresh_name("kafka-transactions")
    name = f"{topic}-id"
    tool("TopicCommand", broker, "--create", "--topic", topic, "--partitions", "1")
    check.settle()
    step("open a transaction, and kill its producer")
    limits = ["--num-records", "1000000", "--record-size", "10", "--throughput", "100"]
    begun = ["--transactional-id", name, "--transaction-duration-ms", "600000", "--command-property", "linger.ms=0"]
    performance = process.kafka_tool("ProducerPerformance", "--bootstrap-server", broker, "--topic", topic, *limits, *begun)
    producer = subprocess.Popen(performance, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + process.WAIT
        while not (opened := open_in(broker, topic)):
            expect_true("the producer must open a transaction", time.monotonic() < end, producer.poll())
    finally:
        producer.kill()
        producer.wait()
    step("see it")
    listed = [row for row in rows(tool(TRANSACTIONS, broker, "list")) if row["TransactionalId"] == name]
    expect("state in the list", ["Ongoing"], [row["TransactionState"] for row in listed])
    described = rows(tool(TRANSACTIONS, broker, "describe", "--transactional-id", name))[0]
    expect("state in the description", "Ongoing", described["TransactionState"])
    expect("producer id of the list", described["ProducerId"], listed[0]["ProducerId"])
    expect("producer id of the partition", described["ProducerId"], opened["ProducerId"])
    expect_true("the description must have the partition", f"{topic}-0" in described["TopicPartitions"], described)
    step("end it")
    tool(TRANSACTIONS, broker, "forceTerminateTransaction", "--transactionalId", name)
    check.settle()
    described = rows(tool(TRANSACTIONS, broker, "describe", "--transactional-id", name))[0]
    expect_true("it must have ended", described["TransactionState"] in ("Empty", "CompleteAbort"), described)
    expect("what is open then", None, open_in(broker, topic))
    tool("TopicCommand", broker, "--delete", "--topic", topic)


def open_in(broker, topic):
    """The row of a producer that has a transaction open in partition 0."""
    told = rows(tool(TRANSACTIONS, broker, "describe-producers", "--topic", topic, "--partition", "0"))
    return next((row for row in told if row["CurrentTransactionStartOffset"] != "None"), None)


if __name__ == "__main__":
    check.main("kafka-transactions", process.kafka_version(), run)
