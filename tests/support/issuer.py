"""An installation with one twin, and its service in this process or on a port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from flask import Flask
from support.twins import complete
from werkzeug.serving import make_server

from service.app import create_app
from service.config import load_config
from service.fhir.record import PatientRecord
from service.pages.site import pages, viewer
from service.pipeline.make import Made
from service.pipeline.make import Wish as TwinWish
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox.population import generate
from service.sharing.desk import Desk
from service.wsgi import assembled, links

BASE = "http://127.0.0.1"
DAY = date(2026, 6, 1)


@dataclass(frozen=True)
class Home:
    runtime: Runtime
    desk: Desk
    app: Flask
    twin: str


def home() -> Home:
    """Where the environment says."""
    runtime = open_runtime()
    app = create_app(load_config(), assembled(runtime), pages=[pages, viewer, links(runtime)])
    return Home(runtime, Desk(runtime), app, twin_of(runtime, "demo-001").twin.id)


def twin_of(runtime: Runtime, name: str, on: date = DAY) -> Made:
    person = next(one for one in generate(on) if one.id == name)
    record = PatientRecord(
        patient_id=person.id,
        base="https://ehr.example.org/fhir",
        resources=list(person.resources),
        completeness=complete(),
    )
    wish = TwinWish(policy="safe-harbor", models=runtime.models(), as_of="record")
    return runtime.maker.make(record, wish)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{BASE}:{server.port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
