"""What an officer may decide about risk, and what holds where nobody has decided."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from privacy.thresholds import THRESHOLDS, Threshold
from service.stores.risk import QUASI, RiskSettings, Row

OWN = "own"  # a class size that stands in no list
LARGEST_K = 1000
MOST_ROWS = 20_000  # of a table of the population
LEVELS: Mapping[str, Threshold] = {level.id: level for level in THRESHOLDS}
DEFAULT = RiskSettings("low-invasion", LEVELS["low-invasion"].k, ("sex", "age", "deceased"))

# Where figures of a population come from: words for a report, never a person's.
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,;:()/_-]{0,158}")


class RiskError(ValueError):
    """What cannot be set or measured, as a sentence with the next step."""


def chosen(
    *,
    threshold: str = DEFAULT.threshold,
    k: int | None = None,
    knows: Sequence[str] = DEFAULT.knows,
    population: int | None = None,
    source: str = "",
    people: Mapping[Row, int] | None = None,
) -> RiskSettings:
    """Checked settings. `k` stands for a threshold of one's own."""
    names = tuple(dict.fromkeys(knows))
    unknown = [name for name in names if name not in QUASI]
    if unknown or not names:
        raise RiskError(f"an outsider may know: {', '.join(QUASI)}")
    if k is None and threshold not in LEVELS:
        raise RiskError(f"thresholds: {', '.join(LEVELS)}; or give a class size")
    if k is not None and not 2 <= k <= LARGEST_K:
        raise RiskError(f"a class size is between 2 and {LARGEST_K}")
    if source and not _SOURCE.fullmatch(source):
        raise RiskError("say where the population's figures come from in plain letters and digits")
    size = _size(population, people)
    if size is not None and not source:
        raise RiskError("say where the population's figures come from")
    level = OWN if k is not None else threshold
    return RiskSettings(level, k or LEVELS[threshold].k, names, size, source, people)


def _size(population: int | None, people: Mapping[Row, int] | None) -> int | None:
    if people is None:
        if population is not None and population < 1:
            raise RiskError("a population has at least one person")
        return population
    if population is not None:
        raise RiskError("a table of the population has its size in it: give one of the two")
    return sum(people.values())


_READ: Mapping[str, Callable[[str], Any]] = {
    "sex": str,
    "age": int,
    "age-band": int,
    "deceased": {"true": True, "false": False}.__getitem__,
    "conditions": str,
}


def read_people(lines: Sequence[str], knows: Sequence[str]) -> dict[Row, int]:
    """A table (CSV) of the population: a column for each trait that is known, and `people`."""
    reader = csv.DictReader(lines)
    wanted = {*knows, "people"}
    if set(reader.fieldnames or ()) != wanted:
        raise RiskError(f"the table needs the columns {', '.join(sorted(wanted))} and no other")
    found: dict[Row, int] = {}
    for number, row in enumerate(reader, 2):
        try:
            known = tuple(_READ[name](row[name]) for name in knows)
            people = int(row["people"])
        except (KeyError, TypeError, ValueError):
            raise RiskError(f"line {number} of the table cannot be read") from None
        if people < 0 or known in found or len(found) >= MOST_ROWS:
            raise RiskError(f"line {number}: negative, given before, or beyond {MOST_ROWS} rows")
        found[known] = people
    if not sum(found.values()):
        raise RiskError("the table counts nobody")
    return found
