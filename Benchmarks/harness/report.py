"""Docs/Performance.md: tables, and ratios against their targets."""

from dataclasses import dataclass, field

from .figures import Runs, number
from .processes import ROOT

# What no program writes: what the other scripts have shown, and why the figures are what they are.
BY_HAND = [ROOT / "Benchmarks" / name for name in ("cluster.md", "bounds.md")]


@dataclass
class Target:
    """A figure, and what it should be."""

    name: str
    value: float
    bound: float
    at_most: bool
    unit: str

    def row(self) -> list[str]:
        is_met = self.value <= self.bound if self.at_most else self.value >= self.bound
        unit = f" {self.unit}" if self.unit else ""
        return [
            self.name, f"{number(self.value, 2)}{unit}", f"{'≤' if self.at_most else '≥'} {self.bound:g}{unit}",
            "met" if is_met else "**missed**",
        ]


@dataclass
class Report:
    """What has been measured so far."""

    facts: list[tuple[str, str]]
    sections: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def target(self, name: str, value: float, bound: float, *, at_most: bool = False, unit: str = "") -> None:
        self.targets.append(Target(name, value, bound, at_most, unit))

    def section(self, title: str, words: str, *tables: str) -> None:
        self.sections.append("\n\n".join([f"## {title}", words, *tables]))

    def text(self, command: str) -> str:
        parts = [
            "# Performance",
            f"Written by `{command}`; only \"Many nodes\" and \"What bounds it\" are written by hand (in "
            "`Benchmarks/cluster.md` and `Benchmarks/bounds.md`). "
            "Client and server share the machine, so absolute figures say as much about the machine as about "
            "Affinity: the ratios are what to look at. Where a figure was measured in several rounds, for all systems "
            "in turn, it is the median, with the lowest and the highest in parentheses.",
            table(["", ""], [list(fact) for fact in self.facts]),
            "To repeat it: `scripts/bench` on a machine that does nothing else, `scripts/bench --quick` for a short "
            "trial, `scripts/bench --only http` for a part.",
        ]
        if self.targets:
            rows = [target.row() for target in self.targets]
            parts += ["## Against the targets", table(["what", "measured", "target", ""], rows)]
        return "\n\n".join([*parts, *self.sections, *(page.read_text().strip() for page in BY_HAND)]) + "\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


HTTP_HEADER = ["", "requests/s", "p50 ms", "p99 ms", "CPU µs a request"]


def http_row(name: str, runs: Runs) -> list[str]:
    errors = f" ({runs.errors} connections failed or timed out)" if runs.errors else ""
    return [
        name + errors, runs.series("rate").shown(), runs.series("p50").shown(2), runs.series("p99").shown(2),
        runs.series("cpu").shown(1),
    ]
