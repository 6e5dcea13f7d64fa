"""Asking after an export until it is ready: patiently, and never faster than the server wishes."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from service.bulk.errors import ExportFailed, ExportGone, NotReady
from service.bulk.manifest import WHAT, Manifest, is_manifest, parse
from service.fhir import outcome
from service.fhir.errors import (
    BadAnswer,
    BudgetSpent,
    ConnectionLost,
    Gone,
    NotFound,
    Refused,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from service.fhir.http import FhirClient, refusal, resource_of
from service.fhir.origin import resolve_link
from service.fhir.retry import parse_retry_after
from service.fhir.wire import RawAnswer

FIRST_PAUSE, LONGEST_OWN_PAUSE = 1.0, 60.0
SHORTEST_PAUSE, SHORTEST_AT_ALL = 1.0, 0.05
MOST_MANIFESTS = 10_000
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)?\s*%")
_OF = re.compile(r"(\d{1,9})\s*(?:/|of)\s*(\d{1,9})")

Tell = Callable[[int | None], None]
"""Told how far the server says it is, in percent; None where it does not say."""


def quietly(percent: int | None) -> None:
    """Nobody watches."""


@dataclass
class Poller:
    """One export of one server."""

    client: FhirClient
    longest_pause: float = 300
    """Of what a server asks for at most: some ask for hours"""
    tell: Tell = quietly
    _own_pause: float = field(default=FIRST_PAUSE, init=False)
    _failures: int = field(default=0, init=False)

    def manifests(self, url: str) -> Iterator[Manifest]:
        """One after the other: usually one, several where a server pages them."""
        for _ in range(MOST_MANIFESTS):
            manifest, final = self._until_listed(url)
            yield manifest
            if manifest.next is not None:
                url = resolve_link(manifest.next, url, self.client.server.origins, WHAT)
            elif final:
                return
            else:  # its files are ready, and more are on the way
                self._wait(None)
        raise BadAnswer(WHAT, next_step="Its manifests go on without end.")

    def once(self, url: str) -> Manifest:
        """The manifest of an export that is done, fetched again."""
        return self._until_listed(url)[0]

    def _until_listed(self, url: str) -> tuple[Manifest, bool]:
        while True:
            answer = self._ask(url)
            if answer is not None:
                state = _state(answer)
                if state == 200:
                    return parse(answer.body, answer.url), True
                self.tell(progress(answer.headers.get("X-Progress")))
                if state == 202 and is_manifest(answer.body):
                    return parse(answer.body, answer.url), False
            self._wait(answer)

    def _ask(self, url: str) -> RawAnswer | None:
        """The answer, if it is one to go by; None after a failure that may pass."""
        try:
            answer = self.client.once("GET", url, {"Accept": "application/json"}, None, WHAT)
        except (Unreachable, TimedOut, ConnectionLost) as error:
            self._passing(error)
            return None
        except BudgetSpent:
            raise NotReady(WHAT) from None
        error_ = _failure(answer)
        if error_ is None or _is_transient(answer) or answer.status == 429:
            self._failures = 0
            return answer
        if isinstance(error_, ServerFailed) or (answer.status >= 500):
            self._passing(error_)
            return answer
        raise error_

    def _passing(self, error: Exception) -> None:
        """A break is taken for one until it has happened too often in a row."""
        self._failures += 1
        if self._failures >= self.client.server.limits.tries:
            raise error

    def _wait(self, answer: RawAnswer | None) -> None:
        asked = parse_retry_after(answer.headers.get("Retry-After")) if answer else None
        if asked is None:
            pause = self._own_pause * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            self._own_pause = min(2 * self._own_pause, LONGEST_OWN_PAUSE, self.longest_pause)
        else:
            pause = asked
        try:
            self.client.clock.wait(self._within_bounds(pause), WHAT)
        except BudgetSpent:
            raise NotReady(WHAT) from None

    def _within_bounds(self, pause: float) -> float:
        """What was asked for, but no longer than we wish; and a server that asks for no pause at
        all is spared all the same."""
        return max(SHORTEST_AT_ALL, min(max(pause, SHORTEST_PAUSE), self.longest_pause))


def cancel(client: FhirClient, url: str) -> bool:
    """Tell the server that the export is of no use any more. True: it took that."""
    answer = client.once("DELETE", url, {"Accept": "application/json"}, None, "DELETE {export}")
    return answer.status in (200, 202, 204, 404, 410)


def progress(text: str | None) -> int | None:
    """How far it is, in percent, where the words say a number. The words are never shown: a server
    may put anything into them."""
    if not text or len(text) > 200:
        return None
    if found := _PERCENT.search(text):
        return min(100, int(found[1]))
    if (found := _OF.search(text)) and int(found[2]):
        return min(100, 100 * int(found[1]) // int(found[2]))
    return None


# -- reading an answer -----------------------------------------------------------------------------


def _state(answer: RawAnswer) -> int:
    """The state of the export. A server may tell it apart from that of the request."""
    stated = re.match(r"(\d{3})\b", answer.headers.get("X-Export-Status", ""))
    return int(stated[1]) if stated and answer.status == 200 else answer.status


def _failure(answer: RawAnswer) -> Refused | BadAnswer | None:
    state = _state(answer)
    if state in (200, 202):
        return None
    found = refusal(WHAT, state, resource_of(answer), {})
    if isinstance(found, NotFound | Gone):
        return ExportGone(WHAT, status=state, issues=found.issues)
    if answer.status == 200 or (state >= 500 and found.issues):
        # A 5xx with an outcome is the export's own end, if it is said again; without one it is
        # some proxy's trouble.
        return ExportFailed(WHAT, status=state, issues=found.issues)
    return found


def _is_transient(answer: RawAnswer) -> bool:
    return "transient" in outcome.issue_codes(resource_of(answer))
