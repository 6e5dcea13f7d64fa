"""A server that does harm, by defect or by intent: each way has a name, and one is chosen.

Seen in the wild (public issues): endless searches, OpenELIS-Global-2#4235 and fhir-py#47; tokens
sent along foreign links, bulk-data-client#2; storms of 5xx, cumulus-etl#334; outcomes in place of
content, Oracle's change log. The others are what an attacker or a broken proxy would do.
"""

import gzip
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import orjson
from flask import Request, Response, request

from service.sandbox.errors import outcome
from service.sandbox.persona import Persona, Settings
from service.sandbox.search import Query

FHIR_JSON = "application/fhir+json"
BOMB_BYTES = 1 << 26
REQUESTS_PER_TOKEN = 4
LORIS_SECONDS = 0.05


class Hostile(Persona):
    """Well-behaved but for Observation, where it does what `way` says."""

    name = "hostile"

    def __init__(self, way: str, *, elsewhere: str = "", pages: int = 0, per_page: int = 1) -> None:
        self._answer = _WAYS.get(way)
        if self._answer is None and way not in _PAGES and way not in _HEADERS:
            raise ValueError(f"no such way; there are: {', '.join(ways())}")
        self._change = _PAGES.get(way)
        self._way = way
        self.elsewhere = elsewhere
        self.pages, self.per_page = pages, per_page
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.issued, self.left = 0, 0
        if way == "gzip-bomb":
            _packed()  # made now: a client does not wait for it

    def settings(self, given: Settings) -> Settings:
        return replace(given, max_count=50)

    def intercept(self, request: Request) -> Response | None:
        return self._answer(self, request) if self._answer else None

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        if self._change is not None and query.kind == "Observation":
            self._change(self, bundle)
        return bundle

    def respond(self, response: Response) -> Response:
        if _observations(request):
            for name, value in _HEADERS.get(self._way, {}).items():
                response.headers[name] = value
        return response


def ways() -> tuple[str, ...]:
    return (*_WAYS, *_PAGES, *_HEADERS)


# -- whole answers ---------------------------------------------------------------------------------

Answer = Callable[[Hostile, Request], Response | None]


def _observations(request: Request) -> bool:
    return request.path.endswith("/Observation") and request.method == "GET"


def _json(body: Any, status: int = 200, **headers: str) -> Response:
    return Response(orjson.dumps(body), status, headers, content_type=FHIR_JSON)


def _redirect(persona: Hostile, request: Request) -> Response | None:
    if not _observations(request):
        return None
    return Response(status=307, headers={"Location": f"{persona.elsewhere}/Observation"})


def _error_with_200(persona: Hostile, request: Request) -> Response | None:
    return _json(outcome("exception", "it failed")) if _observations(request) else None


def _slowly(persona: Hostile, request: Request) -> Response | None:
    """Byte by byte: each arrives in time, all of them never."""

    def drip() -> Iterator[bytes]:
        yield b"{"
        while True:
            time.sleep(LORIS_SECONDS)
            yield b" "

    return Response(drip(), content_type=FHIR_JSON) if _observations(request) else None


def _cut_off(persona: Hostile, request: Request) -> Response | None:
    whole = b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceT'
    return Response(whole, content_type=FHIR_JSON) if _observations(request) else None


def _bomb(persona: Hostile, request: Request) -> Response | None:
    if not _observations(request):
        return None
    return Response(_packed(), headers={"Content-Encoding": "gzip"}, content_type=FHIR_JSON)


@cache
def _packed() -> bytes:
    """Some sixty kilobytes that unpack to a thousand times as much."""
    return gzip.compress(bytes(BOMB_BYTES), 9)


def _storm(persona: Hostile, request: Request) -> Response | None:
    if not _observations(request):
        return None
    status = (500, 502, 503, 504)[next(persona.numbers) % 4]
    return Response("<html>Bad gateway</html>", status, content_type="text/html")


def _once_with(retry_after: str) -> Answer:
    """Each search fails the first time, and says when to come back."""

    def answer(persona: Hostile, request: Request) -> Response | None:
        if not _observations(request) or next(persona.numbers) % 2 == 0:
            return None
        return _json(outcome("transient", "busy"), 503, **{"Retry-After": retry_after})

    return answer


def _tomorrow(persona: Hostile, request: Request) -> Response | None:
    if not _observations(request):
        return None
    return _json(outcome("throttled", "come back tomorrow"), 429, **{"Retry-After": "86400"})


def _short_body(persona: Hostile, request: Request) -> Response | None:
    """Less than the header promises, and then nothing."""
    if not _observations(request):
        return None
    response = _json({"resourceType": "Bundle", "type": "searchset"})
    response.headers["Content-Length"] = "100000"
    return response


def _token_runs_out(persona: Hostile, request: Request) -> Response | None:
    """SMART Backend Services whose tokens are good for a handful of requests, whatever it says."""
    base = request.host_url.rstrip("/") + persona.prefix
    if request.path.endswith("/.well-known/smart-configuration"):
        return _json({"token_endpoint": f"{base}/token"})
    with persona.lock:
        if request.path.endswith("/token"):
            persona.issued += 1
            persona.left = REQUESTS_PER_TOKEN
            answer = {"access_token": f"token-{persona.issued}", "token_type": "bearer"}
            return _json(answer | {"expires_in": 3600})
        persona.left -= 1
        good = request.headers.get("Authorization") == f"Bearer token-{persona.issued}"
        if good and persona.left >= 0:
            return None
    return _json(outcome("expired", "token expired"), 401)


def _token_dies(persona: Hostile, request: Request) -> Response | None:
    """A token that is withdrawn on the way and never comes back."""
    if next(persona.numbers) <= REQUESTS_PER_TOKEN:
        return None
    return _json(outcome("login", "token withdrawn"), 401)


def _tiny_pages(persona: Hostile, request: Request) -> Response | None:
    """As many pages as were asked for, made as they are asked for: nothing is kept here."""
    if not _observations(request):
        return None
    number = int(request.args.get("n", "0"))
    patient = request.args.get("patient") or request.args.get("of", "")
    base = request.host_url.rstrip("/") + persona.prefix
    link = f"{base}/Observation?of={patient}&n={number + 1}"
    first = number * persona.per_page
    entries = [{"resource": _observation(patient, first + n)} for n in range(persona.per_page)]
    more = [{"relation": "next", "url": link}] if number + 1 < persona.pages else []
    return _json({"resourceType": "Bundle", "type": "searchset", "link": more, "entry": entries})


def _observation(patient: str, number: int) -> dict[str, Any]:
    """As long as a real one, no two at the same minute."""
    taken = _FIRST + timedelta(minutes=97 * number)
    return {
        "resourceType": "Observation",
        "id": f"tiny-{number}",
        "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000Z"},
        "status": "final",
        "category": [
            {"coding": [{"system": _CATEGORY, "code": "vital-signs", "display": "Vital Signs"}]}
        ],
        "code": {
            "coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}],
            "text": "Heart rate",
        },
        "subject": {"reference": patient if "/" in patient else f"Patient/{patient}"},
        "encounter": {"reference": f"Encounter/visit-{number // 50}"},
        "effectiveDateTime": f"{taken:%Y-%m-%dT%H:%M:%S}Z",
        "issued": f"{taken:%Y-%m-%dT%H:%M:%S}.000Z",
        "performer": [{"reference": f"Practitioner/nurse-{number % 9}", "display": "Night nurse"}],
        "valueQuantity": {
            "value": 60 + number % 40,
            "unit": "/min",
            "system": "http://unitsofmeasure.org",
            "code": "/min",
        },
    }


_FIRST = datetime(2006, 1, 1, tzinfo=UTC)
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


_WAYS: Mapping[str, Answer] = {
    "foreign-redirect": _redirect,
    "error-with-200": _error_with_200,
    "slow-loris": _slowly,
    "cut-off": _cut_off,
    "gzip-bomb": _bomb,
    "storm": _storm,
    "retry-after-words": _once_with("soon"),
    "retry-after-number": _once_with("9" * 30),
    "retry-after-date": _once_with("Thu, 99 Foo 2026 99:99:99 GMT"),
    "tomorrow": _tomorrow,
    "short-body": _short_body,
    "token-runs-out": _token_runs_out,
    "token-dies": _token_dies,
    "tiny-pages": _tiny_pages,
}


# -- headers ---------------------------------------------------------------------------------------

_HEADERS: Mapping[str, Mapping[str, str]] = {
    "odd-headers": {
        "ETag": 'W/"',
        "Link": "<<>; rel=",
        "Content-Type": ";;=,charset",
        "Last-Modified": "the day before yesterday",
        "Content-Disposition": 'a; b="',
    },
    "huge-header": {"X-Filler": "x" * 100_000},
}


# -- pages -----------------------------------------------------------------------------------------

Change = Callable[[Hostile, dict[str, Any]], None]


def _self_link(bundle: dict[str, Any]) -> str:
    return str(next(link["url"] for link in bundle["link"] if link["relation"] == "self"))


def _with_next(bundle: dict[str, Any], url: str) -> None:
    kept = [link for link in bundle["link"] if link["relation"] != "next"]
    bundle["link"] = [*kept, {"relation": "next", "url": url}]


def _circle(persona: Hostile, bundle: dict[str, Any]) -> None:
    _with_next(bundle, _self_link(bundle))


def _endless(persona: Hostile, bundle: dict[str, Any]) -> None:
    """The same page for ever, each time under another address."""
    separator = "&" if "?" in _self_link(bundle) else "?"
    url = f"{_self_link(bundle).split('&again=')[0]}{separator}again={next(persona.numbers)}"
    _with_next(bundle, url)


def _foreign_next(persona: Hostile, bundle: dict[str, Any]) -> None:
    _with_next(bundle, f"{persona.elsewhere}/Observation?page=2")


def _is_later(bundle: dict[str, Any]) -> bool:
    return "_page=" in _self_link(bundle)


def _wrong_patient(persona: Hostile, bundle: dict[str, Any]) -> None:
    """Page 2 belongs to somebody else."""
    if _is_later(bundle):
        for entry in bundle.get("entry", ()):
            other = {"subject": {"reference": "Patient/somebody-else"}}
            entry["resource"] = entry["resource"] | other


def _two_versions(persona: Hostile, bundle: dict[str, Any]) -> None:
    """Everything twice, an old version with another value after the new one."""
    extra = []
    for entry in bundle.get("entry", ()):
        resource = entry["resource"]
        old = {"versionId": "0", "lastUpdated": "1999-01-01T00:00:00Z"}
        changed = resource | {"meta": old}
        if "valueQuantity" in resource:
            changed["valueQuantity"] = resource["valueQuantity"] | {"value": 1}
        extra.append({**entry, "resource": changed})
    bundle["entry"] = [*bundle.get("entry", ()), *extra]


_PAGES: Mapping[str, Change] = {
    "circle": _circle,
    "endless": _endless,
    "foreign-next": _foreign_next,
    "wrong-patient": _wrong_patient,
    "two-versions": _two_versions,
}
