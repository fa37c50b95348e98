"""What an entry and an idle connection take."""

import resource
import socket
import time
from pathlib import Path

from .figures import BenchError, number
from .plan import Plan
from .processes import Server, run
from .report import Report, table

# Of this process, for everything but the connections.
SPARE_FILES = 200


def measure(report: Report, plan: Plan, folder: Path) -> None:
    bytes = {
        name: run("FootprintBenchmark", structure=name, entries=plan.entries)[f"entry/{name}"]
        for name in ("dictionary", "unordered", "ordered")
    }
    for name in ("unordered", "ordered"):
        ratio = bytes[name] / bytes["dictionary"]
        report.target(f"memory of an entry, {name} store / dictionary", ratio, 1.5, at_most=True)
    count, idle = idle_connection(plan, folder)
    report.target("memory of an idle connection", idle / 1024, 16, at_most=True, unit="KiB")
    rows = [[f"entry, {name}", number(value), number(value / bytes["dictionary"], 2)] for name, value in bytes.items()]
    rows.append(["idle connection", number(idle), ""])
    report.section(
        "Memory",
        f"Resident memory of a process with {plan.entries:,} entries (keys of 12 bytes, values of 100) in a "
        "`Dictionary<[UInt8], [UInt8]>` and in the memory memstore, which has version and time besides; and of the "
        f"server with {count:,} keep-alive connections that have each done one GET. The difference to "
        "before, for each; what the kernel keeps for a socket is not in it.",
        table(["", "bytes", "/ dictionary"], rows))


def idle_connection(plan: Plan, folder: Path) -> tuple[int, float]:
    """How many connections there were, and the bytes for each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(plan.idle, hard - SPARE_FILES)
    with Server.keyvalue(folder / "idle", "memory") as server:
        # What is made for the first connections stays.
        connections = [connect(server) for _ in range(16)]
        time.sleep(0.5)
        before = server.resident_bytes()
        connections += [connect(server) for _ in range(count)]
        time.sleep(0.5)
        after = server.resident_bytes()
        for connection in connections:
            connection.close()
    return count, (after - before) / count


def connect(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(b"GET /kv/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = connection.recv(4096)
        if not received:
            raise BenchError(f"{server.name} closed a connection: {server.words()}")
        answer += received
    return connection
