"""A notice beside what may not be changed: exactly once, by the outbox, in the best form there is.

A server that lets results be created and not be changed would go on showing one that no longer
holds. There a new resource says so (`mappings/to_fhir/notice.py` has the forms): the first one that
the configuration and the CapabilityStatement allow, and the next where it is refused. Unlike a
result, a notice goes on to the next form after any refusal: one in a lesser place is better than
none.

`stale-1` is the first notice about a result, `void-1` what takes it back, `stale-2` the next.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from mappings.to_fhir import Notice, notice_of, notice_type
from mappings.to_fhir.notice import FORMS, STALE, VOID
from service.fhir.capability import Capability
from service.fhir.http import FhirClient
from service.fhir.ladder import Why
from service.fhir.outbox import Note, OutboxItem, OutboxState
from service.pipeline.deliver import Deliverer, Parcel
from service.pipeline.origin import IDENTIFIER_SYSTEM
from service.refresh.correct import Corrector, Standing
from service.refresh.earlier import Earlier
from service.stores.outbox import SqlOutboxStore

Json = dict[str, Any]

OFF = "off"
TAKEN_BACK = "taken-back"
_WORDS = {STALE: "stale", VOID: "void"}
_THERE = frozenset({OutboxState.CONFIRMED, OutboxState.SENT})


@dataclass(frozen=True, slots=True)
class Beside:
    """Writes and takes back the notices of one chart."""

    client: FhirClient
    capability: Capability
    corrector: Corrector
    outbox: SqlOutboxStore
    deliverer: Deliverer
    seal: Callable[[bytes], bytes]
    unseal: Callable[[bytes], bytes]
    twin: str

    def say(self, item: OutboxItem, one: Earlier) -> bool:
        """That a result no longer holds. Whether the chart says so now."""
        standing = self.corrector.standing(item)
        if not standing.results:
            return False
        place = f"{item.key}.stale-{self._last(item, STALE) + (not self._in_force(item))}"
        notice = self._notice(STALE, place, item, standing, one)
        return self._written(place, notice, one.model)

    def take_back(self, item: OutboxItem) -> bool:
        """All that was said of a result that says so itself by now, or is gone, or holds again."""
        said = [row for kind in _WORDS for forms in self._each(item, kind) for row in forms]
        left = [row for row in said if row.state is not OutboxState.SUPERSEDED]
        taken = [self._taken_back(row) for row in left]
        return all(taken)

    def _taken_back(self, notice: OutboxItem) -> bool:
        """One that was not sent yet never will be."""
        done = notice.state not in _THERE or self.corrector.take_back(notice)
        if done:
            self.outbox.close(notice.key, TAKEN_BACK)
        return done

    def hold_again(self, item: OutboxItem, model: str) -> None:
        """The result is right again: no notice stands against it."""
        if not self._in_force(item) or self.take_back(item):
            return
        standing = self.corrector.standing(item)
        place = f"{item.key}.void-{self._last(item, STALE)}"
        if standing.results:
            self._written(place, self._notice(VOID, place, item, standing, None), model)

    # -- which ---------------------------------------------------------------------------------

    def _last(self, item: OutboxItem, kind: str) -> int:
        """The number of the newest notice of a kind; 0: there is none."""
        return sum(bool(found) for found in self._each(item, kind))

    def _each(self, item: OutboxItem, kind: str) -> Iterator[list[OutboxItem]]:
        number = 1
        while found := self._forms(item, kind, number):
            yield found
            number += 1

    def _forms(self, item: OutboxItem, kind: str, number: int) -> list[OutboxItem]:
        """The notice in the form in which it was written: of those tried, what was not refused."""
        place = f"{item.key}.{_WORDS[kind]}-{number}"
        rows = (self.outbox.get(f"{place}.{form}") for form in FORMS)
        return [row for row in rows if row and row.state is not OutboxState.FAILED]

    def _in_force(self, item: OutboxItem) -> bool:
        last = self._last(item, STALE)
        forms = self._forms(item, STALE, last)
        taken = all(one.state is OutboxState.SUPERSEDED for one in forms)
        return bool(forms) and not taken and not self._forms(item, VOID, last)

    # -- writing -------------------------------------------------------------------------------

    def _notice(
        self, kind: str, place: str, item: OutboxItem, standing: Standing, one: Earlier | None
    ) -> Notice:
        resources = orjson.loads(self.unseal(item.payload))["resources"]
        return Notice(
            kind=kind,
            cause=one.cause.value if one else "",
            results=standing.results,
            device=next(r for r in resources if r["resourceType"] == "Device"),
            identifier=(IDENTIFIER_SYSTEM, place),
            at=datetime.now(UTC),
            accepted=standing.accepted,
            replaced=bool(one and one.replaced),
            code_base=self.deliverer.code_base,
        )

    def _written(self, place: str, notice: Notice, model: str) -> bool:
        with self.deliverer.held(self.outbox) as held:
            for form, why in self._choices(place, notice):
                key = f"{place}.{form}"
                parcel = Parcel(model, key, notice_of(form, notice))
                said = Note(self.twin, f"{model}:{notice.kind}-{form}:{why}"[:64])
                delivered = self.deliverer.deliver_one(
                    parcel, self.client, held, self.seal, self.capability, said
                )
                if delivered.result.state is not OutboxState.FAILED:
                    return delivered.confirmed or delivered.result.state is OutboxState.SENT
        return False

    def _choices(self, place: str, notice: Notice) -> Iterator[tuple[str, Why]]:
        """A notice stays in the form in which it was begun."""
        begun = [f for f in FORMS if self._is_begun(f"{place}.{f}")]
        if begun:
            yield begun[0], Why.WRITTEN_BEFORE
            return
        highest = self.client.server.notice_as
        why = Why.FIRST_CHOICE if highest == FORMS[0] else Why.CONFIGURED
        for form in FORMS[FORMS.index(highest) :] if highest != OFF else ():
            if self.capability.can(notice_type(form, [notice.first]), "create"):
                yield form, why
                why = Why.REFUSED
            elif why is not Why.REFUSED:
                why = Why.NOT_LISTED

    def _is_begun(self, key: str) -> bool:
        found = self.outbox.get(key)
        return found is not None and found.state is not OutboxState.FAILED
