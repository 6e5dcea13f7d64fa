"""The stores `privacy` asked for: nothing lost, nothing doubled, an unbroken chain."""

import secrets

import pytest
from support.threads import at_once

from privacy import ledger
from privacy.errors import ConflictError, LedgerError
from privacy.ledger import Head, verify_ledger
from privacy.signing import SigningKey, VerificationKeys
from privacy.vault import Vault
from service.stores import Database
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import entry_of
from service.stores.vault import SqlVaultStore


@pytest.fixture
def vault(database: Database) -> SqlVaultStore:
    return SqlVaultStore(database)


@pytest.fixture
def chain(database: Database) -> SqlLedgerStore:
    return SqlLedgerStore(database)


def test_a_record_counts_its_versions(vault: SqlVaultStore) -> None:
    assert vault.load("i") is None
    assert vault.save("i", b"one", 0) == 1
    assert vault.save("i", b"two", 1) == 2
    assert vault.load("i") == (b"two", 2)
    assert list(vault.indexes()) == ["i"]
    assert (vault.delete("i"), vault.delete("i")) == (True, False)


@pytest.mark.parametrize("expected", [0, 2, 99])
def test_a_writer_who_saw_another_version_is_refused(vault: SqlVaultStore, expected: int) -> None:
    vault.save("i", b"one", 0)
    with pytest.raises(ConflictError):
        vault.save("i", b"two", expected)
    assert vault.load("i") == (b"one", 1)


@pytest.mark.parametrize("expected", [0, 1])
def test_of_two_writers_one_must_retry(vault: SqlVaultStore, expected: int) -> None:
    if expected:
        vault.save("i", b"before", 0)

    def write(number: int) -> bool:
        try:
            vault.save("i", bytes([number]), expected)
        except ConflictError:
            return False
        return True

    assert sorted(at_once(2, write)) == [False, True]


def test_eight_writers_that_retry_lose_nothing(vault: SqlVaultStore) -> None:
    def add(number: int) -> None:
        while True:
            content, version = vault.load("i") or (b"", 0)
            try:
                vault.save("i", content + bytes([number]), version)
            except ConflictError:
                continue
            return

    at_once(8, add)
    found = vault.load("i")
    assert found is not None
    assert sorted(found[0]) == list(range(8))
    assert found[1] == 8


def test_the_ring_keeps_its_order_and_changes_as_a_whole(vault: SqlVaultStore) -> None:
    first = {"root": b"1", "epoch-1": b"2"}
    vault.replace_keys(first, {})
    second = {"root": b"3", "epoch-1": b"4", "epoch-2": b"5"}
    vault.replace_keys(second, first)
    assert list(vault.load_keys().items()) == list(second.items())
    with pytest.raises(ConflictError):
        vault.replace_keys({}, first)


def test_processes_that_open_a_new_vault_together_share_one_ring(vault: SqlVaultStore) -> None:
    key = secrets.token_bytes(32)
    vaults = at_once(6, lambda _: Vault(vault, key))
    assert len({one.index("p", "b", "Patient/1") for one in vaults}) == 1


def test_a_number_in_the_ledger_is_given_once(chain: SqlLedgerStore) -> None:
    line = b'{"entry":{"event":"test"},"head":"a..b"}'
    assert chain.head() == Head()
    chain.append(1, "sha256:a", line)
    with pytest.raises(ConflictError):
        chain.append(1, "sha256:b", line)
    assert chain.head() == Head(1, "sha256:a")
    assert chain.entry(1) == line
    assert chain.entry(2) is None


def test_what_is_no_line_of_a_ledger_is_not_kept(chain: SqlLedgerStore) -> None:
    with pytest.raises(LedgerError):
        chain.append(1, "sha256:a", b"Erika Mustermann")
    assert chain.head() == Head()


def test_eight_writers_make_one_unbroken_chain(chain: SqlLedgerStore) -> None:
    signer = SigningKey.generate()

    def write(number: int) -> None:
        for _ in range(5):
            with chain.alone():
                ledger.append(chain, signer, {"event": "test", "writer": number})

    at_once(8, write)
    keys = VerificationKeys({"keys": [signer.public_jwk()]})
    report = verify_ledger(ledger.export(chain, signer), keys)
    assert (report.problems, report.entries, report.contiguous) == ([], 40, True)


def test_eight_writers_that_retry_make_one_unbroken_chain(chain: SqlLedgerStore) -> None:
    signer = SigningKey.generate()

    def write(number: int) -> None:
        while True:
            try:
                ledger.append(chain, signer, {"event": "test", "writer": number})
            except ConflictError:
                continue
            return

    at_once(8, write)
    keys = VerificationKeys({"keys": [signer.public_jwk()]})
    assert verify_ledger(ledger.export(chain, signer), keys).entries == 8


def test_a_larger_transaction_takes_the_ledger_before_anything_else(
    chain: SqlLedgerStore, database: Database
) -> None:
    def late() -> None:
        with database.write():
            ledger.append(chain, SigningKey.generate(), {"event": "test"})

    with pytest.raises(LedgerError, match="begins with alone"):
        late()
    assert chain.head() == Head()


def test_an_entry_and_what_belongs_to_it_are_one(
    chain: SqlLedgerStore, vault: SqlVaultStore
) -> None:
    def fail_halfway() -> None:
        with chain.alone():
            ledger.append(chain, SigningKey.generate(), {"event": "test"})
            vault.save("i", b"x", 7)  # a conflict

    with pytest.raises(ConflictError):
        fail_halfway()
    assert chain.head() == Head()


def test_long_ledgers_are_read_in_batches(chain: SqlLedgerStore) -> None:
    with chain.alone():
        for seq in range(1, 1203):
            line = b'{"entry":{"event":"test","n":%d},"head":"a..b"}' % seq
            chain.append(seq, f"sha256:{seq}", line)
    assert [entry_of(line)["n"] for line in chain.lines()] == list(range(1, 1203))
    assert [seq for seq, _ in chain.page(after=1200)] == [1201, 1202]
