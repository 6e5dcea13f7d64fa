"""A sandbox and a service in processes of their own: their work is not charged to the client's."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import requests

from service.auth import Access, Role
from service.config import load_config
from service.keys import KeyRing
from service.stores import open_database

SERVER = "sandbox"
START_SECONDS = 600  # a machine that others share


@contextmanager
def sandbox(day: date) -> Iterator[str]:
    """The base of a sandbox with the whole population, and a long record."""
    port = free_port()
    base = f"http://127.0.0.1:{port}/fhir"
    command = [sys.executable, "-m", "bench.served", str(port), day.isoformat()]
    with _process(command, {}, f"{base}/metadata"):
        yield base


@contextmanager
def copies(number: int) -> Iterator[str]:
    """The base of a sandbox that holds one patient so many times."""
    port = free_port()
    base = f"http://127.0.0.1:{port}/fhir"
    command = [sys.executable, "-m", "bench.copies", str(port), str(number)]
    with _process(command, {}, f"{base}/metadata"):
        yield base


@dataclass(frozen=True)
class Running:
    """gunicorn with our own settings, and the keys of an EHR and an administrator."""

    url: str
    ehr: Mapping[str, str]
    admin: Mapping[str, str]
    pid: int

    def processor_seconds(self) -> float:
        """What the worker processes have computed so far. A busy machine does not make it grow as
        it makes the time on the wall grow."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        ticks = sum(_ticks(Path(f"/proc/{child}/stat").read_text()) for child in children)
        return ticks / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> str:
        return requests.get(f"{self.url}/metrics", headers=self.admin, timeout=60).text


@contextmanager
def service(base: str, workers: int, settings: Mapping[str, str]) -> Iterator[Running]:
    """The service as it is run, over one FHIR server, with a database of its own."""
    with tempfile.TemporaryDirectory(prefix="twinport-bench-") as folder:
        port = free_port()
        environment = {
            "TWINPORT_HOME": str(Path(folder) / "home"),
            "TWINPORT_WEB__PORT": str(port),
            "TWINPORT_WEB__WORKERS": str(workers),
            f"TWINPORT_SERVERS__{SERVER.upper()}__BASE_URL": base,
            **settings,
        }
        entry = ["-c", "python:service.gunicorn_conf", "service.wsgi:build()"]
        command = [sys.executable, "-m", "gunicorn", *entry]
        url = f"http://127.0.0.1:{port}"
        with _process(command, environment, f"{url}/readyz") as process:
            yield Running(url, *_keys(environment), process.pid)


def _ticks(stat: str) -> int:
    """User and system time of `/proc/PID/stat`; the name before them may hold spaces."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _keys(environment: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    config = load_config(dict(environment))
    database = open_database(config.database_url)
    access = Access.build(config, database, KeyRing.load(config.keys_dir).session.material)
    texts = [access.api_keys.issue(role, label="bench").text for role in (Role.EHR, Role.ADMIN)]
    database.close()
    ehr, admin = ({"Authorization": f"Bearer {text}"} for text in texts)
    return ehr, admin


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str], answers: str
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_it_answers(answers, process)
        yield process
    finally:
        process.terminate()
        process.wait()


def _until_it_answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(url, timeout=10).ok:
                return
        time.sleep(0.1)
    raise RuntimeError("a process of the bench did not come up: run its command to see why")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
