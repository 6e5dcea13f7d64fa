"""Changes on the server what no longer holds: found by identifier, changed with If-Match, noted.

A machine's own result (`preliminary`) is withdrawn or marked as superseded. What a person accepted
keeps its status and content: it gets a tag and a note that it needs review, and is reported until
somebody has dealt with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from service.fhir.capability import Capability
from service.fhir.errors import (
    BadAnswer,
    FhirError,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    NotSupported,
    Precondition,
    Refused,
    TransportError,
    Unprocessable,
)
from service.fhir.errors import Conflict as FhirConflict
from service.fhir.http import FhirClient
from service.fhir.look import SET_ASIDE, WITHDRAWN, Found, Looker
from service.fhir.outbox import OutboxItem
from service.fhir.wanted import Wanted, wanted_from
from service.refresh.earlier import Cause, Earlier

Json = dict[str, Any]

TAG = "urn:twinport:lifecycle"
_INPUTS = ("basis", "derivedFrom")
_GONE = "No longer on this server"
TRIES = 3
_SAID_NO = (Forbidden, Invalid, NotSupported, Unprocessable)


class Done(StrEnum):
    """What came of one earlier result. Words for counts, audit and reports."""

    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    RESTORED = "restored"
    REVIEW = "accepted-needs-review"
    GONE = "gone"  # not on the server any more: nothing to change
    OPEN = "open"  # could not be changed now; tried again by the next run, and in sight till then
    FLAGGED = "flagged-beside"  # the server refuses the change: a notice stands beside it
    UNMARKED = "unmarked"  # it refuses the change and any notice: nothing in the chart says so


@dataclass(frozen=True, slots=True)
class Change:
    model: str
    cause: Cause
    done: Done


REVIEW_TAG = "needs-review"
_LAPSED = (
    "Superseded: on the data as they are now the model makes no estimate. The newer resource of "
    "the same model says why."
)
_ASKED_AGAIN = "Superseded: the model was asked again on newer data."
_NO_LONGER_NEEDED = (
    "No longer needed: the result that this notice is about says so itself by now, or holds again."
)
_NOTES = {
    Done.REVIEW: "Needs review: an input was withdrawn, corrected or found to be wrong after this "
    "result was accepted. The software that made it has changed nothing else in it.",
    Done.WITHDRAWN: "Withdrawn by the software that made it: an input was withdrawn or found to be "
    "wrong.",
    Done.SUPERSEDED: "Superseded: an input was corrected, and a newer result takes its place.",
    Done.RESTORED: "Restored by the software that made it: the input that had been withdrawn is "
    "back.",
}


class Standing(NamedTuple):
    """What of an item stands in the chart: references, and the results as we wrote them."""

    results: list[tuple[str, Json]]
    accepted: bool


class _Aim(NamedTuple):
    """What is to come of a result, and how."""

    done: Done
    edit: "Edit"


class _Aims(NamedTuple):
    machine: _Aim
    accepted: _Aim
    """Where a person has put their name to it."""


class Corrector:
    """Changes results of one patient on one server."""

    def __init__(
        self,
        client: FhirClient,
        capability: Capability,
        unseal: Callable[[bytes], bytes],
        base: str,
    ) -> None:
        """`base`: of the server that the record, and so each of its results, belongs to."""
        self._client, self._unseal = client, unseal
        self._is_home = base == client.server.base_url
        self._looker = Looker(client, capability)

    def retire(self, item: OutboxItem, one: Earlier) -> Done:
        """An earlier result that no longer holds."""
        return self._all(item, _aims(one), one.refused)

    def restore(self, item: OutboxItem, refused: bool) -> Done:
        """A result that we withdrew, and that holds again."""
        machine = _Aim(Done.RESTORED, _refused_again if refused else _restored)
        return self._all(item, _Aims(machine, _Aim(Done.RESTORED, _unflagged)), refused)

    def accepted(self, item: OutboxItem) -> bool:
        """Whether a person's acceptance still stands on what no longer holds."""
        return any(found.accepted for found in self._found(item))

    def references(self, item: OutboxItem) -> list[str]:
        """Where its resources are now."""
        return [found.reference for found in self._found(item)]

    def standing(self, item: OutboxItem) -> Standing:
        """What a notice beside it is to name. Nothing where that cannot be told now."""
        try:
            found = [(w, f) for w in self._results(item) for f in self._find(w, item)[:1]]
        except FhirError:
            return Standing([], False)
        stands = [(w, f) for w, f in found if not f.withdrawn and not f.set_aside]
        accepted = any(f.accepted for _, f in stands)
        return Standing([(f.reference, w.body) for w, f in stands], accepted)

    def take_back(self, notice: OutboxItem) -> bool:
        """A notice that is no longer needed. False: this server does not let it be changed."""
        aim = _Aim(Done.SUPERSEDED, _taken_back)
        done = [self._one(w, notice, _Aims(aim, aim), aside=True) for w in self._results(notice)]
        return all(one in (Done.SUPERSEDED, Done.GONE) for one in done)

    def _found(self, item: OutboxItem) -> list[Found]:
        return [found for w in self._results(item) for found in self._find(w, item)[:1]]

    def _results(self, item: OutboxItem) -> list[Wanted]:
        payload = orjson.loads(self._unseal(item.payload))
        if payload["server"] != self._client.server.name and not self._is_home:
            return []  # a server may have another name in the configuration by now
        return [w for w in wanted_from(payload["resources"]) if not w.is_companion]

    def _find(self, wanted: Wanted, item: OutboxItem) -> list[Found]:
        """By what it carries; on a server that cannot be asked for that, where it was put."""
        found = self._looker.by_identifier(wanted)
        if found or self._looker.can_find(wanted):
            return found
        put = orjson.loads(self._unseal(item.result)) if item.result else []
        mine = [reference for reference in put if reference.startswith(f"{wanted.type}/")]
        return [one for reference in mine for one in self._looker.by_reference(wanted, reference)]

    def _all(self, item: OutboxItem, aims: _Aims, refused: bool) -> Done:
        """The gravest of what came of its results; each is tried, whatever came of the others."""
        done = {self._one(wanted, item, aims, refused) for wanted in self._results(item)}
        if refused:  # when outdated, it holds no number that could mislead anybody
            done -= {Done.UNMARKED}
        for gravest in (Done.OPEN, Done.UNMARKED, Done.REVIEW, aims.machine.done):
            if gravest in done:
                return gravest
        return Done.GONE

    def _one(self, wanted: Wanted, item: OutboxItem, aims: _Aims, aside: bool) -> Done:
        """`aside`: also what is not in force."""
        try:
            return self._changed(wanted, item, aims, aside)
        except _SAID_NO:
            return Done.UNMARKED
        except (TransportError, BadAnswer, Refused):
            return Done.OPEN

    def _changed(self, wanted: Wanted, item: OutboxItem, aims: _Aims, aside: bool) -> Done:
        for _ in range(TRIES):
            found = self._find(wanted, item)
            if not found or (found[0].set_aside and not aside):
                return Done.GONE
            aim = aims.accepted if found[0].accepted else aims.machine
            changed = aim.edit(found[0].resource)
            if changed is None:
                return aim.done  # before, or by somebody else
            try:
                if self._put(found[0], changed):
                    return aim.done
            except (NotFound, Gone):  # deleted meanwhile; or nothing may be changed here
                return Done.UNMARKED if self._find(wanted, item) else Done.GONE
        return Done.OPEN

    def _put(self, found: Found, changed: Json) -> bool:
        """False: it changed in the meantime, and is to be looked at again."""
        kind, identity = found.reference.split("/", 1)
        version = (found.resource.get("meta") or {}).get("versionId")
        condition = {"If-Match": f'W/"{version}"'} if version else {}
        try:
            self._write(kind, identity, changed, condition)
        except (Precondition, FhirConflict):
            return False
        return True

    def _write(self, kind: str, identity: str, changed: Json, condition: Json) -> None:
        """A server that minds references refuses one to an input that was deleted: there the
        result says of it that it is gone."""
        try:
            self._client.write("PUT", (kind, identity), changed, condition=condition)
        except (Invalid, Unprocessable):
            lighter = self._without_gone(changed)
            if lighter == changed:
                raise
            self._client.write("PUT", (kind, identity), lighter, condition=condition)

    def _without_gone(self, resource: Json) -> Json:
        inputs = {name: resource[name] for name in _INPUTS if name in resource}
        lighter = {**resource, **{name: self._marked(listed) for name, listed in inputs.items()}}
        context = resource.get("context") or {}
        if "related" in context:  # where a document names its inputs
            lighter["context"] = {**context, "related": self._marked(context["related"])}
        return lighter

    def _marked(self, listed: list[Json]) -> list[Json]:
        return [self._mark(one) if self._is_gone(one) else one for one in listed]

    def _mark(self, one: Json) -> Json:
        return {"type": str(one["reference"]).partition("/")[0], "display": _GONE}

    def _is_gone(self, one: Json) -> bool:
        kind, _, identity = str(one.get("reference", "")).partition("/")
        try:
            if identity and "/" not in identity:
                self._client.read(kind, identity)
        except (NotFound, Gone):
            return True
        return False


# -- edits: the changed resource, or None where there is nothing to change ----------------------

Edit = Callable[[Json], Json | None]


def _aims(one: Earlier) -> _Aims:
    """What is to come of an earlier result: of a machine's own, and of one a person accepted."""
    if one.refused:
        return _Aims(_Aim(Done.SUPERSEDED, _asked_again), _Aim(Done.GONE, _untouched))
    if one.lapsed:
        return _Aims(_Aim(Done.SUPERSEDED, _lapsed), _Aim(Done.GONE, _untouched))
    if one.cause is Cause.CORRECTED and one.replaced:
        return _Aims(_Aim(Done.SUPERSEDED, superseded), _Aim(Done.REVIEW, flagged))
    return _Aims(_Aim(Done.WITHDRAWN, _withdrawn), _Aim(Done.REVIEW, flagged))


def is_withdrawal(one: Earlier) -> bool:
    """Whether a machine's own result is to become entered-in-error."""
    return _aims(one).machine.done is Done.WITHDRAWN


def _untouched(_: Json) -> Json | None:
    return None


def _withdrawn(resource: Json) -> Json | None:
    if resource.get("status") == WITHDRAWN:
        return None
    return _noted(_tagged(resource, Done.WITHDRAWN.value), Done.WITHDRAWN) | {"status": WITHDRAWN}


def superseded(resource: Json, text: str = _NOTES[Done.SUPERSEDED]) -> Json | None:
    if resource.get("status") == WITHDRAWN or _is_tagged(resource, Done.SUPERSEDED.value):
        return None
    changed = _told(_tagged(resource, Done.SUPERSEDED.value), text)
    document = resource["resourceType"] == "DocumentReference"
    return changed | ({"status": "superseded"} if document else {})


_OUT_OF_FORCE = {"Flag": "inactive", "DocumentReference": "superseded"}


def _taken_back(resource: Json) -> Json | None:
    """A notice that is no longer needed. A message that was sent stays sent."""
    kind = resource["resourceType"]
    status = _OUT_OF_FORCE.get(kind, SET_ASIDE)
    if _is_tagged(resource, Done.SUPERSEDED.value) or resource["status"] == WITHDRAWN:
        return None
    changed = _tagged(resource, Done.SUPERSEDED.value)
    if kind != "Flag":
        changed = _told(changed, _NO_LONGER_NEEDED)
    return changed | ({} if kind == "Communication" else {"status": status})


def _lapsed(resource: Json) -> Json | None:
    return superseded(resource, _LAPSED)


def _asked_again(resource: Json) -> Json | None:
    return superseded(resource, _ASKED_AGAIN)


def _refused_again(resource: Json) -> Json | None:
    """A refusal holds again: without a number, as before."""
    back = _restored(resource)
    document = resource["resourceType"] == "DocumentReference"
    return back and back | ({} if document else {"status": SET_ASIDE})


def _restored(resource: Json) -> Json | None:
    """Only what we took back ourselves: the withdrawal of a person stands."""
    if not (
        _is_tagged(resource, Done.WITHDRAWN.value) or _is_tagged(resource, Done.SUPERSEDED.value)
    ):
        return None
    document = resource["resourceType"] == "DocumentReference"
    changed = _noted(_untagged(resource), Done.RESTORED)
    return changed | {"status": "current" if document else "preliminary"}


def flagged(resource: Json) -> Json | None:
    """A person's decision stands; that it rests on what no longer does is said in it."""
    if _is_tagged(resource, REVIEW_TAG):
        return None
    return _noted(_tagged(resource, REVIEW_TAG), Done.REVIEW)


def _unflagged(resource: Json) -> Json | None:
    if not _is_tagged(resource, REVIEW_TAG):
        return None
    return _noted(_untagged(resource), Done.RESTORED)


def _tagged(resource: Json, code: str) -> Json:
    meta = resource.get("meta") or {}
    tag = {"system": TAG, "code": code}
    return {**resource, "meta": {**meta, "tag": [*meta.get("tag", ()), tag]}}


def _untagged(resource: Json) -> Json:
    meta = {**(resource.get("meta") or {})}
    kept = [tag for tag in meta.pop("tag", ()) if tag.get("system") != TAG]
    return {**resource, "meta": {**meta, **({"tag": kept} if kept else {})}}


def _is_tagged(resource: Json, code: str) -> bool:
    tags = (resource.get("meta") or {}).get("tag") or ()
    return any((tag.get("system"), tag.get("code")) == (TAG, code) for tag in tags)


def _noted(resource: Json, done: Done) -> Json:
    return _told(resource, _NOTES[done])


def _told(resource: Json, text: str) -> Json:
    """A DocumentReference has no notes; its description says it."""
    if resource["resourceType"] == "DocumentReference":
        return {**resource, "description": f"{text} {resource.get('description', '')}".strip()}
    time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {**resource, "note": [*resource.get("note", ()), {"time": time, "text": text}]}
