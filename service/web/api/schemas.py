"""The boundary: what comes in is checked here and what goes out is shaped here."""

from collections.abc import Iterator, Mapping
from typing import Any

from flask import request
from marshmallow import INCLUDE, RAISE, Schema, ValidationError, fields, post_load, validate

from service.patient.consent import CARE, PURPOSES
from service.web.answers import JSON, read_json
from service.web.errors import Fault, WebError, safe_path
from service.web.ports import Question, RunRequest, RunState

_NAME = validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z", error="Must be a name.")
_FHIR_ID = validate.Regexp(r"^[A-Za-z0-9.-]{1,64}\Z", error="Must be a FHIR id.")
_LONGEST_NAME = validate.Length(1, 2048)
_MODEL = validate.Regexp(r"^[a-z0-9-]{1,40}(:[a-z0-9-]{1,40})?\Z", error="Must be a model.")
LONGEST_CELL = 32


class StrictBoolean(fields.Field[bool]):
    """`true` or `false`; marshmallow's own also takes "yes" and 1."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class Boundary(Schema):
    class Meta:
        unknown = RAISE


# -- in ----------------------------------------------------------------------------------------


class RunRequestSchema(Boundary):
    """A run to start."""

    server = fields.String(
        required=True,
        validate=_LONGEST_NAME,
        metadata={"description": "Name of a configured server. An address is refused."},
    )
    patient = fields.String(
        required=True, validate=_FHIR_ID, metadata={"description": "The patient's id there."}
    )
    models = fields.List(
        fields.String(validate=_NAME),
        load_default=list,
        validate=validate.Length(max=50),
        metadata={"description": "Models to run; none named: the configured default."},
    )
    policy = fields.String(
        load_default=None,
        allow_none=True,
        validate=_NAME,
        metadata={"description": "De-identification policy; absent: the configured default."},
    )
    writeBack = StrictBoolean(  # noqa: N815 - the name on the wire
        load_default=None,
        allow_none=True,
        metadata={"description": "Write results back; absent: as the server is configured."},
    )
    onlyNeeded = StrictBoolean(  # noqa: N815 - the name on the wire
        load_default=False,
        metadata={
            "description": "Ask the server for the resource types that these models read, and for "
            "no others; absent: for all."
        },
    )

    purpose = fields.String(
        load_default=CARE,
        validate=validate.OneOf(sorted(PURPOSES)),
        metadata={"description": "What for. The patient must have allowed it."},
    )
    encounter = fields.String(
        load_default="",
        validate=_FHIR_ID,
        metadata={
            "description": "The id there of the encounter in which this is asked; the results name "
            "it, where it is one of this patient's."
        },
    )

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> RunRequest:
        return RunRequest(
            data["server"],
            data["patient"],
            tuple(dict.fromkeys(data["models"])),
            data["policy"],
            data["writeBack"],
            data["onlyNeeded"],
            data["purpose"],
            data["encounter"],
        )


class PurposeQuerySchema(Boundary):
    """What a twin is handed out for."""

    purpose = fields.String(
        load_default=CARE,
        validate=validate.OneOf(sorted(PURPOSES)),
        metadata={"description": "What for. The patient must have allowed it."},
    )


class Cell(fields.Field[str]):
    """A number, yes or no, or a word: as a cell of a table of rows holds it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if isinstance(value, bool):
            return str(int(value))
        if not isinstance(value, int | float | str) or len(str(value)) > LONGEST_CELL:
            raise ValidationError("Must be a number, true, false or one of the input's words.")
        return str(value)


class WhatIfSchema(Boundary):
    """Other inputs of one model, or one treatment."""

    model = fields.String(
        required=True,
        validate=_MODEL,
        metadata={"description": "`ID`, or `ID:VARIANT` to name the variant."},
    )
    changes = fields.Dict(
        keys=fields.String(validate=_NAME),
        values=Cell(),
        load_default=dict,
        validate=validate.Length(max=50),
        metadata={"description": "Input → value, in the unit on the model's card."},
    )
    treatment = fields.String(
        load_default="",
        validate=_NAME,
        metadata={"description": "One treatment that trials measured. Not beside `changes`."},
    )

    @post_load
    def build(self, data: dict[str, Any], **_: Any) -> Question:
        return Question(data["model"], data["changes"], data["treatment"])


class RunsQuerySchema(Boundary):
    """Which runs to list."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, 500))


def read_body(schema: type[Schema]) -> Any:
    """The checked body, or a problem that names each fault by its path."""
    body = read_json(JSON)
    if not isinstance(body, dict):
        raise WebError("malformed", next_step="Send a JSON object.")
    return _loaded(schema, body, "")


def read_query(schema: type[Schema] | None = None) -> Any:
    """The checked query string. Without a schema nothing may be in it."""
    return _loaded(schema or Boundary, request.args.to_dict(), "/query")


def _loaded(schema: type[Schema], data: Mapping[str, Any], prefix: str) -> Any:
    try:
        return schema().load(data)
    except ValidationError as error:
        faults = [
            Fault(prefix + safe_path(path), text) for path, text in _leaves(error.messages, ())
        ]
        raise WebError("invalid", faults=faults) from None


def _leaves(messages: Any, path: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], str]]:
    if isinstance(messages, Mapping):
        for name, below in messages.items():
            yield from _leaves(below, (*path, name))
    else:
        for message in messages:
            yield path, str(message)


# -- out -----------------------------------------------------------------------------------------


class FailureSchema(Schema):
    """Why a run failed."""

    code = fields.String(required=True)
    title = fields.String(required=True)
    nextStep = fields.String(required=True)  # noqa: N815


class RunSchema(Schema):
    """A run: codes, counts and pseudonyms."""

    id = fields.String(required=True)
    state = fields.String(
        required=True, validate=validate.OneOf([state.value for state in RunState])
    )
    server = fields.String(allow_none=True)
    stage = fields.String(allow_none=True)
    attempt = fields.Integer(required=True)
    counts = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    twin = fields.String(allow_none=True)
    twinVersion = fields.Integer(attribute="twin_version", allow_none=True)  # noqa: N815
    failure = fields.Nested(FailureSchema, allow_none=True)
    created = fields.DateTime(format="iso", required=True)
    started = fields.DateTime(format="iso", allow_none=True)
    finished = fields.DateTime(format="iso", allow_none=True)
    links = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class VersionSchema(Schema):
    """One version of a twin."""

    version = fields.Integer(required=True)
    parent = fields.String(allow_none=True)
    digest = fields.String(required=True)
    policy = fields.String(required=True)
    created = fields.DateTime(format="iso", required=True)


class ObjectSchema(Schema):
    """An object whose members are documented elsewhere (assessment, ledger entry, card)."""

    class Meta:
        unknown = INCLUDE


class ModelSchema(Schema):
    """A model that may run here."""

    id = fields.String(required=True)
    version = fields.String(required=True)
    title = fields.String(required=True)


class ServerSchema(Schema):
    """A configured server. Its address is not told."""

    name = fields.String(required=True)
    writeBack = fields.Boolean(required=True)  # noqa: N815


class LedgerCheckSchema(Schema):
    """What verifying the ledger found."""

    ok = fields.Boolean(required=True)
    entries = fields.Integer(required=True)
    head = fields.String(allow_none=True)
    problems = fields.List(fields.String(), required=True)


class VerifiedSchema(Schema):
    """A verification of the ledger."""

    at = fields.DateTime(required=True)
    ok = fields.Boolean(required=True)
    entries = fields.Integer(required=True)


class LedgerStateSchema(Schema):
    """The ledger, without reading it."""

    entries = fields.Integer(required=True)
    head = fields.String(allow_none=True)
    verified = fields.Nested(VerifiedSchema, allow_none=True)


class FaultSchema(Schema):
    """One fault, by its path in the request."""

    pointer = fields.String(required=True)
    detail = fields.String(required=True)


class ProblemSchema(Schema):
    """RFC 9457 problem details. `instance` is the request id; `detail` the next step."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    errors = fields.List(fields.Nested(FaultSchema))
    run = fields.String(metadata={"description": "The run that failed."})


class DisputeSchema(Boundary):
    """An entry that the patient disputes."""

    source = fields.String(metadata={"description": "The pseudonym of the entry's source."})
    part = fields.String(metadata={"description": "The part of the twin it stands in."})
    name = fields.String(metadata={"description": "The concept or group it stands under."})
    reason = fields.String(metadata={"description": "What is wrong with it, a code."})
    version = fields.Integer(metadata={"description": "The version that was looked at."})
    state = fields.String(
        metadata={"description": "`open`, `corrected` or `withdrawn` at the source."}
    )
