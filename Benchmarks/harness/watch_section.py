"""Watching: how soon a change is heard, how many hear it, and what somebody takes who hears nothing."""

import resource
import socket
import time
from pathlib import Path

from .figures import BenchError, number
from .memory_section import SPARE_FILES
from .plan import Plan
from .processes import Server, run
from .report import Report, table

OPTIONS = ["--gateway.limits.connections=20000"]
SIZE = 200
WINDOW = 4
RATE = 2_000


def measure(report: Report, plan: Plan, folder: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # For the servers too, which have a descriptor for each watcher.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many = min(plan.watchers, hard - SPARE_FILES)
    delivery = delivered(plan, folder, many)
    hot, shim = hot_key(plan, folder), broadcast(plan, folder)
    idle = idle_watcher(folder, many)
    report.target(
        f"commit → WebSocket, p99, {many:,} watchers of as many keys, {RATE:,} writes/s",
        delivery["delivery-after-answer/p99"], 20, at_most=True, unit="ms")
    report.target(
        f"messages/s to {plan.hot:,} watchers of one key / the shim's broadcast",
        hot["messages"] / shim["deliveries"], 0.8)
    report.target("memory of an idle watcher", idle / 1024, 20, at_most=True, unit="KiB")
    rows = [
        [name, number(delivery[f"{key}/p50"], 2), number(delivery[f"{key}/p99"], 2)]
        for name, key in (
            ("write sent → answered", "answer"), ("write sent → delivered", "delivery"),
            ("answered → delivered", "delivery-after-answer"))
    ]
    report.section(
        "Watching",
        f"One process has {many:,} WebSockets to KeyValue, one for each of as many keys, and writes {RATE:,} times a second "
        f"to them, over 64 connections ({delivery['writes']:,.0f} writes/s came about); the log is synced. A watcher that "
        "hears of a write before its writer counts as 0 in the last line. Then "
        f"{plan.hot:,} of them watch one key, with values of {SIZE} bytes and {WINDOW} writes on their way to all of them at "
        "a time; the shim's broadcast does the same in C++, without log, keys and versions. The memory is resident "
        "memory of the server for each further watcher that is told nothing, without deflate; the kernel's is not in it.",
        table(["", "p50 ms", "p99 ms"], rows),
        table(
            ["one key, many watchers", "messages/s"],
            [["KeyValue", number(hot["messages"])], ["the shim's broadcast", number(shim["deliveries"])]]),
        table(["", "bytes"], [["idle watcher", number(idle)]]))


def delivered(plan: Plan, folder: Path, watchers: int) -> dict[str, float]:
    with Server.keyvalue(folder / "many", "memory", options=OPTIONS) as server:
        return run(
            "WatchBenchmark", port=server.port, watchers=watchers, keys=watchers, rate=RATE, size=SIZE,
            seconds=plan.seconds)


def hot_key(plan: Plan, folder: Path) -> dict[str, float]:
    with Server.keyvalue(folder / "hot", "memory", options=OPTIONS) as server:
        return run(
            "WatchBenchmark", port=server.port, watchers=plan.hot, keys=1, window=WINDOW, size=SIZE,
            seconds=plan.seconds)


def broadcast(plan: Plan, folder: Path) -> dict[str, float]:
    with Server.constant(folder) as server:
        return run(
            "BroadcastBenchmark", port=server.port, watchers=plan.hot, window=WINDOW, size=SIZE, seconds=plan.seconds)


def idle_watcher(folder: Path, count: int) -> float:
    """Bytes for each."""
    with Server.keyvalue(folder / "idle", "memory", options=OPTIONS) as server:
        # What is made for the first ones stays.
        sockets = [watch(server, number) for number in range(16)]
        time.sleep(0.5)
        before = server.resident_bytes()
        sockets += [watch(server, number) for number in range(16, 16 + count)]
        time.sleep(0.5)
        after = server.resident_bytes()
        for connection in sockets:
            connection.close()
    return (after - before) / count


def watch(server: Server, number: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(
        f"GET /kv/idle-{number} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    answer = b""
    # To the end of the first message, which says that there is no entry.
    while b"true}" not in answer:
        received = connection.recv(4096)
        if not received:
            raise BenchError(f"{server.name} closed a watcher's connection: {server.words()}")
        answer += received
    return connection
