"""Start a sandbox and stay: what `twinport sandbox` calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from werkzeug.serving import make_server

from service.sandbox.population import DEFAULT_SEED, generate
from service.sandbox.server import create_sandbox
from service.sandbox.serving import SilentHandler, serving


def run(
    host: str = "127.0.0.1", port: int = 8090, anchor: date | None = None, seed: int = DEFAULT_SEED
) -> None:
    """Serve the population as of the anchor day (today by default) until interrupted."""
    app = create_sandbox(generate(anchor or date.today(), seed))
    make_server(host, port, app, threaded=True, request_handler=SilentHandler).serve_forever()


@contextmanager
def background(
    host: str = "127.0.0.1", port: int = 0, anchor: date | None = None, seed: int = DEFAULT_SEED
) -> Iterator[str]:
    """The same in a thread, for a demo that goes on by itself; gives the base URL."""
    app = create_sandbox(generate(anchor or date.today(), seed))
    with serving(app, host, port) as server:
        yield f"http://{host}:{server.server_port}/fhir"
