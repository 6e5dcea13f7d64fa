"""More is asked for than can be done: what is taken on is done, what is not was never begun."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from error_shape import assert_error_shape
from flask.testing import FlaskClient

from service.app import create_app
from service.auth import Role
from service.config import load_config
from service.sandbox.testing import RunningSandbox, population, running_sandbox
from service.stores import open_database
from service.stores.runs import RunState, RunStore
from service.web.services import Services
from service.wsgi import compose

RUN = {"server": "sandbox", "patient": "demo-001", "writeBack": False}
LATER = {"Prefer": "respond-async"}
ASSESS = "/fhir/Patient/demo-001/$assess"
PARAMETERS = {
    "resourceType": "Parameters",
    "parameter": [{"name": "server", "valueString": "sandbox"}],
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox([p for p in population() if p.id == "demo-001"]) as found:
        yield found


class Small(NamedTuple):
    """A service with room for two waiting runs of a caller and three of all; nobody works yet."""

    client: FlaskClient
    services: Services
    store: RunStore

    def key(self) -> dict[str, str]:
        text = self.services.access.api_keys.issue(Role.EHR, label="test").text
        return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def small(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Small]:
    config = load_config(
        {
            "TWINPORT_HOME": str(tmp_path / "home"),
            "TWINPORT_SERVERS__SANDBOX__BASE_URL": sandbox.base_url,
            "TWINPORT_JOBS__WAITING": "3",
            "TWINPORT_JOBS__WAITING_PER_CALLER": "2",
            "TWINPORT_JOBS__POLL_SECONDS": "0.02",
            "TWINPORT_WEB__THREADS": "4",  # one call may wait, three threads stay free
        }
    )
    services = compose(config)
    client = create_app(config, services).test_client(use_cookies=False)
    database = open_database(config.database_url)
    yield Small(client, services, RunStore(database))
    services.stop()
    database.close()


def test_what_there_is_no_room_for_is_refused_and_what_there_is_is_done(small: Small) -> None:
    taken, refused = [], []
    for headers in (small.key(), small.key()):
        for _ in range(6):
            answer = small.client.post("/api/v1/runs", json=RUN, headers={**headers, **LATER})
            (taken if answer.status_code == 202 else refused).append((answer, headers))
    assert [answer.get_json()["state"] for answer, _ in taken] == ["queued"] * 3
    for answer, _ in refused:
        assert_error_shape(answer, 429, fhir=False, code="overloaded")
        assert int(answer.headers["Retry-After"]) > 0
    # Two of the first caller, one of the second: nobody can fill the queue alone.
    assert [headers == taken[0][1] for _, headers in taken] == [True, True, False]
    assert small.store.counts_by_state() == {RunState.QUEUED: 3}

    small.services.start()
    for answer, headers in taken:
        run = _ended(small, answer.headers["Location"], headers)
        assert run["state"] == "done"
    again = small.client.post("/api/v1/runs", json=RUN, headers=taken[0][1])
    assert again.status_code == 201
    assert small.store.counts_by_state() == {RunState.DONE: 4}


def test_the_facade_says_it_as_an_outcome(small: Small) -> None:
    headers = {**small.key(), **LATER}
    answers = [small.client.post(ASSESS, json=PARAMETERS, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert_error_shape(answers[2], 429, fhir=True)
    assert answers[2].get_json(force=True)["issue"][0]["code"] == "throttled"


def test_calls_that_wait_leave_threads_for_those_that_ask(small: Small) -> None:
    """The one place is taken: the next call is not left hanging, and nothing is written down."""
    seats = small.services.runs._seats  # type: ignore[attr-defined]
    assert seats.acquire(blocking=False)
    headers = small.key()
    answer = small.client.post(ASSESS, json=PARAMETERS, headers=headers)
    assert_error_shape(answer, 429, fhir=True)
    assert small.store.counts_by_state() == {}
    assert (
        small.client.post("/api/v1/runs", json=RUN, headers={**headers, **LATER}).status_code == 202
    )
    seats.release()


def test_what_was_turned_away_is_counted(small: Small) -> None:
    headers = {**small.key(), **LATER}
    for _ in range(5):
        small.client.post("/api/v1/runs", json=RUN, headers=headers)
    key = small.services.access.api_keys.issue(Role.ADMIN, label="test").text
    text = small.client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
    assert 'twinport_runs_shed_total{full="each"} 3.0' in text
    assert "twinport_runs_waiting 2.0" in text


def _ended(small: Small, address: str, headers: dict[str, str]) -> dict[str, object]:
    run_id = address.rpartition("/")[2]
    small.services.runs._jobs.wait(run_id, 60)  # type: ignore[attr-defined]
    found: dict[str, object] = small.client.get(address, headers=headers).get_json()
    return found
