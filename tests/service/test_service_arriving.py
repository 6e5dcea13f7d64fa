"""A run against a server reads what arrives, and nothing comes of it where it may not."""

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.unrecorded import KEPT, rows

from service.fhir.errors import Cancelled
from service.fhir.http import FhirClient
from service.fhir.packed import Packed
from service.fhir.pull import pull_patient
from service.fhir.record import PatientRecord
from service.fhir.servers import from_url
from service.pipeline.errors import NotConsented
from service.pipeline.make import Wish
from service.pipeline.reading import Ahead
from service.pipeline.runtime import Runtime, open_runtime
from service.sandbox.testing import RunningSandbox


def pulled(sandbox: RunningSandbox, ahead: Ahead) -> PatientRecord:
    with FhirClient(from_url(sandbox.base_url)) as client:
        return pull_patient(client, "demo-008", arrived=ahead.arrived)


@pytest.fixture
def runtime(home: Path) -> Iterable[Runtime]:
    opened = open_runtime()
    yield opened
    opened.close()


def test_a_run_that_read_ahead_says_what_one_says_that_did_not(
    runtime: Runtime, sandbox: RunningSandbox
) -> None:
    wish = Wish("safe-harbor", runtime.models(), "run")
    with runtime.maker.ahead(sandbox.base_url, wish) as ahead:
        record = pulled(sandbox, ahead)
        first = runtime.maker.make(record, wish, ahead=ahead)
        assert ahead.read_of(record) is None  # it was used
    second = runtime.maker.make(record, wish)
    assert first.new
    assert not second.new
    assert (second.counts, second.refusals) == (first.counts, first.refusals)


def test_without_leave_nothing_is_read(runtime: Runtime, sandbox: RunningSandbox) -> None:
    wish = Wish("safe-harbor", runtime.models(), "run", purpose="research")
    with runtime.maker.ahead(sandbox.base_url, wish) as ahead:
        record = pulled(sandbox, ahead)
        assert ahead.read_of(record) is None
        with pytest.raises(NotConsented):
            runtime.maker.make(record, wish, ahead=ahead)


def test_a_pull_that_ends_midway_leaves_nothing_behind(
    runtime: Runtime, sandbox: RunningSandbox
) -> None:
    """Not even the pseudonyms of what had arrived."""
    wish = Wish("safe-harbor", runtime.models(), "run")
    arrived: list[int] = []

    def stop(*_: object) -> None:
        if sum(arrived) > 50:
            raise Cancelled("GET Observation")

    def note(part: Packed) -> None:
        arrived.append(len(part))
        ahead.arrived(part)

    with FhirClient(from_url(sandbox.base_url)) as client:
        with runtime.maker.ahead(sandbox.base_url, wish) as ahead, pytest.raises(Cancelled):
            pull_patient(client, "demo-008", progress=stop, arrived=note)
        assert sum(arrived) > 50
    assert not any(thread.name.startswith("ahead") for thread in threading.enumerate())
    assert rows(runtime.database) == dict.fromkeys(KEPT, 0)
