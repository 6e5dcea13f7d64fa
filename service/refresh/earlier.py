"""The results of earlier versions of a twin that no longer hold, and why."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from service.pipeline.deliver import Deliverer
from service.pipeline.make import Made
from service.stores.twins import TwinStore
from twin_engine.document.lineage import complete_types, diff, source_ids, source_types

Json = dict[str, Any]

VERSIONS = 50
"""How far back is looked where no input was withdrawn or corrected in so many versions: what came
before has been seen."""


class Cause(StrEnum):
    """What happened to the inputs of a result since, the gravest first."""

    WITHDRAWN = "input-withdrawn"
    CORRECTED = "input-corrected"
    RENEWED = "newer-inputs"


@dataclass(frozen=True, slots=True)
class Earlier:
    """One earlier result; `key` leads to its place in the outbox and on the server."""

    key: str
    model: str
    version: int
    cause: Cause
    successor: str | None
    """The key of the current result of the same model, where there is one; or of its refusal,
    where that is written down."""
    refused: bool = False
    """It says itself that no estimate was made."""
    replaced: bool = False
    """The successor is a result."""
    lapsed: bool = False
    """Right when it was made, and the newest; now the model makes no estimate, and the chart says
    so."""

    @property
    def holds(self) -> bool:
        """Nothing is to be done about it."""
        return self.cause is Cause.RENEWED and not self.refused and not self.lapsed


@dataclass(slots=True)
class _Since:
    """The sources that were changed after some version, gathered going backward."""

    withdrawn: set[str] = field(default_factory=set)
    corrected: set[str] = field(default_factory=set)

    def add(self, before: Json, after: Json) -> None:
        changes = after.get("changes", {})
        self.withdrawn |= {change["source"] for change in changes.get("withdrawn", ())}
        self.corrected |= {change.source for change in diff(before, after).corrected}

    @property
    def something(self) -> bool:
        return bool(self.withdrawn or self.corrected)

    def cause(self, sources: set[str]) -> Cause:
        if sources & self.withdrawn:
            return Cause.WITHDRAWN
        return Cause.CORRECTED if sources & self.corrected else Cause.RENEWED


class _Gone:
    """Sources that a complete slice of the newest version no longer holds. A version between, which
    had not asked for them, could not say so."""

    def __init__(self, newest: Json) -> None:
        self._present = set(source_ids(newest))
        self._complete = complete_types(newest["completeness"]["slices"])

    def of(self, sources: set[str], document: Json) -> set[str]:
        types = source_types(document)
        return {s for s in sources - self._present if types[s] in self._complete}


def earlier_results(
    made: Made, twins: TwinStore, deliverer: Deliverer, *, refusals: bool = False
) -> list[Earlier]:
    """Newest first. Each result once, though many versions may have repeated it. With the refusals,
    which not every chart holds; `refusals`: that of today is written down."""
    current = {deliverer.key(made, one): one for one in made.assessments}
    written = {key: one for key, one in current.items() if one["results"] or refusals}
    by_model = {one["model"]["id"]: key for key, one in written.items()}
    found: dict[str, Earlier] = {}
    since = _Since()
    after = dict(made.twin.document)
    gone = _Gone(after)
    for number, document in enumerate(_backward(made, twins)):
        if number >= VERSIONS and not since.something:
            break
        since.add(document, after)
        for assessment in document["assessments"]:
            key = deliverer.key(made, assessment)
            if assessment.get("silent"):
                continue
            if key in current or key in found:
                continue
            model = assessment["model"]["id"]
            sources = _sources(document, assessment)
            since.withdrawn |= gone.of(sources, document)
            cause = since.cause(sources)
            if cause is Cause.RENEWED and model in made.silent:
                continue  # silent since: what was written before stays, while it is right
            version, successor = document["twin"]["version"], by_model.get(model)
            found[key] = Earlier(
                key,
                model,
                version,
                cause,
                successor,
                refused=not assessment["results"],
                replaced=successor is not None and bool(current[successor]["results"]),
            )
        after = document
    return list(found.values())


def in_chart(earlier: Iterable[Earlier], written: Callable[[str], bool]) -> list[Earlier]:
    """Without the refusals that nobody wrote down; the newest of each model knows what follows."""
    found, models = [], set[str]()
    for one in earlier:
        if one.refused and not written(one.key):
            continue
        newest = one.model not in models
        models.add(one.model)
        refused_now = one.successor is not None and not one.replaced
        lapsed = newest and refused_now and one.cause is Cause.RENEWED and not one.refused
        found.append(replace(one, lapsed=lapsed))
    return found


def _backward(made: Made, twins: TwinStore) -> Iterator[Json]:
    newest = made.twin.version - 1
    for version in range(newest, 0, -1):
        stored = twins.get(made.twin.id, version)
        if stored is None:
            return
        document: Json = orjson.loads(stored.payload)
        yield document


def _sources(document: Mapping[str, Any], assessment: Json) -> set[str]:
    ids = source_ids(document)
    return {ids[src] for used in assessment["inputs"] for src in used.get("src", ())}
