"""`twinport reidentify` and `twinport erase`, over a twin that a run has made."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from support.shell import Shell

from privacy import ledger
from service.pipeline.runtime import open_runtime
from service.stores.ledger import SqlLedgerStore

PATIENT = {"resourceType": "Patient", "id": "zorkmidt-7", "gender": "female",
           "birthDate": "1961-07-19", "identifier": [{"value": "MRN-77120"}]}  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "home"))
    shell = Shell(tmp_path / "home")
    (tmp_path / "in.json").write_bytes(orjson.dumps(PATIENT))
    assert shell("run", "--bundle", tmp_path / "in.json").code == 0
    for name in ("ada", "ben"):
        made = shell("keys", "api-key", "--role", "privacy-officer", "--label", name)
        (tmp_path / name).write_text(made.out)
    return shell


@pytest.fixture
def twin(shell: Shell, tmp_path: Path) -> Any:
    shell("ledger", "export", tmp_path / "ledger.jsonl")
    return orjson.loads((tmp_path / "ledger.jsonl").read_bytes().splitlines()[0])["entry"]["twin"]


def test_two_officers_find_out_who_a_twin_is(shell: Shell, twin: str, tmp_path: Path) -> None:
    ada, ben = ("--key-file", tmp_path / "ada"), ("--key-file", tmp_path / "ben")
    request = shell("reidentify", "ask", twin, "--reason", "PATSFTY", *ada).out.strip()
    own = shell("reidentify", "approve", request, *ada)
    assert (own.code, "somebody else" in own.error) == (3, True)
    assert shell("reidentify", "approve", request, *ben).code == 0
    assert shell("reidentify", "answer", request, *ben).code == 3
    assert shell("reidentify", "answer", request, *ada).out.startswith("Patient/zorkmidt-7 at ")
    assert shell("reidentify", "answer", request, *ada).code == 3
    (listed,) = shell("reidentify", "list", "--json").json
    assert (listed["state"], listed["reason"]) == ("answered", "PATSFTY")
    assert listed["requestedBy"] != listed["decidedBy"]
    assert "answered" in shell("reidentify", "list").out
    assert shell("ledger", "verify").code == 0


def test_a_refusal(shell: Shell, twin: str, tmp_path: Path) -> None:
    ada, ben = ("--key-file", tmp_path / "ada"), ("--key-file", tmp_path / "ben")
    request = shell("reidentify", "ask", twin, "--reason", "TREAT", *ada).out.strip()
    assert shell("reidentify", "refuse", request, *ben).code == 0
    assert shell("reidentify", "answer", request, *ada).code == 3


def test_erasure_leaves_a_certificate(shell: Shell, twin: str, tmp_path: Path) -> None:
    ada = ("--key-file", tmp_path / "ada")
    said = shell("erase", "--twin", twin, "--yes", *ada)
    assert said.out == f"erased  1 ways back\n{twin}\n"
    again = shell("erase", "--twin", twin, "--yes", *ada)
    assert (again.code, "no way back" in again.error) == (3, True)
    assert shell("ledger", "certificate", "--twin", twin).code == 0


def test_the_certificate_is_proved_offline_and_not_by_a_changed_ledger(
    shell: Shell, twin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the exported file and the published keys alone, in an installation of its own."""
    shell("erase", "--twin", twin, "--yes", "--key-file", tmp_path / "ada")
    file, keys = tmp_path / "after.jsonl", tmp_path / "keys.json"
    shell("ledger", "export", file)
    keys.write_text(shell("keys", "show", "--json").out)
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "elsewhere"))
    elsewhere = Shell(tmp_path / "elsewhere")
    command = ("ledger", "certificate", file, "--keys", keys, "--twin")
    proved = elsewhere(*command, twin)
    assert (proved.code, proved.err) == (0, "")
    assert f"1 ways back destroyed, 0 left; of these twins:\n{twin}" in proved.out
    assert elsewhere(*command, twin, "--json").json["entry"]["records"] == 1
    unknown = elsewhere(*command, "A" * 22)
    assert (unknown.code, "no certificate" in unknown.error) == (3, True)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:-2], lines[-1]]))
    assert elsewhere(*command, twin).code == 7


def test_a_twin_made_again_belies_its_certificate(shell: Shell, twin: str, tmp_path: Path) -> None:
    shell("erase", "--twin", twin, "--yes", "--key-file", tmp_path / "ada")
    assert shell("run", "--bundle", tmp_path / "in.json").code == 0  # the same person, unlinked
    assert shell("ledger", "certificate", "--twin", twin).code == 0
    runtime = open_runtime()
    ledger.append(
        SqlLedgerStore(runtime.database), runtime.signer, {"event": "twin-made", "twin": twin}
    )
    runtime.close()
    said = shell("ledger", "certificate", "--twin", twin)
    assert (said.code, said.error) == (7, "entry 4 names it again")


def test_a_wrong_key_opens_nothing(shell: Shell, twin: str, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("tp_nothing")
    said = shell("erase", "--twin", twin, "--yes", "--key-file", tmp_path / "wrong")
    assert (said.code, said.error) == (2, "the API key is not valid")
