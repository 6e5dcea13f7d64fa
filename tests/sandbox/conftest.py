from collections.abc import Iterator

import pytest
import requests

from service.sandbox.testing import RunningSandbox, population, running_sandbox

FHIR_JSON = "application/fhir+json"


@pytest.fixture(scope="module")
def held() -> Iterator[RunningSandbox]:
    """The whole population, shared by tests that only read."""
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def fresh() -> Iterator[RunningSandbox]:
    """Three patients in a server of one's own, for tests that write."""
    with running_sandbox(population()[:3]) as sandbox:
        yield sandbox


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Accept"] = FHIR_JSON
        yield session
