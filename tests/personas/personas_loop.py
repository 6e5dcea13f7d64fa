"""The whole loop against a running sandbox, and what a persona is expected not to serve."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from support.readings import check_same

from service.fhir.http import FhirClient
from service.fhir.packed import Packed
from service.fhir.pull import pull_patient
from service.fhir.record import PatientRecord
from service.fhir.servers import ServerConfig, from_url
from service.pipeline.deliver import Delivered
from service.pipeline.make import Made, Wish
from service.pipeline.runtime import Runtime
from service.sandbox.persona import Persona
from service.sandbox.population import PatientBundle
from service.sandbox.testing import TEST_ANCHOR, RunningSandbox, population, running_sandbox

Resource = dict[str, Any]


def person(patient: str) -> PatientBundle:
    return next(p for p in population() if p.id == patient)


@contextmanager
def serving(
    patient: PatientBundle, persona: Persona | None = None, without: Container[str] = ()
) -> Iterator[RunningSandbox]:
    """One patient and a second one, whose data must never come along."""
    other = person("demo-005" if patient.id != "demo-005" else "demo-008")
    kept = tuple(r for r in other.resources if r["resourceType"] not in without)
    other = replace(other, resources=kept)
    with running_sandbox([other, patient], persona=persona) as sandbox:
        yield sandbox


def at(sandbox: RunningSandbox, **changes: Any) -> ServerConfig:
    """The server at its sandbox, with short pauses."""
    server = from_url(sandbox.base_url)
    limits = replace(server.limits, first_pause_seconds=0.02, budget_seconds=60)
    return replace(server, limits=limits, **changes)


class Loop:
    """Pull, make the twin, assess, write back."""

    def __init__(self, runtime: Runtime, server: ServerConfig, learned: set[str]) -> None:
        self.runtime, self.server, self.learned = runtime, server, learned

    def pull(self, patient: str) -> PatientRecord:
        arrived: list[Packed] = []
        with FhirClient(self.server) as client:
            record = pull_patient(client, patient, learned=self.learned, arrived=arrived.append)
        check_same(record, arrived, TEST_ANCHOR)
        return record

    def make(self, record: PatientRecord) -> Made:
        models = self.runtime.models()
        return self.runtime.maker.make(record, Wish("safe-harbor", models, "record"))

    def deliver(self, made: Made) -> list[Delivered]:
        parcels = self.runtime.results(made)
        with FhirClient(self.server) as client:
            seal = self.runtime.sealer.seal
            return self.runtime.deliverer.deliver(parcels, client, self.runtime.outbox, seal)


def verdicts(record: PatientRecord) -> dict[str, str]:
    """The slices that are not complete."""
    slices = record.completeness["slices"]
    return {s["type"]: s["verdict"] for s in slices if s["verdict"] != "complete"}


# -- what was asked ----------------------------------------------------------------------------

_ROUTES = ("search", "post-search", "read", "everything")


def received(sandbox: RunningSandbox) -> set[tuple[str, str, frozenset[str]]]:
    """(route, type, names of parameters) of every question that began something: a further page is
    none of ours, its address is the server's."""
    further = sandbox.inside.persona.page_parameter
    return {
        (one.route, one.kind or "Patient", frozenset(one.parameters))
        for one in sandbox.requests
        if one.route in _ROUTES and further not in one.parameters
    }


def put_to(record: PatientRecord) -> set[tuple[str, str, frozenset[str]]]:
    """The same, as the record says of itself."""
    forms = {form for part in record.completeness["slices"] for form in part["asked"]}
    return {_question(form) for form in forms}


def _question(form: str) -> tuple[str, str, frozenset[str]]:
    path, _, query = form.removeprefix("POST ").partition("?")
    kind, _, rest = path.partition("/")
    routes = {"": "search", "_search": "post-search", "{id}": "read"}
    names = frozenset(pair.partition("=")[0] for pair in query.split("&") if pair)
    return routes.get(rest, "everything"), kind, names
