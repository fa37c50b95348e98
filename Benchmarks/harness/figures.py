"""What was measured: samples of one system, and how they are shown."""

import statistics
from dataclasses import dataclass, field


class BenchError(Exception):
    """Something that keeps the benchmark from running; the text is for its user."""


@dataclass
class Sample:
    """One run of wrk against one server."""

    rate: float
    p50: float
    p99: float
    cpu: float
    errors: int


@dataclass
class Series:
    """The values of one figure over all rounds."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def shown(self, digits: int = 0) -> str:
        """The median, with the range behind it if there was more than one round."""
        text = number(self.median, digits)
        if len(self.values) == 1:
            return text
        return f"{text} ({number(min(self.values), digits)}–{number(max(self.values), digits)})"


@dataclass
class Runs:
    """The samples of one system over all rounds."""

    samples: list[Sample] = field(default_factory=list)

    def series(self, name: str) -> Series:
        return Series([getattr(sample, name) for sample in self.samples])

    @property
    def rate(self) -> float:
        return self.series("rate").median

    @property
    def errors(self) -> int:
        return sum(sample.errors for sample in self.samples)


def number(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"
