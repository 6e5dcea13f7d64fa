"""All files of an export into the spool: several at once, each whole or not at all.

What keeps a file from coming is told apart: an address that has expired is asked for anew, once; a
break is tried again; a network that is down stops the work, which a later run goes on with; all
else is the file's own failure, and costs completeness.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from service.bulk.download import WHAT, Downloads
from service.bulk.errors import NoResources, TooSlow
from service.bulk.intake import Intake
from service.bulk.spool import File, Spool
from service.fhir.errors import (
    Cancelled,
    FhirError,
    Forbidden,
    Gone,
    NotFhir,
    NotFound,
    ServerFailed,
    SetupError,
    SignInRefused,
    Throttled,
    TransportError,
    Unreachable,
)
from service.fhir.retry import pause_before

_ONCE_MORE = (Forbidden, NotFound, Gone, TransportError)
_PASSING = (TransportError, ServerFailed, Throttled, SignInRefused, NotFhir)
SECONDS_BETWEEN_CHECKS = 1.0
PASSES = 6
"""A host that never answered in so many passes is given up, with its files."""

Tell = Callable[[int, int], None]
"""(files that came to an end, of how many)"""


@dataclass
class Loading:
    spool: Spool
    intake: Intake
    downloads: Downloads
    token: bool
    parallel: int
    renew: Callable[[], None]
    """Fetches the manifest again and gives waiting files their new addresses"""
    tell: Tell
    check: Callable[[], None]
    """Raises where the job was cancelled"""
    _next_check: float = field(default=0.0, init=False)

    def load(self) -> None:
        """Every file that waits: afterwards each is done or has failed, or this raises."""
        ends = self._pass()
        if any(isinstance(error, _ONCE_MORE) for error in ends.values()):
            self.renew()
            ends = self._pass()
        if any(isinstance(error, TransportError) for error in ends.values()):
            self.renew()  # raises where it is the network and not the file
        for number, error in ends.items():
            if isinstance(error, Unreachable) and self.spool.tried(number) < PASSES:
                raise error  # where the files lie nobody is at home: a later run tries again
            self.spool.failed(number, error.code)

    def _pass(self) -> dict[int, FhirError]:
        """One try at each waiting file; those that did not come, and why."""
        ends: dict[int, FhirError] = {}
        total, left = self.spool.number_of_files(), self.spool.number_of_files("waiting")
        waiting = self.spool.files("waiting")
        with ThreadPoolExecutor(self.parallel) as pool:
            running: dict[Future[None], int] = {}
            try:
                while True:
                    for file in islice(waiting, self.parallel - len(running)):
                        running[pool.submit(self._fetch, file)] = file.n
                    if not running:
                        return ends
                    left -= self._take(running, ends)
                    self.tell(total - left, total)
                    self._check_now_and_then()
            finally:
                for future in running:
                    future.cancel()

    def _check_now_and_then(self) -> None:
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + SECONDS_BETWEEN_CHECKS
            self.check()

    def _take(self, running: dict[Future[None], int], ends: dict[int, FhirError]) -> int:
        """Waits until some came to their end; how many."""
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            number = running.pop(future)
            try:
                future.result()
            except (Cancelled, SetupError):
                raise
            except FhirError as error:
                ends[number] = error
        return len(done)

    def _fetch(self, file: File) -> None:
        self.spool.try_(file.n)
        limits = self.downloads.client.server.limits
        for attempt in range(1, limits.tries + 1):
            try:
                with self.downloads.lines(file.url, self.token) as lines:
                    tally = self.intake.take(file, lines)
            except _PASSING as error:
                if attempt == limits.tries or isinstance(error, NoResources | TooSlow):
                    raise
            else:
                # Cut short, perhaps: once more will show. Else the promise was wrong.
                if file.count is None or tally.read >= file.count or attempt > 1:
                    return
            self.downloads.client.clock.wait(pause_before(attempt, None, limits), WHAT)
