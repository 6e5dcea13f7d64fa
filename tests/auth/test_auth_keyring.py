"""The key ring: made once, kept closed, rotated without losing anything."""

import base64
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.threads import at_once

from privacy.errors import VaultError
from privacy.pseudonyms import Pseudonyms
from privacy.signing import VerificationKeys, verify
from privacy.vault import SubjectRecord, Vault
from service.keys import KeyRefusedError, KeyRing, Kind, open_vault, rotate_vault
from service.keys.vaults import finish_rotation
from service.stores import Database
from service.stores.vault import SqlVaultStore

FILES = {"vault.json", "signing.json", "session.json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys"


def test_keys_are_made_on_first_use_and_then_stay(folder: Path) -> None:
    first, second = KeyRing.open(folder), KeyRing.open(folder)
    assert (first.created_now, second.created_now) == (True, False)
    assert first.vault == second.vault
    assert first.session == second.session
    assert first.signing.kid == second.signing.kid
    assert len({first.vault.material, first.session.material, first.signing.public}) == 3


def test_files_and_folder_are_closed_to_others(folder: Path) -> None:
    previous = os.umask(0)
    try:
        KeyRing.open(folder)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()
    } == dict.fromkeys(FILES, 384)


def test_processes_that_start_together_agree(folder: Path) -> None:
    rings = at_once(8, lambda _: KeyRing.open(folder))
    assert len({ring.vault.material for ring in rings}) == 1
    assert len({ring.signing.kid for ring in rings}) == 1
    assert {path.name for path in folder.iterdir()} == FILES


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o644])
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_others_may_open_is_refused(folder: Path, name: str, mode: int) -> None:
    KeyRing.open(folder)
    (folder / name).chmod(mode)
    with pytest.raises(KeyRefusedError, match=f"chmod 600 .*{name}"):
        KeyRing.open(folder)


def test_a_folder_that_others_may_open_is_refused(folder: Path) -> None:
    KeyRing.open(folder)
    folder.chmod(0o750)
    with pytest.raises(KeyRefusedError, match="chmod 700"):
        KeyRing.open(folder)


def test_a_link_in_place_of_a_key_is_refused(folder: Path, tmp_path: Path) -> None:
    KeyRing.open(folder)
    (folder / "vault.json").rename(tmp_path / "elsewhere")
    (folder / "vault.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyRefusedError, match="plain file"):
        KeyRing.open(folder)


@pytest.mark.parametrize(
    "material", [b"", b"short", bytes(32), bytes(range(32)), b"a text of exactly 32 characters!"]
)
def test_a_weak_key_is_refused_without_being_shown(folder: Path, material: bytes) -> None:
    KeyRing.open(folder)
    text = base64.b64encode(material).decode()
    path = folder / "vault.json"
    stored = json.loads(path.read_text())
    stored["current"]["key"] = text
    path.write_text(json.dumps(stored))
    with pytest.raises(KeyRefusedError, match=r"vault\.json") as caught:
        KeyRing.open(folder)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"current": {}, "previous": []}'])
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_damaged_file_is_refused_and_left_alone(folder: Path, name: str, content: str) -> None:
    KeyRing.open(folder)
    (folder / name).write_text(content)
    with pytest.raises(KeyRefusedError, match="backup"):
        KeyRing.open(folder)
    assert (folder / name).read_text() == content


def test_no_key_is_in_a_repr(folder: Path) -> None:
    ring = KeyRing.open(folder)
    shown = repr(ring) + repr(ring.vault) + repr(ring.signing) + repr(ring.session)
    assert "material" not in shown
    assert "private" not in shown
    assert base64.b64encode(ring.vault.material).decode() not in shown


def test_what_was_signed_before_a_rotation_still_verifies(folder: Path) -> None:
    old = KeyRing.open(folder)
    signature = old.signing.signer().sign(b'{"a":1}')
    KeyRing.rotate(folder, Kind.SIGNING)
    new = KeyRing.open(folder)
    assert new.signing.kid != old.signing.kid
    assert list(new.public_keys()) == [new.signing.kid, old.signing.kid]
    assert verify(signature, b'{"a":1}', VerificationKeys(new.jwks())).kid == old.signing.kid


def test_the_retired_private_half_is_gone(folder: Path) -> None:
    old = KeyRing.open(folder).signing.private.private_bytes_raw()
    KeyRing.rotate(folder, Kind.SIGNING)
    assert base64.b64encode(old).decode() not in (folder / "signing.json").read_text()


def test_the_key_set_shows_public_members_only(folder: Path) -> None:
    for key in KeyRing.open(folder).jwks()["keys"]:
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg", "iat"}


def test_rotations_at_once_lose_no_key(folder: Path) -> None:
    KeyRing.open(folder)
    at_once(6, lambda _: KeyRing.rotate(folder, Kind.VAULT))
    assert len(KeyRing.load(folder).vault_previous) == 6


def test_rotating_the_session_key_keeps_nothing_of_the_old(folder: Path) -> None:
    old = KeyRing.open(folder).session
    KeyRing.rotate(folder, Kind.SESSION)
    stored = json.loads((folder / "session.json").read_text())
    assert stored["previous"] == []
    assert KeyRing.load(folder).session != old


def test_a_key_from_the_environment_is_not_written_down(folder: Path) -> None:
    text = base64.b64encode(os.urandom(32)).decode()
    ring = KeyRing.open(folder, vault_key=text)
    assert base64.b64encode(ring.vault.material).decode() == text
    assert {path.name for path in folder.iterdir()} == FILES - {"vault.json"}
    with pytest.raises(KeyRefusedError, match="TWINPORT_VAULT_KEY_PREVIOUS"):
        KeyRing.rotate(folder, Kind.VAULT)


# -- the vault under the ring ----------------------------------------------------------------


def _record() -> SubjectRecord:
    return SubjectRecord(
        project="p",
        base="https://ehr.example/fhir",
        patient="Patient/1",
        twin="AAAAAAAAAAAAAAAAAAAAAA",
        epoch=datetime(2031, 1, 1, tzinfo=UTC),
        ids=Pseudonyms({}),
        identity={},
    )


def _readable(vault: Vault) -> bool:
    found = vault.load("p", "https://ehr.example/fhir", "Patient/1")
    return found is not None and found[0].patient == "Patient/1"


def test_a_rotation_reseals_and_destroys_the_old_key(folder: Path, database: Database) -> None:
    store, old = SqlVaultStore(database), KeyRing.open(folder)
    open_vault(store, old).save(_record(), 0)
    assert rotate_vault(folder, store) == 1
    new = KeyRing.load(folder)
    assert new.vault_previous == ()
    assert _readable(open_vault(store, new))
    with pytest.raises(VaultError):
        Vault(store, old.vault.material)


def test_a_rotation_cut_short_is_finished_by_the_next_opening(
    folder: Path, database: Database
) -> None:
    store = SqlVaultStore(database)
    open_vault(store, KeyRing.open(folder)).save(_record(), 0)
    KeyRing.rotate(folder, Kind.VAULT)  # and then the process dies
    assert _readable(open_vault(store, KeyRing.load(folder)))
    assert _readable(Vault(store, KeyRing.load(folder).vault.material))


def test_the_environment_may_take_over_from_the_file(folder: Path, database: Database) -> None:
    store = SqlVaultStore(database)
    open_vault(store, KeyRing.open(folder)).save(_record(), 0)
    text = base64.b64encode(os.urandom(32)).decode()
    ring = KeyRing.open(folder, vault_key=text)
    assert finish_rotation(ring, store) == 1
    assert _readable(Vault(store, base64.b64decode(text)))


def test_keys_of_another_installation_open_nothing(
    folder: Path, tmp_path: Path, database: Database
) -> None:
    store = SqlVaultStore(database)
    open_vault(store, KeyRing.open(folder)).save(_record(), 0)
    with pytest.raises(KeyRefusedError, match="restore the keys"):
        open_vault(store, KeyRing.open(tmp_path / "other" / "keys"))
