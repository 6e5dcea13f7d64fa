"""A chart as its users see it, and what people and time do to it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.shell import Shell

from service.sandbox import PatientBundle
from service.sandbox.testing import RunningSandbox, population
from service.stores.database import utc_now

Json = dict[str, Any]
CREATININE = "14682-9"
PATIENT = "demo-008"


def patient() -> PatientBundle:
    return next(one for one in population(utc_now().date()) if one.id == PATIENT)


@dataclass
class Clinic:
    """A chart as its users see it: what is in it, and what people and time do to it."""

    shell: Shell
    sandbox: RunningSandbox
    monkeypatch: pytest.MonkeyPatch
    before: frozenset[str] = field(default_factory=frozenset)

    def run(self, *more: object, code: int = 0) -> Json:
        ran = self.shell("run", "--server", "ehr", "--patient", PATIENT, "--json", *more)
        assert ran.code == code, ran.err
        found: Json = ran.json
        return found

    def configure(self, **settings: str) -> None:
        for name, value in settings.items():
            self.monkeypatch.setenv(f"TWINPORT_SERVERS__EHR__{name.upper()}", value)

    def ours(self, kind: str) -> list[Json]:
        """In the order in which they were made."""
        return [r for r in self.sandbox.resources(kind) if r["id"] not in self.before]

    def results(self) -> list[Json]:
        return [r for k in ("RiskAssessment", "Observation") for r in self.ours(k)]

    def readings(self, code: str) -> list[Json]:
        """The patient's own, not ours."""
        return [
            copy.deepcopy(r)
            for r in self.sandbox.resources("Observation")
            if r["id"] in self.before
            and any(c.get("code") == code for c in r["code"]["coding"])
            and "effectiveDateTime" in r
        ]

    def newest(self, code: str) -> Json:
        return max(self.readings(code), key=lambda r: str(r["effectiveDateTime"]))

    def change(self, resource: Json, **values: Any) -> None:
        self.sandbox.store.put(resource["resourceType"], resource["id"], {**resource, **values})


Open = Callable[..., Clinic]


def chart_of(clinic: Clinic) -> list[str]:
    """What is ours in a chart, one line each: type, what it is about, status, our tags."""
    kinds = ("RiskAssessment", "Observation", "DocumentReference", "Flag", "Communication")
    return sorted(_line(found) for kind in kinds for found in clinic.ours(kind))


def _line(resource: Json) -> str:
    kind = resource["resourceType"]
    tags = [tag["code"] for tag in resource["meta"].get("tag", ())]
    status = [resource["status"], *filter(None, [resource.get("docStatus")])]
    return " ".join(["-", kind, _about(resource), *status, *tags])


def _about(resource: Json) -> str:
    """The model; a document says it in its title."""
    kind = resource["resourceType"]
    if kind == "DocumentReference":
        return str(resource["content"][0]["attachment"]["title"])
    if kind in ("Flag", "Communication"):
        return "notice"
    return str(resource["method"]["coding"][0]["code"]).partition("-")[0]
