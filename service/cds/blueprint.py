"""The three routes of CDS Hooks. Each proves its caller by the client's own token."""

import re
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request

from service.cds.data import DataMissingError
from service.cds.desk import SERVICES, Desk
from service.cds.orders import UnreadableOrdersError
from service.cds.tokens import Caller, TokenRefusedError
from service.fhir.errors import SourceError
from service.pipeline.errors import RunError
from service.web.answers import JSON, json_response, read_json
from service.web.audiences import opened
from service.web.discovery import public_base
from service.web.errors import Fault, WebError
from service.web.logs import web_log
from service.web.rates import Rates

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_OUTCOMES = frozenset({"accepted", "overridden"})
_MOST_FEEDBACK = 100


def cds_blueprint(desk: Desk, requests_per_minute: int) -> Blueprint:
    """The routes over one desk. The gate lets everybody in here: the token is checked instead."""
    cds = Blueprint("cds", __name__, url_prefix="/cds-services")
    rates = Rates(requests_per_minute)

    def caller(*paths: str) -> Caller:
        audiences = [f"{public_base()}/cds-services{path}" for path in paths]
        _admit(rates, request.remote_addr or "")
        try:
            found = desk.tokens.check(request.headers.get("Authorization"), audiences)
        except TokenRefusedError:
            raise WebError("sign-in-refused") from None
        _admit(rates, f"cds.{found.server}")
        return found

    @cds.get("")
    @opened
    def discovery() -> Response:
        """What there is, and which data to send along. Says nothing of any patient: open, as EHRs
        read it at set-up; a token that is sent must be a good one."""
        if "Authorization" in request.headers:
            caller("")
        return json_response({"services": desk.services() if desk.tokens.any else []})

    @cds.post("/<service>")
    @opened
    def call(service: str) -> Response:
        who = caller(f"/{service}")
        _require_service(service)
        body = _object(read_json(JSON))
        patient = _checked(body, SERVICES[service])
        try:
            return json_response({"cards": desk.cards(who, body, patient, public_base())})
        except UnreadableOrdersError as error:
            fault = Fault(f"/context/{error.member}", "Must be as order-select has it.")
            raise WebError("fhir-invalid", faults=[fault]) from None
        except DataMissingError as error:
            raise WebError("cds-data-missing", faults=_missing(error)) from None
        except SourceError:
            raise WebError("cds-data-missing") from None
        except RunError as error:
            raise WebError(_KINDS.get(error.code, "failed")) from None

    @cds.post("/<service>/feedback")
    @opened
    def feedback(service: str) -> Response:
        who = caller(f"/{service}/feedback", f"/{service}")
        _require_service(service)
        items = _feedback(_object(read_json(JSON)))
        kept = desk.feedback(who, items)
        if kept < len(items):
            web_log().info("cds.feedback-unknown-card", number=len(items) - kept)
        return json_response({})

    return cds


_KINDS: Mapping[str, str] = {
    "gate-blocked": "gate-blocked",
    "no-patient": "cds-data-missing",
    "busy": "busy",
    "not-consented": "not-consented",
}


def _admit(rates: Rates, who: str) -> None:
    wait = rates.admit(who, time.monotonic())
    if wait is not None:
        raise WebError("throttled", headers={"Retry-After": str(wait)})


def _require_service(service: str) -> None:
    if service not in SERVICES:
        raise WebError("not-found")


def _missing(error: DataMissingError) -> list[Fault]:
    return [Fault(f"/prefetch/{kind}", "Neither sent nor reachable.") for kind in error.types]


# -- reading requests: what is wrong is named by its place, never quoted ------------------------


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise WebError("malformed")
    return body


def _checked(body: dict[str, Any], hook: str) -> str:
    """The id of the patient on the screen."""
    context = body.get("context")
    patient = context.get("patientId") if isinstance(context, dict) else None
    faults = [Fault("/hook", f"Must be {hook}.")] if body.get("hook") != hook else []
    if not _is_uuid(body.get("hookInstance")):
        faults.append(Fault("/hookInstance", "Must be a UUID."))
    if not isinstance(patient, str) or not _ID.fullmatch(patient):
        faults.append(Fault("/context/patientId", "Must be an id."))
    if not isinstance(context, dict) or not isinstance(context.get("userId"), str):
        faults.append(Fault("/context/userId", "Must be a reference."))
    if "fhirAuthorization" in body and "fhirServer" not in body:
        faults.append(Fault("/fhirServer", "Required beside fhirAuthorization."))
    if faults:
        raise WebError("fhir-invalid", next_step="See cds-hooks.hl7.org/2.0.", faults=faults)
    return str(patient)


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(uuid.UUID(value))
    except ValueError:
        return False


def _feedback(body: dict[str, Any]) -> list[dict[str, Any]]:
    items = body.get("feedback")
    if not isinstance(items, list) or not 0 < len(items) <= _MOST_FEEDBACK:
        raise WebError("fhir-invalid", faults=[Fault("/feedback", "Must be a list.")])
    faults = [f for n, item in enumerate(items) for f in _item_faults(item, f"/feedback/{n}")]
    if faults:
        raise WebError("fhir-invalid", next_step="See cds-hooks.hl7.org/2.0.", faults=faults)
    return items


def _item_faults(item: Any, where: str) -> list[Fault]:
    if not isinstance(item, dict):
        return [Fault(where, "Must be an object.")]
    faults = [] if _is_uuid(item.get("card")) else [Fault(f"{where}/card", "Must be a UUID.")]
    if item.get("outcome") not in _OUTCOMES:
        faults.append(Fault(f"{where}/outcome", "Must be accepted or overridden."))
    if item.get("outcome") == "accepted" and not item.get("acceptedSuggestions"):
        faults.append(Fault(f"{where}/acceptedSuggestions", "Required with accepted."))
    if not isinstance(item.get("overrideReason", {}), dict):
        faults.append(Fault(f"{where}/overrideReason", "Must be an object."))
    if not _is_moment(item.get("outcomeTimestamp")):
        faults.append(Fault(f"{where}/outcomeTimestamp", "Must be a UTC time."))
    return faults


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
