"""What the factory is handed, and how a view reaches it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from flask import Flask, current_app

from service.auth import Access
from service.config import Config
from service.office import Office
from service.patient.desk import PatientDesk
from service.web.meters import Meters
from service.web.ports import RunService

_KEY = "twinport"


def _nothing() -> None:
    """Where there is nothing to start or stop."""


def _none() -> Mapping[str, Any]:
    return {"keys": []}


@dataclass(frozen=True, slots=True)
class Services:
    """The service behind the web, composed elsewhere."""

    runs: RunService
    access: Access
    jwks: Callable[[], Mapping[str, Any]]  # public halves of the signing keys
    client_jwks: Callable[[], Mapping[str, Any]] = _none  # of the keys we sign in to servers with
    office: Office | None = None  # what the officer's console reads; not without its pages
    patient: PatientDesk | None = None  # what a patient's pages act through; not without them
    meters: Meters = field(default_factory=Meters)
    start: Callable[[], None] = _nothing  # once per process, after it was forked
    stop: Callable[[], None] = _nothing


def attach(extensions: dict[str, Any], config: Config, built: Services) -> None:
    extensions[_KEY] = (config, built)


def services() -> Services:
    return cast(Services, current_app.extensions[_KEY][1])


def settings() -> Config:
    return cast(Config, current_app.extensions[_KEY][0])


def built_for(app: Flask) -> Services:
    """The services of an application, outside any request."""
    return cast(Services, app.extensions[_KEY][1])
