"""GET and PUT over HTTP, beside a constant answer and beside what RocksDB itself can write."""

import sys
from contextlib import ExitStack
from pathlib import Path

from .figures import Runs, Series
from .plan import Plan
from .processes import Server, run
from .report import HTTP_HEADER, Report, http_row, table
from .wrk import load

CONSTANT_GET = "constant, GET"
CONSTANT_PUT = "constant, PUT"
GROUP = 64


def measure(report: Report, plan: Plan, folder: Path) -> None:
    with ExitStack() as servers:
        constant = servers.enter_context(Server.constant(folder))
        stores = {name: servers.enter_context(keyvalue(plan, folder, name)) for name in ("memory", "rocksdb")}
        systems: dict[str, tuple[Server, str]] = {CONSTANT_GET: (constant, "get")}
        systems |= {f"KeyValue, GET, {name}": (server, "get") for name, server in stores.items()}
        systems |= {CONSTANT_PUT: (constant, "put")}
        systems |= {f"KeyValue, PUT, {name}": (server, "put") for name, server in stores.items()}
        runs, synced = in_turn(plan, folder, systems)
    write(report, plan, folder, runs, synced)


def keyvalue(plan: Plan, folder: Path, memstore: str) -> Server:
    data = folder / f"http-{memstore}"
    run("LoadBenchmark", data=data, entries=plan.keys, memstore=memstore)
    return Server.keyvalue(data, memstore)


def in_turn(plan: Plan, folder: Path, systems: dict[str, tuple[Server, str]]) -> tuple[dict[str, Runs], Series]:
    for server, script in systems.values():
        load(server, script, seconds=plan.warm_up)
    runs = {name: Runs() for name in systems}
    synced = Series()
    for round in range(plan.rounds):
        for name, (server, script) in systems.items():
            print(f"  round {round + 1}: {name}", file=sys.stderr)
            runs[name].samples.append(load(server, script, seconds=plan.seconds, seed=round + 1))
        synced.values.append(written(folder, f"synced-{round}", GROUP, plan.seconds))
    return runs, synced


def written(folder: Path, name: str, group: int, seconds: int) -> float:
    return run("SyncedWritesBenchmark", data=folder / name, group=group, seconds=seconds)[f"synced/{group}"]


def write(report: Report, plan: Plan, folder: Path, runs: dict[str, Runs], synced: Series) -> None:
    get, put = runs[CONSTANT_GET].rate, runs[CONSTANT_PUT].rate
    report.target("GET, memory / constant", runs["KeyValue, GET, memory"].rate / get, 0.8)
    report.target("GET, rocksdb / constant", runs["KeyValue, GET, rocksdb"].rate / get, 0.7)
    for name in ("memory", "rocksdb"):
        rate = runs[f"KeyValue, PUT, {name}"].rate
        report.target(
            f"durable PUT, {name} / the lower of constant and synced writes", rate / min(put, synced.median), 0.5)
    groups = {group: Series([written(folder, f"synced-of-{group}", group, plan.single)]) for group in (1, 1_000)}
    groups = dict(sorted({**groups, GROUP: synced}.items()))
    report.section(
        "HTTP",
        f"wrk with 2 threads and 64 connections, {plan.keys:,} keys, values of 100 bytes, 4 partitions, "
        f"rounds: {plan.rounds} of {plan.seconds} s. A PUT is answered when it is synced. \"Constant\" is the "
        "gateway's HTTP server with an answer of 100 bytes that is made in C++. CPU is the server's, user and system "
        "time together.",
        table(HTTP_HEADER, [http_row(name, samples) for name, samples in runs.items()]),
        "RocksDB alone: records of the size that the log writes for such a PUT, with the log's options, in groups with "
        "one synced write each, from a loop of C calls on one thread.",
        table(["records in a group", "records/s"], [[f"{size:,}", rate.shown()] for size, rate in groups.items()]))
