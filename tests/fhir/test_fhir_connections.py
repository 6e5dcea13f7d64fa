"""Connections outlast a job; nothing of the job does."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import certifi
import orjson
import pytest
from fhir_servers import QUICK

from service.fhir import patience
from service.fhir.http import FhirClient
from service.fhir.servers import ServerConfig
from service.fhir.wire import Connections

PATIENT = orjson.dumps({"resourceType": "Patient", "id": "p1"})


class KeepingServer(ThreadingHTTPServer):
    """Keeps a connection open for as long as its client does."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connections = 0
        self.cookies: list[str | None] = []

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/fhir"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KeepingServer

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        self.server.cookies.append(self.headers["Cookie"])
        self.send_response(200)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(PATIENT)))
        self.send_header("Set-Cookie", "node=b7; Path=/fhir")
        self.end_headers()
        self.wfile.write(PATIENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[KeepingServer]:
    with KeepingServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def kept() -> Iterator[Connections]:
    found = Connections()
    yield found
    found.close()


def job(server: KeepingServer, kept: Connections | None, ca_file: str = "") -> None:
    """One that asks twice."""
    config = ServerConfig("test", server.base, limits=QUICK, ca_file=ca_file)
    with FhirClient(config, kept=kept) as client:
        for _ in range(2):
            client.read("Patient", "p1")


def test_the_next_job_goes_over_the_same_connection(
    server: KeepingServer, kept: Connections
) -> None:
    for _ in range(3):
        job(server, kept)
    assert server.connections == 1
    assert server.cookies == [None, "node=b7"] * 3  # what one was told stays its own


def test_without_them_each_job_has_its_own(server: KeepingServer) -> None:
    for _ in range(3):
        job(server, None)
    assert server.connections == 3


def test_what_was_idle_for_too_long_is_opened_anew(
    server: KeepingServer, kept: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(server, kept)
    monkeypatch.setattr(patience, "IDLE_SECONDS", -1)
    job(server, kept)
    assert server.connections == 3


def test_who_is_to_be_trusted_now_has_other_connections(
    server: KeepingServer, kept: Connections
) -> None:
    job(server, kept)
    job(server, kept, certifi.where())
    assert server.connections == 2


def test_after_the_end_they_are_opened_anew(server: KeepingServer, kept: Connections) -> None:
    job(server, kept)
    kept.close()
    job(server, kept)
    assert server.connections == 2
