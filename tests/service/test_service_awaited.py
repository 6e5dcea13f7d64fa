"""What is begun for a run whose caller waits, before it is written down."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from service.config.sections import ServerAuth
from service.fhir.capability import read_capability
from service.fhir.errors import Cancelled, SetupError
from service.fhir.http import FhirClient
from service.fhir.servers import from_url
from service.fhir.wire import Connections
from service.pipeline import awaited as module
from service.pipeline.awaited import Awaited
from service.sandbox.testing import RunningSandbox


@pytest.fixture
def kept() -> Iterator[Connections]:
    found = Connections()
    yield found
    found.close()


@pytest.fixture
def awaited(sandbox: RunningSandbox, kept: Connections) -> Iterator[Awaited]:
    begun = Awaited()
    begun.begin(from_url(sandbox.base_url), kept)
    yield begun
    begun.end()


def test_the_run_goes_on_with_what_was_begun_and_is_stopped_by_its_own_end(
    awaited: Awaited,
) -> None:
    over = threading.Event()
    client = awaited.client(over)
    assert client is not None
    assert read_capability(client).stated
    awaited.end()  # its caller has gone: no matter to the run
    assert client.read("Patient", "demo-008").status == 200
    over.set()
    with pytest.raises(Cancelled):
        client.read("Patient", "demo-008")


def test_a_second_try_begins_anew(awaited: Awaited) -> None:
    assert awaited.client(threading.Event()) is not None
    assert awaited.client(threading.Event()) is None


def test_so_does_a_run_that_had_to_wait(awaited: Awaited, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its budget would be spent by then, and the answer old."""
    monkeypatch.setattr(module, "AT_ONCE_SECONDS", -1.0)
    assert awaited.client(threading.Event()) is None


def test_and_one_for_which_nothing_was_begun() -> None:
    assert Awaited().client(threading.Event()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth": ServerAuth(kind="smart-backend", client_id="us", key_file="no-such-key.json")},
        {"ca_file": "no-such-authority.pem"},
    ],
)
def test_what_is_wrong_with_a_server_is_left_to_the_run_to_say(
    kept: Connections, wrong: dict[str, Any]
) -> None:
    server = replace(from_url("https://ehr.example/fhir"), **wrong)
    awaited = Awaited()
    awaited.begin(server, kept)
    assert awaited.client(threading.Event()) is None
    with pytest.raises((SetupError, OSError)):
        FhirClient(server, kept=kept)
