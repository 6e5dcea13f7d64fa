"""What a patient's pages share: whom they are for, their sentences, their navigation."""

from typing import Any

from flask import Blueprint, render_template, request, url_for

from service.auth import Role, Scope
from service.pages import speech
from service.pages.speech import counted, strong, text
from service.patient.desk import PatientDesk
from service.web.audiences import closed
from service.web.gate import principal
from service.web.services import services

own = Blueprint("own", __name__, url_prefix="/me")
PATIENT = closed(Scope.TWINS_READ, roles=(Role.PATIENT,), page=True)
EXPORTS = closed(Scope.TWINS_EXPORT, roles=(Role.PATIENT,), page=True)
SECTIONS = ("pages.me", "own.record", "own.uses", "own.consent", "own.take", "own.share")


# -- language --------------------------------------------------------------------------------------


@own.before_app_request
def _listen() -> None:
    """To what a patient's browser wishes; everybody else is spoken to in the first language."""
    theirs = request.blueprint == own.name or request.endpoint == "pages.me"
    wish = request.accept_languages.best_match(sorted(speech.languages())) if theirs else None
    speech.speak(wish or speech.FIRST)


@own.teardown_app_request
def _forget(_: BaseException | None) -> None:
    """The next request of this thread is somebody else's."""
    speech.speak(speech.FIRST)


# -- pages -----------------------------------------------------------------------------------------


def desk() -> PatientDesk:
    found = services().patient
    assert found is not None, "the patient's pages are served together with their desk"
    return found


def own_twin() -> str:
    """A patient is bound to exactly one twin; the address never names it."""
    twin = principal().twin
    assert twin is not None
    return twin


def page(name: str, **values: Any) -> str:
    """One of the pages, with what all of them need."""
    return render_template(f"own/{name}.html", t=text, counted=counted, strong=strong, **values)


@own.app_context_processor
def _rooms() -> dict[str, Any]:
    """The ways from any page of the patient to the others."""
    return {"own_rooms": _entries, "language": speech.language()}


def _entries() -> list[tuple[str, str, bool]]:
    found = []
    for endpoint in SECTIONS:
        url = url_for(endpoint)
        below = request.path.startswith(f"{url}/") and endpoint != "pages.me"
        found.append(
            (text(f"rooms.{endpoint.rpartition('.')[2]}"), url, request.path == url or below)
        )
    return found
