"""Read a model's declared inputs from a twin's state, each with where it came from.

Only what the model declares is read. A value is never assumed: what cannot be had is recorded with
the reason, and a flag is 0 only where the record is complete enough to say no.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.models.contract import Input, Model
from twin_engine.state import (
    CONDITION_SLICES,
    FAMILY_SLICES,
    MEDICATION_SLICES,
    OBSERVATION_SLICES,
    PROCEDURE_SLICES,
    CodedReading,
    GenotypeReading,
    Missing,
    Presence,
    Reading,
    State,
)

NONE: Mapping[str, str] = MappingProxyType({})
_REASONS = {
    "never-recorded": "missing-input",
    "stale": "stale-input",
    "censored": "censored-input",
    "set-aside": "set-aside-input",
    "slice-incomplete": "record-incomplete",
}
_SLICES: Mapping[str, tuple[str, ...]] = {
    "concept": OBSERVATION_SLICES,
    "coded": OBSERVATION_SLICES,
    "genotype": OBSERVATION_SLICES,
    "condition": CONDITION_SLICES,
    "medication": MEDICATION_SLICES,
    "procedure": PROCEDURE_SLICES,
}


class Found(NamedTuple):
    """One input's value for `compute`, and how it came about for people."""

    value: float
    how: str
    t: int | None = None
    age_days: int = 0
    sources: tuple[int, ...] = ()


class Problem(NamedTuple):
    """Why an input has no value."""

    reason: str


@dataclass(frozen=True)
class Barrier:
    """Why no outcome of the model may be given at all, and what it is about."""

    reason: str
    about: str = ""


@dataclass(frozen=True)
class Gathered:
    found: Mapping[str, Found]
    problems: Mapping[str, str]
    barrier: Barrier | None = None
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    unseen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What may have been missed (inputs, groups) → the slices that it may stand in"""


def gather(state: State, model: Model, settings: Mapping[str, str] = NONE) -> Gathered:
    """Everything the model may see of this twin at its now, and of the installation's settings."""
    found: dict[str, Found] = {}
    problems: dict[str, str] = {}
    for name, declared in model.inputs.items():
        answer = _setting(declared, settings) or _input(state, model, name, declared)
        if isinstance(answer, Found):
            found[name] = answer
        elif answer is not None:
            problems[name] = answer.reason
    # A twin may hold a whole number as an integer; a column of integers would cut off every draw.
    values = [found[name].value if name in found else np.nan for name in model.names]
    columns = dict(zip(model.names, np.array(values, dtype=np.float64)[:, None], strict=True))
    stop = barrier(state, model)
    unseen = dict(_unseen(state, model, found)) | dict(_not_excluded(state, model, stop))
    return Gathered(found, problems, stop, columns, unseen)


def barrier(state: State, model: Model) -> Barrier | None:
    """Death first, then what is known to exclude, then what could not be ruled out."""
    if state.deceased:
        return Barrier("deceased")
    if model.rows_only:
        return Barrier("rows-only")
    open_question = None
    for rule in model.exclusions:
        if rule.get("sex", state.sex) != state.sex:
            continue
        there = _there(state, rule)
        if there:
            return Barrier(rule["reason"])
        if there is None and open_question is None:
            open_question = Barrier("absence-not-proven", _subject(rule))
    return _outside(state, model) or open_question


def _outside(state: State, model: Model) -> Barrier | None:
    """Whether the twin lacks what everybody has that the model is meant for."""
    for rule in model.inclusions:
        there = _there(state, rule)
        if not there:
            reason = "absence-not-proven" if there is None else "wrong-population"
            return Barrier(reason, _subject(rule))
    return None


def _subject(rule: Mapping[str, Any]) -> str:
    """The group a rule is about: of conditions or of procedures."""
    return str((rule.get("condition") or rule["procedure"])[0])


def _there(state: State, rule: Mapping[str, Any]) -> bool | None:
    if "procedure" in rule:
        presence = state.procedure(*rule["procedure"])
    else:
        presence = state.condition(*rule["condition"])
    return presence.ever if rule["when"] == "ever" else presence.value


# -- what may have been missed ------------------------------------------------------------------


def _unseen(
    state: State, model: Model, found: Mapping[str, Found]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Inputs without a value, and flags that nothing speaks for, where not everything was seen."""
    for name, declared in model.inputs.items():
        answer = found.get(name)
        absent = answer is None or (declared.flag and answer.value == 0)
        slices = state.open_slices(slices_of(model, name)) if absent else ()
        if slices and not declared.part:
            yield declared.id, slices


_PART_SLICES: Mapping[str, tuple[str, ...]] = {
    "conditions": CONDITION_SLICES,
    "imaging": ("ImagingStudy", *OBSERVATION_SLICES),
    "medications": MEDICATION_SLICES,
    "procedures": PROCEDURE_SLICES,
    "encounters": ("Encounter",),
    "allergies": ("AllergyIntolerance",),
    "family": FAMILY_SLICES,
    "genomics": OBSERVATION_SLICES,
}


def types_read(model: Model) -> frozenset[str]:
    """The resource types an answer of this model can depend on, besides the patient."""
    rules = (*model.exclusions, *model.inclusions)
    listed = [slices_of(model, name) for name in model.inputs]
    listed += [_SLICES["condition" if "condition" in rule else "procedure"] for rule in rules]
    listed.append(_PART_SLICES[model.only_with] if model.only_with else ())
    return frozenset(kind for slices in listed for kind in slices)


@lru_cache(maxsize=4096)
def slices_of(model: Model, name: str) -> tuple[str, ...]:
    """The resource types an input may come from, those of its parts included."""
    return tuple(dict.fromkeys(_slices_of(model, model.inputs[name])))


def _slices_of(model: Model, declared: Input) -> Iterator[str]:
    for source in declared.sources:
        for key in source.keys() & _SLICES.keys():
            yield from _SLICES[key]
        if "derived" in source:
            rule = next(d for d in model.derivations if d.id == source["derived"])
            for part in rule.of:
                yield from _slices_of(model, model.inputs[part])


def _not_excluded(
    state: State, model: Model, stop: Barrier | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    if stop is None or stop.reason != "absence-not-proven":
        return
    for rule in (*model.exclusions, *model.inclusions):
        kind = "condition" if "condition" in rule else "procedure"
        slices = state.open_slices(_SLICES[kind])
        if slices and stop.about == _subject(rule):
            yield stop.about, slices


# -- one input ---------------------------------------------------------------------------------


def _setting(declared: Input, settings: Mapping[str, str]) -> Found | Problem | None:
    """A word this installation has stated, of the words the input may have; never guessed."""
    name = next((one["setting"] for one in declared.sources if "setting" in one), None)
    if name is None:
        return None
    if settings.get(name) not in declared.choices:
        return Problem("not-configured")
    return Found(float(declared.choices.index(settings[name])), "configured")


def _input(state: State, model: Model, name: str, declared: Input) -> Found | Problem | None:
    """A flag is true if any of its sources says so, and false only where each that can say no does;
    another input is the first that has a value."""
    answers = list(_answers(state, model, declared))
    for answer in answers:
        if isinstance(answer, Found) and (answer.value == 1 or not declared.flag):
            return answer
    given = [answer for answer in answers if answer is not None]
    open_questions = [answer for answer in given if isinstance(answer, Problem)]
    return next(iter([*open_questions, *given]), None)


def _answers(state: State, model: Model, declared: Input) -> Iterator[Found | Problem | None]:
    for source in declared.sources:
        yield _answer(state, model, declared, source)


def _answer(
    state: State, model: Model, declared: Input, source: Mapping[str, Any]
) -> Found | Problem | None:
    """Looked up rather than matched: every input of every model comes by here."""
    for kind, read in _READERS.items():
        if kind in source:
            return read(state, model, declared, source)
    raise ValueError(f"input {declared.id}: no way to read {sorted(source)}")


def _subject_answer(
    state: State, _: Model, declared: Input, source: Mapping[str, Any]
) -> Found | Problem:
    return {"age": _age, "sex": _sex}[source["subject"]](state, declared)


def _concept_answer(
    state: State, _: Model, declared: Input, source: Mapping[str, Any]
) -> Found | Problem | None:
    reading = state.latest(source["concept"], declared.window_days)
    if "at_least" in source:
        return _evidence(reading, source["at_least"])
    if "above" in source:
        return _evidence(reading, float(np.nextafter(source["above"], np.inf)))
    return _number(reading)


def _coded_answer(
    state: State, _: Model, declared: Input, source: Mapping[str, Any]
) -> Found | Problem:
    answer = state.coded(source["coded"], declared.window_days)
    return _coded(answer, source["one_if"], source["zero_if"])


_Reader: TypeAlias = Callable[[State, Model, Input, Mapping[str, Any]], Found | Problem | None]

# By what a source names. An equation's folder can hold no other (`library`).
_READERS: Mapping[str, _Reader] = {
    "concept": _concept_answer,
    "condition": lambda state, _, __, s: _presence(state.condition(*s["condition"]), s.get("when")),
    "medication": lambda state, _, __, s: _presence(
        state.medication(*s["medication"]), s.get("when")
    ),
    "procedure": lambda state, _, __, s: _presence(state.procedure(*s["procedure"]), s.get("when")),
    "derived": lambda state, model, _, s: _derivable(state, model, s["derived"]),
    "subject": _subject_answer,
    "coded": _coded_answer,
    "genotype": lambda state, _, declared, s: _genotype(state.genotype(s["genotype"]), declared),
}


def _age(state: State, declared: Input) -> Found | Problem:
    if state.age is None:
        return Problem("missing-input")
    if state.age_top_coded and not declared.top_coded:
        return Problem("out-of-range")
    return Found(float(state.age), "subject")


def _sex(state: State, declared: Input) -> Found | Problem:
    if state.sex in declared.choices:
        return Found(float(declared.choices.index(state.sex)), "subject")
    return Problem("missing-input" if state.sex == "unknown" else "no-equation")


def _number(reading: Reading | Missing) -> Found | Problem:
    if isinstance(reading, Missing):
        return Problem(_REASONS[reading.reason])
    return Found(reading.value, reading.origin, reading.t, reading.age_days, reading.sources)


def _evidence(reading: Reading | Missing, least: float) -> Found | None:
    """A laboratory value may prove a condition; a value below the limit disproves nothing."""
    if isinstance(reading, Missing) or reading.value < least:
        return None
    return Found(1.0, "derived", reading.t, reading.age_days, reading.sources)


def _coded(answer: CodedReading | Missing, yes: list[str], no: list[str]) -> Found | Problem:
    if isinstance(answer, Missing):
        return Problem(_REASONS[answer.reason])
    if answer.code not in (*yes, *no):
        return Problem("missing-input")
    value = 1.0 if answer.code in yes else 0.0
    return Found(value, "coded", answer.t, answer.age_days, answer.sources)


def _genotype(reading: GenotypeReading | Missing, declared: Input) -> Found | Problem:
    """What the diplotype means; a phenotype reported beside it must say the same."""
    if isinstance(reading, Missing):
        return Problem(_REASONS[reading.reason])
    derived = declared.words.get("/".join(reading.diplotype), "") if reading.diplotype else ""
    reported = reading.phenotype
    if derived and reported and reported not in derived:
        return Problem("set-aside-input")
    word = derived or declared.words.get(reported, "")
    if not word:
        return Problem("unreadable-input")
    how = "derived" if derived else "coded"
    return Found(float(declared.choices.index(word)), how, reading.t, 0, reading.sources)


def _presence(presence: Presence, when: str | None = None) -> Found | Problem:
    there = presence.ever if when == "ever" else presence.value
    if there is None:
        return Problem("absence-not-proven")
    if there:
        return Found(1.0, "coded", presence.since, 0, presence.sources)
    return Found(0.0, "declared-absent", sources=presence.sources)


def _derivable(state: State, model: Model, derivation: str) -> Found | Problem | None:
    """Found with NaN: leave the input open, the model computes it from its parts.

    The parts are read as inputs of their own; a part that is missing is this input's problem.
    """
    rule = next(d for d in model.derivations if d.id == derivation)
    problems = [
        answer
        for part in rule.of
        if isinstance(answer := _input(state, model, part, model.inputs[part]), Problem)
    ]
    return problems[0] if problems else Found(float("nan"), "derived")
