"""This is wrong: dispute one entry, and take a dispute back."""

import re

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from service.pages import words
from service.pages.own import said
from service.pages.own.frame import PATIENT, desk, own, own_twin, page
from service.patient.disputes import REASONS, DisputeError, facts_at
from service.stores.disputes import Place
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import services

_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")


@own.get("/wrong")
@PATIENT
def wrong() -> str:
    return _page(_place(request.args), "")


@own.post("/wrong")
@PATIENT
def dispute() -> Response:
    place = _place(request.form)
    try:
        desk().disputes.raise_(principal(), own_twin(), place, request.form.get("reason", ""))
    except DisputeError as error:
        return Response(_page(place, str(error)), status=409, mimetype="text/html")
    return redirect(url_for("own.record") + "#disputes", 303)


@own.post("/wrong/<identity>/back")
@PATIENT
def take_back(identity: str) -> Response:
    if not desk().disputes.take_back(principal(), own_twin(), identity):
        raise WebError(Failure.NOT_FOUND)
    return redirect(url_for("own.record") + "#disputes", 303)


def _place(given: "dict[str, str]") -> Place:
    parts = [str(given.get(name, "")) for name in ("source", "part", "name")]
    if not all(map(_WORD.fullmatch, parts)):
        raise WebError(Failure.NOT_FOUND)
    return Place(*parts)


def _page(place: Place, message: str) -> str:
    document = services().runs.document(own_twin())
    if not facts_at(document, place):
        raise WebError(Failure.NOT_FOUND)
    return page(
        "wrong",
        place=place,
        what=words.capital(said.what(place)),
        says=said.says(place, document),
        reasons=REASONS,
        message=message,
    )
