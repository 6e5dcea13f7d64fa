"""The blueprint of the people's pages, its navigation, and the way to each role's first page."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from service.auth import Role
from service.pages import words
from service.web.audiences import closed
from service.web.gate import principal

pages = Blueprint("pages", __name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of the navigation."""

    label: str
    url: str
    current: bool


NAVIGATION: dict[Role, tuple[tuple[str, str], ...]] = {
    Role.EHR: (("pages.clinic", "Twins"), ("docs.page", "API")),
    Role.PATIENT: (("pages.me", "My twin"),),
    Role.PRIVACY_OFFICER: (("officer.overview", "Privacy office"), ("docs.page", "API")),
    Role.ADMIN: (("docs.page", "API"),),
}


@pages.get("/")
@closed(page=True)
def home() -> Response:
    """Everybody starts at the first page of their role."""
    endpoint, _ = _served(principal().role)[0]
    return redirect(url_for(endpoint), 303)


@pages.app_context_processor
def frame() -> dict[str, Any]:
    """What the frame of every page shows of the person who is signed in."""
    caller = g.get("principal")
    if caller is None:
        return {"navigation": (), "role_name": ""}
    entries = [_entry(endpoint, label) for endpoint, label in _served(caller.role)]
    return {"navigation": entries, "role_name": words.ROLES[caller.role.value]}


def _served(role: Role) -> list[tuple[str, str]]:
    """What of the navigation this application was given."""
    known = current_app.view_functions
    return [(endpoint, label) for endpoint, label in NAVIGATION[role] if endpoint in known]


def _entry(endpoint: str, label: str) -> Entry:
    url = url_for(endpoint)
    here = request.path == url or request.path.startswith(f"{url}/")
    return Entry(label, url, here)
