"""A home of one's own for every test."""

import shutil
from pathlib import Path

import pytest
from support import databases
from support.shell import Shell

from service.config import load_config
from service.pipeline.runtime import open_runtime


@pytest.fixture(scope="session")
def _made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and schema, made once; every test starts from a copy."""
    home = tmp_path_factory.mktemp("made") / "home"
    open_runtime(load_config({"TWINPORT_HOME": str(home)})).close()
    return home


@pytest.fixture
def home(
    _made_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Path:
    place = tmp_path / "home"
    shutil.copytree(_made_home, place)
    if databases.SERVER:
        monkeypatch.setenv("TWINPORT_DATABASE__URL", request.getfixturevalue("database_url"))
    monkeypatch.setenv("TWINPORT_HOME", str(place))
    return place


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)
