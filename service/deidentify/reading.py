"""What is read: a line, or a Bundle in memory with what identifies in its resources.

Of a Bundle both are of one walk, where they can be: that which proves that parsing has lost
nothing.
"""

from collections.abc import Collection, Iterable
from typing import Any

from privacy.gate import Collected, collect
from service.deidentify.people import Identifying, by_owner
from service.fhir.errors import SourceError
from service.fhir.references import replace
from service.fhir.source import MAX_DEPTH, Parsed, parse, parsed, survey

Resource = dict[str, Any]

_ABOVE = 3  # the Bundle, its list of entries and an entry stand above a resource


class Reading:
    """One body. `identifying` is None where it has to be collected later."""

    def __init__(self, data: bytes) -> None:
        self.identifying: Identifying | None = None
        self.parsed: Parsed = parsed(data, walk=self._walk)

    def resources(self) -> list[Any]:
        if self.identifying is not None:  # then nothing in them has to be made plain
            return [entry["resource"] for entry in self.parsed.value["entry"]]
        return resources_of(self.parsed.value, self.parsed.referring)

    def _walk(self, value: Any) -> tuple[int, list[Resource]]:
        """In place of `survey`, and no less: where there is any doubt, that is what decides."""
        entries = _plain_entries(value)
        if not entries:
            return survey(value)
        owned = by_owner(entry["resource"] for entry in entries)
        found = {identity: collect(own) for identity, own in owned.items()}
        if _are_deep(found.values()) or _refer_by_address(found.values(), entries):
            return survey(value)
        self.identifying = {identity: one.values for identity, one in found.items()}
        keys, referring = survey(_frame(value, entries))
        return keys + sum(one.keys for one in found.values()), referring


def _plain_entries(value: Any) -> list[Resource]:
    """The entries of a Bundle, if each has a resource with an id; and addresses that references
    are not sure to be made of, as `urn:uuid:` is."""
    entries = value.get("entry") if _is_bundle(value) else None
    if type(entries) is not list or not all(map(_is_plain, entries)):
        return []
    return entries


def _is_plain(entry: Any) -> bool:
    if type(entry) is not dict or str(entry.get("fullUrl")).startswith("urn:"):
        return False
    resource = entry.get("resource")
    return type(resource) is dict and "id" in resource


def _are_deep(found: Iterable[Collected]) -> bool:
    return any(_ABOVE + one.deepest > MAX_DEPTH for one in found)


def _refer_by_address(found: Iterable[Collected], entries: Iterable[Resource]) -> bool:
    """Whether a reference has to be made plain, which changes what identifies."""
    urls = {entry.get("fullUrl") for entry in entries if type(entry.get("fullUrl")) is str}
    return any(not urls.isdisjoint(map(_unversioned, one.references)) for one in found)


def _frame(bundle: Resource, entries: Collection[Resource]) -> Resource:
    """A Bundle in which no resource holds anything: the names of its parts are all there."""
    return {**bundle, "entry": [{**entry, "resource": None} for entry in entries]}


def read_line(line: bytes) -> Any:
    """The value of a line. Of one that is not JSON, or ambiguous, None: it is refused and counted
    like everything that is no resource."""
    try:
        return parse(line)
    except SourceError:
        return None


def resources_of(found: Any, referring: Iterable[Resource]) -> list[Any]:
    """The resources of a Bundle, or the one there is, with `Type/id` references throughout.

    `referring`: the objects in it that hold a `reference`, as parsing has found them.
    """
    if not _is_bundle(found):
        return [found]
    entries = found.get("entry", [])
    if type(entries) is not list or not all(type(entry) is dict for entry in entries):
        raise SourceError("has a malformed entry list", "Give a valid FHIR R4 Bundle.")
    urls = dict(filter(None, map(_named, entries)))
    replace(referring, lambda text: urls.get(_unversioned(text)))
    return [entry["resource"] for entry in entries if "resource" in entry]


def _named(entry: Resource) -> tuple[str, str] | None:
    """What references may call an entry, and its `Type/id`; an entry without an id is given one."""
    resource, url = entry.get("resource"), entry.get("fullUrl")
    if type(resource) is not dict or type(url) is not str:
        return None
    if "id" not in resource:
        resource["id"] = url.rpartition(":")[2].rpartition("/")[2]
    return url, f"{resource.get('resourceType')}/{resource['id']}"


def _is_bundle(value: Any) -> bool:
    return type(value) is dict and value.get("resourceType") == "Bundle"


def _unversioned(text: str) -> str:
    return text.partition("/_history/")[0]
