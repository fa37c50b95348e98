"""Instructions for each request, counted by callgrind: the one figure that a busy machine does not change."""

import re
import signal
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .figures import BenchError, number
from .plan import Plan
from .processes import BINARIES, ROOT, Server, free_port
from .report import Report, table

# Until then everything has been made that is made once: buffers, caches, the first of each kind of job.
WARM_UP = 1_000
KEYS = 100
VALUE = b'"' + b"x" * 98 + b'"'


@dataclass
class Load:
    """What is asked of a server: so many requests, one at a time on each connection."""

    method: str
    memstore: str = "memory"
    connections: int = 1


def measure(report: Report, plan: Plan, folder: Path) -> None:
    shim = preload(folder)
    constant = BINARIES / "ConstantBenchmark"
    keyvalue = BINARIES / "KeyValue"
    rows = []
    for method in ("GET", "PUT"):
        least = per_request(constant, Load(method), plan.instructions, folder, shim)
        rows.append([f"constant, {method}", number(least), "1.00"])
        for memstore in ("memory", "rocksdb"):
            count = per_request(keyvalue, Load(method, memstore), plan.instructions, folder, shim)
            rows.append([f"KeyValue, {method}, {memstore}", number(count), number(count / least, 2)])
    report.section(
        "Instructions",
        "Counted by callgrind in a release build, the kernel's not among them: one loop, one partition, one connection with "
        f"one request at a time, {KEYS} keys, values of {len(VALUE)} bytes; the difference between runs of {WARM_UP:,} and of "
        f"{WARM_UP + plan.instructions:,} requests, divided by their number. A PUT is answered when it is synced, and has its "
        "group to itself. `scripts/instructions` compares builds.",
        table(["", "a request", "/ constant"], rows))


def preload(folder: Path) -> Path:
    """Builds what a Swift program needs to run under valgrind."""
    source = ROOT / "Benchmarks" / "Instructions" / "sigsuspend.c"
    library = folder / "sigsuspend.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    return library


def per_request(program: Path, load: Load, requests: int, folder: Path, shim: Path) -> float:
    """Instructions of all threads for each request. What begins and ends a run cancels out."""
    # valgrind gives up on what Swift writes for debuggers; the functions' names stay.
    named = folder / program.name
    subprocess.run(["strip", "--strip-debug", "-o", named, program], check=True)
    program = named
    few = total(program, load, WARM_UP, folder, shim)
    many = total(program, load, WARM_UP + requests, folder, shim)
    return (many - few) / requests


def total(program: Path, load: Load, requests: int, folder: Path, shim: Path) -> int:
    """Instructions of a run with so many requests, from the program's beginning to its end."""
    name = f"{load.method}-{load.memstore}-{requests}"
    output = folder / f"{name}.callgrind"
    with counted(program, load.memstore, folder / name, output, shim) as server, ExitStack() as stack:
        connections = [stack.enter_context(Connection(server.port)) for _ in range(load.connections)]
        for key in range(KEYS):
            connections[0].send("PUT", key)
            connections[0].receive()
        for first in range(0, requests, len(connections)):
            for place, connection in enumerate(connections):
                connection.send(load.method, (first + place) % KEYS)
            for connection in connections:
                connection.receive()
    found = re.search(r"^totals: (\d+)", output.read_text(), re.MULTILINE)
    if not found:
        raise BenchError(f"callgrind counted nothing: {server.words()}")
    return int(found[1])


def counted(program: Path, memstore: str, data: Path, output: Path, shim: Path) -> Server:
    """A server that runs under callgrind."""
    port = free_port()
    if program.name == "ConstantBenchmark":
        options = ["--port", str(port)]
    else:
        options = [*Server.settings(data, port, memstore, partitions=1), "--node.loops=1"]
    under = ["env", f"LD_PRELOAD={shim}", "valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"]
    return Server(str(program), data.with_suffix(".log"), port, options, under)


class Connection:
    """A client of few instructions and no surprises; use it in a `with`."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.received = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, method: str, key: int) -> None:
        body = b"" if method == "GET" else VALUE
        head = f"{method} /kv/key-{key} HTTP/1.1\r\nHost: localhost\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.socket.sendall(head.encode() + b"\r\n" + body)

    def receive(self) -> None:
        while b"\r\n\r\n" not in self.received:
            self.take()
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            raise BenchError(f"the answer was {head!r}")
        length = re.search(rb"^content-length: (\d+)", head, re.IGNORECASE | re.MULTILINE)
        count = int(length[1]) if length else 0
        while len(self.received) < count:
            self.take()
        self.received = self.received[count:]

    def take(self) -> None:
        more = self.socket.recv(65_536)
        if not more:
            raise BenchError("the server has closed the connection")
        self.received += more
