"""The servers that the tests of `service/fhir` talk to."""

import contextlib
import copy
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self
from urllib.parse import parse_qsl

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from service.config.sections import ServerAuth
from service.fhir.http import FhirClient
from service.fhir.servers import Limits, ServerConfig

Resource = dict[str, Any]

QUICK = Limits(
    connect_seconds=2,
    read_seconds=2,
    budget_seconds=20,
    tries=3,
    first_pause_seconds=0.01,
    longest_pause_seconds=1,
)


def client_for(base_url: str, *, limits: Limits = QUICK, **kwargs: Any) -> FhirClient:
    auth = ServerAuth(**kwargs.pop("auth", {}))
    config = ServerConfig("test", base_url, auth=auth, limits=limits, **kwargs)
    return FhirClient(config)


class _Quiet(WSGIRequestHandler):
    disable_nagle_algorithm = True  # otherwise each answer waits 40 ms for an acknowledgement

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class LocalServer:
    """A WSGI application in a thread."""

    def __init__(self) -> None:
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.base = f"{self.origin}/fhir"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _app(self, environ: dict[str, Any], start: Any) -> Any:
        request = Request(environ)
        return self.answer(request)(environ, start)

    def answer(self, request: Request) -> Response:
        raise NotImplementedError


def fhir(resource: Any, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(
        json.dumps(resource), status, headers=named, content_type="application/fhir+json"
    )


def outcome(code: str, severity: str = "error") -> Resource:
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": "Jane Roe, 1970-01-01"}],
    }


def bundle(
    *resources: Resource, next: str | None = None, self: str | None = None, **more: Any
) -> Resource:
    links = [{"relation": r, "url": u} for r, u in (("self", self), ("next", next)) if u]
    entries = [{"resource": r, "search": {"mode": "match"}} for r in resources]
    return {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries} | more


Script = Callable[[Request], Response | None]


class ScriptedServer(LocalServer):
    """Answers as the test says; what it says nothing about is an empty searchset.

    `on(path)` sets what comes for a path below the base: responses, or functions of the request,
    used up one by one (the last one stays).
    """

    def __init__(self) -> None:
        super().__init__()
        self._routes: dict[str, list[Any]] = {}
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def on(self, path: str, *answers: Any) -> None:
        self._routes[path] = list(answers)

    def patient(self, identity: str, **elements: Any) -> None:
        self.on(
            f"Patient/{identity}",
            fhir({"resourceType": "Patient", "id": identity, **elements}),
        )

    def asked(self, path: str) -> list[Request]:
        return [r for r in self.requests if r.path == f"/fhir/{path}"]

    def answer(self, request: Request) -> Response:
        request.get_data()
        with self._lock:
            self.requests.append(request)
            answers = self._routes.get(request.path.removeprefix("/fhir/"))
            chosen = answers[0] if answers else fhir(bundle())
            if answers and len(answers) > 1:
                answers.pop(0)
        return chosen(request) if not isinstance(chosen, Response) else chosen


class SmallFhirServer(LocalServer):
    """A FHIR store with switches: what it advertises, how it creates, and when it breaks.

    `faults` are used up one per write request: "before" breaks the connection with nothing done,
    "after" does it and breaks the connection, "stall-before" and "stall-after" likewise let the
    client run into its time-out, a number is answered as that status with nothing done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resources: dict[tuple[str, str], Resource] = {}
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.transaction = True
        self.conditional_create = True
        self.update_create = False
        self.conditional_update = False
        self.search_by_identifier = True
        self.not_creatable: set[str] = set()
        self.races = False
        self.faults: list[str | int] = []
        self.writes: list[str] = []
        self.searched: list[str] = []
        self.stalled = threading.Event()

    def all(self, kind: str) -> list[Resource]:
        return [r for (k, _), r in self.resources.items() if k == kind]

    def alive(self, kind: str) -> list[Resource]:
        return [r for r in self.all(kind) if r.get("status") != "entered-in-error"]

    def put(self, resource: Resource) -> Resource:
        with self.lock:
            number = next(self.numbers)
            stored = copy.deepcopy(resource)
            stored.setdefault("id", str(number))
            old = self.resources.get((stored["resourceType"], stored["id"]))
            version = int(old["meta"]["versionId"]) + 1 if old else 1
            stored["meta"] = {
                **stored.get("meta", {}),
                "versionId": str(version),
                "lastUpdated": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
            }
            self.resources[stored["resourceType"], stored["id"]] = stored
            return stored

    def __exit__(self, *_: object) -> None:
        self.stalled.set()
        super().__exit__()

    def answer(self, request: Request) -> Response:
        body = request.get_data()
        path = request.path.removeprefix("/fhir").strip("/").split("/")
        if request.method == "GET":
            return self._get(request, path)
        self.writes.append(f"{request.method} {path[0]}")
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return fhir(outcome("exception"), fault)
        if fault in ("before", "stall-before"):
            self._break(request, fault)
        with self.lock:
            response = self._write(request, path, json.loads(body) if body else None)
        if fault in ("after", "stall-after"):
            self._break(request, fault)
        return response

    def _break(self, request: Request, fault: Any) -> None:
        if "stall" in fault:
            self.stalled.wait(10)
        request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError

    def _get(self, request: Request, path: list[str]) -> Response:
        if path == ["metadata"]:
            return fhir(self._statement())
        if len(path) == 2:
            found = self.resources.get((path[0], path[1]))
            return fhir(found) if found else fhir(outcome("not-found"), 404)
        self.searched.append(path[0])
        matches = [r for r in self.all(path[0]) if self._matches(r, request.args)]
        return fhir(bundle(*matches, self=request.url))

    def _matches(self, resource: Resource, args: Any) -> bool:
        identifier, target, patient = (
            args.get("identifier"),
            args.get("target"),
            args.get("patient"),
        )
        if identifier and self.search_by_identifier:
            system, value = unescaped(identifier)
            return any(
                i["system"] == system and i["value"] == value
                for i in resource.get("identifier", [])
            )
        if target:
            return any(t["reference"] == target for t in resource.get("target", []))
        if patient:
            return (resource.get("subject") or resource.get("patient") or {}).get(
                "reference"
            ) == patient
        return True

    def _write(self, request: Request, path: list[str], body: Any) -> Response:
        if path == [""]:
            return self._transact(body)
        if request.method == "DELETE":
            self.resources.pop((path[0], path[1]), None)
            return Response(status=204)
        if request.method == "PUT" and len(path) == 1:
            return self._update_where(path[0], body, request.query_string.decode())
        if request.method == "PUT":
            return self._update(request, path[0], path[1], body)
        return self._create(path[0], body, request.headers.get("If-None-Exist"))

    def _create(self, kind: str, body: Resource, condition: str | None) -> Response:
        if kind in self.not_creatable:
            return fhir(outcome("not-supported"), 405)
        if condition and self.conditional_create and not self.races:
            found = self._condition(kind, condition)
            if len(found) > 1:
                return fhir(outcome("multiple-matches"), 412)
            if found:
                return fhir(found[0], 200, Location=self._location(found[0]))
        stored = self.put({k: v for k, v in body.items() if k != "id"})
        return fhir(stored, 201, Location=self._location(stored))

    def _update_where(self, kind: str, body: Resource, condition: str) -> Response:
        found = self._condition(kind, condition)
        if not self.conditional_update or len(found) > 1:
            code = "multiple-matches" if self.conditional_update else "not-supported"
            return fhir(outcome(code), 412 if self.conditional_update else 400)
        identity = {"id": found[0]["id"]} if found else {}
        stored = self.put({**body, **identity})
        return fhir(stored, 200 if found else 201, Location=self._location(stored))

    def _update(self, request: Request, kind: str, identity: str, body: Resource) -> Response:
        old = self.resources.get((kind, identity))
        if old is None and not self.update_create:
            return fhir(outcome("not-found"), 404)
        if old is not None and request.headers.get("If-None-Match") == "*":
            return fhir(outcome("conflict"), 412)
        match = request.headers.get("If-Match")
        if old is not None and match and match != f'W/"{old["meta"]["versionId"]}"':
            return fhir(outcome("conflict"), 412)
        stored = self.put({**body, "id": identity})
        return fhir(stored, 200 if old else 201, Location=self._location(stored))

    def _transact(self, body: Resource) -> Response:
        if not self.transaction:
            return fhir(outcome("not-supported"), 400)
        before = copy.deepcopy(self.resources)
        named: dict[str, str] = {}
        results = []
        for entry in body["entry"]:
            request = entry["request"]
            answer = self._create(request["url"], entry["resource"], request.get("ifNoneExist"))
            if answer.status_code >= 400:
                self.resources = before
                return answer
            made = json.loads(answer.get_data())
            named[entry["fullUrl"]] = f"{made['resourceType']}/{made['id']}"
            results.append((made, answer))
        self._link(named)
        entries = [
            {"response": {"status": f"{a.status_code}", "location": f"{self._relative(m)}"}}
            for m, a in results
        ]
        return fhir({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

    def _link(self, named: dict[str, str]) -> None:
        for key, resource in self.resources.items():
            text = json.dumps(resource)
            for urn, reference in named.items():
                text = text.replace(urn, reference)
            self.resources[key] = json.loads(text)

    def _condition(self, kind: str, condition: str) -> list[Resource]:
        name, value = parse_qsl(condition)[0]
        return [r for r in self.all(kind) if self._matches(r, {name: value})]

    def _relative(self, resource: Resource) -> str:
        version = resource["meta"]["versionId"]
        return f"{resource['resourceType']}/{resource['id']}/_history/{version}"

    def _location(self, resource: Resource) -> str:
        return f"{self.base}/{self._relative(resource)}"

    def _statement(self) -> Resource:
        rows = []
        for kind in ("Patient", "Observation", "Device", "RiskAssessment", "Provenance"):
            creatable = kind not in self.not_creatable
            codes = ["read", "search-type", "update", *(["create"] if creatable else [])]
            parameters = ["patient", "target"]
            parameters += ["identifier"] if self.search_by_identifier else []
            rows.append(
                {
                    "type": kind,
                    "interaction": [{"code": code} for code in codes],
                    "conditionalCreate": self.conditional_create,
                    "conditionalUpdate": self.conditional_update,
                    "updateCreate": self.update_create,
                    "searchParam": [{"name": name} for name in parameters],
                }
            )
        system = [{"code": "transaction"}] if self.transaction else []
        rest = {"mode": "server", "resource": rows, "interaction": system}
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "fhirVersion": "4.0.1",
            "rest": [rest],
        }


def unescaped(token: str) -> list[str]:
    """system|value of a token search, split at the separator and not at escaped ones."""
    return [part.replace("\\", "") for part in re.split(r"(?<!\\)\|", token)]


class RawServer:
    """Sends exactly the bytes it is given, then closes; each connection uses up one script."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._stop = threading.Event()
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}/fhir"
        self.scripts: list[Callable[[socket.socket], None]] = []
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError), socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            connection, _ = self._socket.accept()
            if self._stop.is_set():
                connection.close()
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                script = self.scripts[0] if len(self.scripts) == 1 else self.scripts.pop(0)
                script(connection)

    @property
    def stopped(self) -> threading.Event:
        return self._stop


def http_bytes(body: bytes, *headers: str, length: int | None = None, status: int = 200) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        "Content-Type: application/fhir+json",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def observations(patient: str, *identities: str, **elements: Any) -> Iterator[Resource]:
    for identity in identities:
        yield {
            "resourceType": "Observation",
            "id": identity,
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient}"},
            **elements,
        }
