"""Real servers on the loopback: one that follows a script, one small FHIR store with faults, one
that speaks raw bytes. Nothing is patched."""

from collections.abc import Iterator

import pytest
from fhir_servers import RawServer, ScriptedServer, SmallFhirServer


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def store() -> Iterator[SmallFhirServer]:
    with SmallFhirServer() as server:
        yield server


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server
