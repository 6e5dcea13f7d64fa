"""What my twin may be used for."""

from datetime import UTC

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from service.pages.own.frame import PATIENT, desk, own, own_twin, page
from service.patient.consent import PURPOSES
from service.web.errors import Fault, WebError
from service.web.gate import principal


@own.get("/consent")
@PATIENT
def consent() -> str:
    standings = [
        (one, f"{one.decided.astimezone(UTC):%Y-%m-%d}" if one.decided else "")
        for one in desk().consents.of_twin(own_twin())
    ]
    return page("consent", standings=standings)


@own.post("/consent")
@PATIENT
def decide() -> Response:
    """One purpose at a time: what was not touched stays as it was."""
    purpose, answer = request.form.get("purpose", ""), request.form.get("answer", "")
    if purpose not in PURPOSES or answer not in {"yes", "no"}:
        raise WebError("invalid", faults=[Fault("purpose", "is one of those offered")])
    desk().consents.decide(principal(), own_twin(), purpose, allowed=answer == "yes")
    return redirect(url_for("own.consent") + f"#{purpose}", 303)
