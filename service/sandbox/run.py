"""Start a sandbox and stay: what `twinport sandbox` calls."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from service.sandbox.persona import Persona
from service.sandbox.population import DEFAULT_SEED, generate
from service.sandbox.server import create_sandbox, sandbox_of
from service.sandbox.serving import serving

DEFAULT_PORT = 8090


@contextmanager
def background(
    host: str = "127.0.0.1",
    port: int = 0,
    anchor: date | None = None,
    seed: int = DEFAULT_SEED,
    persona: Persona | None = None,
) -> Iterator[str]:
    """Serve the population as of the anchor day (today by default); gives the base URL."""
    app = create_sandbox(generate(anchor or date.today(), seed), persona)
    with serving(app, host, port) as server:
        yield f"http://{host}:{server.server_port}{sandbox_of(app).prefix}"


def run(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    anchor: date | None = None,
    seed: int = DEFAULT_SEED,
    persona: Persona | None = None,
) -> None:
    """The same until the process is interrupted (KeyboardInterrupt reaches the caller)."""
    with background(host, port, anchor, seed, persona):
        threading.Event().wait()
