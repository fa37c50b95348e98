"""Starts the programs that are measured, and ends every one that it started."""

import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from .figures import BenchError

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / ".build" / "release"
READY_SECONDS = 600
STOP_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lines(program: str, *words: str) -> list[str]:
    """Runs a benchmark program; returns the lines that it prints."""
    done = subprocess.run([BINARIES / program, *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"{program} {' '.join(words)} failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
    return done.stdout.splitlines()


def run(program: str, **options: object) -> dict[str, float]:
    """Runs a benchmark program that prints names, values and units; returns the values by name."""
    return figures(lines(program, *(word for name, value in options.items() for word in (f"--{name}", str(value)))))


def figures(printed: list[str]) -> dict[str, float]:
    """The values by name."""
    return {name: float(value) for name, value, _ in (line.split("\t") for line in printed)}


class Server:
    """A server process, ready when the constructor returns; use it in a `with`."""

    def __init__(self, name: str, log: Path, port: int, options: list[str], under: list[str] = []):
        """`name` is that of a program of this build, or the path of one; `under` the words in front of it."""
        self.name = name
        self.log = log
        self.port = port
        self.ready_seconds = 0.0
        self.start = time.monotonic()
        with open(log, "wb") as output:
            self.process = subprocess.Popen([*under, BINARIES / name, *options], stdout=output, stderr=output)

    @classmethod
    def constant(cls, folder: Path) -> "Server":
        port = free_port()
        return cls("ConstantBenchmark", folder / "constant.log", port, ["--port", str(port)])

    @classmethod
    def keyvalue(cls, data: Path, memstore: str, partitions: int = 4, options: list[str] = []) -> "Server":
        port = free_port()
        return cls("KeyValue", data.with_suffix(f".{memstore}.log"), port, [
            *cls.settings(data, port, memstore, partitions), *options,
        ])

    @staticmethod
    def settings(data: Path, port: int, memstore: str, partitions: int) -> list[str]:
        return [
            f"--node.data={data}",
            f"--gateway.listeners=http://127.0.0.1:{port}",
            f"--keyspaces.kv.memstore={memstore}",
            f"--keyspaces.kv.partitions={partitions}",
        ]

    def __enter__(self) -> "Server":
        try:
            self.wait_until_ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        while not self.is_ready():
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended ({self.process.returncode}): {self.words()}")
            if time.monotonic() - self.start > READY_SECONDS:
                raise BenchError(f"{self.name} was not ready within {READY_SECONDS} s: {self.words()}")
            time.sleep(0.005)
        self.ready_seconds = time.monotonic() - self.start

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def words(self) -> str:
        return self.log.read_text(errors="replace").strip()[-2000:]

    def cpu_seconds(self) -> float:
        """User and system time of all threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
