"""Keeps equal parts of many resources once: a long record says the same thing again and again.

Whoever holds a pulled resource treats it as read-only from here on.
"""

from typing import Any

import orjson

from service.fhir.versions import Resource

# What repeats from one resource to the next; times, values and ids do not.
REPEATED = ("category", "code", "subject", "patient", "encounter", "device", "performer", "meta")
MOST_KEPT = 20_000


class Sharing:
    def __init__(self) -> None:
        self._kept: dict[bytes, Any] = {}

    def share(self, resource: Resource) -> Resource:
        """The same resource, with parts that are equal to earlier ones replaced by these."""
        for element in REPEATED:
            part = resource.get(element)
            if isinstance(part, dict | list):
                resource[element] = self._one(part)
        return resource

    def _one(self, part: Any) -> Any:
        key = orjson.dumps(part)
        known = self._kept.get(key)
        if known is None and len(self._kept) < MOST_KEPT:
            self._kept[key] = part
        return part if known is None else known
