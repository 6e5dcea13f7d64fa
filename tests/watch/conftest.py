"""A home with keys, made once and copied."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import pytest
from support import databases
from watch_scene import Open, Scene, scene


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    place = tmp_path / "home"
    shutil.copytree(made_home, place)
    return place


@pytest.fixture
def open_scene(home: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """On the embedded database, or on PostgreSQL where the tests run on it."""
    there: dict[str, str] = {}
    if databases.SERVER:
        there["TWINPORT_DATABASE__URL"] = request.getfixturevalue("database_url")
    with ExitStack() as stack:

        def start(more: Mapping[str, str] = MappingProxyType({}), **others: object) -> Scene:
            settings = {**there, **more}
            return stack.enter_context(scene(home, more=settings, **others))  # type: ignore[arg-type]

        yield start
