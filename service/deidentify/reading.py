"""What is read: a line, lines in memory, or a Bundle, with what identifies in its resources.

Of a Bundle both are of one walk, where they can be: that which proves that parsing has lost
nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from privacy.gate import Collected, Texts, collect
from service.deidentify.people import Identifying, by_owner
from service.deidentify.pieces import MARK, Laid, Pieces, in_pieces
from service.fhir.errors import SourceError
from service.fhir.references import replace
from service.fhir.source import MAX_DEPTH, Parsed, parse, parsed, survey

Resource = dict[str, Any]

_ABOVE = 3  # the Bundle, its list of entries and an entry stand above a resource


class Reading:
    """One body. `identifying` is None where it has to be collected later."""

    def __init__(self, data: bytes) -> None:
        self.identifying: Identifying | None = None
        self._resources: list[Any] | None = None
        self.parsed = self._in_pieces(data) or parsed(data, walk=self._walk)

    def resources(self) -> list[Any]:
        """Those that were not parsed, because the like of them was read before, as `Apart`."""
        if self._resources is not None:
            return self._resources
        if self.identifying is not None:  # then nothing in them has to be made plain
            return [entry["resource"] for entry in self.parsed.value["entry"]]
        return resources_of(self.parsed.value, self.parsed.referring)

    def _in_pieces(self, data: bytes) -> Parsed | None:
        """The Bundle without its resources. None where it has to be read as a whole: where there is
        any doubt, that is what decides, and finds the words for what is wrong."""
        pieces = in_pieces(data)
        if pieces is None or not _are_marked(pieces):
            return None
        laid = Laid(pieces.lines)
        found: dict[str, Collected] = {}

        def walk(others: list[Resource]) -> tuple[int, list[Resource]]:
            found.update(_collected(others, laid.texts))
            return sum(one.keys for one in found.values()), []

        try:
            # As one list: each begins and ends where the parser sees it begin and end, with the
            # first brace and its match.
            others = parsed(b"[%b]" % b",".join(laid.others()), walk=walk).value
        except SourceError:
            return None
        if not all("id" in other for other in others) or _is_unsure(found, pieces.frame["entry"]):
            return None
        self._resources = laid.with_parsed(others)
        self.identifying = {identity: one.values for identity, one in found.items()}
        return Parsed(pieces.frame, [])

    def _walk(self, value: Any) -> tuple[int, list[Resource]]:
        """In place of `survey`, and no less: where there is any doubt, that is what decides."""
        entries = _plain_entries(value)
        if not entries:
            return survey(value)
        found = _collected([entry["resource"] for entry in entries], {})
        if _is_unsure(found, entries):
            return survey(value)
        self.identifying = {identity: one.values for identity, one in found.items()}
        keys, referring = survey(_frame(value, entries))
        return keys + sum(one.keys for one in found.values()), referring


def _collected(resources: Iterable[Any], texts: Mapping[str, Texts]) -> dict[str, Collected]:
    """By owner, also of resources of which there are texts alone."""
    owned = by_owner(resources)
    return {
        identity: collect(owned.get(identity, ()), texts.get(identity))
        for identity in {**owned, **texts}
    }


def _are_marked(pieces: Pieces) -> bool:
    """Whether what was taken out of a Bundle is the resources of its entries, each of one."""
    entries = pieces.frame.get("entry") if _is_bundle(pieces.frame) else None
    if type(entries) is not list or len(entries) != len(pieces.lines):
        return False
    return all(_is_named(entry) and entry.get("resource") == MARK for entry in entries)


def _plain_entries(value: Any) -> list[Resource]:
    """The entries of a Bundle, if each has a resource with an id; and addresses that references
    are not sure to be made of, as `urn:uuid:` is."""
    entries = value.get("entry") if _is_bundle(value) else None
    if type(entries) is not list or not all(map(_is_plain, entries)):
        return []
    return entries


def _is_plain(entry: Any) -> bool:
    if not _is_named(entry):
        return False
    resource = entry.get("resource")
    return type(resource) is dict and "id" in resource


def _is_named(entry: Any) -> bool:
    """Whether it is an entry, whose address can be told from what is made of it."""
    return type(entry) is dict and not str(entry.get("fullUrl")).startswith("urn:")


def _is_unsure(found: Mapping[str, Collected], entries: Iterable[Resource]) -> bool:
    """Whether anything is too deep perhaps, or has yet to be made plain."""
    return _are_deep(found.values()) or _refer_by_address(found.values(), entries)


def _are_deep(found: Iterable[Collected]) -> bool:
    return any(_ABOVE + one.deepest > MAX_DEPTH for one in found)


def _refer_by_address(found: Iterable[Collected], entries: Iterable[Resource]) -> bool:
    """Whether a reference has to be made plain, which changes what identifies."""
    urls = {entry.get("fullUrl") for entry in entries if type(entry.get("fullUrl")) is str}
    return any(not urls.isdisjoint(map(_unversioned, one.references)) for one in found)


def _frame(bundle: Resource, entries: Collection[Resource]) -> Resource:
    """A Bundle in which no resource holds anything: the names of its parts are all there."""
    return {**bundle, "entry": [{**entry, "resource": None} for entry in entries]}


def read_lines(lines: list[bytes]) -> tuple[list[Any], Identifying]:
    """The resources of lines in memory, and what identifies in them; those that were not parsed,
    because the like of them was read before, as `Apart`."""
    laid = Laid(lines)
    others = list(map(read_line, laid.others()))
    found = _collected(others, laid.texts)
    return laid.with_parsed(others), {identity: one.values for identity, one in found.items()}


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
