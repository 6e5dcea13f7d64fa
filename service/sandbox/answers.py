"""What every route of the sandbox needs: the sandbox it belongs to, its base URL, JSON answers."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, current_app, request

if TYPE_CHECKING:
    from service.sandbox.server import Sandbox

FHIR_JSON = "application/fhir+json"


def here() -> "Sandbox":
    found: Sandbox = current_app.extensions["sandbox"]
    return found


def base_url() -> str:
    return request.host_url.rstrip("/") + here().prefix


def as_bytes(body: Any) -> bytes:
    return orjson.dumps(body, default=_raw_number)


def as_answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(as_bytes(body), status=status, content_type=f"{FHIR_JSON}; charset=utf-8")


def _raw_number(value: Any) -> Any:
    """Decimal keeps the digits that were sent: 1.00 is not 1."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)
