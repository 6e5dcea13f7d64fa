"""What a patient's pages share: whom they are for, their sentences, their navigation."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from flask import Blueprint, render_template, request, url_for
from markupsafe import Markup, escape

from service.auth import Role, Scope
from service.patient.desk import PatientDesk
from service.web.audiences import closed
from service.web.gate import principal
from service.web.services import services

own = Blueprint("own", __name__, url_prefix="/me")
PATIENT = closed(Scope.TWINS_READ, roles=(Role.PATIENT,), page=True)
EXPORTS = closed(Scope.TWINS_EXPORT, roles=(Role.PATIENT,), page=True)
FIRST = "en"
SECTIONS = ("pages.me", "own.record", "own.uses", "own.consent", "own.take", "own.share")


# -- sentences -------------------------------------------------------------------------------------


@cache
def languages() -> Mapping[str, Mapping[str, Any]]:
    """Every catalogue there is, by language; the first is complete (a test sees to that)."""
    folder = files("service.pages.own") / "texts"
    return {
        one.name.removesuffix(".toml"): tomllib.loads(one.read_text(encoding="utf-8"))
        for one in folder.iterdir()
        if one.name.endswith(".toml")
    }


def language() -> str:
    return request.accept_languages.best_match(sorted(languages())) or FIRST


def text(key: str, **values: object) -> str:
    """A sentence of the catalogue; of the first language where another lacks it."""
    found = _find(languages()[language()], key) or _find(languages()[FIRST], key)
    if found is None:
        raise KeyError(key)
    return found.format(**values)


def _find(catalogue: Mapping[str, Any], key: str) -> str | None:
    node: Any = catalogue
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, str) else None


def strong(key: str, **values: object) -> Markup:
    """A sentence in which `*this*` stands out."""
    parts = str(escape(text(key, **values))).split("*")
    made = (f"<strong>{p}</strong>" if i % 2 else p for i, p in enumerate(parts))
    return Markup("".join(made))  # noqa: S704 - every part was escaped above


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
    return render_template(f"own/{name}.html", t=text, strong=strong, **values)


@own.app_context_processor
def _rooms() -> dict[str, Any]:
    """The ways from any page of the patient to the others."""
    return {"own_rooms": _entries}


def _entries() -> list[tuple[str, str, bool]]:
    found = []
    for endpoint in SECTIONS:
        url = url_for(endpoint)
        below = request.path.startswith(f"{url}/") and endpoint != "pages.me"
        found.append(
            (text(f"rooms.{endpoint.rpartition('.')[2]}"), url, request.path == url or below)
        )
    return found
