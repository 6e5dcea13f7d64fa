"""Around every request: its id, its time, one log line, its metrics."""

import time

from flask import Flask, Response, g, request

from service.web.gate import new_request_id
from service.web.logs import route_template, web_log
from service.web.meters import Meters

# Health checks come every few seconds and say nothing when all is well.
_QUIET = frozenset({"health.live", "health.ready", "static"})


def register_observation(app: Flask, meters: Meters) -> None:
    """First in, last out."""

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        new_request_id()
        meters.begun()

    @app.after_request
    def answered(response: Response) -> Response:
        seconds = time.perf_counter() - g.began
        meters.answered(request.method, route_template(), response.status_code, seconds)
        if request.endpoint not in _QUIET or response.status_code >= 400:
            _log(response.status_code, seconds)
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        if "began" in g:
            meters.ended()


def _log(status: int, seconds: float) -> None:
    caller = g.get("principal")
    who = {"role": caller.role.value, "by": caller.kind.value} if caller else {}
    problem = {"problem": g.error_code} if "error_code" in g else {}
    # An unknown method is the caller's word and stays out.
    method = request.method if request.url_rule is not None else "-"
    web_log().info(
        "request", method=method, status=status, ms=round(seconds * 1000, 1), **who, **problem
    )
