"""A watched patient: a FHIR server that announces changes, our service on a port, and time."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flask import Flask, request

from service.app import create_app
from service.config import load_config
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Looked, Service
from service.sandbox import PatientBundle
from service.sandbox.persona import Persona
from service.sandbox.serving import serving
from service.sandbox.subscriptions import Manners
from service.sandbox.testing import RunningSandbox, population, running_sandbox
from service.stores.audit import AuditStore
from service.stores.database import utc_now
from service.stores.watches import Hook, HookState, Watch
from service.watch.telling import SIGNATURE
from service.watch.watching import Watching
from service.wsgi import assembled, notifications

Json = dict[str, Any]

PATIENT = "demo-008"
CREATININE = "14682-9"
WHO = ("admin", "test")
KINDS = ("RiskAssessment", "Observation", "Provenance")


@dataclass
class Scene:
    service: Service
    app: Flask
    sandbox: RunningSandbox
    before: frozenset[str]
    watch: str = ""

    @property
    def watching(self) -> Watching:
        return self.service.watching

    @property
    def manners(self) -> Manners:
        return self.sandbox.inside.subscriptions.manners

    def add(self) -> str:
        request = {"server": "ehr", "patient": PATIENT, "models": [], "policy": None,
                   "writeBack": None}  # fmt: skip
        self.watch, _ = self.watching.add(request, *WHO)
        return self.watch

    def subscribe(self) -> list[Hook]:
        found = self.watching.store.get(self.watch)
        assert found is not None
        self.watching.subscriber.subscribe(found)
        self.tend()
        return self.hooks()

    def tend(self) -> None:
        """As time would: whatever is to be looked after, now."""
        for hook in self.hooks():
            self.watching.hooks.change(hook.id, lambda row: setattr(row, "look", utc_now()))
        self.watching.subscriber.tend(50)

    def hooks(self) -> list[Hook]:
        return self.watching.hooks.all()

    def hook(self) -> Hook:
        (found,) = self.hooks()
        return found

    def row(self) -> Watch:
        found = self.watching.store.get(self.watch)
        assert found is not None
        return found

    def is_due(self) -> bool:
        return self.row().due <= utc_now()

    def look(self) -> Looked:
        return self.service.look_once(60)

    def look_now(self) -> Looked:
        self.watching.now(self.watch)
        return self.look()

    # -- the chart -----------------------------------------------------------------------------

    def ours(self, kind: str) -> list[Json]:
        return [r for r in self.sandbox.resources(kind) if r["id"] not in self.before]

    def statuses(self) -> list[str]:
        found = [r for kind in ("RiskAssessment", "Observation") for r in self.ours(kind)]
        tags = [[t["code"] for t in r["meta"].get("tag", ())] for r in found]
        return sorted(" ".join([r["status"], *t]) for r, t in zip(found, tags, strict=True))

    def newest(self, code: str = CREATININE) -> Json:
        found = [
            r
            for r in self.sandbox.resources("Observation")
            if r["id"] in self.before
            and r["status"] == "final"
            and any(c.get("code") == code for c in r["code"]["coding"])
            and "effectiveDateTime" in r
        ]
        return max(found, key=lambda r: str(r["effectiveDateTime"]))

    def change(self, resource: Json, **values: Any) -> None:
        self.sandbox.store.put(resource["resourceType"], resource["id"], {**resource, **values})

    def delete(self, resource: Json) -> None:
        self.sandbox.store.delete(resource["resourceType"], resource["id"])

    def audited(self) -> list[str]:
        events = AuditStore(self.service.runtime.database).recent()
        return sorted(f"{e.action} {e.outcome}" for e in events)

    def rests(self) -> str | None:
        """What the Observations of the newest twin rest on."""
        twin = self.row().twin
        assert twin is not None
        slices = self.service.document(twin)["completeness"]["slices"]
        return next(s.get("rests") for s in slices if s["type"] == "Observation")


Open = Callable[..., Any]


def newest_only(patient: PatientBundle) -> PatientBundle:
    """A short record: of each kind of Observation the two newest, and no report that points to
    the others."""
    kept: dict[str, list[Json]] = {}
    left_out = ("Observation", "DiagnosticReport")
    others = [r for r in patient.resources if r["resourceType"] not in left_out]
    for found in patient.resources:
        if found["resourceType"] == "Observation":
            kept.setdefault(str(found["code"]["coding"][0]["code"]), []).append(found)
    when = lambda r: str(r.get("effectiveDateTime", ""))  # noqa: E731
    newest = [r for found in kept.values() for r in sorted(found, key=when)[-2:]]
    return replace(patient, resources=(*others, *newest))


@contextmanager
def scene(
    home: Path, more: Mapping[str, str] | None = None, persona: Persona | None = None
) -> Iterator[Scene]:
    patient = newest_only(next(p for p in population(utc_now().date()) if p.id == PATIENT))
    with running_sandbox([patient], persona=persona) as sandbox, _free_port() as port:
        before = frozenset(r["id"] for kind in KINDS for r in sandbox.resources(kind))
        config = load_config(_environment(home, sandbox, port, more or {}))
        runtime = open_runtime(config)
        built = assembled(runtime)
        app = create_app(config, built, pages=[notifications(runtime)])
        service = built.runs
        assert isinstance(service, Service)
        service.start_workers(sweeping=False)
        try:
            with serving(app, port=port):
                yield Scene(service, app, sandbox, before)
        finally:
            service.stop_workers()
            runtime.close()


@contextmanager
def _free_port() -> Iterator[int]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    yield port


def _environment(
    home: Path, sandbox: RunningSandbox, port: int, more: Mapping[str, str]
) -> dict[str, str]:
    return {
        "TWINPORT_HOME": str(home),
        "TWINPORT_WEB__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TWINPORT_SERVERS__EHR__BASE_URL": sandbox.base_url,
        "TWINPORT_SERVERS__EHR__SUBSCRIPTIONS": "auto",
        "TWINPORT_MODELS__DEFAULT": "prevent,ckd-epi-2021",
        "TWINPORT_JOBS__POLL_SECONDS": "0.02",
        "TWINPORT_WATCH__SETTLE_SECONDS": "0",
        "TWINPORT_WATCH__GAP_SECONDS": "0",
        "TWINPORT_WATCH__OVERLAP_SECONDS": "2",
        **more,
    }


def state_of(hooks: list[Hook]) -> list[tuple[str, HookState]]:
    return [(hook.kind, hook.state) for hook in hooks]


Told = list[tuple[Json, tuple[bytes, str]]]


@contextmanager
def receiving() -> Iterator[tuple[str, Told]]:
    """Somebody who takes notices: what came, its bytes and their signature."""
    app, taken = Flask("receiver"), list[tuple[Json, tuple[bytes, str]]]()

    @app.post("/told")
    def told() -> str:
        signature = request.headers.get(SIGNATURE, "")
        taken.append((request.get_json(), (request.get_data(), signature)))
        return ""

    with serving(app) as server:
        yield f"http://127.0.0.1:{server.server_port}/told", taken
