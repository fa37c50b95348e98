"""The stack over Kafka, beside what librdkafka itself does on the same broker."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .figures import BenchError, Runs, Series
from .plan import Plan
from .processes import ROOT, Server, figures, free_port, lines, run
from .report import HTTP_HEADER, Report, http_row, table
from .wrk import load

IN_FLIGHT = (1, 64, 1000)
SCRIPT = ROOT / "scripts" / "kafka"


def measure(report: Report, plan: Plan, folder: Path) -> None:
    if subprocess.run([SCRIPT, "check"], capture_output=True).returncode != 0:
        print("  skipped: scripts/kafka check says why", file=sys.stderr)
        return
    with cluster(folder / "one", 1) as brokers:
        commands(report, plan, folder, brokers)
        restoring(report, plan, folder, brokers)
        over_http(report, plan, folder, brokers)
        rows = settings(plan, folder, brokers, 1)
    with cluster(folder / "three", 3) as brokers:
        rows += settings(plan, folder, brokers, 3)
    report.section(
        "Settings of the producer",
        "Commands in the process, many keys, 4 partitions; one run each. Linger is how long a record waits for others, "
        "requests how many may be on their way to a broker. Three brokers share the two cores with everything else, "
        "with replication 3 and min.insync.replicas 2.",
        table(["brokers, linger, requests", "1: p50 ms", "64: commands/s", "64: p99 ms", "1,000: commands/s"], rows))


@contextmanager
def cluster(folder: Path, brokers: int) -> Iterator[str]:
    done = subprocess.run(
        [SCRIPT, "start", folder, "--brokers", str(brokers), "--port", "0"], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"scripts/kafka: {done.stderr.strip()}")
    try:
        yield done.stdout.split()[-1]
    finally:
        subprocess.run([SCRIPT, "stop", folder], capture_output=True)


def client(*words: object) -> dict[str, float]:
    return figures(lines("KafkaClientBenchmark", *(str(word) for word in words)))


def commands(report: Report, plan: Plan, folder: Path, brokers: str) -> None:
    """Durable commands, and records of a bare producer, in turn."""
    found: dict[str, Series] = {}
    topic = "benchmark.kv.kv"
    # Makes the topics, and warms the broker.
    run("LoadBenchmark", data=folder / "warm", entries=plan.keys, brokers=brokers)
    for round in range(plan.rounds):
        print(f"  round {round + 1}", file=sys.stderr)
        bare: dict[str, float] = {}
        for count in IN_FLIGHT:
            bare |= client("produce", brokers, topic, 4, count, plan.in_process)
        # Topics of its own: the bare producer's records are nobody's commands.
        own = run(
            "InProcessBenchmark", data=folder / f"own-{round}", seconds=plan.in_process, loads="commands",
            brokers=brokers, system="commands")
        for name, value in (bare | own).items():
            found.setdefault(name, Series()).values.append(value)
    rows = []
    for count in IN_FLIGHT:
        for name, words in ((f"client/produce/{count}", "librdkafka"), (f"command/many/{count}", "commands")):
            rows.append([
                f"{words}, {count:,} in flight", found[name].shown(), found[f"{name}/p50"].shown(3),
                found[f"{name}/p99"].shown(3),
            ])
    for count, bound in ((64, 0.5), (1000, 0.3)):
        ratio = found[f"command/many/{count}"].median / found[f"client/produce/{count}"].median
        report.target(f"Kafka: commands / bare producer, {count:,} in flight", ratio, bound)
    ratio = found["command/many/1/p50"].median / found["client/produce/1/p50"].median
    report.target("Kafka: p50 of one command at a time / bare produce", ratio, 1.5, at_most=True)
    report.section(
        "Kafka, in the process",
        f"One broker, replication 1, 4 partitions, 10,000 keys, values of 100 bytes, rounds: {plan.rounds} of "
        f"{plan.in_process} s. \"librdkafka\" is a loop of C calls with the same settings and records: idempotent, "
        "acks=all, no linger. A command is answered when it is acknowledged and applied.",
        table(["", "/s", "p50 ms", "p99 ms"], rows))


def restoring(report: Report, plan: Plan, folder: Path, brokers: str) -> None:
    """A partition from its topic into an empty memstore, and a bare consumer of the same topic."""
    entries = plan.entries
    where = {"partitions": 1, "brokers": brokers, "system": "restore"}
    run("LoadBenchmark", data=folder / "filled", entries=entries, **where)
    found: dict[str, Series] = {}
    for round in range(plan.rounds):
        bare = client("consume", brokers, "restore.kv.kv", 1, entries)["client/consume"]
        found.setdefault("librdkafka, consumer", Series()).values.append(bare)
        for memstore in ("memory", "rocksdb"):
            data = folder / f"restored-{memstore}-{round}"
            start = run("LoadBenchmark", data=data, entries=1, memstore=memstore, **where)["start"]
            found.setdefault(f"restoring into {memstore}", Series()).values.append(entries / start)
    bare = found["librdkafka, consumer"].median
    for memstore, bound in (("memory", 0.5), ("rocksdb", 0.3)):
        report.target(
            f"Kafka: restoring into {memstore} / bare consumer", found[f"restoring into {memstore}"].median / bare, bound)
    report.section(
        "Kafka, restoring",
        f"One partition with {entries:,} entries; the time of the whole start, with connecting, claiming and settling.",
        table(["", "records/s"], [[name, series.shown()] for name, series in found.items()]))


def over_http(report: Report, plan: Plan, folder: Path, brokers: str) -> None:
    rows = []
    for memstore in ("memory", "rocksdb"):
        data = folder / f"http-{memstore}"
        run("LoadBenchmark", data=data, entries=plan.keys, memstore=memstore, brokers=brokers, system=f"http-{memstore}")
        options = [
            "--storage.kind=kafka", f"--storage.brokers={brokers}", "--storage.replication=1", f"--system=http-{memstore}"]
        with Server.keyvalue(data, memstore, options=options) as server:
            load(server, "put", seconds=plan.warm_up)
            for connections in (1, 64, 256):
                runs = Runs([
                    load(server, "put", seconds=plan.single, connections=connections) for _ in range(plan.rounds)])
                rows.append(http_row(f"PUT, {memstore}, {connections} connections", runs))
            rows.append(http_row(f"GET, {memstore}, 64 connections", Runs([load(server, "get", seconds=plan.single)])))
    report.section(
        "Kafka, over HTTP",
        f"KeyValue with one broker on the same cores, 4 partitions, 10,000 keys, values of 100 bytes; rounds: "
        f"{plan.rounds} of {plan.single} s. CPU is the server's alone, not the broker's.",
        table(HTTP_HEADER, rows))


def settings(plan: Plan, folder: Path, brokers: str, count: int) -> list[list[str]]:
    rows = []
    for linger in (0, 500, 5000):
        for requests in (1, 5):
            print(f"  {count} brokers, linger {linger} µs, {requests} requests", file=sys.stderr)
            found = run(
                "InProcessBenchmark", data=folder / f"settings-{count}-{linger}-{requests}", seconds=plan.in_process,
                loads="commands", brokers=brokers, system=f"settings-{count}", replication=count, linger=linger,
                requests=requests)
            rows.append([
                f"{count}, {linger / 1000:g} ms, {requests}", f"{found['command/many/1/p50']:.2f}",
                f"{found['command/many/64']:,.0f}", f"{found['command/many/64/p99']:.1f}",
                f"{found['command/many/1000']:,.0f}",
            ])
    return rows
