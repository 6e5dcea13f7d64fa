"""What anybody can check of a twin and of the ledger, and what a check must never let pass."""

import random
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from service_people import person
from sqlalchemy import select
from support.shell import Shell

from privacy.ledger import split
from privacy.signing import VerificationKeys
from service.cli.exits import CommandError, Exit
from service.cli.verify import check_bytes
from service.config import load_config
from service.pipeline.runtime import open_runtime
from service.sandbox.testing import TEST_ANCHOR
from service.stores import open_database
from service.stores.tables import LedgerRow


@pytest.fixture
def made(shell: Shell, tmp_path: Path) -> Path:
    """A folder with everything a run hands out."""
    file = tmp_path / "record.json"
    file.write_bytes(orjson.dumps(person("demo-008", TEST_ANCHOR).bundle()))
    assert shell("run", "--bundle", file, "--out", tmp_path / "out").code == 0
    return tmp_path / "out"


def keys_of(made: Path) -> VerificationKeys:
    return VerificationKeys(orjson.loads((made / "keys.json").read_bytes()))


def refused(data: bytes, keys: VerificationKeys) -> bool:
    try:
        check_bytes(data, keys)
    except CommandError:
        return True
    return False


def changed(data: bytes, position: int, seed: random.Random) -> bytes:
    other = (data[position] + seed.randrange(1, 256)) % 256
    return data[:position] + bytes([other]) + data[position + 1 :]


# -- the twin -----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [500, pytest.param(None, marks=pytest.mark.slow)])
def test_no_byte_of_a_twin_can_be_changed(made: Path, share: int | None) -> None:
    data, keys, seed = (made / "twin.json").read_bytes(), keys_of(made), random.Random(7)
    every = range(len(data))
    positions = every if share is None else seed.sample(every, share)
    passed = [at for at in positions if not refused(changed(data, at, seed), keys)]
    assert passed == []


def test_a_twin_cannot_be_cut_or_continued(made: Path) -> None:
    data, keys = (made / "twin.json").read_bytes(), keys_of(made)
    assert not refused(data, keys)
    for odd in (data[:-1], data[1:], data + b" ", data + data, b"", data.replace(b",", b", ", 1)):
        assert refused(odd, keys)


def test_a_changed_twin_is_one_line_and_code_seven(shell: Shell, made: Path) -> None:
    twin = made / "twin.json"
    twin.write_bytes(twin.read_bytes().replace(b'"version":1', b'"version":2', 1))
    for command in ("verify", "recompute"):
        ran = shell(command, twin)
        assert (ran.code, ran.out) == (Exit.NOT_VERIFIED, "")
        assert ran.error.startswith("not verified")


def test_a_twin_is_recomputed_to_the_last_digit(shell: Shell, made: Path) -> None:
    ran = shell("recompute", made / "twin.json", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert {one["outcome"] for one in ran.json["models"]} == {"same"}


def test_anybody_with_the_public_keys_can_check(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another installation, and in none at all."""
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "other"))
    other = Shell(tmp_path / "other")
    files = ("--keys", made / "keys.json")
    assert other("verify", made / "twin.json", *files).code == 0
    assert other("ledger", "verify", made / "ledger.jsonl", *files).code == 0
    assert other("verify", made / "twin.json").code == Exit.USAGE  # no keys to check against


def test_another_installations_keys_do_not_vouch_for_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_runtime(load_config({"TWINPORT_HOME": str(tmp_path / "other")})).close()
    monkeypatch.setenv("TWINPORT_HOME", str(tmp_path / "other"))
    other = Shell(tmp_path / "other")
    assert other("verify", made / "twin.json").code == Exit.NOT_VERIFIED
    assert other("ledger", "verify", made / "ledger.jsonl").code == Exit.NOT_VERIFIED


def test_a_key_file_that_holds_none_is_one_line(shell: Shell, made: Path) -> None:
    for odd in (b"", b"[]", b'{"keys":7}', b'{"keys":[7]}', b"{}"):
        (made / "keys.json").write_bytes(odd)
        ran = shell("verify", made / "twin.json", "--keys", made / "keys.json")
        assert ran.code in {Exit.INPUT, Exit.NOT_VERIFIED}
        assert ran.error


# -- the ledger ---------------------------------------------------------------------------------

Lines = list[bytes]
TAMPERED: dict[str, Callable[[Lines], Lines]] = {
    "a changed count": lambda lines: [lines[0].replace(b":1", b":2", 1), *lines[1:]],
    "a line taken out": lambda lines: [lines[0], *lines[2:]],
    "lines exchanged": lambda lines: [lines[1], lines[0], *lines[2:]],
    "the end cut off": lambda lines: lines[:-1],
    "an entry and the end cut off": lambda lines: lines[:-2],
    "the last entry cut out": lambda lines: [*lines[:-2], lines[-1]],
    "a line twice": lambda lines: [lines[0], *lines],
    "nothing left": lambda lines: [],
    "a line that is none": lambda lines: [*lines[:-1], b"{}", lines[-1]],
}


@pytest.fixture
def exported(shell: Shell, made: Path) -> Path:
    """A ledger of two entries and its closing line."""
    record = made.parent / "record.json"
    assert shell("run", "--bundle", record, "--policy", "relative-minutes").code == 0
    assert shell("ledger", "export", made / "whole.jsonl").code == 0
    return made / "whole.jsonl"


def test_what_was_done_to_a_ledger_is_found(shell: Shell, exported: Path) -> None:
    assert shell("ledger", "verify", exported).code == 0
    lines = exported.read_bytes().splitlines()
    assert len(lines) == 3
    for name, change in TAMPERED.items():
        exported.write_bytes(b"".join(line + b"\n" for line in change(lines)))
        ran = shell("ledger", "verify", exported)
        assert ran.code == Exit.NOT_VERIFIED, name
        assert ran.error.startswith("line "), name


def test_a_ledger_changed_in_the_database_is_found(shell: Shell, made: Path) -> None:
    database = open_database(load_config().database_url)
    with database.write() as session:
        for row in session.scalars(select(LedgerRow)):
            row.line = row.line.replace(b":1", b":2")
    database.close()
    ran = shell("ledger", "verify")
    assert ran.code == Exit.NOT_VERIFIED
    assert ran.error


# -- rotation -----------------------------------------------------------------------------------


def test_old_twins_and_ledgers_verify_after_the_signing_key_was_renewed(
    shell: Shell, made: Path
) -> None:
    record = made.parent / "record.json"
    assert shell("keys", "rotate", "signing").code == 0
    assert shell("verify", made / "twin.json").code == 0
    assert shell("ledger", "verify", made / "ledger.jsonl").code == 0
    more = ("--policy", "relative-minutes", "--out", made / "new")
    assert shell("run", "--bundle", record, *more).code == 0
    new = shell("verify", made / "new/twin.json", "--json").json
    assert new["signedBy"] != shell("verify", made / "twin.json", "--json").json["signedBy"]
    assert shell("ledger", "verify").code == 0


def test_the_old_key_vouches_for_the_new_one(shell: Shell, made: Path) -> None:
    kids = [key["kid"] for key in shell("keys", "show", "--json").json["keys"]]
    for kind in ("signing", "vault", "session"):
        assert shell("keys", "rotate", kind).code == 0
    assert shell("ledger", "export", made / "whole.jsonl").code == 0
    lines = (made / "whole.jsonl").read_bytes().splitlines()[-4:-1]
    entries = [orjson.loads(split(line)[0]) for line in lines]
    assert [(e["event"], e["kind"]) for e in entries] == [
        ("keys-rotated", "signing"), ("keys-rotated", "vault"), ("keys-rotated", "session"),
    ]  # fmt: skip
    new = shell("keys", "show", "--json").json["keys"][0]["kid"]
    assert (entries[0]["kid"], entries[0]["next"]) == (kids[0], new)
    assert shell("ledger", "verify", made / "whole.jsonl").code == 0
    assert shell("audit", "export", made / "audit.jsonl", "--action", "keys-rotated").code == 0
    assert len((made / "audit.jsonl").read_bytes().splitlines()) == 3


def test_a_twin_keeps_its_pseudonym_after_the_vault_key_was_renewed(
    shell: Shell, made: Path
) -> None:
    before = shell("verify", made / "twin.json", "--json").json["twin"]
    assert shell("keys", "rotate", "vault").code == 0
    again = shell("run", "--bundle", made.parent / "record.json", "--json").json
    assert (again["twin"], again["version"], again["new"]) == (before, 1, False)
