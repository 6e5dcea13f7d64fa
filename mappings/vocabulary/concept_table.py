"""Concepts: the quantities we know, and the codes that stand for them."""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from mappings.vocabulary.check_digits import SHAPES
from mappings.vocabulary.systems import NAMES, SHORT_NAMES
from mappings.vocabulary.tables import VocabularyError, read_table

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

USES = frozenset({"map", "refuse", "review", "panel", "coded", "output"})
ORIGINS = frozenset({"measured", "derived", "reported"})


@dataclass(frozen=True, slots=True)
class Concept:
    """One quantity. Outside `plausible` a value is impossible; `physiological` is only a hint."""

    id: str
    label: str
    category: str
    unit: str
    plausible: tuple[float, float]
    physiological: tuple[float, float]
    decimals: int
    source: str
    certainty: str
    plausible_certainty: str
    physiological_certainty: str

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None:
            raise ValueError("an id is lower-case words joined by hyphens")
        low, high = self.plausible
        if not low <= self.physiological[0] <= self.physiological[1] <= high or low == high:
            raise ValueError("the physiological range does not lie inside the plausible one")
        if self.certainty == "judgement":
            raise ValueError("a concept rests on a confirmed code")
        if not self.unit or not 0 <= self.decimals <= 6:
            raise ValueError("no unit, or a precision nobody measures in")


class CodeRule(NamedTuple):
    """What one code stands for, and whether a value under it may be used."""

    concept: str
    use: str  # map, refuse, review (too broad), panel, coded, output (a score of some model)
    origin: str = "measured"
    preferred: bool = False
    yields_to: frozenset[str] = frozenset()  # concepts that win when both code one result


def _read_concepts() -> dict[str, Concept]:
    found: dict[str, Concept] = {}
    for line, row in read_table("concepts.csv"):
        if row["id"] in found:
            raise VocabularyError("concepts.csv", line, "an id twice")
        try:
            found[row["id"]] = Concept(
                id=row["id"],
                label=row["label"],
                category=row["category"],
                unit=row["unit"],
                plausible=(float(row["plausible_min"]), float(row["plausible_max"])),
                physiological=(float(row["physiological_min"]), float(row["physiological_max"])),
                decimals=int(row["decimals"]),
                source=row["source"],
                certainty=row["certainty"],
                plausible_certainty=row["plausible_certainty"],
                physiological_certainty=row["physiological_certainty"],
            )
        except ValueError as error:
            raise VocabularyError("concepts.csv", line, str(error)) from error
    return found


_CONCEPTS = _read_concepts()


def _shaped(system: str, code: str) -> bool:
    return system in SHAPES and SHAPES[system](code)


def _code_problem(row: dict[str, str], known: dict[str, CodeRule]) -> str:
    """Why a row of codes.csv cannot be; empty when it can."""
    numeric = row["use"] == "map"
    problems = {
        "unknown system": row["system"] not in NAMES,
        "unknown use": row["use"] not in USES,
        "no such concept": numeric and row["concept"] not in _CONCEPTS,
        "unknown origin": numeric and row["origin"] not in ORIGINS,
        "not confirmed": row["certainty"] == "judgement",
        "the code fails its shape or check digit": not _shaped(row["system"], row["code"]),
        "a code twice: one code, one rule": row["code"] in known,
    }
    return next((reason for reason, wrong in problems.items() if wrong), "")


def _read_codes() -> dict[str, dict[str, CodeRule]]:
    found: dict[str, dict[str, CodeRule]] = {}
    for line, row in read_table("codes.csv"):
        known = found.setdefault(row["system"], {})
        problem = _code_problem(row, known)
        if problem:
            raise VocabularyError("codes.csv", line, problem)
        known[row["code"]] = CodeRule(
            concept=row["concept"],
            use=row["use"],
            origin=row["origin"] or "measured",
            preferred=row["preferred"] == "1",
            yields_to=frozenset(row["yields_to"].split()),
        )
    return found


_BY_NAME = _read_codes()
_NONE: dict[str, CodeRule] = {}

# Every spelling of a system -> code -> rule, so that a look-up is two dictionary reads.
CODES = MappingProxyType(
    {spelling: _BY_NAME[name] for spelling, name in SHORT_NAMES.items() if name in _BY_NAME}
)


def concept(concept_id: str) -> Concept:
    """The concept of an id; KeyError for an id that is not ours."""
    return _CONCEPTS[concept_id]


def concepts() -> tuple[Concept, ...]:
    """All concepts, in the order of the table."""
    return tuple(_CONCEPTS.values())


def concept_for(system: str, code: str) -> CodeRule | None:
    """What a code stands for; `system` is a URI or a short name."""
    return CODES.get(system, _NONE).get(code)


def preferred_code(concept_id: str, system: str = "loinc") -> str:
    """The code to write for a concept in one system; empty when the system has none."""
    rules = _BY_NAME.get(system, _NONE).items()
    return next((c for c, rule in rules if rule.concept == concept_id and rule.preferred), "")


def decimals(concept_id: str) -> int:
    """The clinical precision: how many decimals of a value mean anything."""
    return _CONCEPTS[concept_id].decimals
