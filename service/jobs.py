"""The durable queue of runs: worker threads that claim, renew, finish, and never double.

A run is written down before anybody is told its id. A worker holds it by a token and a lease that
a heartbeat renews; whoever loses the lease can record nothing more. After ``kill -9`` the lease
runs out and the next process queues the run again, or ends it with a reason after the last try.
Handlers must therefore be safe to repeat: the vault gives the same pseudonyms, the outbox writes
once.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import orjson
import structlog

from service.config import Jobs
from service.stores.runs import ClaimedRun, Room, Run, RunStore, new_run_id

_log = structlog.get_logger(__name__)


class Sealer(Protocol):
    """Seals what names a patient; ``context`` binds the bytes to their run."""

    def seal(self, plain: bytes, context: bytes) -> bytes: ...

    def open(self, sealed: bytes, context: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run leaves behind: pseudonym, version, counts. No values.

    `beside` is called inside the transaction that records it."""

    twin: str | None = None
    twin_version: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    beside: Callable[[], None] | None = None
    held: object = field(default=None, repr=False)
    """Large, and not needed any more: let go of when whoever waits for the run has been told"""


class RunStopped(BaseException):
    """Ends a handler from within ``context.check()``. Handlers let it pass.

    Not an ``Exception``, so that a handler's own error handling cannot swallow it.
    """


class _Cancelled(RunStopped):
    pass


class _LeaseLost(RunStopped):
    pass


class _HandedBack(RunStopped):
    pass


class RunFailedError(Exception):
    """A handler's refusal: ``code`` is what the caller of the run reads; final."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RunAgainError(Exception):
    """A failure that may pass by itself: the run is tried again while tries are left."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RunContext:
    """What a handler gets: the request, a place to report progress, a check between steps."""

    def __init__(
        self, store: RunStore, claimed: ClaimedRun, request: Mapping[str, Any], stop: "_Stop"
    ) -> None:
        """One that was claimed just now: nobody has asked for its end yet, and where it begins
        was written with the claim."""
        self.run_id = claimed.run.id
        self.kind = claimed.run.kind
        self.attempt = claimed.run.attempt
        self.created = claimed.run.created
        self.request = request
        self._store = store
        self._owner = claimed.owner
        self._stop = stop
        self._looked = time.monotonic()
        self._told = -math.inf if claimed.run.stage is None else self._looked
        self.lost = threading.Event()
        self.over = threading.Event()
        """Set when the next check will end the run: who waits for somebody may stop waiting."""

    def progress(self, stage: str, counts: Mapping[str, int] | None = None) -> None:
        """Record the stage (a code) and numbers; also a check. A stage without numbers that follows
        quickly on another one is passed over."""
        self.check()
        now = time.monotonic()
        if counts is None and now - self._told < _TELL_SECONDS:
            return
        self._told = now
        if not self._store.progress(self.run_id, self._owner, stage, counts or {}):
            self.lost.set()
            raise _LeaseLost

    def check(self) -> None:
        """Call between steps: ends the run when cancelled, taken over, or the process stops."""
        if self.lost.is_set():
            raise _LeaseLost
        if self._stop.hand_back.is_set():
            raise _HandedBack
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            if self._store.is_cancelled(self.run_id):
                raise _Cancelled

    def renew(self, lease_seconds: float) -> None:
        if not self._store.renew(self.run_id, self._owner, lease_seconds=lease_seconds):
            self.lost.set()
        if self.lost.is_set() or self._store.is_cancelled(self.run_id):
            self.over.set()


# A short run passes many steps; the database is told of them, and asked whether somebody wants an
# end, no more often than a person could tell.
_LOOK_SECONDS = 0.1
_TELL_SECONDS = 0.5

Handler = Callable[[RunContext], Outcome]


class _Stop:
    """Two steps of stopping: take nothing new, then hand back what is in hand."""

    def __init__(self) -> None:
        self.no_more = threading.Event()
        self.hand_back = threading.Event()


class JobRunner:
    """Workers of this process over the shared queue."""

    def __init__(
        self,
        store: RunStore,
        handlers: Mapping[str, Handler],
        config: Jobs,
        sealer: Sealer,
        *,
        begins_with: str | None = None,
    ) -> None:
        """`begins_with`: the stage in which every run begins."""
        self._store = store
        self._begins_with = begins_with
        self._handlers = dict(handlers)
        self._config = config
        self._sealer = sealer
        self._stop = _Stop()
        self._work_came = threading.Condition()
        self._work_done = threading.Condition()
        self._came = self._done = 0  # times that either was told
        # Under `_work_came`: workers with nothing to do, those of them that a run is being written
        # down for, and what was claimed for them.
        self._idle = self._promised = 0
        self._handed: deque[ClaimedRun] = deque()
        self._ours: set[str] = set()  # runs that our workers have, or are about to get
        self._awaited: dict[str, Run | None] = {}  # by somebody here; as they ended, once they have
        self._workers: list[threading.Thread] = []
        self._heart: list[threading.Thread] = []
        self._in_hand: dict[str, RunContext] = {}
        self._in_hand_lock = threading.Lock()

    # -- callers' side -------------------------------------------------------------------------

    def enqueue(
        self,
        request: Mapping[str, Any],
        *,
        kind: str = "run",
        server: str | None = None,
        requested_by: str | None = None,
        run_id: str | None = None,
        beside: Callable[[str], None] | None = None,
    ) -> str:
        """Write a run down, sealed; its id. `QueueFullError` where too many wait already.

        A worker of this process with nothing to do gets it by the same transaction. `beside` is
        called inside it."""
        if kind not in self._handlers:
            raise ValueError("jobs: no handler for this kind of run")
        run_id = run_id or new_run_id()
        sealed = self._sealer.seal(orjson.dumps(dict(request)), _context(run_id))
        with self._worker() as promised:
            entered = self._store.enter(
                sealed,
                kind=kind,
                server=server,
                requested_by=requested_by,
                run_id=run_id,
                room=Room(self._config.waiting, self._config.waiting_per_caller),
                beside=beside,
                lease_seconds=self._config.lease_seconds if promised else None,
                stage=self._begins_with,
            )
            if entered.claimed is not None:
                self._ours.add(run_id)
                self._handed.append(entered.claimed)
        return run_id

    @property
    def has_time(self) -> bool:
        """Whether a worker of this process waits for work. By the time a run is written down,
        others may have come first."""
        with self._work_came:
            return self._spare()

    def _spare(self) -> bool:
        return self._idle > self._promised + len(self._handed)

    @contextmanager
    def _worker(self) -> Iterator[bool]:
        """Whether one of ours waits for work: it goes on waiting until we are done, and is woken
        then."""
        with self._work_came:
            promised = self._spare()
            self._promised += promised
        try:
            yield promised
        finally:
            with self._work_came:
                self._promised -= promised
                self._came += 1
                self._work_came.notify()
            if self._stop.no_more.is_set():
                self._give_back()

    def wait(self, run_id: str, seconds: float) -> Run | None:
        """The run once it has ended, as it stands when the time is up, or None if unknown."""
        self._awaited.setdefault(run_id, None)
        try:
            return self._waited_for(run_id, time.monotonic() + seconds)
        finally:
            self._awaited.pop(run_id, None)

    def _waited_for(self, run_id: str, end: float) -> Run | None:
        while True:
            done, rest = self._done, end - time.monotonic()
            if (ended := self._awaited.get(run_id)) is not None:
                return ended  # as the worker recorded it, without asking for it again
            if rest <= 0 or run_id not in self._ours:  # a worker of ours tells when it is done
                run = self._store.get(run_id)
                if run is None or run.ended or rest <= 0:
                    return run
            with self._work_done:
                if done == self._done:
                    self._work_done.wait(min(rest, self._config.poll_seconds))

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Take over what dead workers left, then work until ``stop``."""
        if self._heart:
            raise RuntimeError("jobs: already started")
        self._stop = _Stop()
        self._recover()
        names = [f"run-worker-{number}" for number in range(self._config.workers)]
        self._workers = [_spawn(self._work, name, self._stop) for name in names]
        self._heart = [_spawn(self._beat, "run-heartbeat", self._stop)]

    def stop(self, timeout: float | None = None) -> None:
        """Take nothing new, wait for what is in hand, then hand the rest back to the queue."""
        patience = self._config.stop_seconds if timeout is None else timeout
        self._stop.no_more.set()
        _wake(self._work_came)
        _join(self._workers, patience)
        self._stop.hand_back.set()
        self._interrupt(lambda _: True)
        # A handler that does not come to its next check in this time keeps its lease until it
        # runs out; another process goes on from there.
        _join(self._workers, 5)
        self._tell_done()
        _join(self._heart, 5)
        self._workers, self._heart = [], []

    def interrupt(self, run_id: str) -> None:
        """Tell a run of this process that it was cancelled; others learn it by their heartbeat."""
        self._interrupt(lambda context: context.run_id == run_id)

    def _interrupt(self, wanted: Callable[[RunContext], bool]) -> None:
        with self._in_hand_lock:
            contexts = [context for context in self._in_hand.values() if wanted(context)]
        for context in contexts:
            context.over.set()

    @property
    def in_hand(self) -> int:
        with self._in_hand_lock:
            return len(self._in_hand)

    # -- workers -------------------------------------------------------------------------------

    def _work(self, stop: "_Stop") -> None:
        while not stop.no_more.is_set():
            came = self._came
            if not self._safely(lambda: self._take_one(stop)):
                self._rest(came)
        self._give_back()

    def _rest(self, came: int) -> None:
        """Until work comes, or it is time to look whether some came elsewhere. `came`: as it was
        when we last looked."""
        with self._work_came:
            self._idle += 1
            if came == self._came:
                self._work_came.wait(self._config.poll_seconds)
            while self._promised and not self._handed:
                self._work_came.wait(self._config.poll_seconds)
            self._idle -= 1

    def _give_back(self) -> None:
        """What was claimed for a worker that has gone."""
        with self._work_came:
            left = list(self._handed)
            self._handed.clear()
        for claimed in left:
            self._ours.discard(claimed.run.id)
            self._safely(partial(self._store.hand_back, claimed.run.id, claimed.owner))

    def _beat(self, stop: "_Stop") -> None:
        """Renew the leases of runs in hand, and look for runs of workers that fell silent."""
        while not (stop.hand_back.is_set() and self.in_hand == 0):
            self._safely(self._renew_all)
            self._safely(self._recover)
            stop.hand_back.wait(self._config.lease_seconds / 3)
            if stop.hand_back.is_set() and self.in_hand:
                _pause(self._work_done, 1)

    def _safely(self, step: Callable[[], Any]) -> Any:
        """A database that is away for a while must not end the worker for good."""
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - logged by type, and tried again
            _log.error("jobs.step-failed", error=type(error).__name__)
            return None

    def _renew_all(self) -> None:
        with self._in_hand_lock:
            contexts = list(self._in_hand.values())
        for context in contexts:
            context.renew(self._config.lease_seconds)

    def _recover(self) -> None:
        if found := self._store.recover(attempts=self._config.attempts):
            _log.warning("jobs.recovered", runs=found)
            with self._work_came:
                self._came += 1
                self._work_came.notify_all()

    def _take_one(self, stop: "_Stop") -> bool:
        claimed = self._claimed()
        if claimed is None:
            return False
        self._ours.add(claimed.run.id)
        outcome = None
        try:
            outcome = self._carry_out(claimed, stop)
        finally:
            self._ours.discard(claimed.run.id)
            self._tell_done()
            time.sleep(0)  # whoever was told goes on, before there is more work
            del outcome
        return True

    def _claimed(self) -> ClaimedRun | None:
        with suppress(IndexError):
            return self._handed.popleft()
        lease = self._config.lease_seconds
        return self._store.claim(lease_seconds=lease, stage=self._begins_with)

    def _tell_done(self) -> None:
        with self._work_done:
            self._done += 1
            self._work_done.notify_all()

    def _carry_out(self, claimed: ClaimedRun, stop: "_Stop") -> Outcome | None:
        """What has come of it, where it is done."""
        run_id, owner = claimed.run.id, claimed.owner
        try:
            outcome = self._handled(claimed, stop)
        except _LeaseLost:
            _log.warning("jobs.lease-lost", run=run_id)
        except _Cancelled:
            self._store.end_cancelled(run_id, owner)
        except _HandedBack:
            self._store.hand_back(run_id, owner)
        except RunAgainError as error:
            self._try_again(claimed, error.code)
        except RunFailedError as error:
            self._store.fail(run_id, owner, error.code)
        except Exception as error:  # noqa: BLE001 - a run must end with a reason, whatever broke
            # The type alone: the message of an unknown error may quote a patient's value.
            _log.error("jobs.run-broke", run=run_id, error=type(error).__name__)
            self._store.fail(run_id, owner, "internal-error")
        else:
            self._record(claimed, outcome)
            return outcome
        return None

    def _handled(self, claimed: ClaimedRun, stop: "_Stop") -> Outcome:
        handler = self._handlers.get(claimed.run.kind)
        if handler is None:
            raise RunFailedError("unknown-kind")
        plain = self._sealer.open(claimed.sealed_request, _context(claimed.run.id))
        context = RunContext(self._store, claimed, orjson.loads(plain), stop)
        with self._in_hand_lock:
            self._in_hand[claimed.owner] = context
        try:
            return handler(context)
        finally:
            with self._in_hand_lock:
                del self._in_hand[claimed.owner]

    def _record(self, claimed: ClaimedRun, outcome: Outcome) -> None:
        run = self._store.complete(
            claimed.run.id,
            claimed.owner,
            twin=outcome.twin,
            twin_version=outcome.twin_version,
            counts=outcome.counts,
            beside=outcome.beside,
        )
        if run is None:
            _log.warning("jobs.lease-lost", run=claimed.run.id)
        elif run.id in self._awaited:
            self._awaited[run.id] = run

    def _try_again(self, claimed: ClaimedRun, code: str) -> None:
        if claimed.run.attempt >= self._config.attempts:
            self._store.fail(claimed.run.id, claimed.owner, code)
        else:
            self._store.retry(claimed.run.id, claimed.owner)


def _spawn(work: Callable[[_Stop], None], name: str, stop: _Stop) -> threading.Thread:
    thread = threading.Thread(target=work, args=(stop,), name=name, daemon=True)
    thread.start()
    return thread


def _wake(event: threading.Condition) -> None:
    with event:
        event.notify_all()


def _pause(event: threading.Condition, seconds: float) -> None:
    with event:
        event.wait(seconds)


def _join(threads: list[threading.Thread], seconds: float) -> None:
    """Wait for all of them, together at most this long."""
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _context(run_id: str) -> bytes:
    """Sealed bytes cannot be moved from one run to another."""
    return b"run:" + run_id.encode("ascii")
