"""Structured logs that cannot hold a patient's value.

Our own events carry codes, templates, counts and durations. What other libraries log is not ours
to vouch for (an HTTP client logs addresses, a server logs request lines), so of their records only
the logger, the level and the place in the source are written; gunicorn's life-cycle messages are
let through by their template. Of an exception its types and source lines are written, never its
message.
"""

import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
from flask import g, has_request_context, request

from service.config import Logging

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Their arguments are addresses we listen on, process ids and signal names.
_LIFE_CYCLE = frozenset(
    {
        "Starting gunicorn %s",
        "Listening at: %s (%s)",
        "Using worker: %s",
        "Booting worker with pid: %s",
        "Worker exiting (pid: %s)",
        "Handling signal: %s",
        "Shutting down: %s",
        "WORKER TIMEOUT (pid:%s)",
        "Worker (pid:%s) was sent %s!",
    }
)
_FRAMES = 8

Event = MutableMapping[str, Any]


def configure_logging(settings: Logging, stream: TextIO | None = None) -> None:
    """Set up logging for the process; called once by whatever starts it."""
    out = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(settings.format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[settings.level])
    logging.captureWarnings(True)  # else they go to stderr as they are
    logging.raiseExceptions = False  # a failing handler would print the record's arguments
    structlog.configure(
        processors=[*_common(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def guard_process() -> None:
    """For a process that serves: what nobody caught is told by its place as well."""

    def of_process(_: type[BaseException], error: BaseException, __: Any) -> None:
        structlog.get_logger("twinport").critical("uncaught", **place_of(error))

    def of_thread(caught: threading.ExceptHookArgs) -> None:
        if caught.exc_value is not None:
            structlog.get_logger("twinport").critical("uncaught", **place_of(caught.exc_value))

    sys.excepthook = of_process
    threading.excepthook = of_thread


def web_log() -> structlog.typing.FilteringBoundLogger:
    """The web's logger, with the request id and the route's template bound."""
    log = cast(structlog.typing.FilteringBoundLogger, structlog.get_logger("twinport.web"))
    if not has_request_context():
        return log
    return log.bind(request_id=g.get("request_id", ""), route=route_template())


def route_template() -> str:
    """`/fhir/Patient/<patient>/$assess`: never the path itself, which may name a patient."""
    return request.url_rule.rule if request.url_rule is not None else "unmatched"


def place_of(error: BaseException) -> dict[str, object]:
    """What may be said of an exception: its types and where it came from."""
    kinds: list[str] = []
    frames: list[traceback.FrameSummary] = []
    cause: BaseException | None = error
    while cause is not None and len(kinds) < _FRAMES:
        kinds.append(type(cause).__qualname__)
        frames += traceback.extract_tb(cause.__traceback__)[-_FRAMES:]
        cause = cause.__cause__ or cause.__context__
    at = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": kinds, "at": at}


# -- processors --------------------------------------------------------------------------------


def _common() -> list[structlog.typing.Processor]:
    return [
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _only_places_of_exceptions,
    ]


def _formatter(form: str) -> logging.Formatter:
    text = structlog.dev.ConsoleRenderer(colors=False)
    render = structlog.processors.JSONRenderer(default=_type_only) if form == "json" else text
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_foreign, *_common()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        keep_exc_info=False,
        keep_stack_info=False,
    )


def _type_only(thing: object) -> str:
    """Something that is no plain value must not be spelled out by its `repr`."""
    return type(thing).__qualname__


def _foreign(_: Any, __: str, event: Event) -> Event:
    record = cast(logging.LogRecord, event["_record"])
    if record.msg not in _LIFE_CYCLE:
        event["event"] = "foreign"
        event["at"] = f"{record.module}.{record.funcName}:{record.lineno}"
    if record.exc_info and record.exc_info[1] is not None:
        event.update(place_of(record.exc_info[1]))
    event.pop("exc_info", None)
    return event


def _only_places_of_exceptions(_: Any, __: str, event: Event) -> Event:
    found = event.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.update(place_of(error))
    event.pop("stack_info", None)
    return event
