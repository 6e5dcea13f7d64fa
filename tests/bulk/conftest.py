"""A home of one's own for every test."""

import shutil
from pathlib import Path

import pytest
from support import databases
from support.shell import Shell


@pytest.fixture
def home(
    made_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Path:
    place = tmp_path / "home"
    shutil.copytree(made_home, place)
    if databases.SERVER:
        monkeypatch.setenv("TWINPORT_DATABASE__URL", request.getfixturevalue("database_url"))
    monkeypatch.setenv("TWINPORT_HOME", str(place))
    return place


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)
