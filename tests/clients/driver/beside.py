"""The clickstream against streamd and against Apache Kafka on this machine, in turn: whoever commits after every message
must get through at least as fast here."""

import re
import statistics
import sys

import brokers
import programs

RATES = re.compile(r"([\d,]+) events/s produced, ([\d,]+) commits/s")


def run(asked, root, data, logs, installers):
    """Some rounds of both, each on a new broker with nothing in it. The exit code."""
    clickstream = programs.choose("clickstream", has_binary=True)[0]
    installers.begin({"java", *clickstream.installers})
    installers.wait("java")
    starts = {
        "streamd": lambda *places: brokers.streamd(brokers.binary(asked, root), root, *places),
        "Apache Kafka": lambda *places: brokers.kafka(installers.jars, *places),
    }
    rates = {name: [] for name in starts}
    for round_number in range(1, asked.rounds + 1):
        # Who goes first alternates: a machine that gets slower or faster meanwhile favours neither.
        names = list(starts) if round_number % 2 else list(reversed(starts))
        for name in names:
            place = f"{name.split()[-1].lower()}-{round_number}"
            for folder in (data / place, logs / place):
                folder.mkdir(parents=True)
            with starts[name](data / place, logs / place) as broker:
                result = programs.run(clickstream, installers, broker, logs / place)
                faults = broker.stop()
            found = RATES.search(result.note)
            if not result.passed or faults or not found:
                why = "; ".join([result.reason, *faults]).strip("; ") or f"it says {result.note!r}"
                sys.exit(f"round {round_number} with {name}: {why}\nlogs in {logs / place}\n0 passed, 1 failed")
            produced, committed = (int(rate.replace(",", "")) for rate in found.groups())
            rates[name].append((produced, committed))
            print(f"  round {round_number}, {name}: {produced:,} events/s produced, {committed:,} commits/s", flush=True)
    return verdict(rates)


def verdict(rates):
    """Prints the medians; 1 if commits get through slower than with Kafka."""
    print()
    medians = {name: [statistics.median(column) for column in zip(*rounds)] for name, rounds in rates.items()}
    for name, (produced, committed) in medians.items():
        print(f"{name + ', median':22}{produced:>8,.0f} events/s produced {committed:>8,.0f} commits/s")
    ratios = [ours / theirs for ours, theirs in zip(medians["streamd"], medians["Apache Kafka"])]
    print(f"{'streamd : Kafka':22}{ratios[0]:>8.2f} {'':16} {ratios[1]:>8.2f}\n")
    slower = ratios[1] < 1
    if slower:
        print("a consumer that commits after every message is slower than with Apache Kafka")
    print("0 passed, 1 failed" if slower else "1 passed, 0 failed")
    return 1 if slower else 0
