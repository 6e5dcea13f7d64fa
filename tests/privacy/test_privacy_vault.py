"""The vault: sealed, bound to its place, found by keyed names, readable after rotation."""

import hashlib
import secrets
import threading
from datetime import UTC, datetime

import pytest
from privacy_support import MemoryVaultStore

from privacy.errors import ConflictError, KeyRefusedError, VaultError
from privacy.pseudonyms import Pseudonyms, is_pseudonym, new_pseudonym
from privacy.vault import EXAMPLES, SubjectRecord, Vault, check_key

KEY = secrets.token_bytes(32)
BASE, PATIENT, MARKER = "https://fhir.example.org/r4", "Patient/4711-secret", "Zq7marker"


def record(project: str = "ward", patient: str = PATIENT) -> SubjectRecord:
    ids = Pseudonyms()
    ids("Patient", patient)
    epoch = datetime(2019, 4, 5, 6, 7, tzinfo=UTC)
    return SubjectRecord(project, BASE, patient, new_pseudonym(), epoch, ids, {"name": MARKER})


def test_a_record_comes_back_as_it_was() -> None:
    vault, made = Vault(MemoryVaultStore(), KEY), record()
    assert vault.save(made, 0) == 1
    found = vault.load("ward", BASE + "/", PATIENT)
    assert found is not None
    opened, version = found
    assert version == 1
    assert (opened.twin, opened.epoch, opened.identity) == (made.twin, made.epoch, made.identity)
    assert opened.ids.as_dict() == made.ids.as_dict()
    assert opened.ids.originals(set(made.ids.given())) == {
        v: k for k, v in made.ids.as_dict().items()
    }


def test_the_store_sees_neither_text_nor_ids() -> None:
    store = MemoryVaultStore()
    vault, made = Vault(store, KEY), record()
    vault.save(made, 0)
    seen = repr(store.rows) + repr(store.keys)
    for secret in (MARKER, "4711", "fhir.example", made.twin, "2019-04-05"):
        assert secret not in seen
    assert MARKER not in repr(made) + repr(vault) + repr(made.ids)


def test_a_record_opens_in_its_own_place_only() -> None:
    store = MemoryVaultStore()
    vault = Vault(store, KEY)
    vault.save(record(), 0)
    other = vault.index("ward", BASE, "Patient/other")
    store.rows[other] = store.rows[vault.index("ward", BASE, PATIENT)]
    with pytest.raises(VaultError, match="another place"):
        vault.load_at(other)


def test_every_byte_of_a_sealed_record_counts() -> None:
    store = MemoryVaultStore()
    vault = Vault(store, KEY)
    vault.save(record(), 0)
    [(index, (sealed, version))] = store.rows.items()
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        store.rows[index] = (bytes(changed), version)
        with pytest.raises(VaultError):
            vault.load_at(index)
    store.rows[index] = (b"", version)
    with pytest.raises(VaultError):
        vault.load_at(index)


def test_names_are_keyed_and_cannot_collide() -> None:
    vault, other = Vault(MemoryVaultStore(), KEY), Vault(MemoryVaultStore(), KEY)
    assert vault.index("a", "bc", "d") != vault.index("ab", "c", "d")
    assert vault.index("a", "b", "d") != other.index("a", "b", "d")  # another root secret


def test_another_key_does_not_open_the_ring() -> None:
    store = MemoryVaultStore()
    Vault(store, KEY)
    with pytest.raises(VaultError, match="another key"):
        Vault(store, secrets.token_bytes(32))


def test_rotation_wraps_again_and_starts_an_epoch() -> None:
    store, new = MemoryVaultStore(), secrets.token_bytes(32)
    vault = Vault(store, KEY)
    vault.save(record(), 0)
    before = dict(store.rows)
    vault.rotate(new)
    assert store.rows == before  # nothing is sealed anew until it is saved
    again = Vault(store, new)
    assert again.load("ward", BASE, PATIENT) is not None
    with pytest.raises(VaultError):
        Vault(store, KEY)
    assert again.reseal_all() == 1
    assert again.reseal_all() == 0
    assert again.load("ward", BASE, PATIENT) is not None
    for _ in range(10):  # epoch-1 is not taken for epoch-10
        again.rotate(secrets.token_bytes(32))
        assert again.reseal_all() == 1


def test_concurrent_writers_are_told() -> None:
    vault = Vault(MemoryVaultStore(), KEY)
    vault.save(record(), 0)
    with pytest.raises(ConflictError):
        vault.save(record(), 0)
    assert vault.save(record(), 1) == 2


def test_two_processes_starting_at_once_share_one_ring() -> None:
    store, indexes = MemoryVaultStore(), []
    start = threading.Barrier(8)

    def open_vault() -> None:
        start.wait()
        indexes.append(Vault(store, KEY).index("ward", BASE, PATIENT))

    threads = [threading.Thread(target=open_vault) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(indexes) == 8
    assert len(set(indexes)) == 1


def test_an_erased_record_is_gone() -> None:
    vault = Vault(MemoryVaultStore(), KEY)
    vault.save(record(), 0)
    assert vault.delete("ward", BASE, PATIENT)
    assert not vault.delete("ward", BASE, PATIENT)
    assert vault.load("ward", BASE, PATIENT) is None


@pytest.mark.parametrize(
    "key",
    [b"", b"short", bytes(32), b"x" * 32, b"correct horse battery staple 123", bytes(range(32)),
     hashlib.sha256(b"31").digest()[:31], hashlib.md5(b"twice").digest() * 2,
     hashlib.md5(b"as a text").hexdigest().encode(), *sorted(EXAMPLES)],
)  # fmt: skip
def test_keys_that_are_absent_short_known_or_not_random_are_refused(key: bytes) -> None:
    with pytest.raises(KeyRefusedError):
        check_key(key)


def test_random_keys_are_accepted() -> None:
    for _ in range(2000):
        check_key(secrets.token_bytes(32))


def test_pseudonyms_are_random_and_stable_per_map() -> None:
    one, other = Pseudonyms(), Pseudonyms()
    assert one("Patient", "1") == one("Patient", "1")
    assert one("Patient", "1") != one("Encounter", "1")
    assert one("Patient", "1") != other("Patient", "1")
    assert is_pseudonym(one("Patient", "1"))
    assert Pseudonyms(one.as_dict())("Patient", "1") == one("Patient", "1")
    assert len({new_pseudonym() for _ in range(5000)}) == 5000


def test_no_pseudonym_that_is_typed_looks_like_an_option() -> None:
    assert not any(new_pseudonym().startswith("-") for _ in range(2000))


@pytest.mark.parametrize("text", ["", "abc", "a" * 22, "A" * 21 + "B", 5, None, "A" * 21 + "="])
def test_what_does_not_hold_128_bits_is_no_pseudonym(text: object) -> None:
    assert not is_pseudonym(text)
