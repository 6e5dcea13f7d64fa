"""Many patients at once: sessions come and go, pseudonyms stay."""

import secrets
from contextlib import closing
from datetime import date
from typing import Any

import orjson
import pytest

from privacy.errors import ConflictError
from privacy.policy import load_policy
from privacy.pseudonyms import Pseudonyms, new_pseudonym
from privacy.subject import draw_epoch
from privacy.vault import SubjectRecord, Vault
from service.deidentify.batch import Batch
from service.deidentify.people import People
from service.deidentify.withheld import IN_MEMORY, Withheld
from service.stores import Database
from service.stores.vault import SqlVaultStore

PEOPLE = [{"resourceType": "Patient", "id": f"p{n}", "birthDate": f"19{n}5"} for n in range(4, 9)]


def observation(number: int) -> dict[str, Any]:
    person = 4 + number % 5
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "subject": {"reference": f"Patient/p{person}"},
        "encounter": {"reference": f"Encounter/e{person}"},
        "device": {"reference": "Device/monitor"},
    }


def one(patient: str) -> SubjectRecord:
    return SubjectRecord(
        project="p", base="file:1", patient=patient, twin=new_pseudonym(),
        epoch=draw_epoch(date(2026, 1, 2)), ids=Pseudonyms(), identity={},
    )  # fmt: skip


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(SqlVaultStore(database), secrets.token_bytes(32))


def begun(vault: Vault, keep_open: int) -> Batch:
    people = People("batch")
    people.read(PEOPLE)
    return Batch(
        load_policy("safe-harbor"), vault, people,
        project="p", today=date(2026, 1, 2), keep_open=keep_open,
    )  # fmt: skip


@pytest.mark.parametrize("keep_open", [1, 2, 100])
def test_a_patient_who_was_put_away_comes_back_the_same(vault: Vault, keep_open: int) -> None:
    batch = begun(vault, keep_open)
    made = [given for number in range(25) for given in batch.apply([observation(number)])]
    tally = batch.close()
    bodies = [orjson.loads(given.data) for given in made]
    assert len(bodies) == 25
    for element in ("subject", "encounter"):
        assert len({body[element]["reference"] for body in bodies}) == 5
        assert bodies[0][element] == bodies[5][element]
    assert len({body["device"]["reference"] for body in bodies}) == 1  # shared by all
    assert (tally.patients, tally.read, tally.written["Observation"]) == (5, 25, 25)
    assert tally.counts[("Observation", "subject", "subject")] == 25


@pytest.mark.parametrize("keep_open", [1, 2, 100])
def test_nothing_is_in_the_vault_before_all_of_it_is(
    vault: Vault, database: Database, keep_open: int
) -> None:
    store = SqlVaultStore(database)
    batch = begun(vault, keep_open)
    with batch:
        for number in range(25):
            assert batch.apply([observation(number)])
            assert store.count() == 0
        with pytest.raises(LookupError):
            close_and_fail(batch, database, store)
    assert store.count() == 0


def close_and_fail(batch: Batch, database: Database, store: SqlVaultStore) -> None:
    with database.write():
        batch.close()
        assert store.count() == 5
        raise LookupError


@pytest.mark.parametrize("keep_open", [1, 100])
def test_the_second_of_two_at_once_leaves_nothing(
    vault: Vault, database: Database, keep_open: int
) -> None:
    def at_work(*numbers: int) -> Batch:
        batch = begun(vault, keep_open)
        assert len(batch.apply(map(observation, numbers))) == len(numbers)
        return batch

    store = SqlVaultStore(database)
    first, second = at_work(4), at_work(0, 1, 2, 3, 4)
    first.close()
    with second, pytest.raises(ConflictError), database.write():
        second.close()
    assert store.count() == 1
    at_work(0, 1, 2, 3, 4).close()
    assert store.count() == 5


def test_sealed_records_are_withheld_in_a_file_when_there_are_many(vault: Vault) -> None:
    with closing(Withheld(vault)) as withheld:
        people = [one(f"Patient/{number}") for number in range(3)]
        for record in people:
            assert withheld.load(record.project, record.base, record.patient) is None
            record.identity = {"noise": secrets.token_hex(IN_MEMORY // 2)}
            withheld.save(record)
            record.identity = {"noise": secrets.token_hex(8)}
            withheld.save(record)
        withheld.release()
    for record in people:
        found = vault.load(record.project, record.base, record.patient)
        assert found is not None
        assert (found[0].to_bytes(), found[1]) == (record.to_bytes(), 1)


def test_somebody_without_a_patient_resource_is_a_stranger_of_the_batch(vault: Vault) -> None:
    seen = set()
    for name in ("one", "two"):
        batch = Batch(
            load_policy("safe-harbor"), vault, People(name), project="p", today=date(2026, 1, 2)
        )
        [given] = batch.apply([observation(0)])
        seen.add(orjson.loads(given.data)["subject"]["reference"])
        batch.close()
    assert len(seen) == 2


def test_a_random_id_that_spells_a_short_name_withholds_nothing(vault: Vault) -> None:
    names = [{"given": ["Ada", "Abe", "Bea", "Dee", "Deb", "Fae", "Abed", "Bebe"]}]
    people = People("batch")
    people.read([{"resourceType": "Patient", "id": "p4", "name": names}])
    batch = Batch(load_policy("safe-harbor"), vault, people, project="p", today=date(2026, 1, 2))
    assert len(batch.apply(map(observation, range(0, 2000, 5)))) == 400
    assert batch.close().refusals == {}
