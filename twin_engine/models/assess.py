"""From a state to assessments: read, answer or refuse, say how sure, and say why.

The shape of an assessment is stated in docs/architecture.md, section 5. The same twin and models
give the same assessments, byte for byte; `recompute` proves it on a document from elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Literal, NamedTuple, TypeAlias

from twin_engine.equations.expression import FloatArray
from twin_engine.models import uncertainty
from twin_engine.models.canonical import digest_of_plain
from twin_engine.models.cards import card_digest
from twin_engine.models.carry import Before, stated
from twin_engine.models.contract import Input, Model, Prediction, Target
from twin_engine.models.explain import contributions
from twin_engine.models.helps import most_helpful
from twin_engine.models.inputs import NONE, Barrier, Found, Gathered, gather
from twin_engine.models.registry import all_models, default_models, get
from twin_engine.state import State

SHARE_DECIMALS = 6
TOLERANCE = 1e-9  # of `recompute`: the same arithmetic on another processor


class Request(NamedTuple):
    """Which model to ask, and what of it. None: the model's own choice."""

    model: Model
    variant: str | None = None
    targets: tuple[Target, ...] | None = None
    settings: Mapping[str, str] = NONE  # what the installation has stated, such as its region
    silent: bool = False  # recorded in the twin, shown and written back nowhere
    unasked: bool = False  # run as a matter of course, not because somebody named it

    def wanted(self) -> tuple[Target, ...]:
        return self.model.reported() if self.targets is None else self.targets


Asked: TypeAlias = Model | Request | str


def request(text: str) -> Request:
    """`prevent` or `prevent:base`: a model by id, with a variant where one is wanted."""
    model_id, _, variant = text.partition(":")
    model = get(model_id)
    if variant and variant not in model.variants:
        known = ", ".join(model.variants)
        raise LookupError(f"model {model_id!r} has no variant {variant!r}; it has: {known}")
    return Request(model, variant or None)


Answering: TypeAlias = Callable[[Model], None]
"""Told that a model answers as soon as it does: before it is worked out how sure it is, and why."""


class Assessed(NamedTuple):
    """Assessments in the order asked, and how many of them stand since the version before."""

    assessments: list[dict[str, Any]]
    carried: int


def assess(state: State, models: Iterable[Asked] | None = None) -> list[dict[str, Any]]:
    """One assessment per model asked, in the order asked; by default all but those on request."""
    return assess_since(state, models, None).assessments


def assess_since(
    state: State,
    models: Iterable[Asked] | None,
    before: Before | None,
    answering: Answering | None = None,
) -> Assessed:
    """The same; a model all of whose inputs are as they were is not asked again."""
    usual = [Request(model, unasked=True) for model in default_models()]
    wanted = map(_as_request, usual if models is None else models)
    asked = [one for one in wanted if not (one.unasked and _idle(state, one.model))]
    opened = [_opened(state, one, before, answering) for one in asked]
    made = [
        _silenced(_written(case), one) if isinstance(case, Case) else case
        for one, case in zip(asked, opened, strict=True)
    ]
    return Assessed(made, sum(not isinstance(case, Case) for case in opened))


def _opened(
    state: State, one: Request, before: Before | None, answering: Answering | None
) -> "Case | dict[str, Any]":
    """The answer that stands; else what is known once the model has been run."""
    told = before and _told(before, state, one)
    if told:
        return told
    case = open_case(state, one)
    if answering is not None and case.given() and not one.silent:
        answering(case.model)
    return case


def _told(before: Before, state: State, one: Request) -> dict[str, Any] | None:
    told = before.answer(state, one.model, one.variant, one.wanted(), one.settings)
    return told and _silenced(told, one)


def _silenced(written: dict[str, Any], asked: Request) -> dict[str, Any]:
    return written | ({"silent": True} if asked.silent else {})


def _idle(state: State, model: Model) -> bool:
    """Whether the twin lacks the part that the model is all about: then it has nothing to say."""
    return bool(model.only_with) and not state.document[model.only_with]


def _as_request(asked: Asked) -> Request:
    if isinstance(asked, str):
        return request(asked)
    return asked if isinstance(asked, Request) else Request(asked)


# -- one model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Everything known while one assessment is written."""

    state: State
    model: Model
    gathered: Gathered
    prepared: Mapping[str, FloatArray]
    row: Mapping[str, float]  # the same as numbers
    prediction: Prediction
    variant: str

    def given(self) -> list[int]:
        if self.gathered.barrier is not None:
            return []
        return [i for i in range(len(self.prediction.targets)) if not self.prediction.reason(i, 0)]


def _assess(state: State, asked: Request) -> dict[str, Any]:
    return _silenced(_written(open_case(state, asked)), asked)


def open_case(state: State, asked: Request) -> Case:
    """Read the inputs and run the model; nothing is written yet."""
    model, targets = asked.model, asked.wanted()
    gathered = gather(state, model, asked.settings)
    prepared = model.prepare(gathered.columns)
    prediction = (
        model.predict_prepared(prepared, asked.variant, targets)
        if gathered.barrier is None
        else model.refuse_all(prepared, asked.variant, targets, gathered.barrier.reason)
    )
    variant = list(model.variants)[prediction.variants[0]]
    row = {name: float(values[0]) for name, values in prepared.items()}
    return Case(state, model, gathered, prepared, row, prediction, variant)


def _written(case: Case) -> dict[str, Any]:
    refusals = refusals_of(case)
    results = _results(case)
    used = _used_inputs(case)
    missing = _missing(case)
    written: dict[str, Any] = {
        "model": {
            "id": case.model.id,
            "version": case.model.version,
            "variant": case.variant,
            "card": card_digest(case.model),
        },
        "at": case.state.now,
        "answer": _verdict(results, refusals),
        "inputs": used,
        "snapshot": _snapshot(case, used),
        "results": results,
        "refusals": refusals,
        "missing": missing,
    }
    helps = most_helpful(case.model, case.variant, case.prepared, refusals)
    return written | _unseen(case) | ({"helps": helps} if helps else {})


def _unseen(case: Case) -> dict[str, Any]:
    """What may have been missed, and in which slices: neither found nor known to be absent."""
    rows = [
        {"input": name, "slices": list(slices)} for name, slices in case.gathered.unseen.items()
    ]
    return {"unseen": rows} if rows else {}


def _verdict(results: Sequence[Any], refusals: Sequence[Any]) -> str:
    if not results:
        return "refused"
    return "partial" if refusals else "given"


# -- results -----------------------------------------------------------------------------------


def _results(case: Case) -> list[dict[str, Any]]:
    given = case.given()
    if not given:
        return []
    targets = [case.prediction.targets[i] for i in given]
    points = case.prediction.values[given]
    ages = {name: one.age_days for name, one in case.gathered.found.items()}
    patient = uncertainty.OnePatient(case.gathered.columns, case.prepared, ages)
    spreads, widths = uncertainty.ranges(case.model, patient, case.variant, targets, points)
    parts = contributions(case.model, case.prepared, case.variant, targets)
    return [
        _result(case.model, case.row, target, float(points[i, 0]))
        | _interval(spreads[target], widths[target])
        | {"contributions": _as_shares(parts[target])}
        for i, target in enumerate(targets)
    ]


def _result(model: Model, row: Mapping[str, float], target: Target, value: float) -> dict[str, Any]:
    result: dict[str, Any] = {"outcome": target.outcome}
    if target.horizon is not None:
        result["horizonYears"] = target.horizon
    result |= {"value": value, "unit": model.outcomes[target.outcome].unit}
    category = model.category(target, value, row)
    if category is not None:
        result["category"] = {"scheme": category[0], "code": category[1]}
    return result


def _interval(spread: uncertainty.Spread, width: Mapping[str, float]) -> dict[str, Any]:
    if spread.refused:
        return {"intervalRefused": uncertainty.why_refused(spread)}
    interval = {
        "low": float(spread.low[0]),
        "high": float(spread.high[0]),
        "level": uncertainty.LEVEL,
        "kind": uncertainty.KIND,
    }
    return {"interval": interval, "width": _ranked(width)}


def _as_shares(amounts: Mapping[str, float]) -> list[dict[str, Any]]:
    """Signed shares: how much of all movement away from the reference person an input made."""
    total = sum(abs(amount) for amount in amounts.values())
    return _ranked({name: amount / total for name, amount in amounts.items() if amount})


def _ranked(amounts: Mapping[str, float]) -> list[dict[str, Any]]:
    order = sorted(amounts.items(), key=lambda item: (-abs(item[1]), item[0]))
    return [{"input": name, "share": round(amount, SHARE_DECIMALS)} for name, amount in order]


# -- refusals ----------------------------------------------------------------------------------


def refusals_of(case: Case) -> list[dict[str, Any]]:
    return [
        _refusal(case, index)
        for index in range(len(case.prediction.targets))
        if case.gathered.barrier is not None or case.prediction.reason(index, 0)
    ]


def _refusal(case: Case, index: int) -> dict[str, Any]:
    target = case.prediction.targets[index]
    refusal: dict[str, Any] = {"outcome": target.outcome}
    if target.horizon is not None:
        refusal["horizonYears"] = target.horizon
    why = case.gathered.barrier or _why(case, index)
    refusal["reason"] = why.reason
    return refusal | ({"input": why.about} if why.about else {})


def _why(case: Case, index: int) -> Barrier:
    """The batch says that an input is missing; the record knows why."""
    reason, position = case.prediction.reason(index, 0), int(case.prediction.blame[index, 0])
    if position < 0:
        return Barrier(reason)
    name = case.model.names[position]
    if reason == "missing-input":
        derived = name in case.gathered.found  # its parts are there, but could not be computed
        reason = "out-of-range" if derived else case.gathered.problems.get(name, reason)
    return Barrier(reason, name)


def _missing(case: Case) -> list[str]:
    """Every declared input without a usable value, whether the answer needed it or not."""
    usable = case.model.usable(case.prepared)[:, 0].tolist()
    return [
        name
        for (name, declared), known in zip(case.model.inputs.items(), usable, strict=True)
        if not (known or declared.part) and declared.sources
    ]


# -- inputs and snapshot -----------------------------------------------------------------------


def _used_inputs(case: Case) -> list[dict[str, Any]]:
    """The inputs the answers rest on; for a refusal, all that the model would have read."""
    targets = [case.prediction.targets[i] for i in case.given()] or case.prediction.targets
    read: set[str] = set()
    read = read.union(*(uncertainty.influences(case.model, case.variant, t) for t in targets))
    read -= _idle_parts(case)
    return [
        _entry(declared, case.row[name], _origin(case, name))
        for name, declared in case.model.inputs.items()
        if name in read and name in case.gathered.found and not isnan(case.row[name])
    ]


def _idle_parts(case: Case) -> set[str]:
    """Parts of an input that was not derived after all, because it was given."""
    idle: set[str] = set()
    busy: set[str] = set()
    for rule in case.model.derivations:
        given = not isnan(case.gathered.columns[rule.input][0])
        own = {name for name in rule.of if case.model.inputs[name].part}
        (idle if given else busy).update(own)
    return idle - busy


def _origin(case: Case, name: str) -> Found:
    """Where an input came from; a derived one rests on the sources of its parts."""
    found = case.gathered.found[name]
    if not isnan(found.value):
        return found
    rule = next(rule for rule in case.model.derivations if rule.input == name)
    parts = [case.gathered.found[part] for part in rule.of if part in case.gathered.found]
    times = [part.t for part in parts if part.t is not None]
    sources = tuple(sorted({src for part in parts for src in part.sources}))
    return Found(float("nan"), "derived", min(times, default=None), found.age_days, sources)


def _entry(declared: Input, value: float, origin: Found) -> dict[str, Any]:
    entry: dict[str, Any] = {"input": declared.id, **_valued(declared, value)}
    if origin.t is not None:
        entry["t"] = origin.t
    if origin.sources:
        entry["src"] = list(origin.sources)
    return entry | {"how": origin.how}


def _valued(declared: Input, value: float) -> dict[str, Any]:
    if declared.choices:
        return {"value": declared.choices[int(value)]}
    if declared.flag:
        return {"value": value == 1}
    return {"value": value, "unit": declared.unit}


def _snapshot(case: Case, used: Iterable[Mapping[str, Any]]) -> str:
    """Digest of what the answer depends on; sources by pseudonym, so it survives a new version."""
    ids = case.state.source_ids
    inputs = [
        {
            "input": entry["input"],
            "value": _portable(entry["value"]),
            "unit": entry.get("unit", ""),
            "sources": sorted(ids[src] for src in entry.get("src", ())),
        }
        for entry in used
    ]
    content = {
        "model": case.model.id,
        "version": case.model.version,
        "variant": case.variant,
        "inputs": inputs,
    }
    return digest_of_plain(content)


def _portable(value: Any) -> Any:
    """Nine significant digits: a derived input may differ in its last bits between processors."""
    if not isinstance(value, float):
        return value
    short = float(f"{value:.9g}")
    return int(short) if short.is_integer() else short


# -- recompute ---------------------------------------------------------------------------------

Outcome: TypeAlias = Literal[
    "same", "different", "model-not-installed", "other-version", "other-now"
]


class Beside(NamedTuple):
    """One number as recorded and as another version gives it; None: that one gives none."""

    outcome: str
    years: float | None
    recorded: float | None
    now: float | None


class Comparison(NamedTuple):
    """One recorded assessment run again. `largest`: the largest difference of a result.

    `beside`: the answer of the version that is installed, where that is another one.
    """

    model: str
    version: str
    outcome: Outcome
    largest: float = 0.0
    installed: str = ""
    beside: tuple[Beside, ...] = ()


def recompute(document: Mapping[str, Any]) -> list[Comparison]:
    """Run the recorded models on the twin again and compare, without trusting what is recorded."""
    state = State.from_document(document)
    return [_compare(state, recorded) for recorded in document["assessments"]]


def _compare(state: State, recorded: Mapping[str, Any]) -> Comparison:
    model_id, version = recorded["model"]["id"], recorded["model"]["version"]
    model = all_models().get(model_id)
    if model is None:
        return Comparison(model_id, version, "model-not-installed")
    if model.version != version:
        beside = _beside(state, model, recorded) if recorded["at"] == state.now else ()
        return Comparison(
            model_id, version, "other-version", installed=model.version, beside=beside
        )
    if recorded["at"] != state.now:
        return Comparison(model_id, version, "other-now")
    asked = Request(
        model, recorded["model"].get("variant"), _asked(recorded), stated(model, recorded)
    )
    again = _assess(state, asked)
    same = _content(again) == _content(recorded)
    largest = _largest(again["results"], recorded["results"])
    outcome: Outcome = "same" if same and largest <= TOLERANCE else "different"
    return Comparison(model_id, version, outcome, largest)


def _beside(state: State, model: Model, recorded: Mapping[str, Any]) -> tuple[Beside, ...]:
    """Each number of either: what is recorded stays, the other stands next to it."""
    variant = recorded["model"].get("variant")
    known = variant if variant in model.variants else None
    asked = Request(model, known, _asked(recorded) or None, stated(model, recorded))
    again = _assess(state, asked)
    old, new = _numbers(recorded), _numbers(again)
    return tuple(Beside(*key, old.get(key), new.get(key)) for key in old | new)


def _numbers(assessment: Mapping[str, Any]) -> dict[tuple[str, float | None], float]:
    results = assessment["results"]
    return {(one["outcome"], one.get("horizonYears")): one["value"] for one in results}


def _asked(recorded: Mapping[str, Any]) -> tuple[Target, ...]:
    answered = [*recorded["results"], *recorded["refusals"]]
    wanted = {Target(one["outcome"], one.get("horizonYears")) for one in answered}
    known = get(recorded["model"]["id"]).targets()
    return tuple(target for target in known if target in wanted)


def _content(assessment: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must be equal to the letter; values are compared apart."""
    outcomes = [(one["outcome"], one.get("horizonYears")) for one in assessment["results"]]
    refusals = [tuple(sorted(one.items())) for one in assessment["refusals"]]
    return assessment["snapshot"], outcomes, refusals


def _largest(again: Sequence[Mapping[str, Any]], recorded: Sequence[Mapping[str, Any]]) -> float:
    pairs = zip(again, recorded, strict=False)
    differences = (abs(a["value"] - r["value"]) for a, r in pairs)
    return float(max(differences, default=0.0))
