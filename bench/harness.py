"""Medians, taken interleaved with a floor, as ratios.

The machine that runs this is shared and its clock speed moves. Taking the floor once at the start
would charge that to the case, so each round times the floor and the case one after the other, and
the figure is the median of the rounds' ratios: a change of speed between two rounds is in none of
them, and one within a round in that one alone. What only computes is charged the processor's time,
not that of the others who use it.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

HEADER = ("case", "median", "throughput", "ratio to the floor of the same run", "aim", "")


@dataclass(frozen=True, slots=True)
class Aim:
    """What we want: at most so many times the floor, so many a second, or at most so long."""

    ratio: float | None = None
    per_second: float | None = None
    milliseconds: float | None = None

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"<= {self.ratio:.3g} x"
        if self.milliseconds is not None:
            return f"<= {self.milliseconds:g} ms"
        return f">= {self.per_second:,.0f}/s"


Work = Callable[[], object] | Sequence[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Case:
    """`work` is timed; `unit` and `count` say what it does once (300 resources, 100,000 rows).

    Several works, each with a floor of its own, are timed apart: the figure is the median of them.
    """

    name: str
    work: Work
    floor: Work
    floor_name: str
    count: int
    unit: str
    aim: Aim | None = None
    waits: bool = False
    """For another process or the network: timed by the clock on the wall, not the processor's."""
    most_rounds: int | None = None
    """Where one round takes long enough to be sure of"""


@dataclass(frozen=True, slots=True)
class Figure:
    case: Case
    seconds: float
    floor_seconds: float
    ratio: float

    @property
    def per_second(self) -> float:
        return self.case.count / self.seconds

    @property
    def met(self) -> bool | None:
        aim = self.case.aim
        if aim is None:
            return None
        if aim.ratio is not None:
            return self.ratio <= aim.ratio
        if aim.milliseconds is not None:
            return self.seconds * 1000 <= aim.milliseconds
        assert aim.per_second is not None
        return self.per_second >= aim.per_second

    def as_dict(self) -> dict[str, Any]:
        return {
            "case": self.case.name,
            "milliseconds": round(self.seconds * 1000, 3),
            "count": self.case.count,
            "unit": self.case.unit,
            "perSecond": round(self.per_second, 1),
            "floor": self.case.floor_name,
            "ratio": round(self.ratio, 3),
            "aim": str(self.case.aim) if self.case.aim else None,
            "met": self.met,
        }


def passthrough(data: bytes) -> Callable[[], object]:
    """The floor: parse the bytes and write them again."""
    return lambda: orjson.dumps(orjson.loads(data))


def passthrough_lines(lines: Sequence[bytes]) -> Callable[[], object]:
    """The same, for NDJSON. Nothing is kept: what is kept needs memory that is new to the process,
    and to be given it takes as long as the reading and writing."""

    def passed() -> None:
        for line in lines:
            orjson.dumps(orjson.loads(line))

    return passed


def measure(case: Case, rounds: int) -> Figure:
    pairs = list(zip(_several(case.work), _several(case.floor), strict=True))
    for work, floor in pairs:  # warm: imports, compiled policies, caches that a service keeps
        work()
        floor()
    gc.collect()
    clock = time.perf_counter if case.waits else time.process_time
    rounds = min(rounds, case.most_rounds or rounds)
    timed = [_interleaved(work, floor, rounds, clock) for work, floor in pairs]
    works, floors, ratios = map(statistics.median, zip(*timed, strict=True))
    return Figure(case, works, floors, ratios)


def _several(work: Work) -> Sequence[Callable[[], object]]:
    return [work] if callable(work) else work


def _interleaved(
    work: Callable[[], object],
    floor: Callable[[], object],
    rounds: int,
    clock: Callable[[], float],
) -> tuple[float, float, float]:
    """Medians of the work, of the floor, and of how many times the floor a round's work took."""
    works, floors = [], []
    for _ in range(rounds):
        floors.append(_seconds(floor, clock))
        works.append(_seconds(work, clock))
    ratios = [work / floor for work, floor in zip(works, floors, strict=True)]
    return statistics.median(works), statistics.median(floors), statistics.median(ratios)


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def table(figures: Sequence[Figure]) -> str:
    rows = [HEADER, *map(_row, figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.case.name,
        f"{figure.seconds * 1000:.2f} ms",
        f"{figure.per_second:,.0f} {figure.case.unit}/s",
        f"{figure.ratio:.2f} x {figure.case.floor_name}",
        str(figure.case.aim or ""),
        {True: "met", False: "missed", None: ""}[figure.met],
    )
