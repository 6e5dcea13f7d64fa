"""Medians, taken interleaved with a floor, as ratios.

The machine that runs this is shared and its clock speed moves. Taking the floor once at the start would
charge that to the case, so each round times the floor and the case one after the other.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Case:
    """`work` is timed; `unit` and `count` say what it does once (300 resources, 100,000 rows)."""

    name: str
    work: Callable[[], object]
    floor: Callable[[], object]
    floor_name: str
    count: int
    unit: str


@dataclass(frozen=True, slots=True)
class Figure:
    case: Case
    seconds: float
    floor_seconds: float

    @property
    def ratio(self) -> float:
        return self.seconds / self.floor_seconds

    @property
    def per_second(self) -> float:
        return self.case.count / self.seconds


def passthrough(data: bytes) -> Callable[[], object]:
    """The floor: parse the bytes and write them again."""
    return lambda: orjson.dumps(orjson.loads(data))


def measure(case: Case, rounds: int) -> Figure:
    case.work()  # warm: imports, compiled policies, caches that a service keeps
    case.floor()
    work, floor = [], []
    gc.collect()
    for _ in range(rounds):
        floor.append(_seconds(case.floor))
        work.append(_seconds(case.work))
    return Figure(case, statistics.median(work), statistics.median(floor))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(figures: list[Figure]) -> str:
    rows = [
        (
            f.case.name,
            f"{f.seconds * 1000:.2f} ms",
            f"{f.per_second:,.0f} {f.case.unit}/s",
            f"{f.ratio:.2f} x {f.case.floor_name}",
        )
        for f in figures
    ]
    header = ("case", "median", "throughput", "ratio to the floor of the same run")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(lines)
