"""How one server wants to be asked, found out by asking.

A search is put in the plainest good form first. Where its form is refused, a simpler one is tried,
and the one that worked is remembered for the server. What is refused in every form stays refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from service.fhir.errors import FhirError
from service.fhir.paging import Params

# Refusals of a GET because of its method or the length of its URL. 431: header fields too large.
_OF_THE_FORM = frozenset({405, 414, 431, 501})
_OF_A_PARAMETER = frozenset({400, 422})
# The smallest cap on `_count` among the servers known (see the vendor pages).
MODEST_COUNT = 100
NO_COUNT = 0


@dataclass(frozen=True, slots=True)
class Way:
    """One form of a search."""

    post: bool = False
    include: bool = True
    largest: int | None = None
    """The most that `_count` may ask for; NO_COUNT: it is left out."""

    def count(self, wanted: int) -> int:
        return wanted if self.largest is None else min(wanted, self.largest)


class Manners:
    """What is known of one server. `words` are codes, shared by all its pulls in a process."""

    def __init__(self, words: set[str], post_search: str = "fallback") -> None:
        self.words = words
        self._post = post_search

    def way(self, kind: str) -> Way:
        """The form to begin with."""
        largest = None
        if f"count:{MODEST_COUNT}" in self.words:
            largest = MODEST_COUNT
        if "count:none" in self.words:
            largest = NO_COUNT
        return Way(
            post=self._post == "always" or "post" in self.words,
            include=f"{kind}:no-include" not in self.words,
            largest=largest,
        )

    def simpler(self, way: Way, error: FhirError, sent: Params) -> Way | None:
        """The next form to try after a refusal; None where the refusal is not about the form."""
        if error.status in _OF_THE_FORM:
            may = self._post == "fallback" and not way.post
            return replace(way, post=True) if may else None
        if error.status not in _OF_A_PARAMETER or "required" in error.issues:
            return None
        return next(self._without(way, dict(sent)), None)

    def _without(self, way: Way, sent: dict[str, str]) -> Iterator[Way]:
        if "_include" in sent:
            yield replace(way, include=False)
        count = int(sent.get("_count", NO_COUNT))
        if f"accepts:{count}" in self.words:
            return
        if count > MODEST_COUNT:
            yield replace(way, largest=MODEST_COUNT)
        if count:
            yield replace(way, largest=NO_COUNT)

    def worked(self, kind: str, first: Way, way: Way, sent: Params) -> None:
        """Remember the form that was answered, where it is not the one begun with."""
        count = dict(sent).get("_count")
        if count is not None:
            self.words.add(f"accepts:{count}")
        if way.post and not first.post:
            self.words.add("post")
        if first.include and not way.include:
            self.words.add(f"{kind}:no-include")
        if way.largest is not None and way.largest != first.largest:
            self.words.add(f"count:{way.largest or 'none'}")
