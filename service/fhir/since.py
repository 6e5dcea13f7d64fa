"""What an earlier pull brought, and how the next asks only for what has changed since.

A type is asked by `_lastUpdated` where the server has shown that it means it, and its last answer
was complete. What was deleted, no such search can say: the number of matches is compared where the
server counts, and all is pulled again once in a while whatever was said.

Where a server has no `_lastUpdated`, the date on which something was recorded, or happened, finds
what is new. It finds no correction and no withdrawal: all is pulled again much sooner then.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

Resource = dict[str, Any]

COUNTED, UNCOUNTED = "changes-counted", "changes"
CREATED_COUNTED, CREATED = "created-counted", "created"
"""What a slice rests on that is not one full pull: changes since, or only what is new since; with
or without a count."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Terms:
    """When changes are enough."""

    now: datetime
    overlap: timedelta = timedelta(minutes=5)
    """Asked again from so long before: a search index may lag behind its writes."""
    full_after: timedelta = timedelta(hours=24)
    created_full_after: timedelta = timedelta(hours=4)
    """The same where only what is new can be asked for; 0: never ask so."""


@dataclass(frozen=True, slots=True)
class KeptType:
    """A complete answer for one type."""

    asked: datetime
    """The server's own time when it was asked last."""
    full: datetime
    """When all of it was pulled last."""
    resources: tuple[Resource, ...] = field(repr=False)
    others: Mapping[str, str] = field(repr=False)
    """Ids of what matched and is no fact → why."""
    trusted: bool = True
    """False: a full pull has shown a change that `_lastUpdated` had not told."""

    def serves(self, terms: Terms) -> bool:
        return self.trusted and terms.now - self.full < terms.full_after

    def serves_for_new(self, terms: Terms) -> bool:
        return self.trusted and terms.now - self.full < terms.created_full_after

    def created_since(self, days: int) -> str:
        """The same by days: nobody knows in which zone a server reads one without."""
        return f"ge{(self.asked - timedelta(days=days)).date().isoformat()}"

    def since(self, terms: Terms) -> str:
        """As a search value."""
        moment = (self.asked - terms.overlap).astimezone(UTC)
        return "ge" + moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Kept:
    """One patient's record as it was pulled last. Identified: it lives in memory or sealed."""

    patient: str = field(repr=False)
    """The references of the person, the surviving one first: another one is another record."""
    types: Mapping[str, KeptType] = field(default_factory=dict, repr=False)

    def to_bytes(self) -> bytes:
        table = {name: _as_row(one) for name, one in self.types.items()}
        whole = {"format": FORMAT, "patient": self.patient, "types": table}
        return zlib.compress(orjson.dumps(whole), 1)

    @staticmethod
    def from_bytes(data: bytes) -> "Kept | None":
        """None: kept by another version of this program, and of no use."""
        whole = orjson.loads(zlib.decompress(data))
        if whole["format"] != FORMAT:
            return None
        return Kept(whole["patient"], {n: _from_row(row) for n, row in whole["types"].items()})


def _as_row(one: KeptType) -> dict[str, Any]:
    return {
        "asked": one.asked.isoformat(),
        "full": one.full.isoformat(),
        "resources": list(one.resources),
        "others": dict(one.others),
        "trusted": one.trusted,
    }


def _from_row(row: Mapping[str, Any]) -> KeptType:
    return KeptType(
        asked=datetime.fromisoformat(row["asked"]),
        full=datetime.fromisoformat(row["full"]),
        resources=tuple(row["resources"]),
        others=row["others"],
        trusted=row["trusted"],
    )


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """The `Date` of an answer: the only clock that `_lastUpdated` can be held against."""
    try:
        said = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    return said if said.tzinfo else said.replace(tzinfo=UTC)


def changed_at(resource: Resource) -> datetime | None:
    """`meta.lastUpdated`, where it is one."""
    meta = resource.get("meta")
    text = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        said = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return said if said is None or said.tzinfo else None
