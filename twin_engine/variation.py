"""How far one quantity moves in one person from one measurement to the next: cited, by concept."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from twin_engine.equations.expression import Expression, FloatArray, parse
from twin_engine.equations.library import read_table

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Variation:
    """One row of the table: how far one input moves, and when the row applies."""

    kind: str
    when: Expression | None
    cv_within: float
    cv_analytical: float
    log_sd: float | None
    stale_variance: float
    stale_scale: str
    cap_cv: float
    source: str
    citation: str
    routine: bool  # measured under conditions that routine care keeps: it can judge a change

    @property
    def fixed(self) -> bool:
        return self.kind == "fixed"

    def spread(self, values: FloatArray, age_days: float) -> FloatArray:
        """One standard deviation: on the logarithm for `log`, in the unit itself otherwise."""
        if self.kind == "log":
            return np.full(len(values), self.log_spread())
        variance = (self.cv_within**2 + self.cv_analytical**2) * values**2
        return np.asarray(np.sqrt(variance + self._stale(values, age_days)))

    def log_spread(self) -> float:
        """Of one reading, on the natural logarithm; relative whatever the level."""
        if self.log_sd is not None:
            return self.log_sd
        within, analytical = 1 + self.cv_within**2, 1 + self.cv_analytical**2
        return float(np.sqrt(np.log(within) + np.log(analytical)))

    def _stale(self, values: FloatArray, age_days: float) -> FloatArray:
        """Random-walk widening, never beyond the variation between people."""
        grown = self.stale_variance * age_days / DAYS_PER_YEAR
        if self.stale_scale == "relative":
            return np.asarray(grown * values**2)
        return np.minimum(grown, (self.cap_cv * values) ** 2)


@cache
def variations() -> Mapping[str, tuple[Variation, ...]]:
    """The shipped table, by input."""
    text = files("twin_engine").joinpath("variation.csv").read_text(encoding="utf-8")
    sources, rows = read_table(text)
    found: dict[str, tuple[Variation, ...]] = {}
    for row in rows:
        for column in ("source", "stale_source"):
            if row[column] and row[column] not in sources:
                raise ValueError(f"variation of {row['input']}: undeclared source {row[column]!r}")
        found[row["input"]] = (*found.get(row["input"], ()), _variation(row, sources))
    return found


def _variation(row: Mapping[str, str], sources: Mapping[str, str]) -> Variation:
    return Variation(
        kind=row["kind"],
        when=parse(row["when"].replace("-", "_")) if row["when"] else None,
        cv_within=float(row["cv_within_pct"] or 0) / 100,
        cv_analytical=float(row["cv_analytical_pct"] or 0) / 100,
        log_sd=float(row["log_sd"]) if row["log_sd"] else None,
        stale_variance=float(row["stale_variance_per_year"] or 0),
        stale_scale=row["stale_scale"],
        cap_cv=float(row["cap_cv_pct"] or 0) / 100,
        source=row["source"],
        citation=sources[row["source"]],
        routine=row["routine"] != "no",
    )


def applying(
    concept: str, context: Mapping[str, float], choices: Mapping[str, float]
) -> Variation | None:
    """The row for one person; where it is not known which one holds, the widest that may.

    `context` maps what is known of the person to numbers; what is not in it is not known.
    """
    possible: list[Variation] = []
    for row in variations().get(concept, ()):
        holds = _holds(row, context, choices)
        if holds is not False:
            possible.append(row)
        if holds:
            return max(possible, key=lambda one: one.log_spread())
    return None


def _holds(
    row: Variation, context: Mapping[str, float], choices: Mapping[str, float]
) -> bool | None:
    if row.when is None:
        return True
    if not row.when.names <= context.keys() | choices.keys():
        return None
    return bool(row.when({**choices, **context}) > 0)
