"""A whole installation for the pages: sandbox, pipeline, real database, real application."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from service.app import create_app
from service.auth import Access, Principal, Role
from service.auth.principals import ROLE_SCOPES, Kind
from service.config import load_config
from service.config.sections import Reviews
from service.fhir.record import PatientRecord
from service.office.build import open_office
from service.pages.site import officer, own, pages, viewer
from service.patient.desk import PatientDesk
from service.pipeline.make import Wish
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service
from service.sandbox.testing import population, running_sandbox
from service.web.ports import RunRequest
from service.web.services import Services
from service.wsgi import links

EHR = Principal(Role.EHR, ROLE_SCOPES[Role.EHR], "ehr.test", Kind.API_KEY)
FULL, PARTIAL, REFUSED, STALE, DIED, AWKWARD = (
    "demo-001",
    "demo-002",
    "demo-003",
    "demo-013",
    "demo-022",
    "demo-023",
)
HTML = {"Accept": "text/html"}
_FORM = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass(frozen=True)
class Site:
    """The application over a service, and the twin of each patient that was run."""

    app: Flask
    access: Access
    service: Service
    twins: Mapping[str, str]

    def code(self, role: Role, twin: str | None = None, person: str | None = None) -> str:
        return self.access.codes.issue(role, twin=twin, person=person)

    def client(self, role: Role, twin: str | None = None, person: str | None = None) -> FlaskClient:
        """Signed in through the form, as a person would."""
        client = self.app.test_client()
        fields = {"csrf_token": form_token(client.get("/sign-in").text)}
        answer = client.post("/sign-in", data=fields | {"code": self.code(role, twin, person)})
        assert answer.status_code == 303
        return client

    def patient(self, patient: str) -> FlaskClient:
        return self.client(Role.PATIENT, self.twins[patient])


def form_token(page: str) -> str:
    found = _FORM.search(page)
    assert found is not None
    return found[1]


@contextmanager
def running_site(home: Path, patients: tuple[str, ...]) -> Iterator[Site]:
    """Run these patients of the sandbox through the whole path, then serve what came of it."""
    today = datetime.now(UTC).date()  # runs are as of today: an older population would go stale
    with running_sandbox(population(today)) as sandbox:
        config = load_config(
            {
                "TWINPORT_HOME": str(home),
                "TWINPORT_SERVERS__SANDBOX__BASE_URL": sandbox.base_url,
                "TWINPORT_WEB__SIGN_IN_ATTEMPTS": "100",
                "TWINPORT_WEB__REQUESTS_PER_MINUTE": "100000",
                "TWINPORT_REVIEWS__PAUSE": "never",
            }
        )
        runtime = open_runtime(config)
        service = Service(runtime)
        access = Access.build(config, runtime.database, runtime.keys.session.material)
        service.start_workers()
        try:
            twins = {patient: run(service, patient) for patient in patients}
            desk = PatientDesk.over(runtime, service)
            built = Services(
                service, access, runtime.jwks, office=open_office(runtime), patient=desk
            )
            app = create_app(config, built, pages=[pages, own, officer, viewer, links(runtime)])
            yield Site(app, access, service, twins)
        finally:
            service.stop_workers()
            runtime.close()


def pausing(site: Site) -> Site:
    """The same twins behind an application that asks for an estimate first, as it does unless it
    is told otherwise."""
    runtime = site.service.runtime
    config = replace(runtime.config, reviews=Reviews())
    service = Service(replace(runtime, config=config))
    app = create_app(config, Services(service, site.access, runtime.jwks), pages=[pages])
    return Site(app, site.access, service, site.twins)


def run(service: Service, patient: str) -> str:
    done = service.start(RunRequest("sandbox", patient), EHR)
    assert done.error is None, done.error
    assert done.twin is not None
    return done.twin


PERSON = "zorkmidt-7"
RECORD = (
    {
        "resourceType": "Patient",
        "id": PERSON,
        "gender": "female",
        "birthDate": "1961-07-19",
        "name": [{"family": "Zorkmidt"}],
    },
    {
        "resourceType": "Observation",
        "id": "bp-1",
        "status": "final",
        "subject": {"reference": f"Patient/{PERSON}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "effectiveDateTime": "2026-03-02",
        "valueQuantity": {"value": 142, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
    },
)


def make_small_home(home: Path) -> str:
    """An installation with one twin of a small record; the twin's pseudonym."""
    runtime = open_runtime(load_config({"TWINPORT_HOME": str(home)}))
    record = PatientRecord(PERSON, "urn:test", list(RECORD), {"basis": "bundle", "slices": []})
    made = runtime.maker.make(record, Wish("safe-harbor", (), "run"))
    open_office(runtime)
    runtime.close()
    return made.twin.id


@contextmanager
def small_site(home: Path, twin: str) -> Iterator[Site]:
    """That installation, or a copy of it, served; for tests that change things."""
    settings = {"TWINPORT_HOME": str(home), "TWINPORT_WEB__SIGN_IN_ATTEMPTS": "100"}
    config = load_config(settings)
    runtime = open_runtime(config)
    access = Access.build(config, runtime.database, runtime.keys.session.material)
    service = Service(runtime)
    desk = PatientDesk.over(runtime, service)
    built = Services(service, access, runtime.jwks, office=open_office(runtime), patient=desk)
    app = create_app(config, built, pages=[pages, own, officer, viewer, links(runtime)])
    try:
        yield Site(app, access, service, {PERSON: twin})
    finally:
        runtime.close()
