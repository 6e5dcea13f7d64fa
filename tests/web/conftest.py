"""A real application on a real database with real keys; one caller per role."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from web_support import OTHER_TWIN, TWIN, InProcess

from service.app import create_app
from service.auth import Access, Role
from service.config import Config, Logging, load_config
from service.keys import KeyRing
from service.pages.site import pages
from service.stores import Database, open_database, upgrade
from service.web.logs import configure_logging
from service.web.services import Services

Headers = dict[str, str]


def environment(home: Path) -> dict[str, str]:
    return {
        "TWINPORT_HOME": str(home),
        "TWINPORT_SERVERS__HOSPITAL__BASE_URL": "https://fhir.example.org/r4",
        "TWINPORT_SERVERS__ARCHIVE__BASE_URL": "https://archive.example.org/r4",
        "TWINPORT_SERVERS__ARCHIVE__WRITE_BACK": "false",
        "TWINPORT_LIMITS__BODY_BYTES": "4096",
    }


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """The environment the application is configured from; a test may add to it."""
    return environment(tmp_path / "home")


@pytest.fixture
def config(settings: dict[str, str]) -> Config:
    return load_config(settings)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.open(tmp_path_factory.mktemp("keys", numbered=True) / "keys")


@pytest.fixture
def behind(database: Database) -> InProcess:
    return InProcess(database)


@pytest.fixture
def access(config: Config, database: Database, keys: KeyRing) -> Access:
    return Access.build(config, database, keys.session.material)


@pytest.fixture
def app(config: Config, behind: InProcess, access: Access, keys: KeyRing) -> Flask:
    return create_app(config, Services(behind, access, keys.jwks), pages=[pages])


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@dataclass(frozen=True)
class Callers:
    """An `Authorization` header for each role."""

    access: Access

    def headers(self, role: Role, twin: str | None = None) -> Headers:
        bound = (twin or TWIN) if role is Role.PATIENT else None
        key = self.access.api_keys.issue(role, label="test", twin=bound)
        return {"Authorization": f"Bearer {key.text}"}

    @property
    def ehr(self) -> Headers:
        return self.headers(Role.EHR)

    @property
    def officer(self) -> Headers:
        return self.headers(Role.PRIVACY_OFFICER)

    @property
    def admin(self) -> Headers:
        return self.headers(Role.ADMIN)

    @property
    def patient(self) -> Headers:
        return self.headers(Role.PATIENT)

    @property
    def other_patient(self) -> Headers:
        return self.headers(Role.PATIENT, OTHER_TWIN)


@pytest.fixture
def callers(access: Access) -> Callers:
    return Callers(access)


@dataclass(frozen=True)
class Steady:
    """An application that many tests share: for those that read and leave nothing behind."""

    client: FlaskClient
    callers: Callers


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Iterator[Steady]:
    folder = tmp_path_factory.mktemp("steady")
    many = {"TWINPORT_WEB__REQUESTS_PER_MINUTE": "100000"}
    config = load_config(environment(folder / "home") | many)
    database = open_database(config.database_url)
    upgrade(database.engine)
    access = Access.build(config, database, keys.session.material)
    app = create_app(config, Services(InProcess(database), access, keys.jwks), pages=[pages])
    yield Steady(app.test_client(use_cookies=False), Callers(access))
    database.close()


@pytest.fixture
def logged() -> Callable[[], list[dict[str, Any]]]:
    """Everything logged so far, as an operator's collector would read it."""
    stream = io.StringIO()
    configure_logging(Logging(level="debug"), stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
