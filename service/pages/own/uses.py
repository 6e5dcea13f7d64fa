"""Who used my twin, when and what for: the audit's events in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from service.auth import Role
from service.pages import words
from service.pages.own.frame import PATIENT, own, own_twin, page
from service.pages.speech import text
from service.stores.audit import AuditEvent
from service.web.gate import principal
from service.web.services import services

SHOWN = 200
# A purpose that is not written down follows from what was done.
USUAL: Mapping[str, str] = {Role.EHR: "TREAT", Role.PATIENT: "PATRQT", "recipient": "PATRQT"}


@dataclass(frozen=True, slots=True)
class Use:
    when: str
    who: str
    what: str
    purpose: str
    mine: bool


@own.get("/uses")
@PATIENT
def uses() -> str:
    runs, twin = services().runs, own_twin()
    found = [use(event) for event in runs.uses(twin, SHOWN)]
    runs.note_use(principal(), "twin.uses", twin)
    return page("uses", uses=found, shown=SHOWN)


def use(event: AuditEvent) -> Use:
    mine = event.role == Role.PATIENT.value
    code = event.purpose or USUAL.get(event.role, "")
    what = words.capital(words.everyday("use", event.action))
    refused = text("uses.refused") if event.outcome == "not-consented" else ""
    return Use(
        when=f"{event.time.astimezone(UTC):%Y-%m-%d %H:%M}",
        who=text("uses.you") if mine else words.everyday_role(event.role, text("uses.system")),
        what=f"{what} {refused}".strip(),
        purpose=words.everyday("purpose", code) if code else text("uses.no_purpose"),
        mine=mine,
    )
