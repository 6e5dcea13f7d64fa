"""What each policy leaves of some records: for the models, and for who would recognise somebody.

Every record is read once as it is and once under each policy, and nothing is kept. "As it is" means
the rules that take out least: true dates, codes as fine as they come, no number rounded in a file.
Counts, shares and differences come out; no value does.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from math import isnan
from statistics import median
from typing import Any, NamedTuple, TypeGuard

from mappings import vocabulary
from mappings.from_fhir import map_unique
from mappings.vocabulary.facts import Mapped
from privacy.deidentify import Deidentifier, Guards, Session
from privacy.explain import Amount, amounts_to
from privacy.policy import load_policy, policy_ids
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.render import Renderer
from privacy.risk import Crowd, measure
from privacy.subject import SubjectContext, draw_epoch
from service.fhir.record import PatientRecord
from service.pipeline.guards import deidentifier_of
from service.pipeline.make import SOFTWARE
from service.pipeline.refusals import Refusals
from service.risk.rows import facts
from twin_engine.document import Header, build
from twin_engine.models.assess import Request, open_case
from twin_engine.models.contract import Model
from twin_engine.models.registry import all_models
from twin_engine.state import UNITS_PER_DAY, State

Json = dict[str, Any]
Settings = Mapping[str, str]

LEAST = "limited-data-set"
OLDEST = 90  # years
KNOWN = 2  # facts that somebody is taken to have heard
WANTED_K = 11
EPSILON = 1e-9


class Answers(NamedTuple):
    """Of one model: the inputs it finds, and the outcomes it gives."""

    inputs: Mapping[str, float]
    outcomes: Mapping[Hashable, float]


class Seen(NamedTuple):
    """One person under one set of rules."""

    models: Mapping[str, Answers]
    concepts: frozenset[str]
    numbers: Mapping[str, float]  # of readings, by where they stood in the source
    told: Hashable  # all that a file still says of the person
    facts: frozenset[Hashable]
    amounts: Mapping[Amount, int]


def same(one: float, other: float) -> bool:
    return abs(one - other) <= EPSILON or (isnan(one) and isnan(other))


@dataclass
class Weighed:
    """One policy, over any number of people."""

    policy: str
    people: int = 0
    there: Counter[str] = field(default_factory=Counter)  # inputs, by model
    kept: Counter[str] = field(default_factory=Counter)  # of these: found under the policy too
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)  # (model, input)
    other: Counter[tuple[str, str]] = field(default_factory=Counter)  # found with another value
    answers: Counter[str] = field(default_factory=Counter)  # "there", "kept", "same"
    concepts: Counter[str] = field(default_factory=Counter)  # "there", "kept"
    amounts: Counter[Amount] = field(default_factory=Counter)
    readings: int = 0
    exact: int = 0  # readings told to the clinical precision of their concept
    changes: list[float] = field(default_factory=list)  # relative, of each reading
    told: list[Hashable] = field(default_factory=list)
    facts: list[frozenset[Hashable]] = field(default_factory=list)

    def add(self, before: Seen, after: Seen, steps: Mapping[str, float]) -> None:
        self.people += 1
        for model, whole in before.models.items():
            self._inputs(model, whole.inputs, after.models[model].inputs)
            self._answers(whole.outcomes, after.models[model].outcomes)
        self.concepts["there"] += len(before.concepts)
        self.concepts["kept"] += len(before.concepts & after.concepts)
        for place, number in before.numbers.items():
            self._reading(number, after.numbers.get(place), steps[place])
        self.amounts.update(after.amounts)
        self.told.append(after.told)
        self.facts.append(after.facts)

    def _inputs(self, model: str, before: Mapping[str, float], after: Mapping[str, float]) -> None:
        for name, value in before.items():
            self.there[model] += 1
            if name not in after:
                self.lost[(model, name)] += 1
                continue
            self.kept[model] += 1
            if not same(after[name], value):
                self.other[(model, name)] += 1

    def _answers(self, before: Mapping[Hashable, float], after: Mapping[Hashable, float]) -> None:
        for target, value in before.items():
            self.answers["there"] += 1
            self.answers["kept"] += target in after
            self.answers["same"] += target in after and same(after[target], value)

    def _reading(self, before: float, after: float | None, step: float) -> None:
        self.readings += 1
        if after is None:
            return
        self.exact += abs(after - before) <= step / 2 + EPSILON
        self.changes.append(abs(after - before) / abs(before) if before else 0.0)

    def as_dict(self) -> Json:
        return {"policy": self.policy, "people": self.people,
                "utility": self._utility(), "risk": self._risk()}  # fmt: skip

    def _utility(self) -> Json:
        models = {name: {"inputs": n, "kept": self.kept[name]} for name, n in self.there.items()}
        return {
            "inputs": self.there.total(),
            "inputsKept": self.kept.total(),
            "inputsSame": self.kept.total() - self.other.total(),
            "models": models,
            "lost": _rows(self.lost),
            "other": _rows(self.other),
            "answers": self.answers["there"],
            "answersKept": self.answers["kept"],
            "answersSame": self.answers["same"],
            "concepts": self.concepts["there"],
            "conceptsKept": self.concepts["kept"],
            "readings": self.readings,
            "readingsKept": len(self.changes),
            "clinicalPrecision": self.exact,
            "medianChange": median(self.changes) if self.changes else None,
            "largestChange": max(self.changes, default=None),
            "elements": {amount.value: self.amounts[amount] for amount in Amount},
        }

    def _risk(self) -> Json:
        found = measure(Counter(self.told), wanted_k=WANTED_K)
        attack = Crowd(self.facts).attack(KNOWN)
        return {
            "classes": found.classes,
            "k": found.k,
            "alone": found.unique,
            "below": found.below,
            "wanted": WANTED_K,
            "factsKnown": KNOWN,
            "found": None if attack is None else attack.success,
        }


def _rows(found: Counter[tuple[str, str]]) -> list[Json]:
    return [{"model": m, "input": i, "n": n} for (m, i), n in sorted(found.items())]


def weigh(
    records: Iterable[PatientRecord], settings: Settings, day: date | None = None
) -> list[Weighed]:
    """Every policy over the same people, as of a day, by default today. Those whose Patient
    resource cannot be used are not counted, because they have no twin."""
    found = {name: Weighed(name) for name in policy_ids()}
    day = day or datetime.now(UTC).date()
    for record in records:
        record = replace(record, resources=list(record.resources))
        steps = _steps(record)
        before = _seen(record, _as_it_is(), day, settings)
        if before is None:
            continue
        numbers = {place: _number(resource) for place, resource in _readings(record.resources)}
        before = before._replace(numbers={p: n for p, n in numbers.items() if p in steps})
        for name, one in found.items():
            after = _seen(record, deidentifier_of(name), day, settings)
            if after is not None:
                one.add(before, after, steps)
    return list(found.values())


@cache
def _as_it_is() -> Deidentifier:
    guards = Guards(vocabulary.is_known_code, vocabulary.is_known_unit)
    return Deidentifier(load_policy(LEAST), guards)


def _seen(
    record: PatientRecord, deidentifier: Deidentifier, day: date, settings: Settings
) -> Seen | None:
    session, refused = _session(record, deidentifier, day), Refusals()
    kept = list(refused.without(map(session.apply, record.resources)))
    mapped = _mapped(kept, session)
    if mapped.subject is None:
        return None
    document = build(mapped, _header(session), refused.told_in(record.completeness))
    files = _files(kept, session)
    return Seen(
        models={model.id: _answers(State(document), model, settings) for model in _models()},
        concepts=frozenset(document["signals"]) | frozenset(document.get("coded", {})),
        numbers=dict(_told_numbers(record, files, session)),
        told=_told(files),
        facts=frozenset(facts(document)),
        amounts=_amounts(session),
    )


def _mapped(kept: Sequence[Json], session: Session) -> Mapped:
    """As old as a document can say that somebody is, also where a policy for files tells more."""
    mapped = map_unique(kept, session.now, UNITS_PER_DAY[session.policy.time.unit])
    subject = mapped.subject
    if subject is None or subject.age is None or subject.age <= OLDEST:
        return mapped
    return mapped._replace(subject=subject._replace(age=OLDEST, age_top_coded=True))


def _session(record: PatientRecord, deidentifier: Deidentifier, day: date) -> Session:
    """A patient nobody keeps: epoch and pseudonyms of the moment."""
    patient = next((r for r in record.resources if r.get("resourceType") == "Patient"), {})
    return deidentifier.session(
        SubjectContext.of(
            patient,
            epoch=draw_epoch(day),
            now=day,
            pseudonym=Pseudonyms(),
            bases=(record.base,),
        )
    )


def _header(session: Session) -> Header:
    policy = session.policy
    return Header(
        twin=new_pseudonym(),
        policy=policy.id,
        policy_version=policy.version,
        policy_digest=policy.digest,
        software=SOFTWARE,
        now=session.now,
        time_unit=policy.time.unit,
    )


@cache
def _models() -> tuple[Model, ...]:
    return tuple(model for model in all_models().values() if not model.rows_only)


def _answers(state: State, model: Model, settings: Settings) -> Answers:
    case = open_case(state, Request(model, settings=settings))
    inputs = {name: float(case.prepared[name][0]) for name in case.gathered.found}
    targets, values = case.prediction.targets, case.prediction.values
    return Answers(inputs, {targets[i]: float(values[i, 0]) for i in case.given()})


# -- files -----------------------------------------------------------------------------------------


def _files(kept: Sequence[Json], session: Session) -> Mapping[str, Json]:
    """The patient and the readings as `twinport deidentify` writes them, by pseudonym."""
    renderer = Renderer(session)
    wanted = (r for r in kept if r["resourceType"] in {"Patient", "Observation"} and "id" in r)
    return {record["id"]: renderer.resource(record) for record in wanted}


def _told(files: Mapping[str, Json]) -> Hashable:
    """All that the Patient resource of a file still says, but for the pseudonym."""
    patient = next(file for file in files.values() if file["resourceType"] == "Patient")
    return repr({key: value for key, value in patient.items() if key not in {"id", "meta"}})


def _readings(resources: Iterable[Json]) -> Iterator[tuple[str, Json]]:
    for resource in resources:
        if resource.get("resourceType") == "Observation" and _has_number(resource):
            yield str(resource.get("id")), resource


def _told_numbers(
    record: PatientRecord, files: Mapping[str, Json], session: Session
) -> Iterator[tuple[str, float]]:
    for place, _ in _readings(record.resources):
        file = files.get(session.pseudonym("Observation", place))
        if _has_number(file):
            yield place, _number(file)


def _has_number(resource: Json | None) -> TypeGuard[Json]:
    quantity = (resource or {}).get("valueQuantity")
    return isinstance(quantity, dict) and type(quantity.get("value")) in {int, float}


def _number(resource: Json) -> float:
    return float(resource["valueQuantity"]["value"])


def _steps(record: PatientRecord) -> dict[str, float]:
    """Of each reading whose concept is known: one step of its clinical precision."""
    found = {}
    for place, resource in _readings(record.resources):
        code = resource.get("code")
        codings = code.get("coding") if isinstance(code, dict) else None
        known = [c for c in codings if isinstance(c, dict)] if isinstance(codings, list) else []
        decimals = vocabulary.clinical_decimals(known, resource["valueQuantity"])
        if decimals is not None:
            found[place] = 10.0**-decimals
    return found


def _amounts(session: Session) -> Mapping[Amount, int]:
    found: Counter[Amount] = Counter()
    for (_, _, action), n in session.counts.items():
        found[amounts_to(action)] += n
    return found
