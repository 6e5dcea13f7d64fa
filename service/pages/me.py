"""The patient's page: my twin in plain words, who used it, and the file to take along."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Response, render_template

from service.auth import Role, Scope
from service.pages import disputed, model_cards, plainly, record, speech, words
from service.pages.blueprint import pages
from service.stores.audit import AuditEvent
from service.web.audiences import closed
from service.web.gate import principal
from service.web.services import services
from twin_engine.document import MEDIA_TYPE

Json = Mapping[str, Any]
LATEST = 20


@dataclass(frozen=True, slots=True)
class Use:
    """Who did what with the twin, and when."""

    when: str
    who: str
    what: str


@pages.get("/me")
@closed(Scope.TWINS_READ, roles=(Role.PATIENT,), page=True)
def me() -> str:
    runs, twin = services().runs, own_twin()
    uses = [use(event) for event in runs.uses(twin, LATEST)]
    document, known = runs.document(twin), runs.versions(twin)
    runs.note_use(principal(), "twin.own", twin)
    return render_template(
        "me.html",
        t=speech.text,
        counted=speech.counted,
        strong=speech.strong,
        head=record.header(document),
        made=record.since(known[0].created, datetime.now(UTC)),
        versions=len(known),
        calculators=plainly.calculators(
            document,
            model_cards.cards([document]),
            runs.expiries(known[0], document),
            disputed.marks(twin, document).models,
        ),
        people=plainly.denominator(document),
        held=held(document),
        conditions=record.conditions(document, words.everyday_condition),
        medications=record.medications(document),
        uses=uses,
    )


@pages.get("/me/twin.json")
@closed(Scope.TWINS_EXPORT, roles=(Role.PATIENT,), page=True)
def my_file() -> Response:
    """The newest version, byte for byte as it was signed."""
    content = services().runs.twin(own_twin())
    services().runs.note_use(principal(), "twin.download", own_twin())
    response = Response(content, content_type=MEDIA_TYPE)
    response.headers["Content-Disposition"] = 'attachment; filename="twin.json"'
    response.set_etag(hashlib.sha256(content).hexdigest())
    return response


def own_twin() -> str:
    """A patient is bound to exactly one twin; the address never names it."""
    twin = principal().twin
    assert twin is not None
    return twin


def use(event: AuditEvent) -> Use:
    return Use(
        when=f"{event.time.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        who=who(event.role),
        what=words.capital(words.everyday("use", event.action)),
    )


def who(role: str) -> str:
    if role == Role.PATIENT.value:
        return speech.text("uses.you")
    return words.everyday_role(role, speech.text("uses.system"))


def held(document: Json) -> Sequence[tuple[int, str]]:
    """What the twin holds, as counts a person can check against what they know."""
    signals = document["signals"].values()
    counts = {
        "measurement": sum(len(columns["t"]) for columns in signals),
        "kind": len(document["signals"]),
        "illness": len(record.conditions(document)),
        "medicine": len(document["medications"]),
        "operation": len(record.procedures(document)),
        "scan": len(document["imaging"]),
        "visit": len(document["encounters"]),
        "allergy": len(document["allergies"]),
        "vaccine": len(document.get("immunizations", ())),
        "family": len(record.family(document)),
    }
    return [(n, speech.counted(f"held.{name}", n)) for name, n in counts.items() if n]
