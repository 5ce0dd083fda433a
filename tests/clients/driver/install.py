"""Installs the clients into a cache: one installer for each language, run beside each other, each once for each state of
the files that pin its versions."""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

CLIENTS = pathlib.Path(__file__).resolve().parents[1]
TRIES = 3
DOWNLOAD_SECONDS = 300
# What the modules of go.mod need at least, and the first Go that can fetch a newer one by itself.
GO_NEEDED = (1, 26)
GO_FETCHING = (1, 21)
# The Debian packages of a command, installed only where the command is missing.
DEBIAN = {
    "venv": ["python3-venv"],
    "node": ["nodejs", "npm"],
    "npm": ["nodejs", "npm"],
    "go": ["golang-go", "ca-certificates"],
    "java": ["default-jdk-headless"],
    "javac": ["default-jdk-headless"],
    "mvn": ["maven"],
    "kcat": ["kcat"],
}


class Failed(Exception):
    """Something could not be installed; the message says what and why."""


class Installers:
    """Knows what is installed, and where."""

    def __init__(self, cache, logs):
        self.cache, self.logs = cache, logs
        self.futures = {}
        self.lock = threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(4)
        self.python = cache / "venv" / "bin" / "python"
        self.node_modules = cache / "node" / "node_modules"
        self.go_programs = cache / "go"
        self.jars = cache / "java" / "jars"
        self.classes = cache / "java" / "classes"
        self.flink_jars = cache / "flink" / "jars"
        self.flink_classes = cache / "flink" / "classes"

    def debian(self, commands):
        """Installs what is missing of these commands."""
        missing = sorted({p for c in commands if not present(c) for p in DEBIAN[c]})
        if not missing:
            return
        print(f"installing {', '.join(missing)}", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        self.retry("apt", ["apt-get", "update", "-qq"], env=environment)
        self.retry("apt", ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=environment)

    def begin(self, names):
        """Starts these installers, each on a thread of its own."""
        for name in sorted(names):
            with self.lock:
                if name not in self.futures:
                    self.futures[name] = self.pool.submit(getattr(self, f"install_{name}"))

    def wait(self, name):
        """Waits until it is installed. Raises Failed if it cannot be."""
        self.begin({name})
        self.futures[name].result()

    def install_python(self):
        pinned = CLIENTS / "python" / "requirements.txt"
        with self.once("venv", [pinned]) as needed:
            if needed:
                self.call("python", [sys.executable, "-m", "venv", "--clear", str(self.cache / "venv")])
                self.retry("python", [str(self.python), "-m", "pip", "install", "-q", "--only-binary", ":all:", "-r", str(pinned)])

    def install_node(self):
        pinned = [CLIENTS / "node" / name for name in ("package.json", "package-lock.json", ".npmrc")]
        with self.once("node", pinned) as needed:
            if needed:
                for file in pinned:
                    shutil.copy(file, self.cache / "node")
                self.retry("node", ["npm", "ci", "--ignore-scripts", "--loglevel=error"], cwd=self.cache / "node")

    def install_go(self):
        self.go_programs.mkdir(parents=True, exist_ok=True)
        go, environment = self.go()
        where = CLIENTS / "go"
        self.retry("go", [go, "mod", "download"], cwd=where, env=environment)
        # Go's own cache knows what is built already. The programs are read by people who debug a broker, not run for long.
        self.call("go", [go, "build", "-gcflags=all=-N -l", "-o", f"{self.go_programs}/", "./..."], cwd=where, env=environment)

    def install_java(self):
        self.maven("java", CLIENTS / "java", self.jars)
        self.javac("java", (CLIENTS / "java").glob("*.java"), self.jars, self.classes)

    def install_flink(self):
        """Flink's connector brings a client of its own version, whose insides it knows: nothing is shared but the check."""
        sources = CLIENTS / "java" / "flink"
        self.maven("flink", sources, self.flink_jars)
        self.javac("flink", [*sources.glob("*.java"), CLIENTS / "java" / "Check.java"], self.flink_jars, self.flink_classes)

    def maven(self, name, folder, jars):
        """Copies what the folder's pom.xml names, and what that needs."""
        pinned = folder / "pom.xml"
        with self.once(name, [pinned]) as needed:
            if needed:
                goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
                self.retry(name, ["mvn", "-q", "-B", "-f", str(pinned), f"-DbuildDirectory={jars.parent}", *goal])

    def javac(self, name, sources, jars, classes):
        files = sorted(str(file) for file in sources)
        self.call(name, ["javac", "-encoding", "UTF-8", "-cp", f"{jars}/*", "-d", str(classes), *files])

    def go(self):
        """The Go that builds the programs, and its environment. One too old for their modules fetches a newer one, which
        Go's makers publish as a module; the oldest do not do that by themselves."""
        said = subprocess.run(["go", "env", "GOVERSION", "GOARCH"], capture_output=True, text=True, cwd="/").stdout.split()
        version, architecture = said if len(said) == 2 else ("none", "none")
        found = re.match(r"go(\d+)\.(\d+)", version)
        number = (int(found[1]), int(found[2])) if found else (0, 0)
        if number >= GO_NEEDED:
            return "go", {**os.environ, "GOTOOLCHAIN": "local"}
        wanted = f"go{dotted(GO_NEEDED)}.0"
        if number >= GO_FETCHING:
            return "go", {**os.environ, "GOTOOLCHAIN": wanted}
        self.retry("go", ["go", "mod", "download", f"golang.org/toolchain@v0.0.1-{wanted}.linux-{architecture}"], cwd="/")
        root = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, cwd="/").stdout.strip()
        folder = pathlib.Path(root) / f"golang.org/toolchain@v0.0.1-{wanted}.linux-{architecture}"
        # Files of a module are not executable.
        for program in [*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")]:
            program.chmod(0o755)
        return str(folder / "bin" / "go"), {**os.environ, "GOTOOLCHAIN": "local", "GOROOT": str(folder)}

    def once(self, name, pinned):
        return Once(self.cache / name, pinned)

    def retry(self, what, command, **options):
        """A command that downloads: three tries."""
        for attempt in range(1, TRIES + 1):
            try:
                return self.call(what, command, **options)
            except Failed:
                if attempt == TRIES:
                    raise
                time.sleep(5 * attempt)

    def call(self, what, command, **options):
        """Runs a command with its words in the installer's log."""
        log = self.logs / f"install-{what}.log"
        with log.open("a", encoding="utf-8") as out:
            out.write(f"$ {' '.join(command)}\n")
            out.flush()
            try:
                subprocess.run(
                    command, check=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=DOWNLOAD_SECONDS, **options
                )
            except (OSError, subprocess.SubprocessError) as error:
                tail = " / ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])
                raise Failed(f"cannot install the {what} clients: {error}; {tail}") from error


class Once:
    """Whether a folder must be filled anew: it must unless it was filled, to the end, from the same pinned versions."""

    def __init__(self, folder, pinned):
        self.stamp = folder / ".installed"
        self.folder = folder
        self.digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in pinned)).hexdigest()

    def __enter__(self):
        done = self.stamp.exists() and self.stamp.read_text() == self.digest
        if not done:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        return not done

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.stamp.write_text(self.digest)


def present(command):
    if command == "venv":
        return subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    return shutil.which(command) is not None


def dotted(version):
    return ".".join(map(str, version))
