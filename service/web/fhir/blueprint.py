"""The blueprint, and what every FHIR route agrees with its caller before the view runs."""

import re
from typing import Any

import orjson
from flask import Blueprint, Response, request

from service.web.errors import FHIR_JSON, WebError

facade = Blueprint("fhir", __name__, url_prefix="/fhir")

FHIR_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
FHIR_TYPES = ("application/fhir+json", "application/json")
_JSON_FORMATS = frozenset({"json", *FHIR_TYPES})
_WILD = frozenset({"*/*", "application/*", *FHIR_TYPES})
_VERSIONS = frozenset({"4.0", "4.0.1"})
# What the framework parameters are called; they belong to no search and no operation.
GENERAL = frozenset({"_format", "_pretty"})


@facade.before_request
def agree_on_format() -> None:
    """406 unless the caller takes FHIR JSON of R4. `_format` overrides `Accept`."""
    wanted = request.args.get("_format")
    accept = [wanted] if wanted else ",".join(request.headers.getlist("Accept")).split(",")
    offers = [media(text) for text in accept if text.strip()]
    if offers and not any(_takes_json(*offer, by_name=bool(wanted)) for offer in offers):
        raise WebError("not-acceptable")


def fhir_response(
    resource: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    pretty = request.args.get("_pretty") == "true"
    content = orjson.dumps(resource, option=orjson.OPT_INDENT_2 if pretty else None)
    return Response(content, status=status, content_type=FHIR_JSON, headers=headers)


def read_fhir_json() -> Any:
    """The body, if it is sent as FHIR JSON of R4."""
    kind, parameters = media(request.headers.get("Content-Type", ""))
    if kind not in FHIR_TYPES or parameters.get("fhirversion", "4.0") not in _VERSIONS:
        raise WebError("unsupported-media-type")
    try:
        return orjson.loads(request.get_data())
    except orjson.JSONDecodeError:
        raise WebError("malformed") from None


def _takes_json(kind: str, parameters: dict[str, str], *, by_name: bool) -> bool:
    known = _JSON_FORMATS if by_name else _WILD
    if kind not in known or parameters.get("fhirversion", "4.0") not in _VERSIONS:
        return False
    return not re.fullmatch(r"0(\.0*)?", parameters.get("q", "1"))


def media(text: str) -> tuple[str, dict[str, str]]:
    """`application/fhir+json;fhirVersion=4.0` in parts. A browser sends `+` as a space."""
    kind, *rest = text.split(";")
    pairs = (part.partition("=") for part in rest)
    parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
    return kind.strip().lower().replace("fhir json", "fhir+json"), parameters
