"""A network that misbehaves by a plan, in front of a sandbox that itself is well-behaved."""

import io
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from service.sandbox.persona import Settings
from service.sandbox.server import create_sandbox, sandbox_of
from service.sandbox.serving import serving
from service.sandbox.store import Resource, Store

BEFORE = ("reset-before", "stall-before", "503-before", "429-before", "409-before")
AFTER = ("reset-after", "stall-after", "500-after", "race", "race-reset", "late")
FAULTS = BEFORE + AFTER
STALL = 0.25  # longer than the patience of the clients in these tests

Environ = dict[str, Any]


class Faults:
    """WSGI middleware: what happens to the n-th request is in `plan`; all others go through.

    `…-before`: the server did nothing. `…-after`: it did it, and the answer is lost. `race`: the
    condition of a create is checked at the same moment as another's, and not seen. `late`: the
    server does it only when its client has long given up (`settle`).
    """

    def __init__(self, app: Any, plan: Mapping[int, str]) -> None:
        self._app, self._plan = app, dict(plan)
        self._lock = threading.Lock()
        self._number = 0
        self._late: list[Environ] = []
        self.met: list[str] = []

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        with self._lock:
            self._plan = {}

    def settle(self) -> int:
        """Do what arrived and was not done yet; how much it was."""
        with self._lock:
            late, self._late = self._late, []
        for environ in late:
            self._answered(environ)
        return len(late)

    def __call__(self, environ: Environ, start: Any) -> Iterable[bytes]:
        with self._lock:
            fault = self._plan.get(self._number, "")
            self._number += 1
        if fault:
            self.met.append(fault)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return self._with(fault, {**environ, "wsgi.input": io.BytesIO(body)}, body, start)

    def _with(self, fault: str, environ: Environ, body: bytes, start: Any) -> Iterable[bytes]:
        kind, _, side = fault.partition("-")
        if kind == "late" and environ["REQUEST_METHOD"] != "GET":
            with self._lock:
                self._late.append(environ)
            return self._lost("stall", environ)
        if side == "before":
            return self._lost(kind, environ) if not kind.isdigit() else _status(kind, start)
        if kind == "race":
            environ = _without_condition(environ, body)
        answer = self._answered(environ)
        if side in ("after", "reset"):
            kind = "reset" if kind == "race" else kind
            return self._lost(kind, environ) if not kind.isdigit() else _status(kind, start)
        status, headers, content = answer
        start(status, headers)
        return [content]

    def _answered(self, environ: Environ) -> tuple[str, list[tuple[str, str]], bytes]:
        found: list[Any] = []
        parts = self._app(environ, lambda *given: found.extend(given[:2]))
        content = b"".join(parts)
        return found[0], found[1], content

    def _lost(self, kind: str, environ: Environ) -> Iterable[bytes]:
        if kind == "stall":
            threading.Event().wait(STALL)
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError


def _status(code: str, start: Any) -> Iterable[bytes]:
    start(f"{code} X", [("Content-Type", "application/fhir+json")])
    issue = [{"severity": "error", "code": "exception"}]
    return [orjson.dumps({"resourceType": "OperationOutcome", "issue": issue})]


def _without_condition(environ: Environ, body: bytes) -> Environ:
    """The condition was checked a moment ago, when nothing was there yet."""
    bundle = orjson.loads(body) if body else {}
    for entry in bundle.get("entry", ()):
        entry["request"].pop("ifNoneExist", None)
    changed = orjson.dumps(bundle) if body else b""
    kept = {name: value for name, value in environ.items() if name != "HTTP_IF_NONE_EXIST"}
    return {**kept, "wsgi.input": io.BytesIO(changed), "CONTENT_LENGTH": str(len(changed))}


class FaultyServer:
    """The sandbox behind such a network."""

    def __init__(self, base: str, store: Store, faults: Faults, before: frozenset[str]) -> None:
        self.base, self.store, self.faults = base, store, faults
        self._before = before

    def ours(self, kind: str) -> list[Resource]:
        """What no patient came with, without what is marked as entered in error."""
        return [
            resource
            for resource in self.store.all(kind)
            if resource["id"] not in self._before and resource.get("status") != "entered-in-error"
        ]


WAYS: Mapping[str, Settings] = {
    "transaction": Settings(),
    "conditional-create": Settings(transactions=False),
    "own-id": Settings(transactions=False, update_as_create=True),
    "search-then-create": Settings(transactions=False, conditional_create=False),
}


@contextmanager
def faulty_server(
    patient: Iterable[Resource], way: str, plan: Mapping[int, str]
) -> Iterator[FaultyServer]:
    resources = list(patient)
    app = create_sandbox((), settings=WAYS[way])
    inside = sandbox_of(app)
    inside.store.load(resources)
    faults = Faults(app.wsgi_app, plan)
    app.wsgi_app = faults  # type: ignore[method-assign]
    known = frozenset(str(resource["id"]) for resource in resources)
    with serving(app) as server:
        base = f"http://127.0.0.1:{server.server_port}{inside.prefix}"
        yield FaultyServer(base, inside.store, faults, known)
