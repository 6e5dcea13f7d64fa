"""Walks the pages of one search: `next` is opaque, empty pages are legal, loops end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from service.fhir.errors import Gone, Invalid, LinkLoop, NotFhir, NotFound, SearchExpired, TooMany
from service.fhir.http import Answer, FhirClient, Resource

# Pages in a row whose entries we all had before. Some servers repeat a page; a loop goes on.
STALE_PAGES = 3

Params = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Page:
    bundle: Resource
    asked: Params
    first: bool
    body: bytes = field(default=b"", repr=False)  # what it was parsed from, where that is known

    def entries(self) -> Iterator[dict[str, Any]]:
        listed = self.bundle.get("entry")
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict):
                yield entry

    def count_of(self, kind: str) -> int:
        resources = [entry.get("resource") for entry in self.entries()]
        return sum([type(r) is dict and r.get("resourceType") == kind for r in resources])

    @property
    def total(self) -> int | None:
        value = self.bundle.get("total")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def ignored(self) -> frozenset[str]:
        """Parameters that we sent and the server's own `self` link no longer has.

        Only a first page tells: later ones are named by the server as it likes.
        """
        link = link_of(self.bundle, "self") if self.first else None
        query = urlsplit(link).query if link else ""
        if not query:
            return frozenset()
        kept = {name.split(":")[0] for name, _ in parse_qsl(query, keep_blank_values=True)}
        return frozenset(name for name, _ in self.asked) - kept


# Consumes a page and says whether it held anything not seen before.
Take = Callable[[Page], bool]


def read_pages(
    client: FhirClient,
    kind: str,
    params: Params,
    take: Take,
    start: Callable[[], Answer] | None = None,
) -> None:
    """Hand every page to `take`. A search that the server forgets on the way is started again, once
    (`take` meets the same resources twice, and knows them). `start` gets the first page; by default
    a GET does."""
    walk = _Walk(client, kind, params, take, start or (lambda: client.search(kind, params)))
    for again in (False, True):
        try:
            walk.run()
        except (Gone, NotFound, Invalid):
            if walk.on_first_page:
                raise
            if again:
                raise SearchExpired(walk.what) from None
        else:
            return


class _Walk:
    def __init__(
        self,
        client: FhirClient,
        kind: str,
        params: Params,
        take: Take,
        start: Callable[[], Answer],
    ) -> None:
        self._client, self._params, self._take, self._start = client, params, take, start
        self.what = f"GET {kind} {{next}}"
        self.on_first_page = True
        self._count = 0
        self._stale = 0

    def run(self) -> None:
        self.on_first_page = True
        self._stale = 0
        answer = self._start()
        visited = {answer.url}
        while (link := self._consume(answer)) is not None:
            self.on_first_page = False
            answer = self._client.follow(link, answer.url, self.what)
            if answer.url in visited:
                raise LinkLoop(self.what)
            visited.add(answer.url)

    def _consume(self, answer: Answer) -> str | None:
        """Take one page; the link to the next."""
        page = self._page(answer)
        new = self._take(page)
        self._stale = 0 if new or not any(page.entries()) else self._stale + 1
        link = link_of(page.bundle, "next")
        if link is not None and self._stale >= STALE_PAGES:
            raise LinkLoop(self.what)
        return link

    def _page(self, answer: Answer) -> Page:
        self._count += 1
        if self._count > self._client.server.limits.pages:
            raise TooMany(self.what)
        bundle = answer.resource
        if bundle is None or bundle.get("resourceType") != "Bundle":
            raise NotFhir(self.what, status=answer.status)
        return Page(bundle, self._params, self.on_first_page, answer.body)


def link_of(bundle: Resource, relation: str) -> str | None:
    listed = bundle.get("link")
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, dict) and link.get("relation") == relation:
            url = link.get("url")
            return url if isinstance(url, str) and url.strip() else None
    return None
