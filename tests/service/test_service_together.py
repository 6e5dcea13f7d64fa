"""Many patients at once, and one patient twice: nothing is shared, and nothing is left to chance
but what the vault holds."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from support.threads import at_once

from service.fhir.capability import read_capability
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.servers import from_url
from service.fhir.wanted import wanted_from
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime, open_runtime
from service.pipeline.service import _Ready
from service.refresh.chart import look_for_results
from service.sandbox.testing import RunningSandbox
from service.stores.tables import TwinRow
from service.stores.twins import TwinStore
from twin_engine.models.assess import Request
from twin_engine.models.contract import Model
from twin_engine.models.registry import default_models, get

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


def measured(name: str) -> PatientRecord:
    """The same person, with what one model needs."""
    one, (patient, pulse) = record(name), record(name).resources
    creatinine = pulse | {
        "id": "c",
        "code": {"coding": [{"system": LOINC, "code": "2160-0"}]},
        "valueQuantity": {"value": 1.1, "system": UCUM, "code": "mg/dL"},
        "effectiveDateTime": str(DAY - timedelta(days=9)),
    }
    asked = [{"type": "Condition", "verdict": "complete"}]  # else she could be pregnant
    complete = {"basis": "server", "slices": asked}
    return replace(one, resources=[patient, pulse, creatinine], completeness=complete)


@dataclass
class Notes:
    """What an onlooker is told, in order; of what passed, how many twins were kept by then."""

    runtime: Runtime
    told: list[Any] = field(default_factory=list)

    def answering(self, model: Model) -> None:
        self.told.append(model.id)

    def passed(self, made: Made) -> None:
        self.told.append((made, len(TwinStore(self.runtime.database).newest())))


def test_what_passed_the_gate_is_told_before_it_is_kept(runtime: Runtime) -> None:
    """And only then: nobody gets ready for what is there already."""
    notes, wish = Notes(runtime), replace(WISH, models=tuple(map(Request, default_models())))
    made = runtime.maker.make(measured("p"), wish, onlooker=notes)
    *answering, (early, kept) = notes.told
    assert answering == [one["model"]["id"] for one in made.assessments if one["results"]]
    assert "ckd-epi-2021" in answering
    assert (kept, early.stored.proof) == (0, b"")
    assert replace(early, stored=made.stored) == made
    assert TwinStore(runtime.database).get(made.twin.id) == made.stored
    assert not runtime.maker.make(measured("p"), wish, onlooker=notes).new
    assert notes.told == [*answering, (early, kept)]


# -- what is asked meanwhile --------------------------------------------------------------------


def test_the_devices_of_models_that_answer_are_asked_for_ahead(
    runtime: Runtime, sandbox: RunningSandbox
) -> None:
    models = [get("prevent"), get("fib4")]
    devices = wanted_from(map(runtime.deliverer.device, models))
    with FhirClient(from_url(sandbox.base_url)) as client:
        ready = _Ready(runtime, client, True)
        for model in models:
            ready.answering(model)
        assert ready._asked is not None
        assert [ready._asked.take(device) for device in devices] == [[], []]
        asked = [(one.kind, one.parameters) for one in sandbox.requests if one.kind != "metadata"]
        assert asked[-2:] == [("Device", ("identifier",))] * 2


def test_nobody_is_asked_for_results_that_go_nowhere(
    runtime: Runtime, sandbox: RunningSandbox
) -> None:
    server = from_url(sandbox.base_url)
    for one, wished in ((server, False), (replace(server, write_as="facade"), True)):
        with FhirClient(one) as client:
            ready = _Ready(runtime, client, wished)
            ready.answering(get("prevent"))
            assert ready._asked is None
    assert not any(request.kind == "Device" for request in sandbox.requests)


def test_results_are_asked_for_by_identifier_before_they_are_put_into_words(
    runtime: Runtime, sandbox: RunningSandbox
) -> None:
    """In the form that is tried first; where that is a lower one, with its words."""
    server = from_url(sandbox.base_url)
    made = runtime.maker.make(measured("p"), replace(WISH, models=(Request(get("ckd-epi-2021")),)))
    (parcel,) = runtime.deliverer.parcels(made)
    result = next(one for one in wanted_from(parcel.resources) if one.type == "Observation")
    with FhirClient(server) as client:
        able = read_capability(client)
        seen = look_for_results(runtime, client, able, made, None)
        assert seen is not None
        assert seen.take(result) == []
    with FhirClient(replace(server, write_as="document")) as client:
        assert look_for_results(runtime, client, able, made, None) is None
    searches = [(one.kind, one.parameters) for one in sandbox.requests if one.parameters]
    assert searches == [("Observation", ("identifier",))]
