"""Subscriptions on the servers of watched patients: made, looked after, renewed, taken back.

Read `Subscriber.tend` downward. Each is written down here before its server hears of it, so that
the handshake finds it; and looked for by its address before it is made, so that it is made once.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from service.config.sections import is_loopback_http
from service.fhir.errors import FhirError, Gone, Invalid, NotFound, NotSupported, SetupError
from service.fhir.http import FhirClient
from service.fhir.of_type import NO_SINCE
from service.pipeline.runtime import Runtime
from service.stores.lessons import LessonStore
from service.stores.watches import Hook, HookState, HookStore, Watch, WatchStore
from service.watch import bodies
from service.watch.notification import Notification, UnreadableError, read_resource
from service.watch.numbering import close

Json = dict[str, Any]

PATH = "/hooks"
LEASE_SECONDS = 120
USUAL_LOOK = timedelta(hours=1)
_LONGEST_PAUSE = timedelta(hours=6)
_NOT_THERE = (NotFound, Gone)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server sends to, the secret it sends along, and the id it gave the subscription."""

    address: str
    secret: str
    id: str = ""

    @staticmethod
    def new() -> "Place":
        return Place(secrets.token_urlsafe(32), secrets.token_urlsafe(32))


class Subscriber:
    def __init__(self, runtime: Runtime, watches: WatchStore, hooks: HookStore) -> None:
        self._runtime, self._watches, self._hooks = runtime, watches, hooks
        self._config = runtime.config.watch

    # -- beginning and ending ------------------------------------------------------------------

    def subscribe(self, watch: Watch) -> list[Hook]:
        """Those that this patient's server is to have; where they are there already, nothing."""
        server = self._runtime.config.servers[watch.server]
        if server.subscriptions == "off" or self._hooks.of(watch.id):
            return self._hooks.of(watch.id)
        self._endpoint("")  # said now, rather than found by nobody later
        with self._client(watch.server) as client:
            dialect, _ = bodies.dialect_of(server, client.metadata().resource)
        kinds = {bodies.BACKPORT: ("*",), bodies.REST_HOOK: server.subscription_types}
        return [self._add(watch, kind, dialect) for kind in kinds.get(dialect, ())]

    def _add(self, watch: Watch, kind: str, dialect: str) -> Hook:
        place = Place.new()
        with self._runtime.database.write():
            hook = self._hooks.add(
                watch.id, watch.server, kind, dialect, digest(place.address), digest(place.secret)
            )
            self._hooks.change(hook.id, lambda row: self._put_place(row, place))
        return hook

    def unsubscribe(self, watch: str) -> int:
        """How many the server could not be told of; they are tried again later."""
        return sum(not self._take_back(hook) for hook in self._hooks.of(watch))

    def _take_back(self, hook: Hook) -> bool:
        place = self._place(hook)
        try:
            if place.id and hook.server in self._runtime.config.servers:
                with self._client(hook.server) as client:
                    client.write("DELETE", ("Subscription", place.id), None)
        except _NOT_THERE:
            pass
        except FhirError as error:
            self._failed(hook, error.code)
            return False
        return self._hooks.remove(hook.id)

    # -- looking after -------------------------------------------------------------------------

    def tend(self, limit: int) -> int:
        """Those that are due; how many were looked after."""
        done = 0
        for hook in self._hooks.claim(limit, LEASE_SECONDS):
            try:
                self._tend(hook)
                done += 1
            except FhirError as error:
                self._failed(hook, error.code)
            except UnreadableError:
                self._failed(hook, "not-fhir")
        return done

    def _tend(self, hook: Hook) -> None:
        watch = self._watches.get(hook.watch)
        if watch is None or watch.paused:
            self._take_back(hook)
        elif not self._place(hook).id:
            self._create(hook, watch)
        elif hook.state in (HookState.ERROR, HookState.OFF):
            self._begin_again(hook, watch)
        else:
            if hook.ahead:
                self._fill_gap(hook)
            self._check(hook, watch)

    def _create(self, hook: Hook, watch: Watch) -> None:
        place, ends = self._place(hook), self._ends()
        with self._client(hook.server) as client:
            found = self._find(client, place)
            if found is None:
                body = self._body(client, hook, watch, place, ends)
                answer = client.write("POST", ("Subscription",), body)
                found = answer.resource or {"id": _id_of(answer.headers.get("Location", ""))}
        made = Place(place.address, place.secret, str(found.get("id") or ""))

        def note(row: Hook) -> None:
            self._put_place(row, made)
            row.ends, row.error, row.failures = ends, "", 0
            if found.get("status") == "active":
                row.state = HookState.ACTIVE
            row.look = self._hooks.clock() + timedelta(minutes=1)

        self._hooks.change(hook.id, note)

    def _find(self, client: FhirClient, place: Place) -> Json | None:
        """Made before, and its answer lost."""
        endpoint = self._endpoint(place.address)
        try:
            bundle = client.search("Subscription", (("url", endpoint),)).resource or {}
        except (Invalid, NotSupported, NotFound):
            return None
        found = (entry.get("resource") or {} for entry in bundle.get("entry", ()))
        mine = (r for r in found if (r.get("channel") or {}).get("endpoint") == endpoint)
        return next(mine, None)

    def _check(self, hook: Hook, watch: Watch) -> None:
        """What the server says of it."""
        place = self._place(hook)
        try:
            with self._client(hook.server) as client:
                told = self._status(client, hook, place)
        except _NOT_THERE:  # it has forgotten it, or it has run out
            self._begin_anew(hook)
            return
        if told.status in (HookState.ERROR, HookState.OFF):
            self._hooks.change(hook.id, lambda row: self._fell_silent(row, told.status))
            self._look(hook, whole=True)
            return
        if told.total is not None and told.total > max([hook.last, *hook.ahead]):
            total = told.total
            self._hooks.change(hook.id, lambda row: close(row, max(total, row.last)))
            self._look(hook, whole=True)
        self._hooks.change(hook.id, lambda row: self._well(row, told.status))
        if self._is_old(hook):
            self._renew(hook, watch)

    def _status(self, client: FhirClient, hook: Hook, place: Place) -> Notification:
        if hook.dialect == bodies.BACKPORT:
            found = client.operation("Subscription", place.id, "status").resource
            return read_resource(found)
        found = client.read("Subscription", place.id).resource or {}
        return Notification(read_resource(found).kind, status=str(found.get("status", "")))

    def _well(self, row: Hook, status: str) -> None:
        if status == HookState.ACTIVE:
            row.state, row.error = HookState.ACTIVE, ""
        row.failures = 0
        pause = timedelta(seconds=2 * row.heartbeat) if row.heartbeat else USUAL_LOOK
        row.look = self._hooks.clock() + pause

    def _fell_silent(self, row: Hook, status: str) -> None:
        row.state, row.error = HookState(status), "stopped-by-server"
        row.gap_since = row.look = self._hooks.clock()

    def _begin_anew(self, hook: Hook) -> None:
        place = self._place(hook)

        def forget(row: Hook) -> None:
            self._put_place(row, Place(place.address, place.secret))
            row.state, row.error = HookState.REQUESTED, "gone-on-server"
            close(row, 0)
            row.look = self._hooks.clock()

        self._hooks.change(hook.id, forget)
        self._look(hook, whole=True)

    def _begin_again(self, hook: Hook, watch: Watch) -> None:
        """First the record is seen to, then the server is asked to go on: in this order, or what
        happened in between would be lost."""
        seen_to = watch.checked and hook.gap_since and watch.checked >= hook.gap_since
        if seen_to:
            self._renew(hook, watch)
            return
        self._look(hook, whole=True)
        self._hooks.change(hook.id, self._wait_for_look)

    def _wait_for_look(self, row: Hook) -> None:
        row.gap_since = row.gap_since or self._hooks.clock()
        row.look = self._hooks.clock() + timedelta(seconds=self._config.gap_seconds)

    def _renew(self, hook: Hook, watch: Watch) -> None:
        place, ends = self._place(hook), self._ends()
        with self._client(hook.server) as client:
            body = self._body(client, hook, watch, place, ends) | {"id": place.id}
            client.write("PUT", ("Subscription", place.id), body)

        def note(row: Hook) -> None:
            if row.state is not HookState.ACTIVE:  # the handshake may have been quicker
                row.state = HookState.REQUESTED
            row.ends, row.gap_since, row.failures = ends, None, 0
            row.look = self._hooks.clock() + timedelta(minutes=1)

        self._hooks.change(hook.id, note)

    def _fill_gap(self, hook: Hook) -> None:
        """What is missing still is asked for, where the server keeps its events."""
        missing = set(range(hook.last + 1, max(hook.ahead))) - set(hook.ahead)
        whole = not self._harmless(hook, missing)
        self._hooks.change(hook.id, lambda row: close(row, max([row.last, *row.ahead])))
        self._look(hook, whole)

    def _harmless(self, hook: Hook, missing: set[int]) -> bool:
        """Whether what was missed is known, and no deletion: then changes are enough."""
        if hook.dialect != bodies.BACKPORT or not missing:
            return not missing
        span = (
            ("eventsSinceNumber", str(min(missing))),
            ("eventsUntilNumber", str(max(missing))),
        )
        try:
            with self._client(hook.server) as client:
                found = client.operation("Subscription", self._place(hook).id, "events", span)
            told = read_resource(found.resource)
        except (FhirError, UnreadableError):
            return False
        return missing <= set(told.numbers) and not told.deleted

    # -- pieces --------------------------------------------------------------------------------

    def _look(self, hook: Hook, whole: bool) -> None:
        blind = cannot_tell(self._runtime, hook.server)
        self._watches.make_due(hook.watch, self._watches.clock(), whole or blind)

    def _failed(self, hook: Hook, code: str) -> None:
        def note(row: Hook) -> None:
            row.failures += 1
            row.error = code[:64]
            row.look = self._hooks.clock() + min(
                _LONGEST_PAUSE, timedelta(minutes=1) * 2 ** min(row.failures, 12)
            )

        self._hooks.change(hook.id, note)
        _log.warning("watch.subscription", server=hook.server, error=code)

    def _body(
        self, client: FhirClient, hook: Hook, watch: Watch, place: Place, ends: datetime
    ) -> Json:
        server = self._runtime.config.servers[hook.server]
        patient = self._request(watch)["patient"]
        endpoint = self._endpoint(place.address)
        if hook.dialect == bodies.REST_HOOK:
            return bodies.rest_hook(hook.kind, patient, endpoint, place.secret, ends)
        _, topic = bodies.dialect_of(server, client.metadata().resource)
        seconds = self._config.heartbeat_minutes * 60
        self._hooks.change(hook.id, lambda row: setattr(row, "heartbeat", seconds))
        return bodies.backport(
            topic, server.subscription_types, patient, endpoint, place.secret, ends, seconds
        )

    def _request(self, watch: Watch) -> Mapping[str, Any]:
        plain = self._runtime.sealer.open(watch.request, b"watch:" + watch.id.encode())
        found: Json = orjson.loads(plain)
        return found

    def _endpoint(self, address: str) -> str:
        origin = self._runtime.config.web.origin
        if not (origin.startswith("https://") or is_loopback_http(origin)):
            raise SetupError("web.public_url", next_step="Subscriptions need an https address.")
        return f"{origin}{PATH}/{address}"

    def _ends(self) -> datetime:
        return self._hooks.clock() + timedelta(days=self._config.subscription_days)

    def _is_old(self, hook: Hook) -> bool:
        left = timedelta(days=self._config.subscription_days) / 3
        return hook.ends is not None and hook.ends - self._hooks.clock() < left

    def _place(self, hook: Hook) -> Place:
        assert hook.place is not None
        plain = self._runtime.sealer.open(hook.place, b"hook:" + hook.id.encode())
        return Place(**orjson.loads(plain))

    def _put_place(self, row: Hook, place: Place) -> None:
        table = {"address": place.address, "secret": place.secret, "id": place.id}
        row.place = self._runtime.sealer.seal(orjson.dumps(table), b"hook:" + row.id.encode())

    def _client(self, name: str) -> FhirClient:
        return FhirClient(self._runtime.server(name))


def cannot_tell(runtime: Runtime, server: str) -> bool:
    """Whether a server was found to have no search for what has changed: one for what is new would
    miss a correction that somebody knows of."""
    configured = runtime.config.servers.get(server)
    base = configured.base_url.rstrip("/") if configured else ""
    return LessonStore(runtime.database).any_of(base, NO_SINCE)


def digest(text: str) -> bytes:
    """Addresses and secrets are random, so a plain hash tells nothing of them."""
    return hashlib.sha256(text.encode()).digest()


def _id_of(location: str) -> str:
    """The id in a Location header: `…/Subscription/{id}` with or without a version."""
    return location.partition("/Subscription/")[2].partition("/")[0]
