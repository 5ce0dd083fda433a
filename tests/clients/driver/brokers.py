"""The broker that the clients meet: the built streamd, one that runs already, or Apache Kafka to compare with."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

START_SECONDS = 60
STOP_SECONDS = 15
# Apache Kafka answers admin requests before its metadata has come round; the programs wait so long after one.
KAFKA_SETTLE_MS = 1000
KAFKA_CLUSTER = "5L6g3nShT-eMCtK--X86sw"


def start(asked, root, data, logs, installers):
    """The broker that was asked for; a context manager that stops it in any case."""
    if asked.attach:
        return Attached(asked.attach)
    if asked.kafka:
        installers.wait("java")
        return kafka(installers.jars, data, logs)
    return streamd(binary(asked, root), root, data, logs)


class Attached:
    """A broker that somebody else runs."""

    settle_ms = KAFKA_SETTLE_MS

    def __init__(self, address):
        self.name, self.address = "broker", address

    def alive(self):
        return True

    def stop(self):
        return []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Started:
    """A broker that runs as our child."""

    def __init__(self, name, command, log, settle_ms, clean_exit_codes):
        self.name, self.log, self.settle_ms = name, log, settle_ms
        self.clean_exit_codes = clean_exit_codes
        self.address, self.binary = None, pathlib.Path(command[0])
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def alive(self):
        return self.process.poll() is None

    def wait_for(self, address):
        """Waits until `address()` gives one and it takes connections."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.alive():
            self.address = self.address or address()
            if self.address and takes_connections(self.address):
                return self
            time.sleep(0.05)
        state = "does not listen" if self.alive() else f"ended with exit code {self.process.returncode}"
        self.__exit__()
        sys.exit(f"{self.name} {state}; its log:\n{self.text()[-3000:]}")

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self):
        """Ends it with SIGTERM, as a service manager does. What was wrong with it, if anything."""
        faults = []
        if not self.alive():
            faults.append(f"ended by itself with exit code {self.process.returncode}; log {self.log}")
        else:
            self.process.terminate()
            try:
                code = self.process.wait(STOP_SECONDS)
                if code not in self.clean_exit_codes:
                    faults.append(f"exit code {code} after SIGTERM; log {self.log}")
            except subprocess.TimeoutExpired:
                faults.append(f"still running {STOP_SECONDS} s after SIGTERM")
        faults += [f"its log says: {line.strip()}" for line in self.text().splitlines() if self.grave(line)]
        return faults

    def grave(self, line):
        """Nothing that a well-behaved client does may end in such a line. Kafka's own errors are its own affair."""
        return self.name == "streamd" and ("panicked at" in line or '"level":"ERROR"' in line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.alive():
            self.process.kill()
        self.process.wait()


def takes_connections(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    except OSError:
        return False


def binary(asked, root):
    """The binary that was asked for, else the release build, else the debug build."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    found = [pathlib.Path(asked.broker)] if asked.broker else [target / kind / "streamd" for kind in ("release", "debug")]
    for path in found:
        if path.is_file():
            return path.resolve()
    sys.exit(f"no broker at {' or '.join(map(str, found))}: build it with `cargo build --release`")


def streamd(path, root, data, logs):
    """Starts the binary over what lies in `data`, on a free port."""
    ports = data / "ports.json"
    ports.unlink(missing_ok=True)
    flags = ["--config", str(root / "config" / "broker.toml"), "--data-dir", str(data / "data")]
    command = [str(path), *flags, "--port", "0", "--ports-file", str(ports)]
    broker = Started("streamd", command, logs / "broker.log", 0, {0})

    def address():
        try:
            return json.loads(ports.read_text())["kafka"][0]
        except (OSError, ValueError, KeyError, IndexError):
            return None

    return broker.wait_for(address)


def kafka(jars, data, logs):
    """Apache Kafka as a single node, with what one node needs and its defaults otherwise."""
    port, controller = free_port(), free_port()
    properties = data / "server.properties"
    properties.write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data / "kafka"}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""
    )
    log4j = pathlib.Path(__file__).resolve().parents[1] / "java" / "log4j2.properties"
    java = ["java", "-Xmx512m", f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{jars}/*"]
    format_command = [*java, "kafka.tools.StorageTool", "format", "-t", KAFKA_CLUSTER, "-c", str(properties)]
    formatted = subprocess.run(format_command, capture_output=True, text=True)
    if formatted.returncode != 0:
        sys.exit(f"formatting Kafka's storage failed:\n{formatted.stdout}{formatted.stderr}")
    command = [*java, "kafka.Kafka", str(properties)]
    # A Java program that is told to stop by SIGTERM ends with 143.
    broker = Started("Apache Kafka", command, logs / "broker.log", KAFKA_SETTLE_MS, {0, 143})
    return broker.wait_for(lambda: f"127.0.0.1:{port}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
