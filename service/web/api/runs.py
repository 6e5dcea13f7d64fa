"""Runs: start, read, cancel, list."""

from typing import Any

from flask import Response, url_for

from service.auth import Role, Scope
from service.web.answers import JSON, json_response, prefers, require_acceptable
from service.web.api.blueprint import api
from service.web.api.described import Answer, described
from service.web.api.schemas import (
    RunRequestSchema,
    RunSchema,
    RunsQuerySchema,
    ServerSchema,
    read_body,
    read_query,
)
from service.web.audiences import closed
from service.web.errors import KINDS
from service.web.gate import principal
from service.web.ports import Failure, Run, RunRequest, RunState
from service.web.run_requests import (
    check_server,
    failure_code,
    own_runs_only,
    raise_unless_done,
    visible_run,
)
from service.web.services import services, settings

_RUN = Answer("The run.", RunSchema)
_STARTING = (
    "malformed",
    "unsupported-media-type",
    "invalid",
    "address-refused",
    Failure.UNKNOWN_SERVER,
    Failure.UNKNOWN_MODEL,
    Failure.UNKNOWN_POLICY,
    Failure.WRITE_BACK_OFF,
    Failure.NOT_CONSENTED,
    Failure.PATIENT_NOT_FOUND,
    Failure.GATE_BLOCKED,
    Failure.TOO_LARGE,
    Failure.CANCELLED,
    Failure.UPSTREAM_UNREACHABLE,
    Failure.UPSTREAM_REFUSED,
    Failure.UPSTREAM_BAD_ANSWER,
    Failure.UPSTREAM_THROTTLED,
    Failure.UPSTREAM_TIMEOUT,
    Failure.WRITE_BACK_FAILED,
    Failure.BUSY,
    Failure.OVERLOADED,
    Failure.FAILED,
)


@api.post("/runs")
@closed(Scope.RUNS_WRITE)
@described(
    "Start a run for one patient of a configured server",
    {
        201: Answer("The run has ended well.", RunSchema, headers=("Location",)),
        202: Answer(
            "The run is queued; read it at `Location`.",
            RunSchema,
            headers=("Location", "Content-Location", "Retry-After"),
        ),
    },
    problems=_STARTING,
    body=RunRequestSchema,
    headers={"Prefer": "`respond-async`: queue the run and answer at once."},
)
def start_run() -> Response:
    require_acceptable(JSON)
    read_query()
    wanted: RunRequest = read_body(RunRequestSchema)
    check_server(wanted, "/server")
    if prefers("respond-async"):
        return _queued(services().runs.enqueue(wanted, principal()))
    run = services().runs.start(wanted, principal())
    if not run.ended:
        return _queued(run.id)  # longer than a call may wait: it goes on without us
    raise_unless_done(run, _address(run.id))
    response = json_response(run_view(run), 201)
    response.headers["Location"] = _address(run.id)
    return response


@api.get("/runs/<run_id>")
@closed(Scope.RUNS_READ)
@described("Read a run", {200: _RUN}, problems=("invalid", Failure.NOT_FOUND))
def read_run(run_id: str) -> Response:
    require_acceptable(JSON)
    read_query()
    run = visible_run(run_id, principal())
    response = json_response(run_view(run))
    if not run.ended:
        response.headers["Retry-After"] = "1"
    return response


@api.delete("/runs/<run_id>")
@closed(Scope.RUNS_WRITE)
@described(
    "Cancel a run",
    {202: Answer("The run ends at its next step.", RunSchema)},
    problems=("invalid", Failure.NOT_FOUND, Failure.RUN_ENDED),
)
def cancel_run(run_id: str) -> Response:
    require_acceptable(JSON)
    read_query()
    visible_run(run_id, principal())
    return json_response(run_view(services().runs.cancel(run_id)), 202)


@api.get("/runs")
@closed(Scope.RUNS_READ)
@described(
    "List the latest runs: all for a privacy officer, a program's own for a program",
    {200: Answer("Runs, latest first.", RunSchema, many=True)},
    problems=("invalid",),
    query=RunsQuerySchema,
)
def list_runs() -> Response:
    require_acceptable(JSON)
    limit = read_query(RunsQuerySchema)["limit"]
    found = services().runs.runs(limit, requested_by=own_runs_only(principal()))
    return json_response({"items": [run_view(run) for run in found]})


@api.get("/servers")
@closed(roles=(Role.EHR, Role.PRIVACY_OFFICER, Role.ADMIN))
@described(
    "List the configured servers by name",
    {200: Answer("Names that a run may give.", ServerSchema, many=True)},
    problems=("invalid",),
)
def list_servers() -> Response:
    require_acceptable(JSON)
    read_query()
    servers = sorted(settings().servers.items())
    items = [{"name": name, "writeBack": server.write_back} for name, server in servers]
    return json_response({"items": items})


def run_view(run: Run) -> dict[str, Any]:
    """A run as callers see it, with what is wrong and where to go next."""
    shown: dict[str, Any] = RunSchema(exclude=("failure", "links")).dump(run)
    return {**shown, "failure": _failure(run), "links": _links(run)}


def _failure(run: Run) -> dict[str, str] | None:
    if run.state is not RunState.FAILED:
        return None
    code = failure_code(run)
    return {"code": code, "title": KINDS[code].title, "nextStep": KINDS[code].next_step}


def _links(run: Run) -> dict[str, str]:
    links = {"self": _address(run.id)}
    if run.twin is not None:
        links["twin"] = url_for("api.read_twin", pseudonym=run.twin)
        links["assessments"] = url_for("api.list_assessments", pseudonym=run.twin)
        links["ledger"] = url_for("api.list_ledger", pseudonym=run.twin)
    return links


def _address(run_id: str) -> str:
    return url_for("api.read_run", run_id=run_id)


def _queued(run_id: str) -> Response:
    response = json_response(run_view(services().runs.run(run_id)), 202)
    response.headers["Location"] = response.headers["Content-Location"] = _address(run_id)
    if prefers("respond-async"):
        response.headers["Preference-Applied"] = "respond-async"
    response.headers["Retry-After"] = "1"
    return response
