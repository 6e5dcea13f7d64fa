"""The CDS service behind its routes: discovery, cards, feedback."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mappings.vocabulary.medications import Medicine
from service.cds.cards import REASONS, Card, Setting, cards, reason_system
from service.cds.data import Access, gather, record_of
from service.cds.orders import about, selected, touched
from service.cds.prefetch import Key, keys, templates
from service.cds.tokens import Caller, Tokens
from service.fhir.servers import from_config
from service.pipeline.make import Made, Maker, Wish
from service.pipeline.runtime import Runtime, code_base
from service.stores.audit import AuditStore
from service.stores.cds import CdsStore, Feedback, ShownCard
from twin_engine.models.cards import card
from twin_engine.models.contract import Model

Json = dict[str, Any]

PATIENT_VIEW, ORDER_SELECT = "patient-view", "order-select"
# Service → its hook.
SERVICES = {f"twinport-{hook}": hook for hook in (PATIENT_VIEW, ORDER_SELECT)}
_TITLES = {
    PATIENT_VIEW: "Twinport: risks of this patient",
    ORDER_SELECT: "Twinport: what a selected medicine bears on",
}
_OTHER = "other"


class Desk:
    """One per process. Holds no patient."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._store = CdsStore(runtime.database)
        self._audit = AuditStore(runtime.database)
        self.tokens = Tokens(runtime.config.servers, self._store)
        self._requests = runtime.models()
        self._models: Mapping[str, Model] = {r.model.id: r.model for r in self._requests}
        self._keys: tuple[Key, ...] = keys(self._models.values())
        # A lineage of its own: what is prefetched for a card is less than a whole record, and must
        # not look like a newer version of it.
        self._maker = Maker(
            project=f"{runtime.config.project.name}.cds-hooks",
            database=runtime.database,
            vault=runtime.vault,
            signer=runtime.signer,
            consents=runtime.consents,
        )

    def services(self) -> list[Json]:
        titles = ", ".join(model.title for model in self._models.values())
        return [
            {
                "hook": hook,
                "title": _TITLES[hook],
                "description": f"Published risk models on a de-identified twin: {titles}.",
                "id": service,
                "prefetch": dict(templates(self._keys)),
                "usageRequirements": "Without complete prefetch: a fhirServer that is configured "
                "here, with fhirAuthorization.",
            }
            for service, hook in SERVICES.items()
        ]

    def cards(self, caller: Caller, request: Json, patient: str, public_base: str) -> list[Json]:
        """Raises `DataMissingError` where data is missing, never an empty list in its place.

        Where orders were picked that no model is about, nothing is to be said and none is needed.
        """
        medicines = selected(request["context"]) if request["hook"] == ORDER_SELECT else None
        chosen = {} if medicines is None else touched(self._models.values(), medicines)
        if medicines is not None and not chosen:
            return []
        server = self._runtime.config.servers[caller.server]
        access = Access.of(caller.server, server, self._runtime.config.limits, request)
        answers = gather(self._keys, request, patient, access)
        base = from_config(caller.server, server).base_url
        record = record_of(answers, patient, base)
        # Asked anew: a version may have been switched on since, or a model told to be silent.
        wish = Wish(policy=self._runtime.policy(), models=self._runtime.models(), as_of="run")
        made = self._maker.make(record, wish)
        shown = self._shown(made, medicines, chosen)
        found = self._made_cards(made, shown, chosen, public_base)
        shown_to = [ShownCard(c.body["uuid"], caller.server, made.twin.id, c.model) for c in found]
        with self._runtime.database.write():
            self._store.shown(shown_to)
            self._note(caller, made.twin.id, f"cards-{len(found)}")
        return [one.body for one in found]

    def _shown(
        self, made: Made, medicines: list[Medicine] | None, concerned: Mapping[str, object]
    ) -> list[Json]:
        """All of a chart that was opened; of picked orders, what is about them."""
        if medicines is None:
            return list(made.assessments)
        mine = [one for one in made.assessments if one["model"]["id"] in concerned]
        return [about(one, medicines, self._models[one["model"]["id"]]) for one in mine]

    def _made_cards(
        self,
        made: Made,
        shown: list[Json],
        chosen: Mapping[str, tuple[str, ...]],
        public_base: str,
    ) -> list[Card]:
        heading = made.twin.document["twin"]
        setting = Setting(
            base=public_base,
            code_base=code_base(self._runtime.config),
            twin=made.twin.id,
            today=made.day,
            now=heading["now"],
            time_unit=heading["timeUnit"],
            selected=chosen,
        )
        versions = self._runtime.versions
        ran = {one["model"]["id"]: versions.of(one["model"]) for one in made.assessments}
        contents = {name: card(model) for name, model in ran.items()}
        return cards(shown, ran, contents, setting)

    def feedback(self, caller: Caller, items: list[Json]) -> int:
        """How many were kept: those about cards that this client was handed, each once."""
        return sum(self._store.give(caller.server, self._read(item)) for item in items)

    def _read(self, item: Json) -> Feedback:
        """Their own words could name anybody: dropped, and the drop is on record."""
        override = item.get("overrideReason") or {}
        return Feedback(
            card=item["card"],
            outcome=item["outcome"],
            reason=self._reason(override.get("reason")),
            comment_dropped="userComment" in override,
            at=_moment(item["outcomeTimestamp"]),
        )

    def _reason(self, coding: Any) -> str | None:
        """One of our own codes; any other is not repeated."""
        if not isinstance(coding, dict):
            return None
        ours = coding.get("system") == reason_system(code_base(self._runtime.config))
        return coding["code"] if ours and coding.get("code") in REASONS else _OTHER

    def _note(self, caller: Caller, twin: str, outcome: str) -> None:
        self._audit.record(
            role="ehr",
            subject=f"cds.{caller.server}",
            action="cds-hook",
            outcome=outcome,
            object=twin,
        )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
