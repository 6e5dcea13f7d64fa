"""The entry for a WSGI server: `gunicorn -c python:service.gunicorn_conf 'service.wsgi:build()'`.

A function and not a module-level object, so that importing this file opens no database.
"""

from flask import Blueprint, Flask

from service.app import create_app
from service.auth import Access
from service.cds.blueprint import cds_blueprint
from service.cds.desk import Desk
from service.config import Config, load_config
from service.deidentify.operation import Operation
from service.office.build import open_office
from service.pages.site import officer, own, pages, viewer
from service.patient.desk import PatientDesk
from service.pipeline.runtime import Runtime, open_runtime
from service.pipeline.service import Service
from service.receive.blueprint import received_blueprint
from service.receive.desk import Reception
from service.receive.extend import Extender
from service.sharing.blueprint import links_blueprint
from service.sharing.desk import Desk as Sharing
from service.smart.blueprint import launch_blueprint
from service.smart.desk import Desk as Launches
from service.stores.audit import AuditStore
from service.watch.receiver import hooks_blueprint
from service.watch.watching import Watching
from service.web.fhir.audit import audit_blueprint
from service.web.fhir.deidentify import deidentify_blueprint
from service.web.meters import Meters
from service.web.services import Services


def build() -> Flask:
    """The application over this process's configuration."""
    config = load_config()
    runtime = open_runtime(config)
    found = (hooks, launches, deidentification, audit, links, notifications, received)
    parts = [pages, own, officer, viewer, *(make(runtime) for make in found)]
    return create_app(config, assembled(runtime), pages=parts)


def hooks(runtime: Runtime) -> Blueprint:
    """CDS Hooks, for the EHRs whose clients are configured."""
    return cds_blueprint(Desk(runtime), runtime.config.web.requests_per_minute)


def launches(runtime: Runtime) -> Blueprint:
    """Clinicians who come from their EHR."""
    key = runtime.vault.key_for("smart-launches")
    desk = Launches(runtime.config, runtime.database, runtime.sealer, key)
    per_minute = runtime.config.web.requests_per_minute
    return launch_blueprint(desk, AuditStore(runtime.database), per_minute)


def deidentification(runtime: Runtime) -> Blueprint:
    """`$de-identify`, for whoever may hand over identified data."""
    operation = Operation(
        project=runtime.config.project.name,
        database=runtime.database,
        vault=runtime.vault,
        signer=runtime.signer,
    )
    return deidentify_blueprint(operation)


def audit(runtime: Runtime) -> Blueprint:
    """The audit as FHIR, for the officer and the administrator."""
    return audit_blueprint(AuditStore(runtime.database))


def links(runtime: Runtime) -> Blueprint:
    """SMART Health Links, for whoever was given one."""
    key = runtime.vault.key_for("health-link-tickets")
    return links_blueprint(Sharing(runtime), key, runtime.config.web.requests_per_minute)


def received(runtime: Runtime) -> Blueprint:
    """Twins from elsewhere, for the clinics that may take them in."""
    return received_blueprint(Reception(runtime), Extender(runtime))


def notifications(runtime: Runtime) -> Blueprint:
    """Rest-hooks, for the FHIR servers that announce changes of watched patients."""
    return hooks_blueprint(Watching(runtime), runtime.config.web.requests_per_minute)


def compose(config: Config) -> Services:
    """Everything behind the web. Its queue starts with `Services.start`, after any fork."""
    return assembled(open_runtime(config))


def assembled(runtime: Runtime) -> Services:
    meters = Meters()
    config, service = runtime.config, Service(runtime, meters.runs)

    def start() -> None:
        service.rehearse()
        service.start_workers()

    return Services(
        runs=service,
        access=Access.build(config, runtime.database, runtime.keys.session.material),
        jwks=runtime.jwks,
        client_jwks=runtime.client_jwks,
        office=open_office(runtime),
        patient=PatientDesk.over(runtime, service),
        meters=meters,
        start=start,
        stop=service.stop_workers,
    )
