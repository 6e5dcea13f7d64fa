"""Effects of treatments as trials measured them: one row per effect and the outcome it may meet.

Only effects with a published interval whose population and outcome meet one of our models are here;
a cohort's association never is. Two effects are never multiplied: no row says that a trial of both
together was made.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log
from statistics import NormalDist

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import Target, read_table

MEASURES = ("RR", "HR", "OR")


@dataclass(frozen=True)
class Effect:
    """A relative effect with its interval, and the outcome of a model it may be applied to."""

    id: str
    treatment: str
    label: str
    population: str
    trial_outcome: str
    measure: str
    estimate: float
    low: float
    high: float
    level: float
    grade: str
    match: str
    model: str
    targets: frozenset[Target]
    already: tuple[str, ...]
    harms: tuple[str, ...]
    source: str

    def treated(self, risk: FloatArray, ratio: FloatArray | float) -> FloatArray:
        """The risk with the treatment, by the kind of ratio the trials published."""
        match self.measure:
            case "RR":
                return np.asarray(np.minimum(risk * ratio, 1.0))
            case "HR":
                return np.asarray(1 - (1 - risk) ** ratio)
        odds = risk / (1 - risk) * ratio
        return np.asarray(odds / (1 + odds))

    def spread(self, levels: FloatArray) -> FloatArray:
        """The ratio at standard-normal levels: normal on the logarithm."""
        width = 2 * NormalDist().inv_cdf((1 + self.level) / 2)
        step = (log(self.high) - log(self.low)) / width
        return np.asarray(np.exp(log(self.estimate) + step * levels))


@cache
def effects() -> tuple[Effect, ...]:
    """The shipped table; a row without interval, source or known measure fails here."""
    sources, rows = read_table(_text("effects.csv"))
    return tuple(_effect(row, sources) for row in rows)


def treatments(model_id: str) -> Mapping[str, str]:
    """The treatments that meet an outcome of a model: id and what it is."""
    return {one.treatment: one.label for one in effects() if one.model == model_id}


def _effect(row: Mapping[str, str], sources: Mapping[str, str]) -> Effect:
    low, estimate, high = float(row["low"]), float(row["estimate"]), float(row["high"])
    if row["measure"] not in MEASURES or not 0 < low < estimate < high:
        raise ValueError(f"effect {row['effect']}: no usable measure with an interval")
    if not row["harms"]:
        raise ValueError(f"effect {row['effect']}: no harm stands beside it")
    horizons = [int(years) for years in row["horizons"].split()]
    return Effect(
        id=row["effect"],
        treatment=row["treatment"],
        label=row["label"],
        population=row["population"],
        trial_outcome=row["trial_outcome"],
        measure=row["measure"],
        estimate=estimate,
        low=low,
        high=high,
        level=float(row["level"]),
        grade=row["grade"],
        match=row["match"],
        model=row["model"],
        targets=frozenset(Target(row["outcome"], years) for years in horizons),
        already=tuple(row["already"].split()),
        harms=tuple(_harms()[name] for name in row["harms"].split()),
        source=sources[row["source"]],
    )


@cache
def _harms() -> Mapping[str, str]:
    lines = [line for line in _text("harms.csv").splitlines() if not line.startswith("#")]
    return {row["harm"]: row["sentence"] for row in csv.DictReader(lines)}


def _text(name: str) -> str:
    return files("twin_engine.models").joinpath(name).read_text(encoding="utf-8")
