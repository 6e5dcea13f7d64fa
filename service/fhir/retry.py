"""When to try again, and how long everything together may take."""

import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from service.fhir.errors import BudgetSpent, Cancelled
from service.fhir.servers import Limits

RETRY_STATUS = frozenset({408, 429, 500, 502, 503, 504})


class Clock:
    """The budget of one job, and the one place that waits."""

    def __init__(self, budget_seconds: float, cancel: threading.Event | None = None) -> None:
        self._end = time.monotonic() + budget_seconds
        self._cancel = cancel or threading.Event()

    def heed(self, cancel: threading.Event) -> None:
        """From here on this is what cuts off, also what is under way."""
        self._cancel = cancel

    def let_finish(self) -> None:
        """From here on nothing is cut off in the middle; the budget stays."""
        self._cancel = threading.Event()

    def left(self, what: str) -> float:
        if self._cancel.is_set():
            raise Cancelled(what)
        left = self._end - time.monotonic()
        if left <= 0:
            raise BudgetSpent(what)
        return left

    def wait(self, seconds: float, what: str) -> None:
        """Pause, unless that would outlast the budget: then waiting is pointless."""
        if seconds >= self.left(what):
            raise BudgetSpent(what)
        if self._cancel.wait(seconds):
            raise Cancelled(what)


def pause_before(attempt: int, retry_after: str | None, limits: Limits) -> float:
    """Seconds before try `attempt` (1 = the first repetition): the server's wish, else backoff.

    Half of each pause is random, so that many clients do not come back at the same moment.
    """
    longest = limits.longest_pause_seconds
    asked = parse_retry_after(retry_after)
    if asked is not None:
        return min(asked, longest) + random.uniform(0, 0.25)  # noqa: S311 - jitter, not a secret
    step = min(limits.first_pause_seconds * 2.0 ** (attempt - 1), longest)
    return step / 2 + random.uniform(0, step / 2)  # noqa: S311 - jitter, not a secret


def parse_retry_after(value: str | None) -> float | None:
    """Seconds, from either form of the header; None when it is absent or unreadable."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
