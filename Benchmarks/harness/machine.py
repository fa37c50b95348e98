"""What the figures were measured on, without names of hosts."""

import os
import platform
import re
import subprocess
from datetime import date
from pathlib import Path

from .processes import ROOT


def facts(data: Path) -> list[tuple[str, str]]:
    """What stands at the top of the report; `data` is where the data folders are."""
    return [
        ("date", date.today().isoformat()),
        ("revision", revision()),
        ("processor", f"{processor()}, {os.cpu_count()} cores, shared by wrk and the server"),
        ("memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"),
        ("file system of the data", output("stat", "-f", "-c", "%T", str(data))),
        ("system", f"{distribution()}, Linux {platform.release().split('-')[0]}"),
        ("Swift", first(r"Swift version (\S+)", output("swift", "--version"))),
        ("libraries", f"RocksDB {package('librocksdb-dev')}, Boost {package('libboost1.81-dev')}"),
        ("wrk", package("wrk")),
        ("load average at the start", f"{os.getloadavg()[0]:.2f}"),
    ]


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else "unknown"


def revision() -> str:
    changed = ", with changes" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    return output("git", "rev-parse", "--short", "HEAD") + changed


def processor() -> str:
    return first(r"^model name\s*:(.*)$", Path("/proc/cpuinfo").read_text())


def distribution() -> str:
    return first(r'^PRETTY_NAME="(.*)"$', Path("/etc/os-release").read_text())


def package(name: str) -> str:
    return output("dpkg-query", "-W", "-f", "${Version}", name).split("-")[0]
