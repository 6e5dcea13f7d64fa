"""The application under the real server, with the settings it is run with."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from service.auth import Access, Role
from service.config import load_config
from service.keys import KeyRing
from service.stores import open_database

pytestmark = pytest.mark.slow

PATIENT = "Zyxwvut-1950"
ROOT = Path(__file__).parents[2]


class Server:
    """gunicorn in a process of its own."""

    def __init__(self, home: Path, workers: int) -> None:
        self.port = _free_port()
        self.env = {
            "TWINPORT_HOME": str(home),
            "TWINPORT_WEB__PORT": str(self.port),
            "TWINPORT_WEB__WORKERS": str(workers),
            "TWINPORT_SERVERS__HOSPITAL__BASE_URL": "https://fhir.example.org/r4",
        }
        self._log = home.parent / "log"
        entry = ["-c", "python:service.gunicorn_conf", "web_app:build()"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *entry],
                env={**os.environ, **self.env, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
                stderr=log,
                cwd=home.parent,
            )
        self._wait()

    def get(self, path: str, **arguments: object) -> requests.Response:
        return self.request("GET", path, **arguments)

    def request(self, method: str, path: str, **arguments: object) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return requests.request(method, url, timeout=120, **arguments)  # type: ignore[arg-type]

    def key(self, role: Role) -> dict[str, str]:
        config = load_config(self.env)
        database = open_database(config.database_url)
        keys = KeyRing.load(config.keys_dir)
        access = Access.build(config, database, keys.session.material)
        key = access.api_keys.issue(role, label="test")
        database.close()
        return {"Authorization": f"Bearer {key.text}"}

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=120)

    def logged(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def _wait(self) -> None:
        for _ in range(200):
            try:
                if self.get("/livez").ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.1)
        raise AssertionError(self._log.read_text())


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "home", request.param)
    yield found
    found.stop()


def test_it_serves_logs_counts_and_stops(server: Server) -> None:
    ehr, admin = server.key(Role.EHR), server.key(Role.ADMIN)
    assert server.get("/readyz").json()["checks"]["queue"] is True
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "server", "valueString": "hospital"}],
    }
    path = f"/fhir/Patient/{PATIENT}/$assess"
    for _ in range(4):
        assert server.request("POST", path, json=body, headers=ehr).status_code == 200
    # A body of unknown length is cut off at the same size as one that says how long it is.
    chunks = iter([b"x" * 1_000_000] * 11)
    headers = {**ehr, "Content-Type": "application/json"}
    refused = server.request("POST", "/api/v1/runs", data=chunks, headers=headers)
    assert refused.status_code == 413
    assert refused.headers["Content-Type"] == "application/problem+json"

    metrics = server.get("/metrics", headers=admin).text
    counted = 'twinport_http_requests_total{method="POST",route="/fhir/Patient/<patient>/$assess"'
    assert counted + ',status="200"} 4.0' in metrics
    assert server.stop() == 0
    lines = server.logged()
    assert PATIENT not in str(lines)
    assert len([x for x in lines if x.get("route") == "/fhir/Patient/<patient>/$assess"]) == 4
    assert any("Booting worker" in str(x["event"]) for x in lines)


def test_what_the_server_itself_refuses_is_not_logged_by_value(tmp_path: Path) -> None:
    server = Server(tmp_path / "home", 1)
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(f"GET /{PATIENT} {PATIENT} HTTP/9\r\n\r\n".encode())
        raw.recv(1000)
    server.get("/" + PATIENT * 1000)
    server.stop()
    assert PATIENT not in str(server.logged())
