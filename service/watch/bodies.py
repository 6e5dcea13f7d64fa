"""The Subscription resources asked of servers: R4's own, and the profile of the R5 backport.

http://hl7.org/fhir/R4/subscription.html; HL7 fhir-subscription-backport-ig 1.1.0. Both ask for as
little as there is: no payload, or ids alone.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from service.config import Server
from service.fhir.errors import NotSupported

Json = dict[str, Any]

HEADER = "X-Twinport-Hook"
REST_HOOK, BACKPORT = "rest-hook", "backport"
_IG = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
_TOPICS = f"{_IG}/capabilitystatement-subscriptiontopic-canonical"
_PROFILE = f"{_IG}/backport-subscription"
_REASON = "Keeps a risk assessment up to date with the record."
_TIMEOUT, _MOST_EVENTS = 30, 20


def dialect_of(server: Server, statement: Any) -> tuple[str, str]:
    """How this server is subscribed to, and by which topic; no dialect: not at all."""
    row = _row(statement)
    topic = server.subscription_topic or next(_topics(row), "")
    if server.subscriptions == REST_HOOK:
        return REST_HOOK, ""
    if server.subscriptions == BACKPORT or (topic and _is_backport(row)):
        if not topic:
            raise NotSupported("Subscription", next_step="Set `subscription_topic`.")
        return BACKPORT, topic
    codes = {item.get("code") for item in row.get("interaction", ())}
    return (REST_HOOK if "create" in codes else "", "")


def _row(statement: Any) -> Json:
    """What the statement says of Subscription."""
    rests = statement.get("rest") or [] if isinstance(statement, dict) else []
    rows = [row for rest in rests for row in rest.get("resource") or ()]
    return next((row for row in rows if row.get("type") == "Subscription"), {})


def _topics(row: Json) -> Iterator[str]:
    for extension in row.get("extension") or ():
        if extension.get("url") == _TOPICS and extension.get("valueCanonical"):
            yield str(extension["valueCanonical"])


def _is_backport(row: Json) -> bool:
    profiles = [str(text).partition("|")[0] for text in row.get("supportedProfile") or ()]
    return _PROFILE in profiles or any(_topics(row))


def rest_hook(kind: str, patient: str, endpoint: str, secret: str, ends: datetime) -> Json:
    """Without a payload: "something matched, go and look"."""
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "end": _instant(ends),
        "reason": _REASON,
        "criteria": f"{kind}?patient=Patient/{patient}",
        "channel": {
            "type": "rest-hook",
            "endpoint": endpoint,
            "header": [f"{HEADER}: {secret}"],
        },
    }


def backport(
    topic: str,
    kinds: Sequence[str],
    patient: str,
    endpoint: str,
    secret: str,
    ends: datetime,
    heartbeat: int,
) -> Json:
    filters = [f"{kind}?patient=Patient/{patient}" for kind in kinds]
    return {
        "resourceType": "Subscription",
        "meta": {"profile": [_PROFILE]},
        "status": "requested",
        "end": _instant(ends),
        "reason": _REASON,
        "criteria": topic,
        "_criteria": {
            "extension": [
                {"url": f"{_IG}/backport-filter-criteria", "valueString": text} for text in filters
            ]
        },
        "channel": {
            "extension": [
                {"url": f"{_IG}/backport-heartbeat-period", "valueUnsignedInt": heartbeat},
                {"url": f"{_IG}/backport-timeout", "valueUnsignedInt": _TIMEOUT},
                {"url": f"{_IG}/backport-max-count", "valuePositiveInt": _MOST_EVENTS},
            ],
            "type": "rest-hook",
            "endpoint": endpoint,
            "payload": "application/fhir+json",
            "_payload": {
                "extension": [{"url": f"{_IG}/backport-payload-content", "valueCode": "id-only"}]
            },
            "header": [f"{HEADER}: {secret}"],
        },
    }


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
