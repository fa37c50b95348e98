"""What changes with the numbers of connections, partitions and keys."""

import shutil
import sys
from pathlib import Path

from .figures import Runs, number
from .plan import Plan
from .processes import Server, run
from .report import HTTP_HEADER, Report, http_row, table
from .wrk import load


def measure(report: Report, plan: Plan, folder: Path) -> None:
    connections(report, plan, folder)
    partitions(report, plan, folder)
    keys(report, plan, folder)


def connections(report: Report, plan: Plan, folder: Path) -> None:
    data = folder / "connections"
    run("LoadBenchmark", data=data, entries=plan.keys)
    rows = []
    with Server.keyvalue(data, "memory") as server:
        load(server, "get", seconds=plan.warm_up)
        for script in ("get", "put"):
            for count in plan.connection_counts:
                sample = load(server, script, seconds=plan.single, connections=count)
                rows.append(http_row(f"{script.upper()}, {count:,}", Runs([sample])))
    report.section(
        "Connections", f"Memstore in memory, 4 partitions; one run of {plan.single} s each.", table(HTTP_HEADER, rows))


def partitions(report: Report, plan: Plan, folder: Path) -> None:
    rows = []
    for count in plan.partition_counts:
        data = folder / f"partitions-{count}"
        run("LoadBenchmark", data=data, entries=plan.keys, partitions=count)
        with Server.keyvalue(data, "memory", count) as server:
            load(server, "put", seconds=plan.warm_up)
            for script in ("get", "put"):
                sample = load(server, script, seconds=plan.single)
                rows.append(http_row(f"{script.upper()}, {count}", Runs([sample])))
    report.section(
        "Partitions", f"Memstore in memory, 64 connections; one run of {plan.single} s each.",
        table(HTTP_HEADER, sorted(rows, key=lambda row: row[0].split(",")[0])))


def keys(report: Report, plan: Plan, folder: Path) -> None:
    rows = [row for count in plan.key_counts for row in rows_of(count, plan, folder)]
    report.section(
        "Keys",
        "Loaded through the service in one process, into RocksDB memstores; then the server is started on that data "
        "folder with each memstore: those in memory are rebuilt from the log, those in RocksDB go on where they were. "
        f"GETs of keys at random (100,000 different ones at most), 64 connections, one run of {plan.single} s each.",
        table(["keys", "loaded/s", "data MiB", "memstore", "start s", "resident MiB", "GET/s", "p99 ms"], rows))


def rows_of(count: int, plan: Plan, folder: Path) -> list[list[str]]:
    print(f"  {count:,} keys", file=sys.stderr)
    data = folder / f"keys-{count}"
    loaded = run("LoadBenchmark", data=data, entries=count, memstore="rocksdb")["load"]
    size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    rows = []
    for memstore in ("rocksdb", "memory"):
        with Server.keyvalue(data, memstore) as server:
            load(server, "get", seconds=plan.warm_up, keys=count)
            sample = load(server, "get", seconds=plan.single, keys=count)
            rows.append([
                f"{count:,}", number(loaded), number(size / 2**20, 1), memstore, number(server.ready_seconds, 2),
                number(server.resident_bytes() / 2**20), number(sample.rate), number(sample.p99, 2),
            ])
    shutil.rmtree(data)
    return rows
