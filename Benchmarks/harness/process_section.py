"""The stack without HTTP, and the core without a log."""

import re
from pathlib import Path

from .figures import Series
from .plan import Plan
from .processes import ROOT, lines, run
from .report import Report, table

LOADS = {
    "command/hot/1": "commands, one key, 1 in flight",
    "command/hot/64": "commands, one key, 64 in flight",
    "command/hot/1000": "commands, one key, 1,000 in flight",
    "command/many/1": "commands, many keys, 1 in flight",
    "command/many/64": "commands, many keys, 64 in flight",
    "command/many/1000": "commands, many keys, 1,000 in flight",
    "query/many/64": "queries, many keys, 64 in flight",
    "mixed/many/64": "90 % queries, many keys, 64 in flight",
    "half/query": "the queries of that mix at half that rate",
    "half/command": "the commands of that mix at half that rate",
}


def measure(report: Report, plan: Plan, folder: Path) -> None:
    figures: dict[str, Series] = {}
    for round in range(plan.rounds):
        for name, value in run("InProcessBenchmark", data=folder / f"in-process-{round}", seconds=plan.in_process).items():
            figures.setdefault(name, Series()).values.append(value)
    report.target(
        "linearizable read at half load, p99", figures["half/query/p99"].median, 1, at_most=True, unit="ms")
    rows = [
        [words, figures[name].shown(), figures[f"{name}/p50"].shown(3), figures[f"{name}/p99"].shown(3)]
        for name, words in LOADS.items()
    ]
    report.section(
        "In the process",
        f"A service with 4 partitions, memstore in memory and the durable log, on the event loops, without HTTP; "
        f"10,000 keys, rounds: {plan.rounds} of {plan.in_process} s. Commands are answered when they are synced, "
        "queries are linearizable. At half load, requests arrive by chance (a Poisson process) and do not wait for "
        "each other; latencies count from the moment at which a request was due, and what is due is released every "
        "50 µs.",
        table(["", "/s", "p50 ms", "p99 ms"], rows))


def measure_core(report: Report, plan: Plan, folder: Path) -> None:
    """`CoreBenchmark` decides itself what it measures; its lines are shown as it prints them."""
    if not (ROOT / "Benchmarks" / "Core").is_dir():
        return
    rows = [re.split(r"\t|  +", line) for line in lines("CoreBenchmark", str(plan.in_process))]
    report.section(
        "The core",
        "One partition on one thread over a log that acknowledges at once: what routing, handlers, transactions and "
        "the memstore in memory cost by themselves.",
        table([""] * len(rows[0]), rows))
