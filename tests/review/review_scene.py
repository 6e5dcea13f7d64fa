"""One patient, one chart on a real server, and clinicians who review its results."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Request, Response

from service.auth import Kind, Principal, Role
from service.auth.principals import ROLE_SCOPES
from service.config import load_config
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service
from service.review.desk import Asked
from service.sandbox.persona import Persona
from service.sandbox.testing import RunningSandbox, population, running_sandbox
from service.stores.audit import AuditStore
from service.stores.database import utc_now
from service.stores.reviews import ReviewStore
from service.web.ports import RunRequest
from twin_engine.models.registry import get

Json = dict[str, Any]

PATIENT = "demo-008"
EHR = Principal(Role.EHR, ROLE_SCOPES[Role.EHR], "ehr.test", Kind.API_KEY)


def clinician(code: str = "one", kind: Kind = Kind.SESSION) -> Principal:
    return Principal(Role.EHR, ROLE_SCOPES[Role.EHR], f"ehr:{code}", kind)


@dataclass
class Moody(Persona):
    """A server that does, at a moment of our choosing, what servers do."""

    interrupt: Callable[[Request], Response | None] = field(default=lambda _: None)

    def intercept(self, request: Request) -> Response | None:
        return self.interrupt(request)


KINDS = ("RiskAssessment", "Observation", "Provenance", "Device", "DocumentReference")


@dataclass(frozen=True)
class Prepared:
    """A home and a chart after one run, to be copied: most tests begin there."""

    home: Path
    chart: list[Json]
    twin: str


@dataclass
class Scene:
    service: Service
    sandbox: RunningSandbox
    persona: Moody
    before: frozenset[str]
    twin: str = ""

    @property
    def desk(self) -> Any:
        return self.service.reviews

    @property
    def store(self) -> ReviewStore:
        return ReviewStore(self.service.runtime.database)

    def run(self, **more: Any) -> str:
        done = self.service.start(RunRequest("ehr", PATIENT, **more), EHR)
        assert done.error is None, done.error
        assert done.twin is not None
        self.twin = done.twin
        return done.twin

    def asked(self, model: str = "prevent", past: bool = False) -> Asked:
        document = self.service.document(self.twin)
        item = next(a for a in document["assessments"] if a["model"]["id"] == model)
        return Asked(self.twin, item, get(model), past)

    def ours(self, kind: str) -> list[Json]:
        return [r for r in self.sandbox.resources(kind) if r["id"] not in self.before]

    def risk(self) -> Json:
        (found,) = [
            r for r in self.ours("RiskAssessment") if "prevent" in str(r["method"]["coding"])
        ]
        return found

    def uses(self) -> list[str]:
        events = AuditStore(self.service.runtime.database).recent()
        return [f"{e.action} {e.outcome}" for e in events if e.action.startswith("review")][::-1]

    def database(self) -> bytes:
        """Every byte of the database, so that what must not be there is not there."""
        home = self.service.runtime.config.home
        return b"".join(path.read_bytes() for path in home.glob("twinport.db*"))


@contextmanager
def scene(
    home: Path, more: Mapping[str, str] | None = None, prepared: Prepared | None = None
) -> Iterator[Scene]:
    """From the start, with workers; or from what was prepared, without."""
    patient = next(one for one in population(utc_now().date()) if one.id == PATIENT)
    persona = Moody()
    if prepared:
        shutil.copytree(prepared.home, home)
    with running_sandbox([patient], persona=persona) as sandbox:
        before = frozenset(r["id"] for kind in KINDS for r in sandbox.resources(kind))
        for resource in prepared.chart if prepared else ():
            sandbox.store.put(resource["resourceType"], resource["id"], resource)
        service = Service(open_runtime(load_config(_environment(home, sandbox, more or {}))))
        if not prepared:
            service.start_workers()
        try:
            yield Scene(service, sandbox, persona, before, prepared.twin if prepared else "")
        finally:
            if not prepared:
                service.stop_workers()
            service.runtime.close()


def _environment(home: Path, sandbox: RunningSandbox, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "TWINPORT_HOME": str(home),
        "TWINPORT_SERVERS__EHR__BASE_URL": sandbox.base_url,
        "TWINPORT_MODELS__DEFAULT": "prevent,ckd-epi-2021",
        "TWINPORT_JOBS__LEASE_SECONDS": "5",
        **more,
    }


def prepare(home: Path, more: Mapping[str, str] | None = None) -> Prepared:
    with scene(home, more) as made:
        twin = made.run()
        chart = [r for kind in KINDS for r in made.ours(kind)]
    return Prepared(home, chart, twin)
