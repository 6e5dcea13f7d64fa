"""A decision on its way into the chart: looked at first, changed with If-Match, noted.

Read `ChartWriter.write` downward. Everything can be repeated: a decision that is there already is
found by its mark, and what was decided there by somebody else is never touched.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

import orjson

from mappings.to_fhir import Reviewed, bears, is_open, review_provenance, reviewed
from service.fhir.capability import Capability, read_capability
from service.fhir.errors import Conflict as FhirConflict
from service.fhir.errors import (
    FhirError,
    Forbidden,
    Invalid,
    NotSupported,
    Precondition,
    Unprocessable,
)
from service.fhir.http import FhirClient
from service.fhir.ladder import Rung, row_key
from service.fhir.look import Found, Looker
from service.fhir.outbox import OutboxItem, OutboxState
from service.fhir.wanted import Wanted, wanted_from
from service.refresh.correct import Done
from service.stores.outbox import SqlOutboxStore

Json = dict[str, Any]


class Outcome(StrEnum):
    """What came of it in the chart."""

    WRITTEN = "written"
    NOTHING_THERE = "nothing-there"  # never written, gone, or on a server no longer configured
    CHANGED = "changed-meanwhile"  # somebody has decided on it there, or is changing it now
    REFUSED = "refused"  # the server does not take such a change
    AWAY = "away"  # the server could not be reached, or has trouble: to be tried again


_SAID_NO = (Forbidden, Invalid, NotSupported, Unprocessable)
_WAS_WRITTEN = frozenset({OutboxState.CONFIRMED, OutboxState.SENT})


class ChartWriter:
    """Writes decisions to the server a result was written to."""

    def __init__(
        self,
        outbox: SqlOutboxStore,
        client_for: Callable[[str], FhirClient],
        unseal: Callable[[bytes], bytes],
    ) -> None:
        self._outbox, self._client_for, self._unseal = outbox, client_for, unseal

    def to_deal_with(self) -> dict[str, Done]:
        """Keys of results in a chart that no longer hold and wait for a person; how the chart says
        so, if it does."""
        waiting = (Done.REVIEW, Done.FLAGGED, Done.UNMARKED, Done.OPEN)
        found = self._outbox.closed_as(*(done.value for done in waiting))
        return {row.partition(".")[0]: Done(detail) for row, detail in found.items()}

    def write(self, key: str, review: Reviewed) -> Outcome:
        item = self._item(key)
        if item is None:
            return Outcome.NOTHING_THERE
        payload = orjson.loads(self._unseal(item.payload))
        try:
            client = self._client_for(payload["server"])
        except LookupError:
            return Outcome.NOTHING_THERE
        wanted = [w for w in wanted_from(payload["resources"]) if not w.is_companion]
        try:
            return _Visit(client, read_capability(client)).write(wanted, review)
        except _SAID_NO:
            return Outcome.REFUSED
        except FhirError:
            return Outcome.AWAY

    def knows(self, key: str) -> bool:
        """Whether the result was written to a server at all."""
        return self._item(key) is not None

    def _item(self, key: str) -> OutboxItem | None:
        """The form in which the result was written."""
        found = (self._outbox.get(row_key(key, rung)) for rung in Rung)
        return next((item for item in found if item and item.state in _WAS_WRITTEN), None)


class _Visit:
    """One decision at one server."""

    def __init__(self, client: FhirClient, capability: Capability) -> None:
        self._client, self._capability = client, capability
        self._looker = Looker(client, capability)

    def write(self, wanted: list[Wanted], review: Reviewed) -> Outcome:
        found = [found[0] for one in wanted if (found := self._looker.by_identifier(one))]
        if not found:
            return Outcome.NOTHING_THERE
        for one in found:
            if not bears(one.resource, review) and not is_open(one.resource):
                return Outcome.CHANGED
        for one in found:
            written = bears(one.resource, review) or self._put(one, review)
            if not written and not self._bears_now(one, wanted, review):
                return Outcome.CHANGED
        for one in found:
            self._note(one.reference, review)
        return Outcome.WRITTEN

    def _bears_now(self, was: Found, wanted: list[Wanted], review: Reviewed) -> bool:
        """Whether the one who was faster was another process of ours, with this very decision."""
        now = (found for one in wanted for found in self._looker.by_identifier(one))
        return any(n.reference == was.reference and bears(n.resource, review) for n in now)

    def _put(self, found: Found, review: Reviewed) -> bool:
        """False: it is not any more what we looked at."""
        kind, identity = found.reference.split("/", 1)
        version = (found.resource.get("meta") or {}).get("versionId")
        condition = {"If-Match": f'W/"{version}"'} if version else {}
        try:
            changed = reviewed(found.resource, review)
            self._client.write("PUT", (kind, identity), changed, condition=condition)
        except (Precondition, FhirConflict):
            return False
        return True

    def _note(self, reference: str, review: Reviewed) -> None:
        """A Provenance beside the machine's: who decided. A server that takes none has the note."""
        body = review_provenance(reference, review)
        (wanted,) = wanted_from([body])
        able = self._capability.can("Provenance", "create")
        with suppress(*_SAID_NO):
            if able and not self._is_noted(wanted, reference, body):
                self._client.write("POST", ("Provenance",), wanted.body)

    def _is_noted(self, wanted: Wanted, reference: str, body: Mapping[str, Any]) -> bool:
        who = body["agent"][0]["who"]["identifier"]
        there = self._looker.by_target(wanted, reference, frozenset())
        return any(
            who == (agent.get("who") or {}).get("identifier")
            for found in there
            for agent in found.resource.get("agent") or ()
        )
