"""Many patients at once, and one patient twice: nothing is shared, and nothing is left to chance
but what the vault holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from support.threads import at_once

from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.servers import from_url
from service.fhir.wanted import wanted_from
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime, open_runtime
from service.pipeline.service import _Ready
from service.sandbox.testing import RunningSandbox
from service.stores.tables import TwinRow
from service.stores.twins import TwinStore
from twin_engine.models.contract import Model
from twin_engine.models.registry import get

THREADS, EACH = 8, 3
DAY, MEASURED = date(2026, 6, 1), date(2025, 3, 4)
WISH = Wish("safe-harbor", (), "stated", DAY)
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


@pytest.fixture
def runtime(home: Path) -> Iterator[Runtime]:
    found = open_runtime()
    yield found
    found.close()


def record(name: str) -> PatientRecord:
    """Everybody has the same ids and dates, but for the patient's own."""
    about = {"subject": {"reference": f"Patient/{name}"}, "status": "final"}
    pulse = {"coding": [{"system": LOINC, "code": "8867-4"}]}
    value = {"value": 61, "system": UCUM, "code": "/min"}
    return PatientRecord(
        name,
        "https://fhir.example.org",
        [
            {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1961-07-19"},
            {"resourceType": "Observation", "id": "o", "code": pulse, "valueQuantity": value,
             "effectiveDateTime": str(MEASURED), **about},
        ],
        {"basis": "server", "slices": []},
    )  # fmt: skip


def test_eight_threads_share_no_epoch_and_no_pseudonym(runtime: Runtime) -> None:
    def work(thread: int) -> list[Made]:
        people = (f"p{thread}-{number}" for number in range(EACH))
        return [runtime.maker.make(record(name), WISH) for name in people]

    made = [one for some in at_once(THREADS, work) for one in some]
    assert len({one.link.epoch for one in made}) == THREADS * EACH
    for one in made:
        (told,) = one.twin.document["signals"]["heart-rate"]["t"]
        assert told == (MEASURED - one.link.epoch.date()).days
    given = [{one.link.twin, *one.link.ids.as_dict().values()} for one in made]
    assert len(set.union(*given)) == sum(map(len, given))


def test_the_same_vault_and_the_same_input_give_the_same_bytes(runtime: Runtime) -> None:
    first = runtime.maker.make(record("p"), WISH)
    with runtime.database.write() as session:
        session.execute(delete(TwinRow).where(TwinRow.pseudonym == first.stored.about.pseudonym))
    again = runtime.maker.make(record("p"), WISH)
    assert (again.new, again.stored.payload) == (True, first.stored.payload)


@dataclass
class Notes:
    """What an onlooker is told, in order; of what passed, how many twins were kept by then."""

    runtime: Runtime
    told: list[Any] = field(default_factory=list)

    def answering(self, models: Sequence[Model]) -> None:
        self.told.append([model.id for model in models])

    def passed(self, made: Made) -> None:
        self.told.append((made, len(TwinStore(self.runtime.database).newest())))


def test_what_passed_the_gate_is_told_before_it_is_kept(runtime: Runtime) -> None:
    """And only then: nobody gets ready for what is there already."""
    notes = Notes(runtime)
    made = runtime.maker.make(record("p"), WISH, onlooker=notes)
    answering, (early, kept) = notes.told
    assert answering == [one["model"]["id"] for one in made.assessments if one["results"]]
    assert (kept, early.stored.proof) == (0, b"")
    assert replace(early, stored=made.stored) == made
    assert TwinStore(runtime.database).get(made.twin.id) == made.stored
    assert not runtime.maker.make(record("p"), WISH, onlooker=notes).new
    assert len(notes.told) == 2


# -- what is asked meanwhile --------------------------------------------------------------------


def test_the_devices_of_models_that_answer_are_asked_for_ahead(
    runtime: Runtime, sandbox: RunningSandbox
) -> None:
    models = [get("prevent"), get("fib4")]
    devices = wanted_from(runtime.deliverer.devices(models))
    with FhirClient(from_url(sandbox.base_url)) as client:
        ready = _Ready(runtime, client, True)
        ready.answering(models)
        assert ready._devices is not None
        assert [ready._devices.take(device) for device in devices] == [[], []]
        asked = [(one.kind, one.parameters) for one in sandbox.requests if one.kind != "metadata"]
        assert asked[-2:] == [("Device", ("identifier",))] * 2


def test_nobody_is_asked_for_results_that_go_nowhere(
    runtime: Runtime, sandbox: RunningSandbox
) -> None:
    server = from_url(sandbox.base_url)
    for one, wished in ((server, False), (replace(server, write_as="facade"), True)):
        with FhirClient(one) as client:
            ready = _Ready(runtime, client, wished)
            ready.answering([get("prevent")])
            assert ready._devices is None
    assert not any(request.kind == "Device" for request in sandbox.requests)
