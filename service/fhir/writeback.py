"""Writes a set of resources exactly once, whatever happens in between.

Look, write what is missing, look again. A break whose outcome is unknown (time-out, reset, 5xx)
leads back to the look, never to a blind repetition. The outbox remembers across a death of the
process, and keeps two processes from sending the same key at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from service.fhir import duplicates
from service.fhir.capability import Capability, read_capability
from service.fhir.duplicates import There
from service.fhir.errors import (
    BadAnswer,
    BudgetSpent,
    Cancelled,
    Conflict,
    ConnectionLost,
    FhirError,
    Precondition,
    ServerFailed,
    SetupError,
    Throttled,
    TimedOut,
    Unreachable,
)
from service.fhir.http import FhirClient, Resource
from service.fhir.look import FirstLook, Found, Looker, agents
from service.fhir.outbox import Note, OutboxItem, OutboxState, OutboxStore
from service.fhir.retry import pause_before
from service.fhir.send import Sender, Sent
from service.fhir.wanted import Wanted, first_target, wanted_from

Seal = Callable[[bytes], bytes]

ROUNDS = 4
LOOKS = 4
LEASE_SECONDS = 600
NOT_SENT = "not-sent"
OUTCOME_UNKNOWN = "outcome-unknown"
REMOVED = "removed-on-server"

# After these nobody knows whether the server did it. Look, then decide.
_OUTCOME_UNKNOWN = (
    TimedOut, ConnectionLost, BudgetSpent, BadAnswer, ServerFailed, Conflict, Precondition
)  # fmt: skip
_NOTHING_SENT = (Unreachable, Throttled)


@dataclass(slots=True)
class WriteResult:
    """References as `Type/id`. `detail` is a code from a closed list."""

    state: OutboxState
    written: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    rung: str = ""
    """The type that carries the result: RiskAssessment, Observation …"""
    strategy: str = ""
    verified: bool = False
    retired: list[str] = field(default_factory=list)
    """Duplicates found and marked entered-in-error."""
    duplicates_left: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Companions that this server does not take: type → code."""
    detail: str = ""
    next_step: str = ""
    note: Note | None = None
    """Whose result it is, as the audit says it."""


def write_back(
    client: FhirClient,
    resources: Sequence[Resource],
    outbox: OutboxStore,
    key: str,
    seal: Seal,
    *,
    capability: Capability | None = None,
    note: Note | None = None,
    taken: "Taken | None" = None,
) -> WriteResult:
    """See that these exist exactly once on the server. Answers with what it found and did;
    raises only where the set itself is unusable or we are cancelled. `note` is what the audit says
    once they do, whoever finishes it. `taken`: its item, where the caller holds it already, and
    knows what the server can do."""
    wanted = wanted_from(resources)
    sealed = payload_of(client, resources, seal, note) if taken is None else b""
    if capability is None:
        # Asked before the claim: a server that is away must not leave us holding the item.
        outbox.enqueue(key, sealed)
        capability = read_capability(client)
    if taken is not None:
        writer = _Writer(client, capability, wanted, taken.look)
        return _deliver(writer, outbox, taken.item, seal, note)
    claimed = outbox.take(key, sealed, lease_seconds=LEASE_SECONDS)
    writer = _Writer(client, capability, wanted)
    if not claimed:
        return replace(writer.report_on(outbox.get(key)), note=note)
    return _deliver(writer, outbox, claimed[0], seal, note)


def payload_of(
    client: FhirClient, resources: Sequence[Resource], seal: Seal, note: Note | None
) -> bytes:
    """What the outbox keeps of a set: enough for whoever finishes it."""
    if not client.server.write_back:
        raise SetupError(f"servers.{client.server.name}", next_step="Set `write_back = true`.")
    payload = {
        "server": client.server.name,
        "resources": list(resources),
        "note": list(note) if note else None,
    }
    return seal(orjson.dumps(payload))


class Taken(NamedTuple):
    """An item that its caller holds, and what was seen of it on the server before."""

    item: OutboxItem
    look: FirstLook | None


def look_together(
    client: FhirClient,
    capability: Capability,
    sets: Sequence[Sequence[Resource]],
    before: FirstLook | None = None,
) -> FirstLook | None:
    """A first look for sets that may be taken and written side by side: they have nothing in common
    that two of them would create, and each is found again. None for others. Where a server can't be
    asked, what was taken and not yet sent would count as sent once we died."""
    named = [w for one in sets for w in wanted_from(one) if w.identifier]
    looker = Looker(client, capability)
    apart = len({(w.type, w.identifier) for w in named}) == len(named)
    if not apart or not all(looker.can_find(w) for w in named):
        return None
    return FirstLook(client, looker, named, before)


def resume(
    outbox: OutboxStore,
    client_for: Callable[[str], FhirClient],
    seal: Seal,
    unseal: Seal,
    *,
    limit: int = 10,
) -> list[WriteResult]:
    """Finish what an earlier process left behind. An item whose server is away, or not configured
    any more (`client_for` raises a LookupError), is put back and does not stop the others."""
    results = []
    for item in outbox.claim(limit=limit, lease_seconds=LEASE_SECONDS):
        payload = orjson.loads(unseal(item.payload))
        try:
            client = client_for(payload["server"])
            writer = _Writer(client, read_capability(client), wanted_from(payload["resources"]))
        except (FhirError, LookupError):
            detail = NOT_SENT if _is_first(item) else item.detail
            outbox.mark(item.key, item.attempt, OutboxState.PENDING, detail)
            continue
        told = payload.get("note")
        results.append(_deliver(writer, outbox, item, seal, Note(*told) if told else None))
    return results


def _is_first(item: OutboxItem) -> bool:
    return item.attempt == 1 or item.detail == NOT_SENT


def _deliver(
    writer: "_Writer", outbox: OutboxStore, item: OutboxItem, seal: Seal, note: Note | None
) -> WriteResult:
    """Run the writer and keep the item's state in step with it."""

    def mark(state: OutboxState, detail: str, references: list[str] | None = None) -> None:
        sealed = seal(orjson.dumps(references)) if references is not None else None
        told = note if state is OutboxState.CONFIRMED else None
        outbox.mark(item.key, item.attempt, state, detail, sealed, told)

    def about_to_send() -> None:
        if item.detail:  # claimed is `sending` already; what an earlier try left no longer holds
            mark(OutboxState.SENDING, "")

    try:
        result = writer.run(_is_first(item), about_to_send)
    except Cancelled:
        mark(*writer.left_off())
        raise
    mark(result.state, result.detail, [*result.existing, *result.written])
    return replace(result, note=note)


class _Writer:
    """One set of resources on its way to one server."""

    def __init__(
        self,
        client: FhirClient,
        capability: Capability,
        wanted: list[Wanted],
        look: FirstLook | None = None,
    ) -> None:
        self._client, self._wanted, self._look = client, wanted, look
        self._looker = Looker(client, capability)
        self._sender = Sender(client, capability)
        self._rung = next((w.type for w in wanted if not w.is_companion), "")
        self._created: dict[str, str] = {}
        self._existing: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._withdrawn: set[str] = set()
        self._alike: dict[str, frozenset[str]] = {}
        """Everything found of one thing: more than one where there are duplicates."""
        self._strategy = ""
        self.sent_something = False

    def run(self, first: bool, about_to_send: Callable[[], None]) -> WriteResult:
        try:
            return self._run(first, about_to_send)
        except Cancelled:
            raise
        except (*_NOTHING_SENT, *_OUTCOME_UNKNOWN) as error:
            return self._failure(*self.left_off(), error)
        except FhirError as error:
            return self._failure(OutboxState.FAILED, error.code, error)

    def left_off(self) -> tuple[OutboxState, str]:
        """The state and detail of an item that is not finished."""
        if not self.sent_something:
            return OutboxState.PENDING, NOT_SENT
        # Where we can look, the next run may go ahead; where not, nobody sends it again.
        state = OutboxState.PENDING if self._can_look() else OutboxState.SENT
        return state, OUTCOME_UNKNOWN

    def _run(self, first: bool, about_to_send: Callable[[], None]) -> WriteResult:
        for attempt in range(1, ROUNDS + 1):
            missing = self._missing()
            if not missing:
                break
            if not (first and attempt == 1) and not self._can_look():
                return self._unverified()
            about_to_send()
            error = self._try_sending(missing)
            if error is None:
                break
            if attempt == ROUNDS:
                raise error
            self._pause(attempt)
        return self._verify()

    def report_on(self, item: OutboxItem | None) -> WriteResult:
        """For an item that is not ours to send: what is there now? Nothing is created.

        What was confirmed once and is gone was removed by somebody, and stays removed. What was
        confirmed once and is there twice came late, from a request given up long ago: the younger
        ones are withdrawn.
        """
        state = item.state if item else OutboxState.FAILED
        try:
            gone = self._missing()
            result = self._result(state)
            if state is OutboxState.CONFIRMED:
                self._clear_up(result, {wanted.url for wanted in gone})
        except FhirError as error:
            return self._failure(state, error.code, error)
        present = not gone and not self._withdrawn
        result.verified = present and self._can_look() and not result.duplicates_left
        if not present and state is OutboxState.CONFIRMED:
            result.detail = REMOVED
        return result

    def _clear_up(self, result: WriteResult, gone: set[str]) -> None:
        """A companion that is not there may be one that this server does not take."""
        there = [(w, self._find(w)) for w in self._wanted if w.url not in gone]
        self._one_of_each([(wanted, found) for wanted, found in there if found], result)

    # What is there

    def _can_look(self) -> bool:
        return all(self._looker.can_find(w) for w in self._wanted if w.identifier)

    def _missing(self) -> list[Wanted]:
        """Those neither found on the server nor written or skipped by us."""
        missing = []
        for wanted in self._wanted:
            if wanted.url in self._created or wanted.url in self._skipped:
                continue
            found = self._find(wanted)
            if found:
                self._existing[wanted.url] = found[0].reference
            elif found is not None:
                missing.append(wanted)
        return missing

    def _find(self, wanted: Wanted) -> list[Found] | None:
        """None: it cannot be looked for, and is to be taken as there."""
        if wanted.identifier is not None:
            seen = self._look.take(wanted) if self._look else None
            found = self._looker.by_identifier(wanted) if seen is None else seen
            self._note_withdrawn(wanted, found)
            self._alike[wanted.url] = frozenset(one.reference for one in found)
            return found
        target = first_target(wanted)
        known = self._known()
        if target not in known:
            return []
        if not self._looker.can_find(wanted):
            return None if target in self._existing else []
        return self._looker.by_target(wanted, known[target], self._agents(wanted))

    def _note_withdrawn(self, wanted: Wanted, found: list[Found]) -> None:
        """What was taken back on the server is there, and is not written a second time."""
        if found and found[0].withdrawn and not wanted.is_companion:
            self._withdrawn.add(wanted.url)

    def _known(self) -> dict[str, str]:
        return {url: ref for url, ref in {**self._existing, **self._created}.items() if ref}

    def _agents(self, wanted: Wanted) -> frozenset[str]:
        known = self._known()
        mine = [url for url in agents(wanted.body) if url in known]
        return frozenset(
            {known[url] for url in mine}.union(*(self._alike.get(u, ()) for u in mine))
        )

    # Sending

    def _try_sending(self, missing: list[Wanted]) -> FhirError | None:
        """An error after which a look is needed; others are raised."""
        sent = Sent()
        try:
            self._sender.send(missing, self._known(), self._wanted, sent)
        except _OUTCOME_UNKNOWN as error:
            self.sent_something = True
            return error
        except Cancelled:
            self.sent_something = True
            raise
        finally:
            self._take_over(sent)
        return None

    def _take_over(self, sent: Sent) -> None:
        self._created |= sent.created
        self._existing |= sent.existing
        self._skipped |= sent.skipped
        self._strategy = sent.strategy or self._strategy
        self.sent_something = self.sent_something or bool(sent.created)

    # Reading back

    def _verify(self) -> WriteResult:
        result = self._result(OutboxState.CONFIRMED)
        there: list[tuple[Wanted, list[Found]]] = []
        checked = []
        for wanted in self._wanted:
            if wanted.url not in self._skipped:
                found = self._find_patiently(wanted)
                checked.append(bool(found))
                if found:
                    self._adopt(wanted, found[0].reference, result)
                    there.append((wanted, found))
        self._one_of_each(there, result)
        result.verified = all(checked) and not result.duplicates_left and not self._withdrawn
        if not all(checked):
            result.state, result.detail = OutboxState.SENT, "not-read-back"
        elif self._withdrawn:
            result.detail = REMOVED
        elif result.duplicates_left:
            result.detail = "duplicates-left"
        elif result.skipped:
            result.detail = "without-companions"
        return result

    def _one_of_each(self, there: There, result: WriteResult) -> None:
        result.duplicates_left = duplicates.clear(self._client, there, result.retired)

    def _adopt(self, wanted: Wanted, reference: str, result: WriteResult) -> None:
        """The one that stays may be another than the one we wrote."""
        ours = self._created.get(wanted.url)
        if ours is not None and ours != reference:
            del self._created[wanted.url]
            self._existing[wanted.url] = reference
        result.written, result.existing = self._lists()

    def _find_patiently(self, wanted: Wanted) -> list[Found]:
        """A search index may lag behind a write; reading by reference does not."""
        reference = self._known().get(wanted.url, "")
        for attempt in range(1, LOOKS + 1):
            found = self._find(wanted)
            if found:
                return found
            direct = self._looker.by_reference(wanted, reference) if reference else []
            if direct:
                return direct
            if attempt < LOOKS:
                self._pause(attempt)
        return []

    def _pause(self, attempt: int) -> None:
        self._client.clock.wait(
            pause_before(attempt, None, self._client.server.limits), "write-back"
        )

    # Answers

    def _lists(self) -> tuple[list[str], list[str]]:
        order = [w.url for w in self._wanted]
        written = [self._created[url] for url in order if self._created.get(url)]
        existing = [
            self._existing[url]
            for url in order
            if self._existing.get(url) and url not in self._created
        ]
        return written, existing

    def _result(self, state: OutboxState) -> WriteResult:
        types = {w.url: w.type for w in self._wanted}
        written, existing = self._lists()
        return WriteResult(
            state=state,
            written=written,
            existing=existing,
            rung=self._rung,
            strategy=self._strategy,
            skipped={types[url]: code for url, code in self._skipped.items()},
        )

    def _unverified(self) -> WriteResult:
        """An earlier attempt may have written, and this server cannot be asked. Never twice."""
        result = self._result(OutboxState.SENT)
        result.detail = OUTCOME_UNKNOWN
        result.next_step = "Look in the chart; this server cannot be searched by identifier."
        return result

    def _failure(self, state: OutboxState, detail: str, error: FhirError) -> WriteResult:
        result = self._result(state)
        result.detail, result.next_step = detail, str(error)
        return result
