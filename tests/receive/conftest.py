"""Three installations: a clinic, another one that trusts it, and a stranger."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from receive_places import Place, place


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("receive")


@pytest.fixture(scope="session")
def a(folder: Path) -> Iterator[Place]:
    made = place(folder / "a")
    yield made
    made.runtime.close()


@pytest.fixture(scope="session")
def b(folder: Path, a: Place) -> Iterator[Place]:
    made = place(folder / "b")
    made.trust("clinic-a", a)
    yield made
    made.runtime.close()
