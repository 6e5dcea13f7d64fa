"""Many patients at once: sessions come and go, pseudonyms stay."""

import secrets
from datetime import date
from typing import Any

import pytest

from privacy.policy import load_policy
from privacy.vault import Vault
from service.deidentify.batch import Batch
from service.deidentify.people import People
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


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(SqlVaultStore(database), secrets.token_bytes(32))


@pytest.mark.parametrize("keep_open", [1, 2, 100])
def test_a_patient_who_was_put_away_comes_back_the_same(vault: Vault, keep_open: int) -> None:
    people = People("batch")
    people.read(PEOPLE)
    batch = Batch(
        load_policy("safe-harbor"), vault, people,
        project="p", today=date(2026, 1, 2), keep_open=keep_open,
    )  # fmt: skip
    made = [batch.apply(observation(number)) for number in range(25)]
    tally = batch.close()
    bodies = [done[1] for done in made if done is not None]
    assert len(bodies) == 25
    for element in ("subject", "encounter"):
        assert len({body[element]["reference"] for body in bodies}) == 5
        assert bodies[0][element] == bodies[5][element]
    assert len({body["device"]["reference"] for body in bodies}) == 1  # shared by all
    assert (tally.patients, tally.read, tally.written["Observation"]) == (5, 25, 25)
    assert tally.counts[("Observation", "subject", "subject")] == 25


def test_somebody_without_a_patient_resource_is_a_stranger_of_the_batch(vault: Vault) -> None:
    seen = set()
    for name in ("one", "two"):
        batch = Batch(
            load_policy("safe-harbor"), vault, People(name), project="p", today=date(2026, 1, 2)
        )
        done = batch.apply(observation(0))
        assert done is not None
        seen.add(done[1]["subject"]["reference"])
        batch.close()
    assert len(seen) == 2


def test_a_random_id_that_spells_a_short_name_withholds_nothing(vault: Vault) -> None:
    names = [{"given": ["Ada", "Abe", "Bea", "Dee", "Deb", "Fae", "Abed", "Bebe"]}]
    people = People("batch")
    people.read([{"resourceType": "Patient", "id": "p4", "name": names}])
    batch = Batch(load_policy("safe-harbor"), vault, people, project="p", today=date(2026, 1, 2))
    for number in range(0, 2000, 5):
        assert batch.apply(observation(number)) is not None
    assert batch.close().refusals == {}
