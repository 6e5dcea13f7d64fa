"""A server whose exports do harm, by defect or by intent: each way has a name, and one is chosen.

Seen in the wild (public issues): random 500s while polling, cumulus-etl#334; a wait of hours asked
for, cumulus-etl#374; twenty thousand tiny files, bulk-data-client#18; tokens taken along to object
storage, bulk-data-client#2; transaction times that are none, cumulus-etl#332. The others are what
an attacker or a broken proxy would do.
"""

import gzip
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
from flask import Request, Response, request

from service.sandbox.errors import outcome
from service.sandbox.export.manners import Manners
from service.sandbox.persona import Persona

NDJSON = "application/fhir+ndjson"
FHIR_JSON = "application/fhir+json"
BOMB_BYTES = 1 << 26
DRIP_SECONDS = 0.05
BAD_LINES = (
    b"{oops",
    b"[]",
    b"7",
    b'"text"',
    b'{"id": "no type"}',
    b'{"resourceType": "Observation", "id": "twice", "id": "again"}',
    b'{"resourceType": "Observation", "id": "\xff"}',
    b"{" * 2000,
)


class HostileExport(Persona):
    """Well-behaved but for its exports, of which it does what `way` says."""

    name = "hostile-export"

    def __init__(self, way: str, *, elsewhere: str = "https://files.example", **more: Any) -> None:
        if way not in _WAYS:
            raise ValueError(f"no such way; there are: {', '.join(ways())}")
        self.exports = replace(Manners(retry_after="0"), **more)
        self._way = _WAYS[way]
        self.elsewhere = elsewhere
        self.numbers = itertools.count()
        self.lock = threading.Lock()

    def respond(self, response: Response) -> Response:
        return self._way(self, response, request)


def ways() -> tuple[str, ...]:
    return tuple(_WAYS)


Way = Callable[[HostileExport, Response, Request], Response]


# -- status and manifest ---------------------------------------------------------------------------


def _is_status(response: Response, asked: Request, status: int = 200) -> bool:
    found = asked.endpoint == "export-status" and asked.method == "GET"
    return found and response.status_code == status


def _json(body: Any, status: int = 200, kind: str = "application/json", **more: str) -> Response:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    return Response(orjson.dumps(body), status, headers, content_type=kind)


def _endless(persona: HostileExport, response: Response, asked: Request) -> Response:
    """Never ready, and always nearly."""
    if not _is_status(response, asked):
        return response
    return Response(status=202, headers={"X-Progress": "99.9% <b>Jane Roe</b>", "Retry-After": "0"})


def _asks_for_hours(persona: HostileExport, response: Response, asked: Request) -> Response:
    if _is_status(response, asked, 202):
        response.headers["Retry-After"] = "18000"
    return response


def _storm(persona: HostileExport, response: Response, asked: Request) -> Response:
    """Three failures that pass, of three kinds, then the answer."""
    number = next(persona.numbers) if _is_status(response, asked) else 9
    if number == 0:
        return Response("<html>Bad gateway</html>", 502, content_type="text/html")
    if number == 1:
        return _json(outcome("transient", "try again"), 500, FHIR_JSON)
    if number == 2:
        return _json(outcome("throttled", "not so fast"), 429, FHIR_JSON, Retry_After="0")
    return response


def _gives_up(persona: HostileExport, response: Response, asked: Request) -> Response:
    if not _is_status(response, asked):
        return response
    return _json(outcome("exception", "Patient Jane Roe could not be read"), 500, FHIR_JSON)


def _forgets(persona: HostileExport, response: Response, asked: Request) -> Response:
    if not _is_status(response, asked):
        return response
    return _json(outcome("not-found", "no such job"), 404, FHIR_JSON)


def _separate_state(persona: HostileExport, response: Response, asked: Request) -> Response:
    """The state of the export in a header of its own, and 200 whatever it is."""
    if asked.endpoint == "export-status" and asked.method == "GET":
        word = {202: "202 Accepted", 200: "200 OK"}.get(response.status_code, "500 Error")
        response.headers["X-Export-Status"] = word
        response.status_code = 200
    return response


def _page_instead(persona: HostileExport, response: Response, asked: Request) -> Response:
    if not _is_status(response, asked):
        return response
    return Response("<html>Please sign in</html>", content_type="text/html")


def _changed(edit: Callable[[HostileExport, dict[str, Any]], None]) -> Way:
    """A way that edits the manifest."""

    def way(persona: HostileExport, response: Response, asked: Request) -> Response:
        if not _is_status(response, asked):
            return response
        manifest = orjson.loads(response.get_data())
        edit(persona, manifest)
        response.set_data(orjson.dumps(manifest))
        return response

    return way


def _foreign_hosts(persona: HostileExport, manifest: dict[str, Any]) -> None:
    for number, item in enumerate(manifest["output"]):
        item["url"] = f"{persona.elsewhere}/{number}"


def _odd_addresses(persona: HostileExport, manifest: dict[str, Any]) -> None:
    odd = ("file:///etc/passwd", "gs://bucket/x", "https://me:pw@files.example/x", "http://[::1")
    for item, url in zip(manifest["output"], odd, strict=False):
        item["url"] = url


def _lying_counts(persona: HostileExport, manifest: dict[str, Any]) -> None:
    for item in manifest["output"]:
        if item["type"] == "Condition":
            item["count"] += 1
        if item["type"] == "Procedure":
            item["count"] -= 1


def _odd_manifest(persona: HostileExport, manifest: dict[str, Any]) -> None:
    """Everything that is not essential in a wrong shape."""
    manifest["transactionTime"] = "yesterday, about noon"
    manifest["extension"] = [{"url": "x"}]
    manifest["deleted"] = None
    manifest["error"] = {"url": "x"}
    manifest["link"] = "next"
    for item in manifest["output"]:
        item["count"] = "many"
        item["type"] = {"Patient": 7}.get(item["type"], item["type"])
    manifest["output"] += [None, 7, {"type": "Observation"}, {"url": ""}]


def _endless_manifests(persona: HostileExport, manifest: dict[str, Any]) -> None:
    """Each names another one."""
    url = f"{request.base_url}?more={next(persona.numbers)}"
    manifest["link"] = [{"relation": "next", "url": url}]


# -- files -----------------------------------------------------------------------------------------


def _of_observations(persona: HostileExport, response: Response, asked: Request) -> bool:
    return asked.endpoint == "export-file" and b'"Observation"' in _plain(response)[:40]


def _plain(response: Response) -> bytes:
    data = response.get_data()
    return gzip.decompress(data) if response.headers.get("Content-Encoding") == "gzip" else data


def _with(response: Response, data: bytes, **headers: str) -> Response:
    answer = Response(data, response.status_code, content_type=NDJSON)
    answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return answer


def _file_way(edit: Callable[[HostileExport, Response], Response]) -> Way:
    def way(persona: HostileExport, response: Response, asked: Request) -> Response:
        if response.status_code == 200 and _of_observations(persona, response, asked):
            return edit(persona, response)
        return response

    return way


def _truncated(persona: HostileExport, response: Response) -> Response:
    """Cut in the middle of a line, and nothing says so but the count."""
    return _with(response, _plain(response)[: len(_plain(response)) // 2])


def _torn(persona: HostileExport, response: Response) -> Response:
    """Packed, and cut off."""
    packed = gzip.compress(_plain(response))
    return _with(response, packed[: len(packed) // 2], Content_Encoding="gzip")


def _breaks_once(persona: HostileExport, response: Response) -> Response:
    with persona.lock:
        first = next(persona.numbers) == 0
    return _torn(persona, response) if first else response


def _bomb(persona: HostileExport, response: Response) -> Response:
    return _with(response, _packed(), Content_Encoding="gzip")


@cache
def _packed() -> bytes:
    """Some sixty kilobytes that unpack to a thousand times as much, in one line."""
    return gzip.compress(bytes(BOMB_BYTES), 9)


def _wrong_kind(persona: HostileExport, response: Response) -> Response:
    return Response(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", content_type="application/pdf")


def _drips(persona: HostileExport, response: Response) -> Response:
    """Byte by byte: each arrives in time, all of them never."""

    def drip() -> Iterator[bytes]:
        while True:
            time.sleep(DRIP_SECONDS)
            yield b" "

    return Response(drip(), content_type=NDJSON)


def _bad_lines(persona: HostileExport, response: Response) -> Response:
    good = _plain(response)
    return _with(response, b"\n".join((*BAD_LINES, good, b"\r", *BAD_LINES)))


def _gone(persona: HostileExport, response: Response) -> Response:
    return _json(outcome("expired", "no longer here"), 410, FHIR_JSON)


def _stranger(persona: HostileExport, response: Response) -> Response:
    """Lines about somebody who was not asked for and of whom there is no Patient."""
    lines = _plain(response).replace(b"Patient/p1", b"Patient/somebody-else")
    return _with(response, lines)


def _packed_unsaid(persona: HostileExport, response: Response) -> Response:
    """An object called `.gz`, without a word about how it is packed."""
    return _with(response, gzip.compress(_plain(response)))


def _circle(persona: HostileExport, response: Response) -> Response:
    return Response(status=307, headers={"Location": request.url})


_WAYS: Mapping[str, Way] = {
    "endless": _endless,
    "asks-for-hours": _asks_for_hours,
    "storm": _storm,
    "gives-up": _gives_up,
    "forgets": _forgets,
    "separate-state": _separate_state,
    "page-instead": _page_instead,
    "foreign-hosts": _changed(_foreign_hosts),
    "odd-addresses": _changed(_odd_addresses),
    "lying-counts": _changed(_lying_counts),
    "odd-manifest": _changed(_odd_manifest),
    "endless-manifests": _changed(_endless_manifests),
    "truncated": _file_way(_truncated),
    "torn": _file_way(_torn),
    "breaks-once": _file_way(_breaks_once),
    "gzip-bomb": _file_way(_bomb),
    "wrong-kind": _file_way(_wrong_kind),
    "drips": _file_way(_drips),
    "bad-lines": _file_way(_bad_lines),
    "gone": _file_way(_gone),
    "stranger": _file_way(_stranger),
    "packed-unsaid": _file_way(_packed_unsaid),
    "circle": _file_way(_circle),
}
