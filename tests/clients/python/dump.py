"""Runs kafka-dump-log, Kafka's own reader of a broker's files, and understands what it prints.

The tool exits with 0 whatever it finds, so its words are read: all that it may say against a file is a complaint here.
"""

import json
import re

import process

TOOL = "DumpLogSegments"
# On standard output, beside the contents.
BAD_WORDS = re.compile(r"isvalid: false|invalid bytes at the end|Error at |Unknown record type|Ignoring unknown file")
FIELD = re.compile(r"(\w+): (\S+)")
RECORD = re.compile(r"\| offset: (-?\d+) .*?headerKeys: \[[^]]*\](?: key: (.*?))?(?: payload: (.*))?$")
HEADING = "Non-consecutive offsets in "
GAP = re.compile(r"\s+(-?\d+) is followed by (-?\d+)$")


class Dump:
    """What the tool said of some files, in one run.

    It calls every gap in offsets one, although compaction leaves gaps, Kafka's own as well as ours: where a log is
    `compacted`, offsets that only rise are no complaint. `gaps` has them all, for a comparison with Kafka's files.
    """

    def __init__(self, files, *options, compacted=False):
        names = ",".join(str(file) for file in files)
        done = process.run(process.kafka_tool(TOOL, "--files", names, *options))
        self.lines = done.stdout.splitlines()
        self.gaps, said = gaps_of(done.stderr)
        self.complaints = [line for line in self.lines if BAD_WORDS.search(line)] + said
        wrong = [gap for gap in self.gaps if not compacted or gap[2] <= gap[1]]
        self.complaints += [f"Non-consecutive offsets in {name}: {before} is followed by {next}" for name, before, next in wrong]
        if done.returncode != 0:
            self.complaints.append(f"exit code {done.returncode}")

    def batches(self):
        """The fields of each batch, in order."""
        return [dict(FIELD.findall(line)) for line in self.lines if line.startswith("baseOffset: ")]

    def records(self):
        """Of each record, in order: its offset, its key and its value as the tool prints them, None for null."""
        found = (RECORD.match(line) for line in self.lines)
        return [(int(record[1]), record[2], record[3]) for record in found if record]

    def producers(self):
        """Of each snapshot, by the offset in its name: the fields of its producers."""
        found = {}
        for line in self.lines:
            if line.startswith("Dumping ") and line.endswith(".snapshot"):
                producers = found.setdefault(base_of(line), [])
            elif line.startswith("producerId: "):
                producers.append(dict(FIELD.findall(line)))
        return found


def gaps_of(stderr):
    """What the tool says on standard error: the gaps, each with its file's name and the offsets around it, and all the
    rest. Without its one mistake: it expects every file to begin with offset 0, and so takes the beginning of each later
    segment for a gap."""
    gaps, rest, heading = [], [], None
    for line in stderr.splitlines():
        if line.startswith(HEADING):
            heading = line
            continue
        gap = GAP.match(line)
        if not heading or not gap:
            rest.append(line)
        elif gap[1] != "-1" or int(gap[2]) != base_of(heading):
            gaps.append((heading.rsplit("/", 1)[1], int(gap[1]), int(gap[2])))
    return gaps, rest


def base_of(heading):
    """The offset in the name of the file at the end of a line."""
    return int(heading.rsplit("/", 1)[1].split(".")[0])


def as_json(text):
    """The fields of a coordinator's or the catalog's record as the tool prints them; None if they are none."""
    return json.loads(text) if text is not None and text.startswith("{") else None
