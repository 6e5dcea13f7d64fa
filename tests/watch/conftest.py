"""A home with keys, made once and copied."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from watch_scene import Open, Scene, scene

from service.config import load_config
from service.pipeline.runtime import open_runtime


@pytest.fixture(scope="session")
def _made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("watch") / "home"
    open_runtime(load_config({"TWINPORT_HOME": str(home)})).close()
    return home


@pytest.fixture
def home(_made_home: Path, tmp_path: Path) -> Path:
    place = tmp_path / "home"
    shutil.copytree(_made_home, place)
    return place


@pytest.fixture
def open_scene(home: Path) -> Iterator[Open]:
    with ExitStack() as stack:

        def start(**more: object) -> Scene:
            return stack.enter_context(scene(home, **more))  # type: ignore[arg-type]

        yield start
