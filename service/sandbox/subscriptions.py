"""Subscriptions of the sandbox: R4 rest-hook and the R5 backport, really sent over HTTP.

http://hl7.org/fhir/R4/subscription.html; HL7 fhir-subscription-backport-ig 1.1.0. A notification is
sent in the thread of the write that it tells of, or held back until `release` where tests want
events out of order.
"""

import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
from flask import Blueprint, Flask, Response, request

from service.sandbox.answers import as_answer, base_url, here
from service.sandbox.errors import FhirError
from service.sandbox.store import Resource, Store, instant, subject_id

IG = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
TOPIC = "urn:twinport:sandbox:topic:patient-data"
REST_HOOK, BACKPORT = "rest-hook", "backport"
_TIMEOUT = 10


@dataclass
class Manners:
    """How the server sends; tests change it while it runs."""

    dialects: frozenset[str] = frozenset()
    """Empty: no subscriptions at all."""
    events: bool = True
    """Whether `$events` can be asked."""
    hold: bool = False
    """Keep notifications back until they are released."""
    lose: set[int] = field(default_factory=set)
    """Numbers of events that are never sent."""
    twice: bool = False
    status_resource: bool = False
    """Send R4B's SubscriptionStatus in place of Parameters."""


@dataclass
class Event:
    number: int
    time: datetime
    focus: str
    method: str


@dataclass
class Subscription:
    resource: Resource
    events: list[Event] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.resource["id"])

    @property
    def is_backport(self) -> bool:
        return "/StructureDefinition/backport-subscription" in str(self.resource.get("meta"))

    @property
    def filters(self) -> list[str]:
        if not self.is_backport:
            return [str(self.resource["criteria"])]
        listed = (self.resource.get("_criteria") or {}).get("extension") or ()
        return [str(e["valueString"]) for e in listed if e["url"].endswith("filter-criteria")]

    def matches(self, resource: Resource) -> bool:
        patient = subject_id(resource)
        return any(
            text.partition("?")[0] == resource["resourceType"]
            and text.rpartition("/")[2] == patient
            for text in self.filters
        )


class Subscriptions:
    """All of one sandbox."""

    def __init__(self, store: Store, base: str = "") -> None:
        self.store, self.base = store, base
        self.manners = Manners()
        self.held: list[tuple[Subscription, dict[str, Any] | None]] = []
        self.all: dict[str, Subscription] = {}
        self.answers: list[int] = []
        self._lock = threading.RLock()
        store.listeners.append(self._changed)

    # -- the resource --------------------------------------------------------------------------

    def put(self, identity: str, body: Resource) -> Subscription:
        with self._lock:
            known = self.all.get(identity)
            resource = {**body, "id": identity, "status": "requested"}
            found = Subscription(resource, known.events if known else [])
            self.all[identity] = found
        self._check(found)
        if found.is_backport:
            self._send(found, self._bundle(found, "handshake", ()))
        else:
            found.resource["status"] = "active"
        return found

    def _check(self, found: Subscription) -> None:
        dialect = BACKPORT if found.is_backport else REST_HOOK
        if dialect not in self.manners.dialects:
            raise FhirError(422, "not-supported", "this form of subscription is not offered")
        if found.is_backport and found.resource.get("criteria") != TOPIC:
            raise FhirError(422, "not-supported", "no such topic")

    # -- events --------------------------------------------------------------------------------

    def _changed(self, resource: Resource, method: str) -> None:
        for found in list(self.all.values()):
            if found.matches(resource) and found.resource["status"] in ("active", "error"):
                self._tell(found, resource, method)

    def _tell(self, found: Subscription, resource: Resource, method: str) -> None:
        focus = f"{self.base}/{resource['resourceType']}/{resource['id']}"
        with self._lock:
            event = Event(len(found.events) + 1, self.store.now(), focus, method)
            found.events.append(event)
        if event.number in self.manners.lose or found.resource["status"] != "active":
            return
        if not found.is_backport:
            if method != "DELETE":  # R4 does not tell of deletions
                self._send(found, None)
            return
        body = self._bundle(found, "event-notification", [event])
        for _ in range(2 if self.manners.twice else 1):
            self._send(found, body)

    def _send(self, found: Subscription, body: dict[str, Any] | None) -> None:
        if self.manners.hold:
            self.held.append((found, body))
            return
        channel = found.resource["channel"]
        headers = dict(line.split(": ", 1) for line in channel.get("header", ()))
        try:
            answer = requests.post(
                channel["endpoint"], json=body, headers=headers | _content(body), timeout=_TIMEOUT
            )
        except requests.RequestException:
            self.answers.append(0)
            found.resource["status"] = "error"
            return
        self.answers.append(answer.status_code)
        found.resource["status"] = "active" if answer.ok else "error"

    def release(self, order: Iterable[int]) -> None:
        """Send what was held back, by position, in this order."""
        self.manners.hold = False
        held, self.held = self.held, []
        for position in order:
            self._send(*held[position])

    def heartbeat(self) -> None:
        for found in self.all.values():
            self._send(found, self._bundle(found, "heartbeat", ()))

    # -- what is sent --------------------------------------------------------------------------

    def _bundle(self, found: Subscription, kind: str, events: Iterable[Event]) -> dict[str, Any]:
        events = list(events)
        make = self._status_resource if self.manners.status_resource else self._parameters
        head = {
            "fullUrl": f"urn:uuid:{uuid.uuid4()}",
            "resource": make(found, kind, events),
            "request": {"method": "GET", "url": f"{self.base}/Subscription/{found.id}/$status"},
            "response": {"status": "200"},
        }
        rest = [
            {"fullUrl": e.focus, "request": {"method": e.method, "url": e.focus}} for e in events
        ]
        bundle_type = "searchset" if kind == "query-status" else "history"
        return {"resourceType": "Bundle", "type": bundle_type, "entry": [head, *rest]}

    def _parameters(self, found: Subscription, kind: str, events: list[Event]) -> Resource:
        parts = [
            {
                "name": "notification-event",
                "part": [
                    {"name": "event-number", "valueString": str(e.number)},
                    {"name": "timestamp", "valueInstant": instant(e.time)},
                    {"name": "focus", "valueReference": {"reference": e.focus}},
                ],
            }
            for e in events
        ]
        return {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "subscription", "valueReference": {"reference": self._own(found)}},
                {"name": "topic", "valueCanonical": TOPIC},
                {"name": "status", "valueCode": found.resource["status"]},
                {"name": "type", "valueCode": kind},
                {
                    "name": "events-since-subscription-start",
                    "valueString": str(len(found.events)),
                },
                *parts,
            ],
        }

    def _status_resource(self, found: Subscription, kind: str, events: list[Event]) -> Resource:
        return {
            "resourceType": "SubscriptionStatus",
            "status": found.resource["status"],
            "type": kind,
            "eventsSinceSubscriptionStart": str(len(found.events)),
            "notificationEvent": [{"eventNumber": str(e.number)} for e in events],
            "subscription": {"reference": self._own(found)},
        }

    def _own(self, found: Subscription) -> str:
        return f"{self.base}/Subscription/{found.id}"

    def events(self, found: Subscription, since: int, until: int) -> dict[str, Any]:
        if not self.manners.events:
            raise FhirError(404, "not-supported", "no $events here")
        return self._bundle(
            found, "query-event", [e for e in found.events if since <= e.number <= until]
        )

    def status(self, found: Subscription) -> dict[str, Any]:
        return self._bundle(found, "query-status", ())

    def statement(self) -> dict[str, Any]:
        """The row of a CapabilityStatement."""
        row: dict[str, Any] = {
            "type": "Subscription",
            "interaction": [{"code": c} for c in ("create", "read", "update", "search-type")],
            "searchParam": [{"name": "url", "type": "uri"}],
        }
        if BACKPORT in self.manners.dialects:
            row["supportedProfile"] = [f"{IG}/backport-subscription"]
            url = f"{IG}/capabilitystatement-subscriptiontopic-canonical"
            row["extension"] = [{"url": url, "valueCanonical": TOPIC}]
        return row


def _content(body: Mapping[str, Any] | None) -> dict[str, str]:
    return {} if body is None else {"Content-Type": "application/fhir+json"}


# -- routes --------------------------------------------------------------------------------------


def add_subscriptions(app: Flask, prefix: str) -> None:
    routes = Blueprint("subscriptions", __name__, url_prefix=f"{prefix}/Subscription")

    def desk() -> Subscriptions:
        found = here().subscriptions
        if not found.manners.dialects:
            raise FhirError(404, "not-supported", "this server has no subscriptions")
        found.base = base_url()
        return found

    def known(identity: str) -> Subscription:
        found = desk().all.get(identity)
        if found is None:
            raise FhirError(404, "not-found", "no such Subscription")
        return found

    @routes.post("")
    def create() -> Response:
        made = desk().put(str(uuid.uuid4()), request.get_json(force=True))
        answer = as_answer(made.resource, 201)
        answer.headers["Location"] = f"{base_url()}/Subscription/{made.id}"
        return answer

    @routes.put("/<identity>")
    def update(identity: str) -> Response:
        known(identity)
        return as_answer(desk().put(identity, request.get_json(force=True)).resource)

    @routes.get("/<identity>")
    def read(identity: str) -> Response:
        return as_answer(known(identity).resource)

    @routes.delete("/<identity>")
    def delete(identity: str) -> Response:
        known(identity)
        del desk().all[identity]
        return Response(status=204)

    @routes.get("")
    def search() -> Response:
        url = request.args.get("url")
        found = [
            s.resource
            for s in desk().all.values()
            if url in (None, s.resource["channel"].get("endpoint"))
        ]
        entries = [{"resource": resource} for resource in found]
        return as_answer({"resourceType": "Bundle", "type": "searchset", "entry": entries})

    @routes.get("/<identity>/$status")
    def status(identity: str) -> Response:
        return as_answer(desk().status(known(identity)))

    @routes.get("/<identity>/$events")
    def events(identity: str) -> Response:
        since = int(request.args.get("eventsSinceNumber", 0))
        until = int(request.args.get("eventsUntilNumber", 10**9))
        return as_answer(desk().events(known(identity), since, until))

    app.register_blueprint(routes)
