"""From a twin's assessments back to the patient's server: the one place that re-links.

Each assessment is its own set (Device, result, Provenance) under its own key, so that a refusal of
one leaves the others written, and a set stays small enough for any server's transaction.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any

from mappings.to_fhir import Links, device_of, form_of, outline, refusal_of, transaction_bundle
from privacy.vault import Vault
from service.fhir.capability import Capability, read_capability
from service.fhir.http import FhirClient
from service.fhir.ladder import Rung, row_key
from service.fhir.outbox import Note, OutboxState
from service.fhir.record import NOT_ASKED
from service.fhir.writeback import Seal, Taken, WriteResult, write_back
from service.pipeline.held import HeldOutbox
from service.pipeline.make import SOFTWARE, Made
from service.pipeline.origin import IDENTIFIER_SYSTEM
from service.pipeline.versions import ModelVersions
from service.stores.audit import AuditStore
from service.stores.outbox import SqlOutboxStore
from twin_engine.document.lineage import sources_at
from twin_engine.models.contract import REASONS, Model
from twin_engine.models.registry import all_models
from twin_engine.models.shelf import expiry
from twin_engine.state import INDIRECT_SLICES, UNITS_PER_DAY

Json = dict[str, Any]

_REASON = ("outcome", "horizonYears", "reason", "input")
LOOK_SECONDS = 0.5  # between looks at an item that another run has in hand
_NAMESPACE = uuid.UUID("6b0b8f0e-7a3c-5f5e-9a37-5b9d1c0f2a11")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One assessment as FHIR, and the key under which it is written once."""

    model: str
    key: str
    resources: list[Json] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    parcel: Parcel
    result: WriteResult

    @property
    def confirmed(self) -> bool:
        """Read back by us, or found there while another run is still writing that down."""
        return self.result.state is OutboxState.CONFIRMED or self.result.verified


class Deliverer:
    software = SOFTWARE

    def __init__(
        self, *, vault: Vault, code_base: str, versions: ModelVersions, lease_seconds: float
    ) -> None:
        self._vault = vault
        self.versions = versions
        self.code_base = code_base
        self._lease = lease_seconds

    def parcels(
        self, made: Made, probability_scale: str = "percent", *, refusals: bool = False
    ) -> list[Parcel]:
        """What is, or would be, written; a refused assessment only where that is wanted."""
        found = []
        for assessment in to_write(made, refusals):
            parcel = self.parcel(made, assessment, self.links(made, assessment, probability_scale))
            if parcel.resources:
                found.append(parcel)
        return found

    def parcel(
        self, made: Made, assessment: Json, links: Links, rung: Rung = Rung.RISK_ASSESSMENT
    ) -> Parcel:
        """One assessment in the form of one rung of the ladder."""
        model = assessment["model"]
        form = form_of if assessment["results"] else refusal_of
        resources = form(rung, assessment, self.versions.card(model), links)
        return Parcel(model["id"], row_key(links.identifier[1], rung), resources)

    def device(self, model: Model) -> Json:
        """The Device that goes with its results."""
        made_by = {"id": model.id, "version": model.version}
        return device_of(made_by, self.versions.card(made_by), self)

    def outline(self, made: Made, assessment: Json) -> list[Json]:
        """What is to be looked for of an assessment, in its usual form."""
        identifier = (IDENTIFIER_SYSTEM, self.key(made, assessment))
        return outline(assessment, self.versions.card(assessment["model"]), identifier)

    def key(self, made: Made, assessment: Json) -> str:
        """The same model, version, patient and inputs give the same key, here and in any later
        run; without the vault nobody can compute it."""
        link = made.link
        return result_key(self._vault.index(link.project, link.base, link.patient), assessment)

    def links(self, made: Made, assessment: Json, scale: str = "percent") -> Links:
        """From the twin back to the patient's server."""
        used = sources_used(made, assessment)
        originals = made.link.ids.originals({name for _, name in used.values()})
        return Links(
            subject=made.link.patient,
            sources={i: originals[name] for i, (_, name) in used.items() if name in originals},
            occurrence=_occurrence(made),
            identifier=(IDENTIFIER_SYSTEM, self.key(made, assessment)),
            code_base=self.code_base,
            software=self.software,
            probability_scale=scale,
            partial=tuple(_partial(made)),
            encounter=made.encounter if made.encounter in made.link.ids else "",
            until=_until(made, assessment),
            reasons={reason.id: reason.sentence for reason in REASONS.values()},
        )

    def held(
        self, outbox: SqlOutboxStore, meanwhile: Callable[[], None] | None = None
    ) -> HeldOutbox:
        return HeldOutbox(outbox, self._lease, meanwhile)

    def deliver(
        self,
        parcels: Sequence[Parcel],
        client: FhirClient,
        outbox: SqlOutboxStore,
        seal: Seal,
        capability: Capability | None = None,
        note: Note | None = None,
    ) -> list[Delivered]:
        if not parcels:
            return []
        capability = capability or read_capability(client)
        with self.held(outbox) as held:
            return [
                self.deliver_one(parcel, client, held, seal, capability, note) for parcel in parcels
            ]

    def deliver_one(
        self,
        parcel: Parcel,
        client: FhirClient,
        outbox: HeldOutbox,
        seal: Seal,
        capability: Capability,
        note: Note | None,
        taken: Taken | None = None,
    ) -> Delivered:
        """One that another run has in hand is waited for: it finishes, or, if it was killed, its
        lease runs out and it is ours to finish. `taken`: one that is ours already."""
        end = time.monotonic() + 2 * self._lease
        while True:
            result = write_back(
                client,
                parcel.resources,
                outbox,
                parcel.key,
                seal,
                capability=capability,
                note=note,
                taken=taken,
            )
            taken = None
            if result.state is not OutboxState.SENDING or time.monotonic() > end:
                return Delivered(parcel, result)
            client.clock.wait(LOOK_SECONDS, "write-back")


def note_duplicates(audit: AuditStore, result: WriteResult) -> None:
    """Those that were found beside the one that stays, and are entered-in-error by now."""
    if not result.retired or result.note is None:
        return
    model = result.note.outcome.partition(":")[0]
    audit.record(
        role="system",
        subject="twinport",
        action="duplicates-withdrawn",
        outcome=f"{model}:{len(result.retired)}",
        object=result.note.twin,
    )


def to_write(made: Made, refusals: bool) -> list[Json]:
    """The assessments that have a place in a chart; those wholly refused on request."""
    return [one for one in made.assessments if one["results"] or refusals]


def sources_used(made: Made, assessment: Json) -> dict[int, tuple[str, str]]:
    """Type and pseudonym of what an assessment rests on: of a long record a handful."""
    places = (i for entry in assessment["inputs"] for i in entry.get("src", ()))
    return sources_at(made.twin.document, places)


def result_key(subject: str, assessment: Json) -> str:
    """`subject`: the keyed name of the patient's record in the vault. A refusal differs by its
    reasons, too: the same inputs may have been refused for another."""
    model = assessment["model"]
    parts = [subject, model["id"], model["version"], model["variant"], assessment["snapshot"]]
    if not assessment["results"]:
        parts += ["refused", *sorted(map(_reason, assessment["refusals"]))]
    return str(uuid.uuid5(_NAMESPACE, "|".join(parts)))


def _reason(refusal: Json) -> str:
    return " ".join(str(refusal.get(name, "")) for name in _REASON)


def as_bundle(parcels: Iterable[Parcel]) -> Json:
    """All parcels as they would be sent."""
    return transaction_bundle([resource for parcel in parcels for resource in parcel.resources])


def _occurrence(made: Made) -> datetime:
    """When the assessment holds: as this version of the twin was made, or the day a file describes.

    Not the moment of this run: that of an unchanged twin says again what was said then."""
    if made.twin.document["twin"]["asOf"] == "run":
        return made.stored.about.created.replace(microsecond=0)
    return datetime.combine(made.day, time_of_day(12), UTC)


def _until(made: Made, assessment: Json) -> date | None:
    """The last day on which it may be shown as current, if nobody looks again before. A refusal
    holds until somebody does."""
    if not assessment["results"]:
        return None
    model = all_models().get(assessment["model"]["id"])
    if model is None:
        return None
    end = expiry(assessment, model, UNITS_PER_DAY[made.twin.document["twin"]["timeUnit"]], 0)
    return None if end is None else _occurrence(made).date() + timedelta(days=end.days_left)


def _partial(made: Made) -> Iterable[str]:
    """What was asked for and not wholly answered."""
    for part in made.twin.document["completeness"]["slices"]:
        asked = part["type"] not in INDIRECT_SLICES and part.get("reason") != NOT_ASKED
        if asked and part["verdict"] != "complete":
            yield str(part["type"])
