"""In which form a result is written where a server does not take the form it should have.

    risk-assessment → observation → document → facade

The first rung that the server's CapabilityStatement and the configuration allow is tried; a server
that refuses the type all the same sends us one rung down. On the last one nothing is written: the
result is on our own façade and in the CDS card. Which rung, and why, is counted and audited.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from service.fhir.capability import Capability
from service.fhir.errors import NotFound, NotSupported
from service.fhir.outbox import OutboxState
from service.fhir.writeback import WriteResult


class Rung(StrEnum):
    RISK_ASSESSMENT = "risk-assessment"
    OBSERVATION = "observation"
    DOCUMENT = "document"
    FACADE = "facade"


class Why(StrEnum):
    """Why this rung and none above it."""

    FIRST_CHOICE = "first-choice"
    CONFIGURED = "configured"
    NOT_LISTED = "not-listed"  # the CapabilityStatement does not say that it may be created
    REFUSED = "refused"  # the server did not take what its statement lists
    WRITTEN_BEFORE = "written-before"  # a result stays in the form it was first written in


class Choice(NamedTuple):
    rung: Rung
    why: Why


_NEEDS = {Rung.OBSERVATION: "Observation", Rung.DOCUMENT: "DocumentReference"}
_NO_SUCH_TYPE = frozenset({NotSupported.code, NotFound.code})


def choices(
    capability: Capability, native: frozenset[str], start: Rung = Rung.RISK_ASSESSMENT
) -> Iterator[Choice]:
    """The rungs worth trying, the best first. `native`: the types of the result's own form;
    `start`: the highest rung that the configuration allows. The last one is always there."""
    why = Why.FIRST_CHOICE if start is Rung.RISK_ASSESSMENT else Why.CONFIGURED
    rungs = list(Rung)
    for rung in rungs[rungs.index(start) :]:
        if all(capability.can(kind, "create") for kind in _types(rung, native)):
            yield Choice(rung, why)
            why = Why.REFUSED  # whoever asks for the next one was refused on this
        elif why is not Why.REFUSED:
            why = Why.NOT_LISTED


def _types(rung: Rung, native: frozenset[str]) -> frozenset[str]:
    if rung is Rung.RISK_ASSESSMENT:
        return native
    return frozenset({_NEEDS[rung]} if rung in _NEEDS else ())


def steps_down(result: WriteResult) -> bool:
    """Whether the server said that it does not take this type. A 403 is for its administrator to
    mend, and a 422 for us: neither is a reason to write something else."""
    return result.state is OutboxState.FAILED and result.detail in _NO_SUCH_TYPE


def on_the_facade() -> WriteResult:
    """The last rung: there is nothing to write, and nothing that could be missing."""
    return WriteResult(
        state=OutboxState.CONFIRMED, rung=Rung.FACADE, verified=True, detail="facade-only"
    )


def row_key(key: str, rung: Rung) -> str:
    """Each form of one result has its own place in the outbox."""
    return key if rung is Rung.RISK_ASSESSMENT else f"{key}.{rung}"
