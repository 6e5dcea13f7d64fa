"""Read a model's declared inputs from a twin's state, each with where it came from.

Only what the model declares is read. A value is never assumed: what cannot be had is recorded with
the reason, and a flag is 0 only where the record is complete enough to say no.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.models.contract import Input, Model
from twin_engine.state import CodedReading, Missing, Presence, Reading, State

_REASONS = {
    "never-recorded": "missing-input",
    "stale": "stale-input",
    "censored": "censored-input",
    "set-aside": "set-aside-input",
    "slice-incomplete": "record-incomplete",
}


@dataclass(frozen=True)
class Found:
    """One input's value for `compute`, and how it came about for people."""

    value: float
    how: str
    t: int | None = None
    age_days: int = 0
    sources: tuple[int, ...] = ()


@dataclass(frozen=True)
class Problem:
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


def gather(state: State, model: Model) -> Gathered:
    """Everything the model may see of this twin at its now."""
    found: dict[str, Found] = {}
    problems: dict[str, str] = {}
    for name, declared in model.inputs.items():
        answer = _input(state, model, name, declared)
        if isinstance(answer, Found):
            found[name] = answer
        elif answer is not None:
            problems[name] = answer.reason
    columns = {name: np.array([one.value]) for name, one in found.items()}
    for name in model.inputs:
        columns.setdefault(name, np.array([np.nan]))
    return Gathered(found, problems, barrier(state, model), columns)


def barrier(state: State, model: Model) -> Barrier | None:
    """Death first, then what is known to exclude, then what could not be ruled out."""
    if state.deceased:
        return Barrier("deceased")
    open_question = None
    for rule in model.exclusions:
        if rule.get("sex", state.sex) != state.sex:
            continue
        presence = state.condition(*rule["condition"])
        there = presence.ever if rule["when"] == "ever" else presence.value
        if there:
            return Barrier(rule["reason"])
        if there is None and open_question is None:
            open_question = Barrier("absence-not-proven", rule["condition"][0])
    return open_question


# -- one input ---------------------------------------------------------------------------------


def _input(state: State, model: Model, name: str, declared: Input) -> Found | Problem | None:
    """A flag is true if any of its sources says so; another input is the first that has a value."""
    answers = list(_answers(state, model, declared))
    for answer in answers:
        if isinstance(answer, Found) and (answer.value == 1 or not declared.flag):
            return answer
    given = [answer for answer in answers if answer is not None]
    return given[0] if given else None


def _answers(state: State, model: Model, declared: Input) -> Iterator[Found | Problem | None]:
    for source in declared.sources:
        yield _answer(state, model, declared, source)


def _answer(
    state: State, model: Model, declared: Input, source: Mapping[str, Any]
) -> Found | Problem | None:
    match source:
        case {"subject": "age"}:
            return _age(state)
        case {"subject": "sex"}:
            return _sex(state, declared)
        case {"concept": concept, "at_least": least}:
            return _evidence(state.latest(concept, declared.window_days), least)
        case {"concept": concept}:
            return _number(state.latest(concept, declared.window_days))
        case {"coded": concept, "one_if": yes, "zero_if": no}:
            return _coded(state.coded(concept, declared.window_days), yes, no)
        case {"condition": groups}:
            return _presence(state.condition(*groups))
        case {"medication": classes}:
            return _presence(state.medication(*classes))
        case {"derived": derivation}:
            return _derivable(state, model, derivation)
    raise ValueError(f"input {declared.id}: no way to read {sorted(source)}")


def _age(state: State) -> Found | Problem:
    if state.age is None:
        return Problem("missing-input")
    if state.age_top_coded:
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


def _presence(presence: Presence) -> Found | Problem:
    if presence.value is None:
        return Problem("absence-not-proven")
    if presence.value:
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
