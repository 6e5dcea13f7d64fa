"""Twins from elsewhere over HTTP: taken in, listed, read as they were signed, continued.

An address is never taken from a caller: a health link is opened by `twinport receive`.
"""

import hashlib

from flask import Blueprint, Response, request
from marshmallow import fields, validate

from service.auth import Principal, Role, Scope
from service.auth.principals import PSEUDONYM
from service.portable import sphr
from service.receive.desk import Reception
from service.receive.errors import NotHeldError, ReceiveError
from service.receive.extend import Extender
from service.web.answers import JSON, json_response, require_acceptable
from service.web.api.described import Answer, described
from service.web.api.schemas import Boundary, ObjectSchema, read_body, read_query
from service.web.audiences import closed
from service.web.errors import WebError
from service.web.gate import principal
from service.web.ports import Failure
from service.web.services import services
from twin_engine.document import MEDIA_TYPE as TWIN

TYPES = (TWIN.partition(";")[0], sphr.MEDIA_TYPE, "application/octet-stream")
CLINICS = closed(Scope.TWINS_RECEIVE, roles=(Role.EHR,))
NOT_RECEIVED = "not-received"


class ContinuationSchema(Boundary):
    """With which twin of this installation, and how far apart the two were made."""

    local = fields.String(
        required=True,
        validate=validate.Regexp(PSEUDONYM, error="Must be a twin."),
        metadata={"description": "The twin made here, of the same person."},
    )
    days = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(0, 40_000),
        metadata={"description": "Days from the moment of the one to that of the local one."},
    )


def received_blueprint(reception: Reception, extender: Extender) -> Blueprint:
    received = Blueprint("received", __name__, url_prefix="/api/v1/received")

    @received.post("")
    @CLINICS
    @described(
        "Take in a signed twin, or a package of one, from another installation",
        {
            200: Answer("Exactly this is held already; nothing was changed.", ObjectSchema),
            201: Answer("Verified, and held as foreign.", ObjectSchema),
        },
        problems=("invalid", "unsupported-media-type", "body-too-large", NOT_RECEIVED),
        files=TYPES,
    )
    def take() -> Response:
        require_acceptable(JSON)
        read_query()
        if request.mimetype not in TYPES:
            raise WebError("unsupported-media-type", next_step=_SEND)
        try:
            found = reception.receive(request.get_data(), *_who(principal()))
        except ReceiveError as error:
            raise _refused(error) from None
        return json_response(found.as_dict(), 201 if found.new else 200)

    @received.get("")
    @CLINICS
    @described(
        "List the twins from elsewhere that are held",
        {200: Answer("One entry per version.", ObjectSchema, many=True)},
        problems=("invalid",),
    )
    def held() -> Response:
        require_acceptable(JSON)
        read_query()
        rows = [
            {"twin": one.twin, "version": one.version, "issuer": one.issuer, "signedBy": one.kid}
            for one in reception.held()
        ]
        return json_response({"items": rows})

    @received.get("/<pseudonym>")
    @CLINICS
    @described(
        "Read the newest version of a twin from elsewhere, as its issuer signed it",
        {200: Answer("The signed file, byte for byte.", ObjectSchema, media_type=TWIN)},
        problems=("invalid", Failure.NOT_FOUND),
    )
    def read(pseudonym: str) -> Response:
        read_query()
        try:
            content = reception.file(pseudonym)
        except ReceiveError as error:
            raise _refused(error) from None
        services().runs.note_use(principal(), "twin.download", pseudonym)
        return _file(content, TWIN, "twin.json")

    @received.post("/<pseudonym>/continuation")
    @CLINICS
    @described(
        "Continue a twin from elsewhere with what is known here, as its next version",
        {201: Answer("The new version: facts added, and facts known before.", ObjectSchema)},
        problems=(
            *("malformed", "unsupported-media-type", "invalid"),
            *(Failure.NOT_FOUND, Failure.NOT_CONSENTED, NOT_RECEIVED),
        ),
        body=ContinuationSchema,
    )
    def continuation(pseudonym: str) -> Response:
        require_acceptable(JSON)
        read_query()
        wish = read_body(ContinuationSchema)
        services().runs.require_consent(wish["local"], "care", principal())
        try:
            made = extender.extend(pseudonym, wish["local"], wish["days"], *_who(principal()))
        except ReceiveError as error:
            raise _refused(error) from None
        row = {
            "twin": made.twin.id,
            "version": made.twin.version,
            "added": made.added,
            "duplicates": made.duplicates,
        }
        return json_response(row, 201)

    @received.get("/<pseudonym>/package")
    @CLINICS
    @described(
        "Read a continuation made here as a package, to hand on",
        {200: Answer("The package (.sphr).", media_type=sphr.MEDIA_TYPE)},
        problems=("invalid", Failure.NOT_FOUND, NOT_RECEIVED),
    )
    def package(pseudonym: str) -> Response:
        read_query()
        try:
            content = extender.package(pseudonym)
        except ReceiveError as error:
            raise _refused(error) from None
        services().runs.note_use(principal(), "twin.download", pseudonym)
        return _file(content, sphr.MEDIA_TYPE, "record.sphr")

    return received


_SEND = "Send a twin file or a package, under its media type or as application/octet-stream."


def _who(caller: Principal) -> tuple[str, str]:
    return caller.role.value, caller.subject


def _refused(error: ReceiveError) -> WebError:
    if isinstance(error, NotHeldError):
        return WebError(Failure.NOT_FOUND)
    sentence = str(error)
    return WebError(NOT_RECEIVED, next_step=f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}.")


def _file(content: bytes, media_type: str, name: str) -> Response:
    response = Response(content, content_type=media_type)
    response.set_etag(hashlib.sha256(content).hexdigest())
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
