"""`POST /fhir/Patient/{id}/$assess`, at once or as an asynchronous request."""

import re
from typing import Any

from flask import Response, request, url_for

from service.auth import Scope
from service.web.answers import prefers
from service.web.audiences import closed
from service.web.discovery import public_base
from service.web.errors import Fault, WebError
from service.web.fhir.blueprint import FHIR_ID, GENERAL, facade, fhir_response, read_fhir_json
from service.web.fhir.parameters import ASSESS, read_parameters
from service.web.gate import principal
from service.web.ports import Failure, Run, RunRequest, ServiceError
from service.web.run_requests import check_server, raise_unless_done, visible_run
from service.web.services import services

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

_SHOWN = frozenset({"fullUrl", "resource"})


@facade.post("/Patient/<patient>/$assess")
@closed(Scope.FHIR_ASSESS)
def assess(patient: str) -> Response:
    """One patient through the whole path; what was made comes back as a Bundle."""
    wanted = _request(patient, read_parameters(read_fhir_json(), ASSESS))
    if prefers("respond-async"):
        return _accepted(services().runs.enqueue(wanted, principal()))
    try:
        return fhir_response(as_collection(services().runs.assess(wanted, principal()).bundle))
    except ServiceError as error:
        if error.failure is not Failure.STILL_RUNNING or error.run_id is None:
            raise
        return _accepted(error.run_id)  # longer than a call may wait: it goes on without us


@facade.get("/_async/<run_id>")
@closed(Scope.FHIR_ASSESS)
def poll(run_id: str) -> Response:
    """202 while it runs; then 200 with a batch-response, or the error it ended in."""
    run = visible_run(run_id, principal())
    if not run.ended:
        return Response(status=202, headers=_progress(run))
    raise_unless_done(run, url_for("api.read_run", run_id=run.id))
    made = as_collection(services().runs.bundle(run.id))
    entry = {"resource": made, "response": {"status": "200 OK"}}
    return fhir_response({"resourceType": "Bundle", "type": "batch-response", "entry": [entry]})


@facade.delete("/_async/<run_id>")
@closed(Scope.FHIR_ASSESS)
def stop(run_id: str) -> Response:
    visible_run(run_id, principal())
    services().runs.cancel(run_id)
    return Response(status=202)


def as_collection(bundle: dict[str, Any]) -> dict[str, Any]:
    """What was made, to read. As the transaction it was sent in, a caller could send it again."""
    entries = bundle.get("entry", [])
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{k: v for k, v in entry.items() if k in _SHOWN} for entry in entries],
    }


def _request(patient: str, values: dict[str, list[Any]]) -> RunRequest:
    if not FHIR_ID.fullmatch(patient):
        raise WebError(Failure.PATIENT_NOT_FOUND)
    if not request.args.keys() <= GENERAL:
        raise WebError("not-supported", next_step="Send the parameters in the body.")
    for word in (*values["model"], *values["policy"]):
        if not _WORD.fullmatch(word):
            fault = Fault("Parameters.parameter", "Models and policies are given by name.")
            raise WebError("bad-value", faults=[fault])
    encounter = _single(values["encounter"]) or ""
    if encounter and not FHIR_ID.fullmatch(encounter):
        fault = Fault("Parameters.parameter", "An encounter is given by its id.")
        raise WebError("bad-value", faults=[fault])
    wanted = RunRequest(
        values["server"][0],
        patient,
        tuple(dict.fromkeys(values["model"])),
        _single(values["policy"]),
        _single(values["writeBack"]),
        bool(_single(values["onlyNeeded"])),
        encounter=encounter,
    )
    check_server(wanted, "Parameters.parameter.where(name = 'server')")
    return wanted


def _single(values: list[Any]) -> Any:
    return values[0] if values else None


def _accepted(run_id: str) -> Response:
    status_url = public_base() + url_for("fhir.poll", run_id=run_id)
    headers = {"Content-Location": status_url, "Retry-After": "1"}
    if prefers("respond-async"):
        headers["Preference-Applied"] = "respond-async"
    return Response(status=202, headers=headers)


def _progress(run: Run) -> dict[str, str]:
    return {"X-Progress": run.stage or run.state.value, "Retry-After": "1"}
