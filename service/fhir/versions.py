"""One resource may come several times, and in several versions: known ones are told apart here."""

import re
from typing import Any

Resource = dict[str, Any]
Key = tuple[str, str, str]

_NUMBER = re.compile(r"(\d{1,18})\Z")


def key_of(resource: Resource) -> Key:
    """(type, id, version)"""
    return resource["resourceType"], resource["id"], _meta(resource, "versionId")


def age_rank(resource: Resource) -> tuple[str, int, str]:
    """Sorts the versions of one resource, newest last: by time of change, then by number."""
    version = _meta(resource, "versionId")
    number = _NUMBER.match(version)
    return _meta(resource, "lastUpdated"), int(number[1]) if number else -1, version


def _meta(resource: Resource, element: str) -> str:
    meta = resource.get("meta")
    value = meta.get(element) if isinstance(meta, dict) else None
    return value if isinstance(value, str) else ""


class Versions:
    """Keeps the newest version of each resource."""

    def __init__(self) -> None:
        self._seen: set[Key] = set()
        self._met: set[tuple[str, str]] = set()
        self._newest: dict[tuple[str, str], Resource] = {}
        self.superseded = 0

    def is_new(self, resource: Resource) -> bool:
        """Whether exactly this version was not seen before; remembers it."""
        before = len(self._seen)
        self._seen.add(key_of(resource))
        self._met.add((resource["resourceType"], resource["id"]))
        return len(self._seen) > before

    def met(self, kind: str, identity: str) -> bool:
        """Whether any version of it was seen, kept or not."""
        return (kind, identity) in self._met

    def keep(self, resource: Resource) -> None:
        key = resource["resourceType"], resource["id"]
        known = self._newest.get(key)
        if known is not None:
            self.superseded += 1
        if known is None or age_rank(resource) > age_rank(known):
            self._newest[key] = resource

    def newest(self) -> list[Resource]:
        """In a fixed order, whatever order they came in."""
        return [self._newest[key] for key in sorted(self._newest)]
