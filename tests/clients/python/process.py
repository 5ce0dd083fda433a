"""Runs a command-line client as a process, as a person would."""

import os
import pathlib
import subprocess

import check

# Less than the 45 s after which a broker gives up a member that left without a word.
WAIT = 40


def run(command, given="", env=None):
    """The finished process, with its output as text. A mismatch if it does not end in time."""
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=WAIT, env=env)
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")[-300:]
        raise check.Mismatch(f"{' '.join(command)}: still running after {WAIT} s, having printed {said!r}") from None


def output(command, given="", env=None):
    """What the command prints on standard output. A mismatch if it fails."""
    done = run(command, given, env)
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip()[-600:]
        raise check.Mismatch(f"{' '.join(command)}: exit code {done.returncode}: {said}")
    return done.stdout


def kafka_tool(name, *arguments):
    """What Kafka's script of that tool starts, with a heap and a compiler for programs that live a second. KAFKA_JARS
    names the folder with Kafka's jars, KAFKA_LOG4J its logging configuration."""
    jars, log4j = os.environ["KAFKA_JARS"], os.environ["KAFKA_LOG4J"]
    java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={log4j}"]
    # The oldest tools are not where the others are.
    main = name if name.startswith("kafka.") else f"org.apache.kafka.tools.{name}"
    return [*java, "-cp", f"{jars}/*", main, *arguments]


def kafka_version():
    """The version of Kafka's tools."""
    jars = sorted(pathlib.Path(os.environ["KAFKA_JARS"]).glob("kafka-tools-[0-9]*.jar"))
    return jars[0].stem.removeprefix("kafka-tools-")
