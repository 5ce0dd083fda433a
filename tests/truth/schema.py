#!/usr/bin/env python3
"""Writes schema.txt: the shape of the messages that the scripts speak, from Kafka's own definitions.

    python3 tests/truth/schema.py .../kafka-clients-4.3.1.jar > tests/truth/schema.txt

The jar carries the definitions as common/message/*.json. Only facts are taken: names, types, versions, defaults.
To speak one more API, add its key here and run this again.
"""

import json
import re
import sys
import zipfile

KEYS = [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 32, 33, 35, 37, 42, 44, 47, 60, 61, 65, 66, 75]

HEADER = """\
# Made by schema.py from the message definitions in kafka-clients-4.3.1.jar; not edited by hand.
# api KEY NAME VERSIONS flex FIRST-FLEXIBLE-VERSION
# FIELD TYPE VERSIONS [null VERSIONS] [tag N VERSIONS] [default VALUE]; deeper lines are the fields of a struct.
"""


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def fields(out, definition, common, depth):
    for f in definition:
        kind = f["type"]
        array = kind.startswith("[]")
        inner = kind[2:] if array else kind
        below = f.get("fields") or common.get(inner)
        shown = ("[]" if array else "") + ("struct" if below else inner)
        line = "%s%s %s %s" % (" " * depth, snake(f["name"]), shown, f["versions"])
        if f.get("nullableVersions"):
            line += " null " + f["nullableVersions"]
        if "tag" in f:
            line += " tag %d %s" % (f["tag"], f["taggedVersions"])
        default = str(f.get("default", "")).lower() if isinstance(f.get("default"), bool) else str(f.get("default", ""))
        if default not in ("", "0", "false"):
            line += " default " + default
        out.append(line)
        if below:
            fields(out, below, common, depth + 1)


def main():
    jar = zipfile.ZipFile(sys.argv[1])
    messages = {}
    for name in jar.namelist():
        if not re.match(r"common/message/.*(Request|Response)\.json$", name):
            continue
        text = re.sub(r"^\s*//.*$", "", jar.read(name).decode(), flags=re.M)
        message = json.loads(re.sub(r"\s+//.*$", "", text, flags=re.M))
        if "apiKey" in message:
            messages[message["apiKey"], message["type"]] = message
    out = []
    for key in KEYS:
        request, response = messages[key, "request"], messages[key, "response"]
        name = request["name"].removesuffix("Request")
        versions = request["validVersions"]
        if request.get("latestVersionUnstable"):  # Not served, so not spoken.
            low, high = versions.split("-")
            versions = "%s-%d" % (low, int(high) - 1)
        flexible = request["flexibleVersions"].rstrip("+")
        out.append("api %d %s %s flex %s" % (key, name, versions, flexible))
        for kind, message in (("request", request), ("response", response)):
            out.append(" " + kind)
            common = {s["name"]: s["fields"] for s in message.get("commonStructs", [])}
            fields(out, message["fields"], common, 2)
    print(HEADER + "\n".join(out))


main()
