"""What a server sends to a rest-hook, read for what it announces and nothing else.

Three forms: nothing at all (R4: something matched, go and look), a resource (R4 with a payload),
and the Bundle of the R5 backport, whose first entry is Parameters (R4) or a SubscriptionStatus
(R4B). Whatever else they carry is not looked at: a notification is a hint, never data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

Json = Mapping[str, Any]

LARGEST_NUMBER = 2**31 - 1
MOST_EVENTS = 10_000


class Kind(StrEnum):
    SOMETHING = "something"  # R4: no number, no kind
    HANDSHAKE = "handshake"
    HEARTBEAT = "heartbeat"
    EVENT = "event-notification"
    STATUS = "query-status"
    EVENTS = "query-event"
    OTHER = "other"  # a kind younger than this list: taken, and not acted on


class UnreadableError(ValueError):
    """Neither of the three forms."""


@dataclass(frozen=True, slots=True)
class Notification:
    kind: Kind
    status: str = ""
    total: int | None = None
    """Events since the subscription began, as the server counts."""
    numbers: tuple[int, ...] = ()
    deleted: bool = False
    """Something was deleted, which no search for changes will show."""


def read_body(body: bytes) -> Notification:
    if not body.strip():
        return Notification(Kind.SOMETHING)
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableError("not JSON") from None
    return read_resource(found)


def read_resource(found: Any) -> Notification:
    if not isinstance(found, dict) or not isinstance(found.get("resourceType"), str):
        raise UnreadableError("no resource")
    if found["resourceType"] != "Bundle":
        return Notification(Kind.SOMETHING)
    entries = [entry for entry in _list(found.get("entry")) if isinstance(entry, dict)]
    head = entries[0].get("resource") if entries else None
    if not isinstance(head, dict):
        raise UnreadableError("no status")
    status = _status(head)
    deleted = any(_method(entry) == "DELETE" for entry in entries[1:])
    return Notification(deleted=deleted, **status)


def _status(head: Json) -> dict[str, Any]:
    if head.get("resourceType") == "Parameters":
        return _of_parameters(head)
    if head.get("resourceType") == "SubscriptionStatus":
        return _of_status(head)
    raise UnreadableError("no status")


def _of_parameters(head: Json) -> dict[str, Any]:
    parts = [part for part in _list(head.get("parameter")) if isinstance(part, dict)]
    values = {str(part.get("name")): part for part in parts}
    events = [part for part in parts if part.get("name") == "notification-event"]
    numbers = (_part(event, "event-number", "valueString") for event in events)
    return _made(
        values.get("type", {}).get("valueCode"),
        values.get("status", {}).get("valueCode"),
        values.get("events-since-subscription-start", {}).get("valueString"),
        numbers,
    )


def _of_status(head: Json) -> dict[str, Any]:
    events = [event for event in _list(head.get("notificationEvent")) if isinstance(event, dict)]
    return _made(
        head.get("type"),
        head.get("status"),
        head.get("eventsSinceSubscriptionStart"),
        (event.get("eventNumber") for event in events),
    )


def _made(kind: Any, status: Any, total: Any, numbers: Iterator[Any]) -> dict[str, Any]:
    known = kind if kind in set(Kind) else Kind.OTHER
    count = _number(total)
    found = sorted({n for text in numbers if (n := _number(text)) is not None})
    if not found and known == Kind.EVENT and count is not None:
        found = [count]  # content `empty` may leave the events out
    return {
        "kind": Kind(known),
        "status": status if isinstance(status, str) else "",
        "total": count,
        "numbers": tuple(found[:MOST_EVENTS]),
    }


def _number(text: Any) -> int | None:
    if isinstance(text, bool) or not isinstance(text, str | int):
        return None
    spelled = str(text)
    if not spelled.isascii() or not spelled.isdecimal() or len(spelled) > len(str(LARGEST_NUMBER)):
        return None
    return min(int(spelled), LARGEST_NUMBER)


def _part(event: Json, name: str, value: str) -> Any:
    parts = (part for part in _list(event.get("part")) if isinstance(part, dict))
    return next((part.get(value) for part in parts if part.get("name") == name), None)


def _method(entry: Json) -> Any:
    request = entry.get("request")
    return request.get("method") if isinstance(request, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
