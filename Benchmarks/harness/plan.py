"""How long and how much is measured."""

from dataclasses import dataclass


@dataclass
class Plan:
    """The default is what Docs/Performance.md is made with."""

    rounds: int = 3
    # Of one run of wrk, in seconds.
    seconds: int = 5
    warm_up: int = 1
    # Of one run of wrk where there is only one.
    single: int = 4
    # Of one load in the process.
    in_process: int = 2
    # How many keys there are, and for all but the tables of growth.
    keys: int = 10_000
    entries: int = 1_000_000
    idle: int = 5_000
    # Who watches: keys of their own, and one key together.
    watchers: int = 10_000
    hot: int = 1_000
    # Requests whose instructions are counted.
    instructions: int = 10_000
    key_counts: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    partition_counts: tuple[int, ...] = (1, 4, 16, 64)
    connection_counts: tuple[int, ...] = (1, 10, 100, 256, 1_000)


QUICK = Plan(
    rounds=1, seconds=1, single=1, in_process=1, entries=100_000, idle=500, watchers=1_000, hot=200, instructions=2_000,
    key_counts=(1_000, 10_000, 100_000, 1_000_000))
