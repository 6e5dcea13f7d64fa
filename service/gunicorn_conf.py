"""gunicorn's settings, made from ours.

    gunicorn -c python:service.gunicorn_conf 'service.wsgi:build()'

Threads, because a synchronous run waits for a FHIR server most of the time. No access log: it
would hold paths, and a path may name a patient; the application writes its own line by template.
"""

import logging
import os
import shutil
import tempfile
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from service import collector
from service.config import load_config
from service.web.logs import configure_logging, guard_process

_config = load_config()
_GRACE = 10


class OwnLogger(Logger):  # type: ignore[misc]
    """gunicorn's messages go through our formatter, which lets none of a request through."""

    def setup(self, cfg: Any) -> None:
        self.loglevel = logging.INFO
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = log is self.error_log
        self.error_log.setLevel(self.loglevel)
        configure_logging(_config.logging)
        guard_process()


_host = _config.web.host
bind = f"[{_host}]:{_config.web.port}" if ":" in _host else f"{_host}:{_config.web.port}"
workers = _config.web.workers
worker_class = "gthread"
threads = _config.web.threads
timeout = 60  # a worker that does not even beat; a long run in a thread does not count
graceful_timeout = _config.jobs.stop_seconds + _GRACE
# Longer than proxies keep theirs (60 seconds) and than we tell anybody to wait: a connection that
# is closed just as it is used again looks like a lost call.
keepalive = 65
max_requests = 0
accesslog = None
logger_class = OwnLogger
# The application refuses long addresses itself, with an error in the right shape.
limit_request_line = 8190
# Whom to believe about the caller's address is decided once, in the application (ProxyFix).
forwarded_allow_ips = ""
proc_name = "twinport"

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_made_folder = ""
if workers > 1 and _FOLDER not in os.environ:
    # Workers add up their metrics through files; without them each would tell its own share.
    os.environ[_FOLDER] = _made_folder = tempfile.mkdtemp(prefix="twinport-metrics-")


def post_worker_init(worker: Any) -> None:
    """Threads do not survive a fork, so the queue starts here and not with the application."""
    collector.settle()
    _services(worker).start()


def worker_exit(_: Any, worker: Any) -> None:
    if getattr(worker, "wsgi", None) is not None:
        _services(worker).stop()


def child_exit(_: Any, worker: Any) -> None:
    if os.environ.get(_FOLDER):
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_: Any) -> None:
    if _made_folder:
        shutil.rmtree(_made_folder, ignore_errors=True)


def _services(worker: Any) -> Any:
    from service.web.services import built_for

    return built_for(worker.wsgi)
