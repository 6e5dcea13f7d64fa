"""JSON by orjson, and the two ways an answer's media type is agreed."""

from typing import Any

import orjson
from flask import Response, request
from flask.json.provider import JSONProvider

from service.web.errors import WebError

JSON = "application/json"


class OrjsonProvider(JSONProvider):
    """Flask's JSON, by orjson."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return Response(orjson.dumps(self._prepare_response_obj(args, kwargs)), mimetype=JSON)


def json_response(body: object, status: int = 200, media_type: str = JSON) -> Response:
    return Response(orjson.dumps(body), status=status, content_type=media_type)


def require_acceptable(*served: str) -> None:
    """Refuse a caller who accepts none of the types served."""
    if request.accept_mimetypes and not request.accept_mimetypes.best_match(served):
        raise WebError("not-acceptable")


def read_json(*accepted: str) -> Any:
    """The body as plain values; which media types may carry it is said by the caller."""
    if request.mimetype not in accepted:
        raise WebError("unsupported-media-type")
    try:
        return orjson.loads(request.get_data())
    except orjson.JSONDecodeError:
        raise WebError("malformed") from None


def prefers(name: str) -> bool:
    """Whether `Prefer` holds this token (RFC 7240), in whichever of its lines."""
    lines = request.headers.getlist("Prefer")
    tokens = (part.split(";")[0].strip().lower() for line in lines for part in line.split(","))
    return name in tokens


def preference(name: str) -> str | None:
    """The value of a preference such as `handling=strict`."""
    for line in request.headers.getlist("Prefer"):
        for part in line.split(","):
            key, _, value = part.split(";")[0].partition("=")
            if key.strip().lower() == name:
                return value.strip().strip('"').lower()
    return None
