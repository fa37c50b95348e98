"""Loads a server with wrk."""

import os
import subprocess

from .figures import BenchError, Sample
from .processes import ROOT, Server

SCRIPTS = ROOT / "Benchmarks" / "HTTP"


def load(
    server: Server, script: str, *, seconds: int, connections: int = 64, keys: int = 10_000, seed: int = 1
) -> Sample:
    """One run of `get.lua` or `put.lua`; two threads unless there are fewer connections."""
    command = [
        "wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
        "-s", str(SCRIPTS / f"{script}.lua"), server.url,
    ]
    environment = dict(os.environ, KEYS=str(keys), SEED=str(seed), SCRIPTS=str(SCRIPTS))
    before = server.cpu_seconds()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    cpu = server.cpu_seconds() - before
    figures = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("figures ")]
    if done.returncode != 0 or not figures:
        raise BenchError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    requests, microseconds, p50, p99, socket_errors, status_errors = map(int, figures[0])
    if status_errors or not requests:
        raise BenchError(
            f"{server.name} refused {status_errors} of {requests} requests of {script}.lua: {server.words()}")
    return Sample(
        rate=requests / microseconds * 1e6, p50=p50 / 1e3, p99=p99 / 1e3, cpu=cpu / requests * 1e6,
        errors=socket_errors)
