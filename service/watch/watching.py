"""Who is watched, when they are looked at again, and what is kept in between.

A look is a run in the ordinary queue, with its leases, its tries and its handing back. Taking a
watch that is due and writing the run down are one transaction: two processes never both look, and
one that dies in between has done nothing.
"""

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from privacy.errors import VaultError
from service.fhir.since import Kept, Terms
from service.pipeline.runtime import Runtime
from service.stores.audit import AuditStore
from service.stores.errors import QueueFullError
from service.stores.watches import HookStore, NoticeStore, Watch, WatchStore
from service.watch.subscribing import Subscriber, cannot_tell
from service.watch.telling import Teller

Json = dict[str, Any]
Enqueue = Callable[[Mapping[str, Any], str], str]

AT_ONCE = 20
_MOST_DOUBLINGS = 16


class UnknownWatchError(LookupError):
    """No such watch."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a run of a watch begins with."""

    kept: Kept | None = field(repr=False)
    terms: Terms


class Watching:
    """One per process; any number of processes over one database."""

    def __init__(self, runtime: Runtime, chance: Callable[[], float] = random.random) -> None:
        self._runtime = runtime
        self.config = runtime.config.watch
        self._chance = chance
        self.store = WatchStore(runtime.database)
        self.hooks = HookStore(runtime.database)
        self.subscriber = Subscriber(runtime, self.store, self.hooks)
        self._teller = Teller(runtime)
        self._audit = AuditStore(runtime.database)

    # -- who is watched ------------------------------------------------------------------------

    def add(self, request: Mapping[str, Any], role: str, subject: str) -> tuple[str, bool]:
        """`request` is that of a run. The watch, and whether it is new."""
        server = self._runtime.server(request["server"])
        index = self._runtime.vault.index(
            f"{self._runtime.config.project.name}/watch",
            server.base_url,
            f"Patient/{request['patient']}",
        )
        with self._runtime.database.write():
            name, new = self.store.add(index, server.name, lambda name: self._sealed(request, name))
            if new:
                self._note("watch-add", name, role, subject)
        return name, new

    def remove(self, name: str, role: str, subject: str) -> int:
        """Also on the server; how many subscriptions it could not be told of yet."""
        self._require(name)
        with self._runtime.database.write():
            self.store.remove(name)
            self._note("watch-remove", name, role, subject)
        return self.subscriber.unsubscribe(name)

    def pause(self, name: str, paused: bool, role: str, subject: str) -> None:
        self._require(name)
        self.store.pause(name, paused)
        self._note("watch-pause" if paused else "watch-resume", name, role, subject)

    def now(self, name: str, whole: bool = False) -> bool:
        """Look as soon as somebody has time. False: it is paused."""
        return self.make_due(self._require(name), self.store.clock(), whole)

    def make_due(self, watch: Watch, at: datetime, whole: bool) -> bool:
        """For somebody who knows of a change. Where the server cannot tell which it was, all is
        pulled."""
        blind = cannot_tell(self._runtime, watch.server)
        return self.store.make_due(watch.id, at, whole or blind)

    def _require(self, name: str) -> Watch:
        found = self.store.get(name)
        if found is None:
            raise UnknownWatchError(name)
        return found

    def tell(self) -> int:
        """Send what is to be told; how much was taken."""
        return self._teller.send(AT_ONCE)

    def levels(self) -> dict[str, float]:
        """For the metrics: numbers, and nobody's id."""
        found = self.store.levels()
        return {
            "twinport_watches": found.watched,
            "twinport_watches_failing": found.failing,
            "twinport_watch_longest_overdue_seconds": found.overdue_seconds,
            "twinport_watch_notices_waiting": NoticeStore(self._runtime.database).waiting(),
        }

    # -- when ----------------------------------------------------------------------------------

    def tick(self, enqueue: Enqueue) -> int:
        """Everything that is due: looks, subscriptions, notices. How much was done."""
        done = len(self.take_due(enqueue))
        done += self.subscriber.tend(AT_ONCE)
        return done + self.tell()

    def take_due(self, enqueue: Enqueue, limit: int = AT_ONCE) -> list[str]:
        """Queue a run for each that is due; the runs. Where the queue is full they stay due."""
        started: list[str] = []
        with suppress(QueueFullError):
            while len(started) < limit and (run := self._take_one(enqueue)):
                started.append(run)
        return started

    def _take_one(self, enqueue: Enqueue) -> str | None:
        with self._runtime.database.write():
            watch = next(iter(self.store.claim(1, self._next)), None)
            return None if watch is None else enqueue(self._request(watch), watch.server)

    def _request(self, watch: Watch) -> Json:
        plain = self._runtime.sealer.open(watch.request, b"watch:" + watch.id.encode())
        request: Json = orjson.loads(plain)
        return request | {"watch": watch.id, "whole": watch.whole}

    def _next(self, watch: Watch) -> datetime:
        return self._after(timedelta(minutes=self.config.minutes))

    def _after(self, pause: timedelta) -> datetime:
        """Not all at the same moment: moved by chance, to either side."""
        share = self.config.jitter_percent / 100 * (2 * self._chance() - 1)
        return self.store.clock() + pause * (1 + share)

    # -- a look --------------------------------------------------------------------------------

    def begin(self, name: str, whole: bool) -> Look:
        config = self.config
        terms = Terms(
            now=self.store.clock(),
            overlap=timedelta(seconds=config.overlap_seconds),
            full_after=timedelta(hours=config.full_hours),
            created_full_after=timedelta(hours=config.created_full_hours),
        )
        return Look(None if whole or not config.keep_record else self._kept(name), terms)

    def _kept(self, name: str) -> Kept | None:
        """None where there is nothing, or nothing that can be used: then all is pulled."""
        sealed = self.store.kept(name)
        if sealed is None:
            return None
        try:
            return Kept.from_bytes(self._runtime.sealer.open(sealed, b"kept:" + name.encode()))
        except VaultError:
            return None

    def done(self, name: str, kept: Kept, twin: str) -> None:
        sealed = None
        if self.config.keep_record:
            sealed = self._runtime.sealer.seal(kept.to_bytes(), b"kept:" + name.encode())
        self.store.done(name, sealed, twin)

    def failed(self, name: str, outcome: str) -> None:
        """Each failure in a row doubles the pause."""

        def due(failures: int) -> datetime:
            pause = timedelta(minutes=self.config.minutes) * 2 ** min(failures, _MOST_DOUBLINGS)
            return self._after(min(pause, timedelta(hours=self.config.backoff_hours)))

        self.store.failed(name, outcome, due)

    def _sealed(self, request: Mapping[str, Any], name: str) -> bytes:
        return self._runtime.sealer.seal(orjson.dumps(dict(request)), b"watch:" + name.encode())

    def _note(self, action: str, name: str, role: str, subject: str) -> None:
        self._audit.record(role=role, subject=subject, action=action, outcome="done", object=name)
