"""A Flask app on a real port, in a thread, without an access log."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class SilentHandler(WSGIRequestHandler):
    """No access log: its lines would hold URLs, and URLs hold ids."""

    clock: Callable[[], float] = staticmethod(time.time)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` of every answer, by the clock of what is served."""
        return super().date_time_string(self.clock() if timestamp is None else timestamp)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return


def closing(app: "WSGIApplication") -> "WSGIApplication":
    """The same; what it answers with is closed at the end, even where the caller hangs up and
    werkzeug's server does not come to it: a generator that nobody holds is ended."""

    def answer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterator[bytes]:
        found = app(environ, start)
        try:
            yield from found
        finally:
            close = getattr(found, "close", None)
            if close is not None:
                close()

    return answer


@contextmanager
def serving(
    app: Flask,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], float] = time.time,
) -> Iterator[BaseWSGIServer]:
    """The app answers on this port (0: any free one) until the block ends."""
    handler = type("Handler", (SilentHandler,), {"clock": staticmethod(clock)})
    server = make_server(host, port, closing(app), threaded=True, request_handler=handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
