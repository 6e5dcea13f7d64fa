"""A Flask app on a real port, in a thread, without an access log."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class SilentHandler(WSGIRequestHandler):
    """No access log: its lines would hold URLs, and URLs hold ids."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return


@contextmanager
def serving(app: Flask, host: str = "127.0.0.1", port: int = 0) -> Iterator[BaseWSGIServer]:
    """The app answers on this port (0: any free one) until the block ends."""
    server = make_server(host, port, app, threaded=True, request_handler=SilentHandler)
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
