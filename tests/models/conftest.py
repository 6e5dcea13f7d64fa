"""A home and one signed twin for the commands."""

from pathlib import Path

import orjson
import pytest
from support.shell import Shell

from service.sandbox.testing import TEST_ANCHOR, population


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, Path]:
    """A shell over a fresh home, and a twin it made of one of the made-up patients."""
    place = tmp_path_factory.mktemp("commands")
    file = place / "record.json"
    one = next(person for person in population(TEST_ANCHOR) if person.id == "demo-008")
    file.write_bytes(orjson.dumps(one.bundle()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINPORT_HOME", str(place / "home"))
        shell = Shell(place / "home")
        assert shell("run", "--bundle", file, "--out", place / "out").code == 0
    return shell, place / "out" / "twin.json"


@pytest.fixture
def shell(signed: tuple[Shell, Path], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TWINPORT_HOME", str(signed[0].home))
    return signed[0]


@pytest.fixture
def twin(signed: tuple[Shell, Path]) -> Path:
    return signed[1]
