"""Brings a patient's chart up to date with a twin: its results in, what no longer holds out.

Read `Chart.update` downward. Everything can be repeated: a process that dies anywhere in here is
finished by the next run, because each step looks before it acts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from mappings.to_fhir import with_card
from service.fhir.capability import Capability, read_capability
from service.fhir.http import FhirClient
from service.fhir.ladder import Choice, Rung, Why, choices, on_the_facade, row_key, steps_down
from service.fhir.look import FirstLook
from service.fhir.outbox import Note, OutboxItem, OutboxState
from service.fhir.together import side_by_side
from service.fhir.writeback import Taken, look_together, payload_of
from service.pipeline.deliver import Delivered, Parcel, note_duplicates, to_write
from service.pipeline.held import HeldOutbox
from service.pipeline.make import Made
from service.pipeline.runtime import Runtime
from service.refresh.beside import Beside
from service.refresh.correct import Change, Corrector, Done, is_withdrawal
from service.refresh.earlier import Cause, Earlier, earlier_results, in_chart
from service.refresh.facade import mark_own
from service.stores.audit import AuditStore
from service.stores.twins import TwinStore
from service.stores.watches import NoticeStore
from twin_engine.models.contract import Model

Json = dict[str, Any]
LAPSED = "no-estimate-now"  # superseded by a refusal; its inputs may still turn out to be wrong


@dataclass
class Charted:
    """What was done to one chart."""

    delivered: list[Delivered] = field(default_factory=list)
    rungs: list[Choice] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    note: Callable[[], None] | None = None
    """What is still to be written down of what was read back; see `update_chart`"""

    @property
    def confirmed(self) -> bool:
        return all(item.confirmed for item in self.delivered)

    @property
    def review(self) -> list[str]:
        """Models whose accepted results rest on inputs that no longer stand."""
        return self._models(Done.REVIEW)

    @property
    def flagged(self) -> list[str]:
        """Models whose results no longer hold and may not be changed: a notice stands beside."""
        return self._models(Done.FLAGGED)

    @property
    def unmarked(self) -> list[str]:
        """Models whose results no longer hold, in a chart that refuses to be told so."""
        return self._models(Done.UNMARKED, Done.OPEN)

    def _models(self, *done: Done) -> list[str]:
        return sorted({change.model for change in self.changes if change.done in done})

    def add(self, brought: "Brought") -> None:
        self.changes += brought.changes
        self.delivered.append(brought.delivered)
        self.rungs.append(brought.rung)

    def counts(self) -> dict[str, int]:
        """Without the usual: a first-choice rung and nothing corrected."""
        lower = Counter(f"as-{c.rung}" for c in self.rungs if c.rung is not Rung.RISK_ASSESSMENT)
        changed = Counter(change.done.value for change in self.changes)
        return dict(sorted((lower + changed + self._duplicates()).items()))

    def _duplicates(self) -> Counter[str]:
        """Found beside a result or its companions: withdrawn, or left where that was refused."""
        results = [item.result for item in self.delivered]
        withdrawn = sum(len(result.retired) for result in results)
        left = sum(result.duplicates_left for result in results)
        return +Counter({"duplicates-withdrawn": withdrawn, "duplicates-left": left})


class Brought(NamedTuple):
    """One result, where it was put, and what that changed of an earlier one."""

    delivered: Delivered
    rung: Choice
    changes: list[Change]


class Chart:
    """One twin's results on one server."""

    def __init__(
        self,
        runtime: Runtime,
        made: Made,
        client: FhirClient,
        capability: Capability | None = None,
        ready: Iterable[Parcel] = (),
    ) -> None:
        """`capability` saves asking for it again, `ready` (what `Deliverer.parcels` made for this
        server) putting it into words again."""
        self._runtime, self._made, self._client = runtime, made, client
        self._look: FirstLook | None = None
        self._capability = capability or read_capability(client)
        self._corrector = Corrector(client, self._capability, runtime.sealer.open, made.link.base)
        self._beside = Beside(
            client,
            self._capability,
            self._corrector,
            runtime.outbox,
            runtime.deliverer,
            runtime.sealer.seal,
            runtime.sealer.open,
            made.twin.id,
        )
        self._audit = AuditStore(runtime.database)
        self._start = Rung(client.server.write_as)
        self._known: set[str] = set()  # rows of the outbox that are worth a look
        self._made_up: dict[tuple[str, Rung, tuple[str, ...]], Parcel] = {}
        self._ready = {parcel.key: parcel for parcel in ready}

    def look(self, before: FirstLook | None = None) -> None:
        """Ask the server whether it has what `update` will bring, where that may go together. The
        twin need not be kept yet: an identifier is keyed, and says nothing of it. `before`: what
        was asked of the same earlier on."""
        parcels = [parcel for parcel, _ in self._firsts()]
        if parcels:
            sets = [parcel.resources for parcel in parcels]
            self._look = look_together(self._client, self._capability, sets, before)

    def update(
        self,
        meanwhile: Callable[[], None] | None = None,
        note_later: bool = False,
        settle: Callable[[], None] | None = None,
    ) -> Charted:
        """`meanwhile` is called when the server is about to be asked to change anything, if ever.
        With `note_later` the caller has a transaction to come in which `Charted.note` can be
        called. `settle` brings the twin to the disk (`Disk.WITH_NEXT`), and is called before
        anything is changed on the server, unless the taking of the items has done so."""
        charted = Charted()
        deliverer = self._runtime.deliverer
        refusals, twins = self._client.server.write_refusals, TwinStore(self._runtime.database)
        earlier = earlier_results(self._made, twins, deliverer, refusals=refusals)
        given = to_write(self._made, refusals)
        self._look_up([*(deliverer.key(self._made, one) for one in given),
                       *(one.key for one in earlier)])  # fmt: skip
        earlier = in_chart(earlier, self._is_written)
        with deliverer.held(self._runtime.outbox, meanwhile) as held:
            taken = {} if earlier or self._known else self._taken_together(held)
            if settle is not None and not taken:  # what was taken just now is on the disk
                settle()
            each = [partial(self._deliver, one, earlier, held, taken) for one in given]
            for brought in self._brought(each, len(taken) == len(given), meanwhile):
                charted.add(brought)
            if note_later and charted.confirmed and not earlier:
                charted.note = held.noted_elsewhere()
        self._look_up([one.key for one in earlier])  # another run may have written since
        for one in earlier:
            if not one.holds:
                charted.changes += self._retire(one)
        return charted

    # -- in ------------------------------------------------------------------------------------

    def _brought(
        self,
        each: Sequence[Callable[[], Brought]],
        together: bool,
        meanwhile: Callable[[], None] | None,
    ) -> Iterable[Brought]:
        """One after the other; side by side where nothing of it was ever in hand before and the
        order does not matter."""
        if not (together and each):
            return (one() for one in each)
        return side_by_side(each, self._client.server.limits.concurrency, meanwhile)

    def _taken_together(self, held: HeldOutbox) -> dict[str, Taken]:
        """The items of results that are new, by key; none where they are to go one by one. The
        server is asked whether it has them before that or meanwhile: an item that is taken for the
        first time is one that nobody of us has sent."""
        if self._look is None:
            self.look()
        if (look := self._look) is None:
            return {}
        payloads = {parcel.key: self._payload(parcel, choice) for parcel, choice in self._firsts()}
        taken = held.take_all(payloads).items()
        return {key: Taken(item, look if item.attempt == 1 else None) for key, item in taken}

    def _firsts(self) -> list[tuple[Parcel, Choice]]:
        """In the form that is tried first; none where one of them would not be sent at all."""
        given = to_write(self._made, self._client.server.write_refusals)
        chosen = [(one, self._first_choice(one)) for one in given]
        if any(choice.rung is Rung.FACADE for _, choice in chosen):
            return []
        return [(self._parcel(one, choice.rung, ()), choice) for one, choice in chosen]

    def _payload(self, parcel: Parcel, choice: Choice) -> bytes:
        note, seal = self._note(parcel, choice), self._runtime.sealer.seal
        return payload_of(self._client, parcel.resources, seal, note)

    def _first_choice(self, assessment: Json) -> Choice:
        return self._choices(self._runtime.deliverer.key(self._made, assessment), assessment)[0]

    def _deliver(
        self,
        assessment: Json,
        earlier: list[Earlier],
        held: HeldOutbox,
        taken: Mapping[str, Taken],
    ) -> Brought:
        key = self._runtime.deliverer.key(self._made, assessment)
        changes = self._restore(key, assessment)
        revises = self._revises(key, earlier)
        for choice in self._choices(key, assessment):
            if choice.rung is Rung.FACADE:
                delivered = Delivered(Parcel(assessment["model"]["id"], key, []), on_the_facade())
            else:
                parcel = self._parcel(assessment, choice.rung, revises)
                delivered = self._written(parcel, choice, held, taken.get(parcel.key))
            if not steps_down(delivered.result):
                break
        note_duplicates(self._audit, delivered.result)
        if choice.rung is Rung.FACADE and self._made.new:  # others: with the item of the outbox
            self._record("write-back", _rung_word(delivered.parcel.model, choice))
        return Brought(delivered, choice, changes)

    def _choices(self, key: str, assessment: Json) -> list[Choice]:
        """A result stays where it was first written, whatever the server takes today."""
        for rung in Rung:
            item = self._item(key, rung)
            if item is not None and item.state is not OutboxState.FAILED:
                why = Why.FIRST_CHOICE if rung is Rung.RISK_ASSESSMENT else Why.WRITTEN_BEFORE
                return [Choice(rung, why)]
        parcel = self._parcel(assessment, Rung.RISK_ASSESSMENT, ())
        native = {r["resourceType"] for r in parcel.resources} - {"Device", "Provenance"}
        return list(choices(self._capability, frozenset(native), self._start))

    def _written(
        self, parcel: Parcel, choice: Choice, held: HeldOutbox, taken: Taken | None
    ) -> Delivered:
        return self._runtime.deliverer.deliver_one(
            parcel,
            self._client,
            held,
            self._runtime.sealer.seal,
            self._capability,
            self._note(parcel, choice),
            taken,
        )

    def _note(self, parcel: Parcel, choice: Choice) -> Note:
        return Note(self._made.twin.id, _rung_word(parcel.model, choice))

    def _parcel(self, assessment: Json, rung: Rung, revises: tuple[str, ...]) -> Parcel:
        asked = (self._runtime.deliverer.key(self._made, assessment), rung, revises)
        if asked not in self._made_up:
            self._made_up[asked] = self._make_up(assessment, rung, revises)
        return self._made_up[asked]

    def _make_up(self, assessment: Json, rung: Rung, revises: tuple[str, ...]) -> Parcel:
        deliverer, server = self._runtime.deliverer, self._client.server
        key = row_key(deliverer.key(self._made, assessment), rung)
        ready = None if revises else self._ready.get(key)
        with_cards = server.model_cards and rung is not Rung.FACADE
        if ready is not None and not with_cards:
            return ready
        links = deliverer.links(self._made, assessment, server.probability_scale)
        links = replace(links, revises=revises)
        parcel = ready or deliverer.parcel(self._made, assessment, links, rung)
        if not with_cards:
            return parcel
        content = self._runtime.versions.card(assessment["model"])
        return replace(parcel, resources=with_card(parcel.resources, assessment, content, links))

    def _revises(self, key: str, earlier: list[Earlier]) -> tuple[str, ...]:
        """The last earlier result of the same model, as this server names it."""
        if any(self._is_settled(self._item(key, rung)) for rung in Rung):
            return ()  # its Provenance is there already
        last = next((one for one in earlier if one.successor == key), None)
        items = [i for rung in Rung if last and (i := self._item(last.key, rung)) is not None]
        return tuple(ref for item in items for ref in self._corrector.references(item))

    def _is_settled(self, item: OutboxItem | None) -> bool:
        return item is not None and item.state is OutboxState.CONFIRMED

    def _restore(self, key: str, assessment: Json) -> list[Change]:
        """A result that was taken back, and whose inputs are back."""
        changes, model = [], assessment["model"]["id"]
        for rung in Rung:
            item = self._item(key, rung)
            if item is None or item.state is not OutboxState.SUPERSEDED:
                continue
            done = self._corrector.restore(item, not assessment["results"])
            if done is not Done.OPEN:
                self._beside.hold_again(item, model)
                self._runtime.outbox.reopen(item.key)
                changes.append(self._noted(Change(model, Cause.RENEWED, done)))
        return changes

    # -- out -----------------------------------------------------------------------------------

    def _retire(self, one: Earlier) -> list[Change]:
        mark_own(self._runtime.database, self._made.twin.id, one)
        items = [item for rung in Rung if (item := self._item(one.key, rung)) is not None]
        found = [change for item in items if (change := self._retire_item(item, one)) is not None]
        return [change for change in found if change.done is not Done.GONE]

    def _retire_item(self, item: OutboxItem, one: Earlier) -> Change | None:
        if item.state is OutboxState.SUPERSEDED and not _falls_further(item, one):
            return self._still_to_deal_with(item, one)
        if item.state in (OutboxState.FAILED, OutboxState.SENDING):
            return None  # never written; or in another's hands, and looked at by the next run
        return self._noted(Change(one.model, one.cause, self._retired(item, one)))

    def _retired(self, item: OutboxItem, one: Earlier) -> Done:
        """Marked where it stands; where that is refused, by a notice beside it."""
        done = self._corrector.retire(item, one)
        if done is Done.UNMARKED and self._beside.say(item, one):
            done = Done.FLAGGED
        lapsed = one.lapsed and done in (Done.SUPERSEDED, Done.GONE)
        self._runtime.outbox.close(item.key, LAPSED if lapsed else done.value)
        return done

    def _still_to_deal_with(self, item: OutboxItem, one: Earlier) -> Change | None:
        """Told again by every run until somebody has dealt with it; audited the first time."""
        if item.detail in (Done.UNMARKED.value, Done.FLAGGED.value, Done.OPEN.value):
            return self._still_unmarked(item, one)
        if item.detail != Done.REVIEW.value:
            return None
        if self._corrector.accepted(item):
            self._corrector.retire(item, one)  # flagged it may be
            return Change(one.model, one.cause, Done.REVIEW)
        self._runtime.outbox.close(item.key, "reviewed")
        return None

    def _still_unmarked(self, item: OutboxItem, one: Earlier) -> Change | None:
        """Tried again by every run: what the server refuses may be allowed one day, and a person
        may have withdrawn it there. Then no notice is needed any more. A server that fails at the
        change a second time is as one that refuses it."""
        before, done = Done(item.detail), self._corrector.retire(item, one)
        if done in (Done.UNMARKED, Done.OPEN):
            said = before is Done.FLAGGED or self._beside.say(item, one)
            done = Done.FLAGGED if said else done
        if done in (before, Done.OPEN):
            return Change(one.model, one.cause, before)
        if before is Done.FLAGGED:
            self._beside.take_back(item)
        self._runtime.outbox.close(item.key, done.value)
        return self._noted(Change(one.model, one.cause, done))

    # -- notes ---------------------------------------------------------------------------------

    def _look_up(self, keys: list[str]) -> None:
        """One question in place of one for each result and form: of a first run there is none."""
        if not keys:
            return
        rows = {row_key(key, rung) for key in keys for rung in Rung}
        self._known |= self._runtime.outbox.known(rows)

    def _is_written(self, key: str) -> bool:
        return any(row_key(key, rung) in self._known for rung in Rung)

    def _item(self, key: str, rung: Rung) -> OutboxItem | None:
        row = row_key(key, rung)
        return self._runtime.outbox.get(row) if row in self._known else None

    def _noted(self, change: Change) -> Change:
        if change.done not in (Done.GONE, Done.OPEN):
            with self._runtime.database.write():
                self._record(f"result-{change.done}", f"{change.model}:{change.cause}")
                self._tell(change)
        return change

    def _tell(self, change: Change) -> None:
        """Whoever is configured to be told: sent by the watcher, kept until it was taken."""
        if self._runtime.config.watch.tell_url:
            told = {
                "event": f"result-{change.done}",
                "twin": self._made.twin.id,
                "model": change.model,
                "cause": change.cause.value,
                "done": change.done.value,
            }
            NoticeStore(self._runtime.database).add(told)

    def _record(self, action: str, outcome: str) -> None:
        self._audit.record(
            role="system",
            subject="twinport",
            action=action,
            outcome=outcome,
            object=self._made.twin.id,
        )


def _falls_further(item: OutboxItem, one: Earlier) -> bool:
    """A result that was superseded, and rests on what is known by now to be wrong."""
    if item.detail == LAPSED:
        return not one.lapsed
    return item.detail == Done.SUPERSEDED.value and is_withdrawal(one)


def _rung_word(model: str, choice: Choice) -> str:
    return f"{model}:{choice.rung}:{choice.why}"[:64]


def look_for_device(
    runtime: Runtime,
    client: FhirClient,
    capability: Capability,
    model: Model,
    before: FirstLook | None,
) -> FirstLook | None:
    """Ask the server whether it has the Device of this model, too. It is the same for everybody,
    so that nothing is told by asking; whoever wants results in a chart will need it."""
    if Rung(client.server.write_as) is Rung.FACADE:
        return None
    device = runtime.deliverer.device(model)
    return look_together(client, capability, [[device]], before) or before


def look_for_results(
    runtime: Runtime,
    client: FhirClient,
    capability: Capability,
    made: Made,
    before: FirstLook | None,
) -> FirstLook | None:
    """Ask the server whether it has what a twin that has passed the gate comes to, before it is put
    into words: by keyed identifiers alone, as `Chart.look` does. It asks for the rest."""
    given = to_write(made, refusals=False)
    outlines = [runtime.deliverer.outline(made, one) for one in given]
    start = Rung(client.server.write_as)
    for one in outlines:
        kinds = frozenset(resource["resourceType"] for resource in one)
        if next(choices(capability, kinds, start)).rung is not Rung.RISK_ASSESSMENT:
            return before
    return look_together(client, capability, outlines, before) or before


def update_chart(
    runtime: Runtime, made: Made, client: FhirClient, capability: Capability | None = None
) -> Charted:
    """Everything this twin has to say to its server. `capability` saves asking for it again."""
    return Chart(runtime, made, client, capability).update()
