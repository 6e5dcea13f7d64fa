"""A home of one's own for every test, and real servers with a few patients."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from service_people import Bundle, Json, person
from support import databases
from support.shell import Shell

from service.sandbox.testing import RunningSandbox, running_sandbox


@pytest.fixture
def home(
    made_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Path:
    """An installation with keys and an empty database; its leases are short.

    The embedded database, or a schema of its own where the suite runs on PostgreSQL.
    """
    place = tmp_path / "home"
    shutil.copytree(made_home, place)
    if databases.SERVER:
        monkeypatch.setenv("TWINPORT_DATABASE__URL", request.getfixturevalue("database_url"))
    monkeypatch.setenv("TWINPORT_HOME", str(place))
    monkeypatch.setenv("TWINPORT_JOBS__LEASE_SECONDS", "5")
    return place


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing at all, as on a fresh machine."""
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "fresh"))
    return tmp_path / "fresh"


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """A FHIR server that holds one healthy man with complete inputs."""
    with running_sandbox([person("demo-008")]) as running:
        yield running


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Writes a resource to a file."""
    count = iter(range(1000))

    def write(resource: Json) -> Path:
        path = tmp_path / f"record-{next(count)}.json"
        path.write_bytes(orjson.dumps(resource))
        return path

    return write
