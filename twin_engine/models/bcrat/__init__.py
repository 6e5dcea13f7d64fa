"""The Gail model of breast cancer (NCI's BCRAT): relative risk, then a competing-risk integral.

Incidence and mortality are constant within a year of age, so the integral over each year has a
closed form. Answers are first grouped as each publication groups them for its own women.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import file_digest, read_table, read_yaml
from twin_engine.models.contract import Choice, Columns, Input, Model, OutcomeSpec, Target
from twin_engine.models.equation_model import AI_KINDS
from twin_engine.models.vectors import Vector, read_vectors

RACES = (
    "white", "black", "hispanic-us-born", "native-american-or-other", "hispanic-foreign-born",
    "chinese", "japanese", "filipino", "hawaiian", "other-pacific-islander", "other-asian",
)  # fmt: skip
BLACK = (RACES.index("black"),)
BORN_IN_US = (RACES.index("hispanic-us-born"),)
HISPANIC = (RACES.index("hispanic-us-born"), RACES.index("hispanic-foreign-born"))
ASIAN = tuple(range(RACES.index("chinese"), len(RACES)))

YOUNGEST, OLDEST, SWITCH = 20, 90, 50
BAND = 5
NO, YES = 0, 1  # positions in the choices of hyperplasia
HYPERPLASIA = {NO: 0.93, YES: 1.82}  # Gail 1989: factors on the relative risk
OPTIONAL = (
    "sex", "biopsies", "atypical-hyperplasia", "age-at-menarche", "age-at-first-birth",
    "nulliparous", "first-degree-relatives",
)  # fmt: skip
TERMS = (
    "biopsies", "menarche", "first_birth", "relatives",
    "biopsies_from_50", "first_birth_x_relatives",
)  # fmt: skip


def _below(limit: float) -> float:
    return float(np.nextafter(limit, -np.inf))


def _above(limit: float) -> float:
    return float(np.nextafter(limit, np.inf))


def _answer(name: str, symbol: str, unit: str = "1", **more: Any) -> Input:
    """An answer that may be unknown."""
    return Input(name, symbol, name, unit, optional=True, **more)


def _inputs() -> dict[str, Input]:
    ages, counts = (float(YOUNGEST), _below(OLDEST)), (0.0, 30.0)
    declared = (
        Input("age", "T1", "age", "a", bounds=ages),
        Input("age-end", "T2", "age-end", "a", bounds=(_above(YOUNGEST), float(OLDEST))),
        Input("race", "RACE", "race", choices=RACES),
        Input("sex", "SEX", "sex", choices=("female",), optional=True),
        _answer("biopsies", "NB", bounds=counts, reference=0.0),
        _answer("atypical-hyperplasia", "HYP", choices=("no", "yes")),
        _answer("age-at-menarche", "AM", "a", bounds=(7.0, 25.0), reference=14.0),
        _answer("age-at-first-birth", "AF", "a", bounds=(8.0, 60.0), reference=18.0),
        _answer("nulliparous", "NUL", flag=True),
        _answer("first-degree-relatives", "NR", bounds=counts, reference=0.0),
    )
    return {one.id: one for one in declared}


class Bcrat(Model):
    """Women only; rows only: a twin holds neither the answers nor the group."""

    id, version, kind = "bcrat", "1.0.0", "probability"
    title = "Gail model of breast cancer (BCRAT)"
    inputs: Mapping[str, Input] = MappingProxyType(_inputs())
    outcomes: Mapping[str, OutcomeSpec] = MappingProxyType(
        {"breast-cancer": OutcomeSpec("breast-cancer", "1", (), True, "Invasive breast cancer", {})}
    )
    variants: Mapping[str, tuple[str, ...]] = MappingProxyType({"published": OPTIONAL})
    choices = (Choice("published", 0, ()),)
    monotone = (
        {
            "input": "first-degree-relatives",
            "direction": "rising",
            "outcomes": ["breast-cancer"],
        },
    )
    on_request = rows_only = True
    shelf_life_days, stake = 365, "high"
    ai_kinds = AI_KINDS
    predictor_scale = "logarithm of the relative risk at the starting age"

    def __init__(self) -> None:
        folder = files("twin_engine.models.bcrat")
        self.card = read_yaml(folder, "card.yaml")
        self.content = {
            name: file_digest(folder, name) for name in ("coefficients.csv", "hazards.csv")
        }

    def vectors(self) -> Sequence[Vector]:
        text = files("twin_engine.models.bcrat").joinpath("vectors.csv").read_text(encoding="utf-8")
        return read_vectors(text, self.inputs, self.targets())

    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        risk = np.where(_consistent(columns), _absolute(columns), np.nan)
        return np.tile(risk, (len(targets), 1))

    def predictor(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        young, old = _log_relative(columns)
        own = np.where(columns["age"] < SWITCH, young, old)
        return np.tile(own, (len(targets), 1))


# -- relative risk -----------------------------------------------------------------------------


def _log_relative(columns: Columns) -> tuple[FloatArray, FloatArray]:
    """Before fifty and from fifty on."""
    weights = _coefficients()[_race(columns)]
    weight = {name: weights[:, position] for position, name in enumerate(TERMS)}
    biopsies, menarche, birth, relatives = _grouped(columns)
    young = (
        biopsies * weight["biopsies"]
        + menarche * weight["menarche"]
        + birth * weight["first_birth"]
        + relatives * weight["relatives"]
        + birth * relatives * weight["first_birth_x_relatives"]
        + np.log(_hyperplasia(columns))
    )
    return young, young + biopsies * weight["biopsies_from_50"]


def _grouped(columns: Columns) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Answers in the categories each publication has for its women; unknown is the lowest."""
    race = _race(columns)
    black, hispanic, asian = (np.isin(race, group) for group in (BLACK, HISPANIC, ASIAN))
    biopsies = np.minimum(_known(columns, "biopsies"), np.where(hispanic, 1.0, 2.0))
    relatives = _known(columns, "first-degree-relatives")
    relatives = np.minimum(relatives, np.where(hispanic | asian, 1.0, 2.0))
    menarche = _menarche(columns)
    menarche = np.where(black, np.minimum(menarche, 1.0), menarche)
    menarche = np.where(np.isin(race, BORN_IN_US), 0.0, menarche)
    birth = np.where(black, 0.0, _first_birth(columns, hispanic))
    return biopsies, menarche, birth, relatives


def _menarche(columns: Columns) -> FloatArray:
    age = columns["age-at-menarche"]
    return np.where(age < 12, 2.0, np.where(age < 14, 1.0, 0.0))


def _first_birth(
    columns: Columns, hispanic: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> FloatArray:
    """Under 20, 20 to 24, 25 to 29, 30 and over; for Hispanic women 20 to 29 are one class."""
    age, childless = columns["age-at-first-birth"], columns["nulliparous"] == 1
    usual = (age >= 20) * 1.0 + (age >= 25) + (age >= 30)
    wide = (age >= 20) * 1.0 + (age >= 30)
    return np.where(childless, 2.0, np.where(hispanic, wide, usual))


def _hyperplasia(columns: Columns) -> FloatArray:
    answer = columns["atypical-hyperplasia"]
    factor = np.where(answer == YES, HYPERPLASIA[YES], np.where(answer == NO, HYPERPLASIA[NO], 1.0))
    return np.where(_known(columns, "biopsies") > 0, factor, 1.0)


def _known(columns: Columns, name: str) -> FloatArray:
    return np.where(np.isnan(columns[name]), 0.0, np.floor(columns[name]))


def _race(columns: Columns) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return columns["race"].astype(np.int64)


def _consistent(columns: Columns) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """What the published program rejects: comparisons with an unknown never reject."""
    menarche, birth = columns["age-at-menarche"], columns["age-at-first-birth"]
    no_biopsy = _known(columns, "biopsies") == 0
    wrong = (
        (columns["age-end"] <= columns["age"])
        | (menarche > columns["age"])
        | (birth > columns["age"])
        | (birth < menarche)
        | (no_biopsy & ~np.isnan(columns["atypical-hyperplasia"]))
        | ((columns["nulliparous"] == 1) & ~np.isnan(birth))
    )
    return np.asarray(~wrong)


# -- absolute risk -----------------------------------------------------------------------------


def _absolute(columns: Columns) -> FloatArray:
    """Year by year: what falls to breast cancer of those whom neither cause has reached before."""
    young, old = (np.exp(one) for one in _log_relative(columns))
    race, start, end = _race(columns), columns["age"], columns["age-end"]
    risk, gone = np.zeros(len(start)), np.zeros(len(start))
    for year in range(YOUNGEST, OLDEST):
        incidence, other, share = _hazards()[race, (year - YOUNGEST) // BAND].T
        own = incidence * share * (young if year < SWITCH else old)
        both = own + other
        length = np.clip(np.minimum(end, year + 1) - np.maximum(start, year), 0.0, None)
        risk += own / both * np.exp(-gone) * -np.expm1(-both * length)
        gone += both * length
    return risk


# -- data --------------------------------------------------------------------------------------


def _table(name: str) -> list[dict[str, str]]:
    text = files("twin_engine.models.bcrat").joinpath(name).read_text(encoding="utf-8")
    sources, rows = read_table(text)
    if strays := {row["source"] for row in rows} - sources.keys():
        raise ValueError(f"{name}: undeclared sources {sorted(strays)}")
    return rows


@cache
def _coefficients() -> FloatArray:
    """Races by terms."""
    by_race: Mapping[str, dict[str, str]] = {row["race"]: row for row in _table("coefficients.csv")}
    return np.array([[float(by_race[race][term]) for term in TERMS] for race in RACES])


@cache
def _hazards() -> FloatArray:
    """Races by bands of five years by incidence, other mortality, one minus attributable risk."""
    found = np.full((len(RACES), (OLDEST - YOUNGEST) // BAND, 3), np.nan)
    for row in _table("hazards.csv"):
        band = (int(row["from_age"]) - YOUNGEST) // BAND
        values = (row["incidence"], row["other_mortality"], row["one_minus_attributable"])
        found[RACES.index(row["race"]), band] = [float(value) for value in values]
    if np.isnan(found).any():
        raise ValueError("hazards.csv: a band is missing")
    return found
