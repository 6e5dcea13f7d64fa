"""Is it on the server already? The question before each write, after it, and after any accident."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from service.fhir.capability import Capability
from service.fhir.errors import FhirError, Gone, Invalid, NotFound
from service.fhir.http import FhirClient, Resource
from service.fhir.paging import Page, Params, read_pages
from service.fhir.references import Rewriter, reference_of
from service.fhir.wanted import Wanted, escaped

WITHDRAWN = "entered-in-error"
SET_ASIDE = "cancelled"
ACCEPTED = frozenset({"final", "amended", "corrected"})


@dataclass(frozen=True, slots=True)
class Found:
    reference: str
    resource: Resource

    @property
    def rank(self) -> tuple[bool, str, str]:
        """What a person accepted comes first, then the oldest."""
        changed = str((self.resource.get("meta") or {}).get("lastUpdated", ""))
        return not self.accepted, changed, self.reference

    @property
    def accepted(self) -> bool:
        """A person has put their name to it."""
        said = (self.resource.get("status"), self.resource.get("docStatus"))
        return not ACCEPTED.isdisjoint(said)

    @property
    def withdrawn(self) -> bool:
        return _is_withdrawn(self.resource)

    @property
    def set_aside(self) -> bool:
        """A person looked at it and did not accept it: it is not in force, and stays as it is."""
        said = self.resource.get("status"), self.resource.get("docStatus")
        return said[0] == SET_ASIDE or said[1] == WITHDRAWN


class Looker:
    def __init__(self, client: FhirClient, capability: Capability) -> None:
        self._client, self._capability = client, capability
        self._plain = Rewriter(client.server.bases)

    def can_find(self, wanted: Wanted) -> bool:
        """By search; or, where we choose the id, by reading it."""
        return self._searchable(wanted) or self._own_id(wanted)

    def _searchable(self, wanted: Wanted) -> bool:
        if not self._capability.can(wanted.type, "search-type"):
            return False
        if wanted.identifier is None:
            return self._lists(wanted.type, "target")
        return any(self._ways(wanted))

    def _lists(self, kind: str, *parameters: str) -> bool:
        listed = self._capability.of(kind).search_params
        return not listed or listed.issuperset(parameters)

    def _ways(self, wanted: Wanted) -> Iterator[Params]:
        """By identifier; else, where a server has no such search or wants to be told whose it is
        (Epic, Oracle Health), all of this patient under its code. What carries it is picked here.
        """
        assert wanted.identifier is not None
        if self._lists(wanted.type, "identifier"):
            yield (("identifier", _token(*wanted.identifier)),)
        subject, code = reference_of(wanted.body, "subject"), _code(wanted.body)
        if subject and code and self._lists(wanted.type, "patient", "code"):
            yield ("patient", subject), ("code", _token(*code))

    def _own_id(self, wanted: Wanted) -> bool:
        return wanted.identifier is not None and self._capability.of(wanted.type).update_create

    def by_identifier(self, wanted: Wanted) -> list[Found]:
        """Those that carry its identifier, the one to keep first; without the withdrawn ones,
        unless there are no others."""
        assert wanted.identifier is not None
        if not self._searchable(wanted):
            own = f"{wanted.type}/{wanted.own_id}"
            return self.by_reference(wanted, own) if self._own_id(wanted) else []
        found = self._search_some_way(wanted)
        carrying = [r for r in found if _carries(r, wanted.identifier)]
        ordered = _ordered(r for r in carrying if not _is_withdrawn(r)) or _ordered(carrying)
        if not ordered and self._own_id(wanted):
            # A search index may lag behind; where we choose the id, a read does not.
            return self.by_reference(wanted, f"{wanted.type}/{wanted.own_id}")
        return ordered

    def by_target(self, wanted: Wanted, target: str, who: frozenset[str]) -> list[Found]:
        """Provenances like `wanted` of one result: same activity, an agent in common."""
        found = self._search(wanted.type, (("target", target),))
        return _ordered(
            r
            for r in found
            if target in _targets(r)
            and _activity(r) == _activity(wanted.body)
            and (not who or who & agents(r))
        )

    def by_reference(self, wanted: Wanted, reference: str) -> list[Found]:
        """Read it directly: a search index may lag behind."""
        try:
            resource = self._client.read(*reference.split("/", 1)).resource
        except (NotFound, Gone):
            return []
        if resource is None or (wanted.identifier and not _carries(resource, wanted.identifier)):
            return []
        return [Found(reference, resource)]

    def _search_some_way(self, wanted: Wanted) -> list[Resource]:
        """The next way only where the first was refused for what it lacks."""
        *first, last = self._ways(wanted)
        for way in first:
            try:
                return self._search(wanted.type, way)
            except Invalid as error:
                if "required" not in error.issues:
                    raise
        return self._search(wanted.type, last)

    def _search(self, kind: str, condition: Params) -> list[Resource]:
        found: dict[str, Resource] = {}

        def take(page: Page) -> bool:
            before = len(found)
            for entry in page.entries():
                resource = entry.get("resource")
                if isinstance(resource, dict) and resource.get("resourceType") == kind:
                    self._plain(resource)
                    found[str(resource.get("id"))] = resource
            return len(found) > before

        read_pages(self._client, kind, condition, take)
        return list(found.values())


class FirstLook:
    """What stands on the server under these identifiers, asked for side by side while the caller
    still writes down what it is about to do. It holds for what nobody of us has ever sent.

    `before`: an earlier one of the same caller; what that one asked for is not asked again."""

    def __init__(
        self,
        client: FhirClient,
        looker: Looker,
        named: Sequence[Wanted],
        before: "FirstLook | None" = None,
    ) -> None:
        pool = ThreadPoolExecutor(client.server.limits.concurrency, "first-look")
        self._found: dict[str, Future[list[Found]]] = dict(before._found) if before else {}
        for wanted in named:
            if wanted.url not in self._found:
                self._found[wanted.url] = pool.submit(looker.by_identifier, wanted)
        pool.shutdown(wait=False)

    def take(self, wanted: Wanted) -> list[Found] | None:
        """Once. None where it was not asked for, or nobody answered: the look is still to come."""
        found = self._found.pop(wanted.url, None)
        if found is None or isinstance(found.exception(), FhirError):
            return None
        return found.result()


def _ordered(resources: Iterable[Resource]) -> list[Found]:
    found = (Found(f"{r['resourceType']}/{r['id']}", r) for r in resources)
    return sorted(found, key=lambda f: f.rank)


def _is_withdrawn(resource: Resource) -> bool:
    return resource.get("status") == WITHDRAWN


def _carries(resource: Resource, identifier: tuple[str, str]) -> bool:
    """Checked here, too: a server that ignores the parameter returns everything."""
    listed = resource.get("identifier")
    return isinstance(listed, list) and any(
        isinstance(i, dict) and (i.get("system"), i.get("value")) == identifier for i in listed
    )


def _token(system: str, value: str) -> str:
    return f"{escaped(system)}|{escaped(value)}"


def _code(resource: Resource) -> tuple[str, str] | None:
    codings = (resource.get("code") or {}).get("coding") or []
    pairs = ((str(c.get("system", "")), str(c.get("code", ""))) for c in codings)
    return next((pair for pair in pairs if all(pair)), None)


def _targets(resource: Resource) -> set[str]:
    listed = resource.get("target") or []
    return {str(t.get("reference", "")).split("/_history/")[0] for t in listed}


def agents(resource: Resource) -> set[str]:
    """References of those who acted."""
    return {ref for agent in resource.get("agent") or [] if (ref := reference_of(agent, "who"))}


def _activity(resource: Resource) -> set[str]:
    codings = (resource.get("activity") or {}).get("coding") or []
    return {str(coding.get("code")) for coding in codings}
