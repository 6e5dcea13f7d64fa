"""The routes of an export: kick-off, status, cancel, files."""

import email.utils
import gzip
import json
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request

from service.sandbox.answers import as_answer, as_bytes, base_url, here
from service.sandbox.dates import parse_interval
from service.sandbox.errors import FhirError, outcome
from service.sandbox.export.jobs import Asked, ExportFile, Job
from service.sandbox.search import known_types

NDJSON = "application/fhir+ndjson"
OUTPUT_FORMATS = {NDJSON, "application/ndjson", "ndjson"}
ENDPOINTS = frozenset({"export-status", "export-file", "export-signed"})
OPEN = frozenset({"export-signed"})
"""Needs no token: the link itself is the permission."""
_SIGNED = "bulk/signed"
_PAGE = "manifest"

Pairs = list[tuple[str, str]]


def add_routes(app: Flask, prefix: str) -> None:
    manners = app.extensions["sandbox"].exports.manners
    status = f"{prefix}/{manners.status.partition('?')[0]}".replace("{job}", "<job>")
    files = f"{prefix}/{manners.files}".replace("{file}", "<file>")
    routes = (
        (f"{prefix}/$export", "export-system", system_export, ["GET", "POST"]),
        (f"{prefix}/Patient/$export", "export-patient", patient_export, ["GET", "POST"]),
        (f"{prefix}/Group/<group>/$export", "export-group", group_export, ["GET", "POST"]),
        (status, "export-status", status_of, ["GET", "DELETE"]),
        (files, "export-file", file_of, ["GET"]),
        (f"{prefix}/{_SIGNED}/<secret>", "export-signed", signed_file, ["GET"]),
    )
    for path, name, view, methods in routes:
        app.add_url_rule(path, name, view, methods=methods, strict_slashes=False)


# -- kick-off --------------------------------------------------------------------------------------


def system_export() -> Response:
    return _start("system", None)


def patient_export() -> Response:
    return _start("patient", None)


def group_export(group: str) -> Response:
    found = here().store.read("Group", group)
    if found is None:
        raise FhirError(404, "not-found", "no such Group")
    names = (member["entity"]["reference"] for member in found.get("member", ()))
    return _start("group", frozenset(name.removeprefix("Patient/") for name in names), group)


def _start(level: str, patients: frozenset[str] | None, group: str = "") -> Response:
    manners = here().exports.manners
    if level not in manners.levels:
        raise FhirError(404, "not-supported", f"no export at {level} level here")
    if not manners.takes(request.method):
        raise FhirError(405, "not-supported", f"export does not take {request.method} here")
    if "respond-async" not in request.headers.get("Prefer", ""):
        raise FhirError(400, "required", "export needs `Prefer: respond-async`")
    asked = _asked(level, patients, group)
    job = here().exports.start(here().store, asked)
    answer = as_answer(outcome("informational", "export started", "information"), 202)
    answer.headers["Content-Location"] = f"{base_url()}/{manners.status.format(job=job.id)}"
    return answer


def _asked(level: str, patients: frozenset[str] | None, group: str) -> Asked:
    pairs = _pairs()
    known = {"_type", "_since", "_outputFormat", "patient", "allowPartialManifests"}
    if level == "system" or request.method == "GET":
        known -= {"patient"}
    ignored = tuple(dict.fromkeys(name for name, _ in pairs if name not in known))
    if ignored and "handling=lenient" not in request.headers.get("Prefer", ""):
        raise FhirError(400, "not-supported", f"unknown export parameter: {ignored[0]}")
    only = {value.removeprefix("Patient/") for name, value in pairs if name == "patient"}
    if only:
        patients = frozenset(only if patients is None else only & patients)
    return Asked(
        level=level,
        request=request.base_url if request.method == "POST" else request.url,
        client=_client(),
        group=group,
        types=_types(pairs),
        since=_since(pairs),
        patients=patients,
        ignored=ignored,
        paged=("allowPartialManifests", "true") in pairs,
    )


def _pairs() -> Pairs:
    if request.method == "GET":
        return [(name, value) for name, value in request.args.items(multi=True)]
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise FhirError(400, "structure", "the body is not JSON") from None
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        raise FhirError(400, "structure", "export takes a Parameters resource")
    return list(_parameters(body.get("parameter", [])))


def _parameters(listed: Iterable[Any]) -> Iterable[tuple[str, str]]:
    for item in listed:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise FhirError(400, "structure", "a parameter has no name", "Parameters.parameter")
        value = next((item[key] for key in item if key.startswith("value")), None)
        if isinstance(value, bool):
            value = str(value).lower()
        if isinstance(value, dict):
            value = value.get("reference")
        if not isinstance(value, str):
            raise FhirError(400, "value", "a parameter has no value", "Parameters.parameter")
        yield item["name"], value


def _types(pairs: Pairs) -> tuple[str, ...]:
    manners = here().exports.manners
    given = [value for name, value in pairs if name == "_type"]
    if len(given) > 1 and request.method == "GET" and not manners.repeated_types:
        raise FhirError(400, "invalid", "_type may stand once, with commas")
    if manners.repeats_only and any("," in value for value in given):
        raise FhirError(400, "value", "_type is repeated here, not separated by commas")
    names = [name.strip() for value in given for name in value.split(",")]
    offers = here().persona.offers
    offered = known_types() if offers is None else tuple(offers)
    if any(name not in offered for name in names):
        raise FhirError(400, "value", "_type names a type that this server does not have")
    return tuple(dict.fromkeys(names)) or offered


def _since(pairs: Pairs) -> str:
    formats = [value for name, value in pairs if name == "_outputFormat"]
    if any(value not in OUTPUT_FORMATS for value in formats):
        raise FhirError(400, "value", f"_outputFormat is {NDJSON}")
    text = next((value for name, value in pairs if name == "_since"), "").replace(" ", "+")
    try:
        if text:
            parse_interval(text)
    except ValueError:
        raise FhirError(400, "value", "_since is an instant") from None
    return text


# -- status ----------------------------------------------------------------------------------------


def _client() -> str:
    return request.headers.get("Authorization", "")


def status_of(job: str | None = None) -> Response:
    exports = here().exports
    name = exports.manners.status.partition("?")[2].partition("=")[0]
    found = exports.job(job or request.args.get(name, ""), _client())
    if request.method == "DELETE":
        exports.delete(found)
        return as_answer(outcome("informational", "deleted", "information"), 202)
    if exports.polled(found):
        return _running(found)
    answer = Response(as_bytes(_manifest(found)), content_type="application/json")
    left = found.expires - time.monotonic()
    answer.headers["Expires"] = email.utils.formatdate(time.time() + left, usegmt=True)
    return answer


def _running(job: Job) -> Response:
    manners = here().exports.manners
    percent = 100 * (job.polls - job.polls_left - 1) // job.polls
    answer = Response(status=202)
    answer.headers["X-Progress"] = manners.progress.format(percent=percent)
    if manners.retry_after is not None:
        answer.headers["Retry-After"] = manners.retry_after
    return answer


def _manifest(job: Job) -> dict[str, Any]:
    manners = here().exports.manners
    names, more = _page(job)
    listed = {section: [_item(job, n, section) for n in names] for section in _SECTIONS}
    rows = {name: [row for row in found if row] for name, found in listed.items()}
    found: dict[str, Any] = {
        "transactionTime": job.time,
        "requiresAccessToken": manners.token_for_files,
        "output": rows["output"],
        "deleted": rows["deleted"],
    }
    if manners.repeats_only:
        return found | more | {"outcome": rows["error"], "extension": []}
    return found | more | {"request": job.asked.request, "error": rows["error"]}


_SECTIONS = ("output", "deleted", "error")


def _page(job: Job) -> tuple[list[str], dict[str, Any]]:
    """The files of one manifest, and the link to the next one."""
    size = here().exports.manners.files_per_manifest
    names = list(job.files)
    if not (size and job.asked.paged):
        return names, {}
    number = int(request.args.get(_PAGE, "0"))
    here_, rest = names[number * size : (number + 1) * size], names[(number + 1) * size :]
    if not rest:
        return here_, {}
    url = f"{base_url()}/{here().exports.manners.status.format(job=job.id)}"
    url += f"{'&' if '?' in url else '?'}{_PAGE}={number + 1}"
    return here_, {"link": [{"relation": "next", "url": url}]}


def _item(job: Job, name: str, section: str) -> dict[str, Any] | None:
    file = job.files[name]
    if file.section != section:
        return None
    manners = here().exports.manners
    url = f"{base_url()}/{manners.files.format(file=name)}"
    if not manners.token_for_files:
        url = _elsewhere(here().exports.sign(job, name))
    item = {"type": file.type, "url": url, "count": len(file.lines)}
    if manners.repeats_only and section == "deleted":
        del item["type"]
    return item


def _elsewhere(secret: str) -> str:
    """Another origin, served by the same process: `localhost` is not `127.0.0.1` to a client."""
    parts = urlsplit(base_url())
    host = "127.0.0.1" if parts.hostname == "localhost" else "localhost"
    return f"{parts.scheme}://{host}:{parts.port}{here().prefix}/{_SIGNED}/{secret}"


# -- files -----------------------------------------------------------------------------------------


def file_of(file: str) -> Response:
    exports = here().exports
    job, found = exports.file(file, _client())
    if exports.manners.redirect:
        location = _elsewhere(exports.sign(job, file))
        return Response(status=307, headers={"Location": location})
    return _sent(found)


def signed_file(secret: str) -> Response:
    """As object storage does: the signature in the link, and no other credentials beside it."""
    if request.headers.get("Authorization"):
        raise FhirError(400, "invalid", "only one way of signing in is allowed")
    if here().exports.manners.own_credentials:
        raise FhirError(403, "forbidden", "this storage has accounts of its own")
    return _sent(here().exports.signed(secret))


def _sent(file: ExportFile) -> Response:
    answer = Response(file.data, content_type=NDJSON)
    if here().exports.manners.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
        answer.set_data(gzip.compress(file.data, 6))
        answer.headers["Content-Encoding"] = "gzip"
    return answer
