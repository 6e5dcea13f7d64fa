"""Pulls from a sandbox in a process of its own, beside the least anybody would write, and beside
the two FHIR clients for Python that are in use."""

from collections.abc import Callable
from typing import Any

import orjson
import requests
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRServer
from fhirpy import SyncFHIRClient

from bench import served
from bench.harness import Aim, Case
from service.fhir.http import FhirClient
from service.fhir.kinds import ALL, KINDS
from service.fhir.pull import Pulled, pull_patient
from service.fhir.servers import from_url

Json = dict[str, Any]
PAGE = 200  # what a server is asked for by default


def pull_cases(base: str, quick: bool) -> list[Case]:
    """`quick` spares the other clients, which take their time, the long record."""
    patient = served.MODEL if quick else served.PATIENT
    return [
        _whole(base, served.MODEL),
        _whole(base, served.PATIENT),
        _beside(base, patient, "fhirpy", _fhirpy(base, patient)),
        _beside(base, patient, "fhirclient", _fhirclient(base, patient)),
    ]


def _whole(base: str, patient: str) -> Case:
    """A whole record."""
    resources = len(_bare_loop(base, patient))
    return Case(
        name=f"pull a patient, {resources:,} resources",
        work=_pull(base, patient, ALL),
        floor=lambda: _bare_loop(base, patient),
        floor_name="bare requests loop",
        count=resources,
        unit="resources",
        aim=Aim(ratio=1.5),
        waits=True,
    )


def _beside(base: str, patient: str, peer: str, ask: Callable[[], list[Any]]) -> Case:
    """A Patient and their Observations: what all of them can be asked for in a line or two."""
    work, count = _pull(base, patient, ("Observation",)), len(ask())
    assert count == len(work().resources), "they do not read the same"
    return Case(
        name=f"pull Observations beside {peer}, {count - 1:,}",
        work=work,
        floor=ask,
        floor_name=peer,
        count=count,
        unit="resources",
        aim=Aim(ratio=1),
        waits=True,
    )


def _pull(base: str, patient: str, types: tuple[str, ...]) -> Callable[[], Pulled]:
    server = from_url(base)

    def pull() -> Pulled:
        with FhirClient(server) as client:
            return pull_patient(client, patient, types)

    return pull


# -- the others ------------------------------------------------------------------------------------


def _bare_loop(base: str, patient: str) -> list[Json]:
    """The same searches one after the other: follow `next`, parse, check nothing."""
    found: list[Json] = []
    with requests.Session() as session:
        found.append(orjson.loads(session.get(f"{base}/Patient/{patient}", timeout=60).content))
        for kind in KINDS:
            url: str | None = f"{base}/{kind}?patient=Patient/{patient}&_count={PAGE}"
            while url:
                page = orjson.loads(session.get(url, timeout=60).content)
                found += [entry["resource"] for entry in page.get("entry", ())]
                url = next(
                    (o["url"] for o in page.get("link", ()) if o["relation"] == "next"), None
                )
    return found


def _fhirpy(base: str, patient: str) -> Callable[[], list[Any]]:
    def ask() -> list[Any]:
        client = SyncFHIRClient(base)
        search = client.resources("Observation").search(patient=f"Patient/{patient}")
        return [client.get("Patient", patient), *search.limit(PAGE).fetch_all()]

    return ask


def _fhirclient(base: str, patient: str) -> Callable[[], list[Any]]:
    def ask() -> list[Any]:
        server = FHIRServer(None, base)
        search = Observation.where({"patient": f"Patient/{patient}", "_count": str(PAGE)})
        return [Patient.read(patient, server), *search.perform_resources_iter(server)]

    return ask
