"""One home with keys and a database, and two versions of one twin in it, made by real runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli_records import Home, later, record
from support.shell import Shell


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(folder / "home"))
        shell = Shell(folder / "home")
        bundle = _run(shell, folder, "one", record())
        _run(shell, folder, "two", later(record()))
        yield Home(bundle, folder / "one" / "twin.json", folder / "two" / "twin.json", shell)


def _run(shell: Shell, folder: Path, name: str, resources: list[dict[str, Any]]) -> Path:
    entries = [{"resource": resource} for resource in resources]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    path = folder / f"{name}.json"
    path.write_bytes(orjson.dumps(bundle))
    ran = shell("run", "--bundle", path, "--out", folder / name, "--json")
    assert ran.code == 0, ran.err
    return path


@pytest.fixture
def twinport(home: Home) -> Shell:
    """Commands in that home."""
    return home.shell
