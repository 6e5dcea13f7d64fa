"""A home with keys, and a real server with one made-up patient."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from refresh_clinic import Clinic, Open, patient
from support import databases
from support.shell import Shell

from service.sandbox.persona import Persona, Settings
from service.sandbox.testing import running_sandbox


@pytest.fixture
def home(
    made_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Path:
    """With its embedded database, or on PostgreSQL where the tests run on it."""
    place = tmp_path / "home"
    shutil.copytree(made_home, place)
    monkeypatch.setenv("TWINPORT_HOME", str(place))
    monkeypatch.setenv("TWINPORT_JOBS__LEASE_SECONDS", "5")
    if databases.SERVER:
        monkeypatch.setenv("TWINPORT_DATABASE__URL", request.getfixturevalue("database_url"))
    return place


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)


@pytest.fixture
def open_clinic(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """A clinic on a server that behaves as asked for."""
    running: list[Any] = []

    def start(persona: Persona | None = None, settings: Settings | None = None) -> Clinic:
        around = running_sandbox([patient()], persona=persona, settings=settings)
        sandbox = around.__enter__()
        running.append(around)
        kinds = ("RiskAssessment", "Observation", "Device", "Provenance", "DocumentReference")
        before = frozenset(r["id"] for kind in kinds for r in sandbox.resources(kind))
        clinic = Clinic(shell, sandbox, monkeypatch, before)
        clinic.configure(base_url=sandbox.base_url)
        return clinic

    yield start
    for around in running:
        around.__exit__(None, None, None)


@pytest.fixture
def clinic(open_clinic: Open) -> Clinic:
    return open_clinic()
