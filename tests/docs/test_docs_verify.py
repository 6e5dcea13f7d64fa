"""The sixty lines of docs/verify.md: short, free of ours, and right about every kind of change."""

import ast
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from docs_pages import ROOT
from support.issuer import home

from privacy.signing import envelope
from service.pipeline.package import package
from service.stores.twins import TwinStore

Change = Callable[[dict[str, bytes]], object]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = (ROOT / "docs/verify.md").read_text("utf-8")
    lines = text.partition("<<'EOF'\n")[2].partition("\nEOF\n")[0]
    path = tmp_path_factory.mktemp("script") / "check_twin.py"
    path.write_text(lines + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TWINPORT_HOME", str(place / "home"))
        made = home()
        stored = TwinStore(made.runtime.database).get(made.twin)
        data = package(made.runtime, made.twin)
        assert stored is not None
        assert data is not None
        file = envelope(stored.payload, {"jws": stored.proof.decode()})
        (place / "twin.json").write_bytes(file)
        (place / "record.sphr").write_bytes(data)
        (place / "keys.json").write_bytes(orjson.dumps(made.runtime.jwks()))
        made.runtime.close()
    return place


def checked(script: Path, file: Path, keys: Path) -> tuple[int, str]:
    command = [sys.executable, "-I", str(script), str(file), str(keys)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    return ran.returncode, (ran.stdout + ran.stderr).strip()


def changed_at(data: bytes, place: int) -> bytes:
    """With another character there, whichever it was: signatures may hold any."""
    other = b"y" if data[place : place + 1] == b"x" else b"x"
    return data[:place] + other + data[place + 1 :]


def test_it_is_sixty_lines_of_nothing_of_ours(script: Path) -> None:
    text = script.read_text("utf-8")
    assert len(text.splitlines()) <= 60
    imported = {
        name.split(".")[0] for node in ast.walk(ast.parse(text)) for name in _imported(node)
    }
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.slow
def test_what_was_signed_passes_and_what_was_changed_is_named(script: Path, folder: Path) -> None:
    keys = folder / "keys.json"
    for name in ("twin.json", "record.sphr"):
        code, said = checked(script, folder / name, keys)
        assert (code, said.partition(" ")[0]) == (0, "verified")
    file = (folder / "twin.json").read_bytes()
    at = file.index(b'"jws":"') + 400
    for changed in (changed_at(file, 200), changed_at(file, at), file + b" "):
        (folder / "bad.json").write_bytes(changed)
        code, said = checked(script, folder / "bad.json", keys)
        assert code == 1
        assert said.startswith("NOT VERIFIED: twin.json: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["ips.json", "ledger.jsonl", "manifest.json", "manifest.jws", "twin.json", "added.txt"]
)
def test_a_changed_part_of_a_package_is_named(script: Path, folder: Path, part: str) -> None:
    bad = io.BytesIO()
    with zipfile.ZipFile(folder / "record.sphr") as opened, zipfile.ZipFile(bad, "w") as out:
        names = opened.namelist()
        for name in names:
            content = opened.read(name)
            out.writestr(name, changed_at(content, len(content) - 9) if name == part else content)
        if part not in names:
            out.writestr(part, b"added")
    (folder / "bad.sphr").write_bytes(bad.getvalue())
    code, said = checked(script, folder / "bad.sphr", folder / "keys.json")
    assert code == 1
    assert said.startswith(f"NOT VERIFIED: {part.replace('.jws', '.json')}: ")
