"""Apps on a real port, and callers who hang up."""

import socket
import struct
import threading
from collections.abc import Iterator

from flask import Flask, Response

from service.sandbox.serving import serving

LENGTH = {"Content-Length": "9"}
AT_ONCE = struct.pack("ii", 1, 0)  # closed with a reset, as by a browser that goes elsewhere


class Body:
    """All of it is sent before the caller hangs up, and it ends after that."""

    def __init__(self) -> None:
        self.sent, self.gone, self.closed = (threading.Event() for _ in range(3))

    def __iter__(self) -> Iterator[bytes]:
        yield b"all of it"
        self.sent.set()
        assert self.gone.wait(30)

    def close(self) -> None:
        self.closed.set()


def test_what_is_read_from_is_closed_when_the_caller_hangs_up() -> None:
    app, body = Flask(__name__), Body()
    app.add_url_rule("/", "body", lambda: Response(body, headers=LENGTH, direct_passthrough=True))
    with serving(app) as server:
        with socket.create_connection(("127.0.0.1", server.server_port)) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert body.sent.wait(30)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        body.gone.set()
        assert body.closed.wait(30)
