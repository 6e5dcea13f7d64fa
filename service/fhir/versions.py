"""One resource may come several times, and in several versions: known ones are told apart here."""

import re
from typing import Any

Resource = dict[str, Any]
Key = tuple[str, str, str]
Name = tuple[str, str]

_NUMBER = re.compile(r"(\d{1,18})\Z")


def key_of(resource: Resource) -> Key:
    """(type, id, version)"""
    return resource["resourceType"], resource["id"], version_of(resource)


def age_rank(resource: Resource) -> tuple[str, int, str]:
    """Sorts the versions of one resource, newest last: by time of change, then by number."""
    version = _meta(resource, "versionId")
    number = _NUMBER.match(version)
    return _meta(resource, "lastUpdated"), int(number[1]) if number else -1, version


def _meta(resource: Resource, element: str) -> str:
    meta = resource.get("meta")
    value = meta.get(element) if isinstance(meta, dict) else None
    return value if isinstance(value, str) else ""


def version_of(resource: Resource) -> str:
    return _meta(resource, "versionId")


class Versions:
    """Keeps the newest version of each resource."""

    def __init__(self) -> None:
        # A record may hold a hundred thousand resources: one key each, versions shared.
        self._seen: dict[Name, tuple[str, ...]] = {}
        self._newest: dict[Name, Resource] = {}
        self._alone: dict[str, tuple[str, ...]] = {}

    def is_new(self, resource: Resource) -> bool:
        """Whether exactly this version was not seen before; remembers it."""
        kind, identity, version = key_of(resource)
        name = kind, identity
        known = self._seen.get(name)
        if known is None:
            self._seen[name] = self._alone.setdefault(version, (version,))
        elif version in known:
            return False
        else:
            self._seen[name] = (*known, version)
        return True

    def keep(self, resource: Resource) -> None:
        key = resource["resourceType"], resource["id"]
        known = self._newest.get(key)
        if known is None or age_rank(resource) > age_rank(known):
            self._newest[key] = resource

    def newest(self) -> list[Resource]:
        """In a fixed order, whatever order they came in."""
        return [self._newest[key] for key in sorted(self._newest)]
