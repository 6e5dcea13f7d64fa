"""Twins, their versions, assessments and ledger; models; the ledger as a whole."""

import hashlib
from typing import Any

from flask import Response, request
from marshmallow import Schema

from service.auth import Role, Scope
from service.auth.principals import PSEUDONYM
from service.web.answers import JSON, json_response, require_acceptable
from service.web.api.blueprint import api
from service.web.api.described import Answer, described
from service.web.api.schemas import (
    DisputeSchema,
    LedgerCheckSchema,
    LedgerStateSchema,
    ModelSchema,
    ObjectSchema,
    PurposeQuerySchema,
    VersionSchema,
    read_query,
)
from service.web.audiences import closed
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import services
from twin_engine.document import MEDIA_TYPE

TWIN = MEDIA_TYPE
_TWIN_TYPE = MEDIA_TYPE.partition(";")[0]
_FILE = Answer("The signed file, byte for byte.", ObjectSchema, media_type=TWIN, headers=("ETag",))
_SAME = Answer("Unchanged.", headers=("ETag",))
_FINDING = ("invalid", Failure.NOT_FOUND)


@api.get("/twins/<pseudonym>")
@closed(Scope.TWINS_READ)
@described(
    "Read the newest version of a twin, signed",
    {200: _FILE, 304: _SAME},
    problems=(*_FINDING, Failure.NOT_CONSENTED),
    query=PurposeQuerySchema,
    headers={"If-None-Match": "The `ETag` you have; 304 when it is still the one."},
)
def read_twin(pseudonym: str) -> Response:
    return _twin_file(pseudonym, None)


@api.get("/twins/<pseudonym>/versions/<int:version>")
@closed(Scope.TWINS_READ)
@described(
    "Read one version of a twin, signed",
    {200: _FILE, 304: _SAME},
    problems=(*_FINDING, Failure.NOT_CONSENTED),
    query=PurposeQuerySchema,
    headers={"If-None-Match": "The `ETag` you have; 304 when it is still the one."},
)
def read_twin_version(pseudonym: str, version: int) -> Response:
    return _twin_file(pseudonym, version)


@api.get("/twins/<pseudonym>/versions")
@closed(Scope.TWINS_READ)
@described(
    "List the versions of a twin",
    {200: Answer("Versions, newest first.", VersionSchema, many=True)},
    problems=_FINDING,
)
def list_versions(pseudonym: str) -> Response:
    may_see(pseudonym)
    found = services().runs.versions(pseudonym)
    return json_response({"items": VersionSchema(many=True).dump(found)})


@api.get("/twins/<pseudonym>/disputes")
@closed(Scope.TWINS_READ)
@described(
    "List what the patient says is wrong in a twin",
    {200: Answer("Entries, by the source's pseudonym; no values.", DisputeSchema, many=True)},
    problems=_FINDING,
)
def list_disputes(pseudonym: str) -> Response:
    may_see(pseudonym)
    found = services().runs.disputes(pseudonym)
    return json_response({"items": DisputeSchema(many=True).dump(found)})


@api.get("/twins/<pseudonym>/assessments")
@closed(Scope.TWINS_READ)
@described(
    "List the assessments of a twin's newest version",
    {200: Answer("Assessments as in the twin document.", ObjectSchema, many=True)},
    problems=(*_FINDING, Failure.NOT_CONSENTED),
    query=PurposeQuerySchema,
)
def list_assessments(pseudonym: str) -> Response:
    purpose = may_see(pseudonym, PurposeQuerySchema)["purpose"]
    found = list(services().runs.assessments(pseudonym))
    services().runs.use(principal(), "assessments-read", pseudonym, purpose)
    return json_response({"items": found})


@api.get("/twins/<pseudonym>/ledger")
@closed(Scope.LEDGER_READ)
@described(
    "List the ledger's entries about a twin",
    {200: Answer("Entries, oldest first.", ObjectSchema, many=True)},
    problems=_FINDING,
)
def list_ledger(pseudonym: str) -> Response:
    may_see(pseudonym)
    found = list(services().runs.ledger(pseudonym))
    services().runs.note_use(principal(), "ledger-read", pseudonym)
    return json_response({"items": found})


@api.get("/ledger")
@closed(Scope.LEDGER_READ, roles=(Role.PRIVACY_OFFICER,))
@described(
    "Read how long the ledger is and when it was last verified",
    {200: Answer("The state of the ledger.", LedgerStateSchema)},
    problems=("invalid",),
)
def read_ledger() -> Response:
    require_acceptable(JSON)
    read_query()
    return json_response(LedgerStateSchema().dump(services().runs.ledger_state()))


@api.post("/ledger/verification")
@closed(Scope.LEDGER_READ, roles=(Role.PRIVACY_OFFICER,))
@described(
    "Verify the whole ledger now: every signature, every link",
    {200: Answer("What was found.", LedgerCheckSchema)},
    problems=("invalid",),
)
def verify_ledger() -> Response:
    require_acceptable(JSON)
    read_query()
    return json_response(LedgerCheckSchema().dump(services().runs.verify_ledger(principal())))


@api.get("/models")
@closed()
@described(
    "List the models that may run here",
    {200: Answer("Models.", ModelSchema, many=True)},
    problems=("invalid",),
)
def list_models() -> Response:
    require_acceptable(JSON)
    read_query()
    return json_response({"items": ModelSchema(many=True).dump(services().runs.models())})


@api.get("/models/<model_id>")
@closed()
@described("Read a model's card", {200: Answer("The card.", ObjectSchema)}, problems=_FINDING)
def read_model(model_id: str) -> Response:
    require_acceptable(JSON)
    read_query()
    return json_response(services().runs.model(model_id))


def may_see(pseudonym: str, query: type[Schema] | None = None) -> Any:
    """A patient asking for another's twin and anybody asking for none get the same answer."""
    require_acceptable(JSON)
    asked = read_query(query)
    _within_reach(pseudonym)
    return asked


def _within_reach(pseudonym: str) -> None:
    if not PSEUDONYM.fullmatch(pseudonym) or not principal().may_see(pseudonym):
        raise WebError(Failure.NOT_FOUND)


def _twin_file(pseudonym: str, version: int | None) -> Response:
    require_acceptable(_TWIN_TYPE, JSON)
    purpose = read_query(PurposeQuerySchema)["purpose"]
    _within_reach(pseudonym)
    content, caller = services().runs.twin(pseudonym, version), principal()
    services().runs.use(caller, "twin.download", pseudonym, purpose)
    response = Response(content, content_type=TWIN)
    response.set_etag(hashlib.sha256(content).hexdigest())
    response.headers["Content-Disposition"] = 'attachment; filename="twin.json"'
    response.make_conditional(request)
    return response
