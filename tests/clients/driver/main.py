"""Runs the programs of the foreign clients against a broker and prints a table of what came of it."""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import beside
import brokers
import install
import programs

ROOT = pathlib.Path(__file__).resolve().parents[3]
JOBS = 2
ROUNDS = 3


def arguments():
    parser = argparse.ArgumentParser(prog="tests/clients/run", description=__doc__)
    broker = parser.add_mutually_exclusive_group()
    broker.add_argument("--broker", metavar="BINARY", help="the streamd binary; the last one that was built, if not given")
    broker.add_argument("--attach", metavar="HOST:PORT", help="a broker that runs already")
    broker.add_argument("--kafka", action="store_true", help="Apache Kafka, from the jars of java/pom.xml, to compare with")
    parser.add_argument("--beside-kafka", action="store_true", help="only the clickstream, against streamd and Apache Kafka in turn; fails if commits are slower")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of --beside-kafka ({ROUNDS})")
    parser.add_argument("--only", metavar="NAME,...", help=f"some of: {', '.join(programs.NAMES)}")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"programs at a time ({JOBS}); the clickstream runs alone")
    parser.add_argument("--cache", type=pathlib.Path, default=ROOT / "target" / "clients", help="where clients are installed")
    asked = parser.parse_args()
    if asked.beside_kafka and (asked.attach or asked.kafka or asked.only or asked.rounds < 1):
        parser.error("--beside-kafka goes with --broker, --cache and at least one of --rounds")
    return asked


def main():
    asked = arguments()
    # A stop by signal must still end the broker and the programs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by a signal"))
    only = "clickstream" if asked.beside_kafka else asked.only
    chosen = programs.choose(only, has_binary=not (asked.kafka or asked.attach))
    logs = asked.cache / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamd-clients-") as data:
        # What a program that is killed leaves goes with the rest.
        os.environ["TMPDIR"] = data
        installers = install.Installers(asked.cache, logs)
        with_kafka = asked.kafka or asked.beside_kafka
        needs = {need for program in chosen for need in program.commands}
        installers.debian(needs | ({"java", "javac", "mvn"} if with_kafka else set()))
        if asked.beside_kafka:
            return beside.run(asked, ROOT, pathlib.Path(data), logs, installers)
        with brokers.start(asked, ROOT, pathlib.Path(data), logs, installers) as broker:
            print(f"{broker.name} at {broker.address}; {len(chosen)} clients; logs in {logs}", flush=True)
            results = run_all(chosen, installers, broker, logs, asked.jobs)
            faults = broker.stop()
    print_table(results)
    for fault in faults:
        print(f"{broker.name}: {fault}")
    failed = sum(not result.passed for result in results) + len(faults)
    print(f"in {time.monotonic() - start:.0f} s")
    print(f"{sum(result.passed for result in results)} passed, {failed} failed")
    return 1 if failed else 0


def run_all(chosen, installers, broker, logs, jobs):
    """The programs' results in their order. Whatever measures something runs when all others are done."""
    installers.begin({installer for program in chosen for installer in program.installers})

    def one(program):
        result = programs.run(program, installers, broker, logs)
        print(f"  {result.program.name}: {result.outcome} after {result.seconds:.1f} s", flush=True)
        return result

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            results = list(pool.map(one, [program for program in chosen if not program.alone]))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            programs.kill_all()
            raise
    return results + [one(program) for program in chosen if program.alone]


def print_table(results):
    rows = [("client", "version", "result", "seconds", "")]
    rows += [(r.program.name, r.version, r.outcome, f"{r.seconds:.1f}", r.note) for r in results]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]).rstrip())
    for result in results:
        if not result.passed:
            print(f"\n{result.program.name}: {result.reason}\n  last lines of {result.log}:")
            for line in result.tail():
                print(f"  | {line}")
    print()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except install.Failed as error:
        print(f"{error}\n0 passed, 1 failed")
        sys.exit(1)
