"""What a health link leads to: manifest, single file, file by ticket. Open, as the standard wants:
the address itself is the secret, and what it gives is encrypted under a key that is not here."""

import re
import time
from typing import Any

from flask import Blueprint, Response, request
from itsdangerous import BadData, URLSafeTimedSerializer

from service.sharing import link as shl
from service.sharing.desk import LONGEST_PASSCODE, PATH, Desk
from service.stores.links import Answer, Asked, LinkFile, StoredLink
from service.web.answers import JSON, json_response, read_json
from service.web.audiences import opened
from service.web.discovery import public_base
from service.web.errors import Fault, WebError
from service.web.rates import Rates

JOSE = "application/jose"
FHIR_VERSION = "4.0.1"
TICKET_SECONDS = 3600  # the standard's longest life of a file's address
POLL_SECONDS = 60  # how often a long-term link is worth asking
LONGEST_RECIPIENT = 1000
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_CORS = {
    # A viewer of somebody else's reads what it has the address and the key of.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Expose-Headers": "Retry-After",
    "Access-Control-Max-Age": "600",
}


def links_blueprint(desk: Desk, ticket_key: bytes, requests_per_minute: int) -> Blueprint:
    links = Blueprint("links", __name__)
    rates = Rates(requests_per_minute)
    tickets = URLSafeTimedSerializer(ticket_key, salt="health-link-file")

    @links.before_request
    def admit() -> None:
        wait = rates.admit(request.remote_addr or "", time.monotonic())
        if wait is not None:
            raise WebError("throttled", headers={"Retry-After": str(wait)})

    @links.after_request
    def anybody(response: Response) -> Response:
        response.headers.update(_CORS)
        return response

    @links.route(f"{PATH}/<token>", methods=["OPTIONS"])
    @links.route(f"{PATH}/<token>/<ticket>", methods=["OPTIONS"], endpoint="file_options")
    @opened
    def options(token: str, ticket: str = "") -> Response:
        return Response(status=204)

    @links.post(f"{PATH}/<token>")
    @opened
    def manifest(token: str) -> Response:
        """Which files there are. Each wrong passcode counts, for the life of the link."""
        wanted = _wanted(read_json(JSON))
        answer = desk.ask(_token(token), wanted["recipient"], wanted.get("passcode"))
        if answer.asked in (Asked.WRONG, Asked.MISSING):
            return json_response({"remainingAttempts": answer.attempts_left}, 401)
        link = _opened(answer, single=False)
        largest = wanted.get("embeddedLengthMax")
        files = [
            _listed(file, largest, f"{public_base()}{PATH}/{token}/", tickets, link)
            for file in desk.files(link)
        ]
        found = json_response({"files": files})
        if shl.LONG_TERM in link.flag:
            found.headers["Retry-After"] = str(POLL_SECONDS)
        return found

    @links.get(f"{PATH}/<token>")
    @opened
    def direct(token: str) -> Response:
        """The one file of a link with the flag `U`."""
        recipient = request.args.get("recipient", "")
        if not recipient.strip():
            raise WebError("invalid", faults=[Fault("recipient", "is missing")])
        link = _opened(desk.ask(_token(token), recipient, None), single=True)
        return _jose(desk.files(link)[0])

    @links.get(f"{PATH}/<token>/<ticket>")
    @opened
    def file(token: str, ticket: str) -> Response:
        """A file by its ticket, for an hour, while the link lives."""
        try:
            identity, number = tickets.loads(ticket, max_age=TICKET_SECONDS)
            found = desk.file(str(identity), int(number))
        except (BadData, ValueError, TypeError):
            found = None
        if found is None:
            raise _gone()
        return _jose(found)

    return links


def _token(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise _gone()
    return token


def _gone() -> WebError:
    """The same for a link that was revoked, has run out, was used up, or never was."""
    return WebError("not-found", next_step="This link is no longer available. Ask for a new one.")


def _opened(answer: Answer, *, single: bool) -> StoredLink:
    if answer.link is None or (shl.SINGLE in answer.link.flag) is not single:
        raise _gone()
    return answer.link


def _wanted(body: Any) -> dict[str, Any]:
    """The standard's three members; others are ignored, as it asks."""
    if not isinstance(body, dict):
        raise WebError("malformed")
    recipient, passcode = body.get("recipient"), body.get("passcode")
    largest = body.get("embeddedLengthMax")
    faults = []
    if not isinstance(recipient, str) or not 0 < len(recipient.strip()) <= LONGEST_RECIPIENT:
        faults.append(Fault("recipient", "says who asks, in 1 to 1000 characters"))
    if passcode is not None and not (
        isinstance(passcode, str) and len(passcode) <= LONGEST_PASSCODE
    ):
        faults.append(Fault("passcode", f"is a text of at most {LONGEST_PASSCODE} characters"))
    if largest is not None and (type(largest) is not int or largest < 0):
        faults.append(Fault("embeddedLengthMax", "is a whole number"))
    if faults:
        raise WebError("invalid", faults=faults)
    return {"recipient": recipient, "passcode": passcode, "embeddedLengthMax": largest}


def _listed(
    file: LinkFile,
    largest: int | None,
    address: str,
    tickets: URLSafeTimedSerializer,
    link: StoredLink,
) -> dict[str, str]:
    """Inside the answer where it fits, else at an address for an hour."""
    row = {
        "contentType": file.content_type,
        "lastUpdated": f"{file.updated:%Y-%m-%dT%H:%M:%SZ}",
        "status": "can-change" if shl.LONG_TERM in link.flag else "finalized",
        "fhirVersion": FHIR_VERSION,
    }
    if largest is None or len(file.jwe) <= largest:
        return row | {"embedded": file.jwe.decode("ascii")}
    return row | {"location": f"{address}{tickets.dumps([link.id, file.number])}"}


def _jose(file: LinkFile) -> Response:
    return Response(file.jwe, content_type=JOSE)
