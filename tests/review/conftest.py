"""A chart with results in it, copied for each test; and one from the start, for those that run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from review_scene import Prepared, Scene, prepare, scene


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared") / "home")


@pytest.fixture
def clinic(prepared: Prepared, tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path / "home", prepared=prepared) as made:
        yield made


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path / "home") as made:
        made.run()
        yield made
