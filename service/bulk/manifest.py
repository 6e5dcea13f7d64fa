"""What a finished export consists of, in the words of any version of the guide.

https://hl7.org/fhir/uv/bulkdata/export.html: `error` became `outcome` in version 4, which also
dropped `request` and the type of `deleted` items. What is not known is not looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from service.fhir.errors import NotFhir, UnsafeAddress
from service.fhir.origin import joined

WHAT = "GET {export status}"
OUTPUT, DELETED, ERROR = "output", "deleted", "error"
_SECTIONS = ((OUTPUT, OUTPUT), (DELETED, DELETED), (ERROR, ERROR), ("outcome", ERROR))
_TYPE = re.compile(r"[A-Z][A-Za-z]{2,49}\Z")


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of an export."""

    section: str
    type: str
    """Empty where the manifest does not say"""
    url: str = field(repr=False)
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    time: datetime | None
    """The moment whose state the files hold: where the next export begins"""
    token: bool
    files: tuple[Listed, ...]
    next: str | None = field(repr=False)
    unreadable: int = 0
    """Items that name no file: something was promised and cannot be had"""


def parse(body: bytes, found_at: str) -> Manifest:
    found = _object(body)
    items = [(ours, item) for theirs, ours in _SECTIONS for item in _list(found.get(theirs))]
    files = [_listed(section, item, found_at) for section, item in items]
    link = next(_next_links(found), None)
    return Manifest(
        time=_moment(found.get("transactionTime")),
        token=found.get("requiresAccessToken") is not False,
        files=tuple(file for file in files if file is not None),
        next=joined(found_at, link) if link else None,
        unreadable=sum(file is None for file in files),
    )


def is_manifest(body: bytes) -> bool:
    """Whether a 202 came with files that are ready already."""
    try:
        _object(body)
    except NotFhir:
        return False
    return True


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("output"), list):
        return found
    step = (
        "This is no Bulk Data manifest. A server that exports into storage of its own (Google, "
        "Azure, HealthLake) is read from there: fetch the files with its tools, then "
        "`twinport run --ndjson DIR`."
    )
    raise NotFhir(WHAT, next_step=step)


def _listed(section: str, item: Any, found_at: str) -> Listed | None:
    url = item.get("url") if isinstance(item, dict) else None
    if not isinstance(url, str) or not url.strip():
        return None
    try:
        url = joined(found_at, url)
    except UnsafeAddress:
        return None
    kind, count = item.get("type"), item.get("count")
    return Listed(
        section=section,
        type=kind if isinstance(kind, str) and _TYPE.match(kind) else "",
        url=url,
        count=count if type(count) is int and count >= 0 else None,
    )


def _next_links(found: dict[str, Any]) -> Iterator[str]:
    for link in _list(found.get("link")):
        if isinstance(link, dict) and link.get("relation") == "next":
            url = link.get("url")
            if isinstance(url, str) and url:
                yield url


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _moment(value: Any) -> datetime | None:
    """An instant. One that is none is not worth an export, but nothing can be asked since it."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
