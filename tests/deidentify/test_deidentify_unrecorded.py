"""What the ledger does not take has not happened: no twin, no file, no way back, one line."""

from pathlib import Path

import orjson
import pytest
from support.shell import Shell
from support.unrecorded import kept, stop_recording
from test_deidentify_files import encounter, observation, patient

from service.deidentify.batch import OPEN


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
    stop_recording(tmp_path / "home")
    return Shell(tmp_path / "home")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    entries = [{"resource": r} for r in (patient(), observation(), encounter())]
    file = tmp_path / "record.json"
    file.write_bytes(orjson.dumps({"resourceType": "Bundle", "type": "collection",
                                   "entry": entries}))  # fmt: skip
    return file


@pytest.mark.parametrize("command", [("deidentify",), ("run", "--bundle")], ids=" ".join)
def test_without_the_entry_there_is_nothing(
    shell: Shell, record: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    ran = shell(*command, record, "--out", tmp_path / "out")
    assert ran.code == 8
    assert ran.error == "the database can't be used (OperationalError); see `twinport config`"
    assert ran.out == ""
    assert set(kept(shell.home).values()) == {0}
    assert [path for path in (tmp_path / "out").glob("*") if path.is_file()] == []


def test_of_more_people_than_are_held_at_once_nothing_stays_either(
    shell: Shell, tmp_path: Path
) -> None:
    """Those who were put away before the end, to make room, too."""
    source = tmp_path / "many.ndjson"
    lines = [orjson.dumps(patient(f"p{number}", name=[])) for number in range(OPEN + 3)]
    source.write_bytes(b"\n".join(lines))
    ran = shell("deidentify", source, "--out", tmp_path / "out")
    assert ran.code == 8
    assert set(kept(shell.home).values()) == {0}
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["signing", "vault"])
def test_a_key_whose_change_is_not_recorded_stays(shell: Shell, kind: str) -> None:
    file = shell.home / "keys" / f"{kind}.json"
    before = file.read_bytes()
    assert shell("keys", "rotate", kind).code == 8
    assert file.read_bytes() == before
    assert kept(shell.home)["audit_events"] == 0
