"""Liveness, readiness, metrics."""

from flask import Blueprint, Response

from service.auth import Scope
from service.web.answers import json_response
from service.web.audiences import closed, opened
from service.web.ports import Failure, ServiceError
from service.web.services import services

health = Blueprint("health", __name__)


@health.get("/livez")
@opened
def live() -> Response:
    """The process answers. Says nothing of what is behind it: a restart would not mend that."""
    return json_response({"status": "ok"})


@health.get("/readyz")
@opened
def ready() -> Response:
    """Whether requests can be served: 200, or 503 naming what is missing."""
    checks = dict(services().runs.readiness())
    if not all(checks.values()):
        missing = ", ".join(sorted(name for name, there in checks.items() if not there))
        raise ServiceError(Failure.BUSY, next_step=f"Not ready: {missing}.", retry_after=5)
    return json_response({"status": "ok", "checks": checks})


@health.get("/metrics")
@closed(Scope.OPERATIONS_READ)
def metrics() -> Response:
    """Prometheus text. The scraper sends an API key of the role `admin` as a bearer token."""
    text = services().meters.text(services().runs.levels())
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")
