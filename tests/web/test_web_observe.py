"""Health, metrics, and logs of our own and of others."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from error_shape import assert_error_shape
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from web_support import InProcess

from service.web.logs import guard_process
from service.web.rates import Rates

Logged = Callable[[], list[dict[str, Any]]]


def test_alive_and_ready(client: FlaskClient, behind: InProcess) -> None:
    assert client.get("/livez").get_json() == {"status": "ok"}
    assert client.get("/readyz").get_json()["checks"] == behind.ready
    behind.ready.update(database=False, keys=False)
    assert client.get("/livez").status_code == 200
    answer = client.get("/readyz")
    assert_error_shape(answer, 503, fhir=False, code="busy")
    assert "database, keys" in answer.get_json(force=True)["detail"]


def test_probes_are_logged_only_when_they_fail(
    client: FlaskClient, behind: InProcess, logged: Logged
) -> None:
    client.get("/livez")
    client.get("/readyz")
    assert logged() == []
    behind.ready["keys"] = False
    client.get("/readyz")
    assert logged()[0]["status"] == 503


def samples(client: FlaskClient, headers: dict[str, str]) -> dict[tuple[str, ...], float]:
    text = client.get("/metrics", headers=headers).get_data(as_text=True)
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_by_template_and_status(client: FlaskClient, callers) -> None:
    admin = callers.admin
    for path in ("/api/v1/models/a", "/api/v1/models/b", "/nowhere/x", "/nowhere/y"):
        client.get(path, headers=admin)
    found = samples(client, admin)
    name = "twinport_http_requests_total"
    assert found[name, "method=GET", "route=/api/v1/models/<model_id>", "status=404"] == 2
    assert found[name, "method=GET", "route=unmatched", "status=404"] == 2
    seconds = "twinport_http_request_seconds_count"
    assert found[seconds, "method=GET", "route=/api/v1/models/<model_id>"] == 2
    assert found["twinport_http_requests_open",] == 1  # this very request


def test_metrics_are_for_whoever_runs_the_service(client: FlaskClient, callers) -> None:
    assert_error_shape(client.get("/metrics"), 401, fhir=False)
    for headers in (callers.ehr, callers.patient, callers.officer):
        answer = client.get("/metrics", headers=headers)
        assert_error_shape(answer, 403, fhir=False, code="forbidden")


# -- logs ----------------------------------------------------------------------------------------


def test_what_other_libraries_say_is_kept_to_its_place(logged: Logged) -> None:
    log = logging.getLogger("some.http.client")
    log.warning("GET /Patient/%s failed", "MARK")
    log.warning("GET /Patient/MARK failed")
    try:
        int("MARK")
    except ValueError:
        log.exception("about MARK")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("about MARK", stacklevel=1)
    lines = logged()
    assert len(lines) == 4
    assert "MARK" not in str(lines)
    assert all(line["event"] == "foreign" for line in lines)
    assert lines[2]["error"] == ["ValueError"]
    assert lines[0]["logger"] == "some.http.client"
    assert lines[0]["at"].startswith("test_web_observe.")


def test_life_cycle_messages_are_let_through(logged: Logged) -> None:
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 7)
    assert logged()[0]["event"] == "Booting worker with pid: 7"


def test_our_own_events_hold_no_object_and_no_traceback(logged: Logged) -> None:
    class Patient:
        def __repr__(self) -> str:
            return "MARK"

    log = structlog.get_logger("twinport.test")
    try:
        break_in_two_steps()
    except KeyError:
        log.exception("broke", who=Patient())
    line = logged()[0]
    assert "MARK" not in str(line)
    assert line["who"].endswith("Patient")
    assert line["error"] == ["KeyError", "ValueError"]


def break_in_two_steps() -> None:
    raise KeyError("MARK") from ValueError("MARK")


@pytest.fixture
def hooks():
    kept = sys.excepthook, threading.excepthook
    guard_process()
    yield
    sys.excepthook, threading.excepthook = kept


@pytest.mark.usefixtures("hooks")
def test_what_nobody_caught_is_told_by_its_place(
    logged: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise RuntimeError("MARK")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    error = ValueError("MARK")
    sys.excepthook(ValueError, error, None)
    assert [line["event"] for line in logged()] == ["uncaught", "uncaught"]
    assert [line["error"] for line in logged()] == [["RuntimeError"], ["ValueError"]]
    assert "MARK" not in str(logged()) + capsys.readouterr().err


# -- rates ---------------------------------------------------------------------------------------


@given(st.integers(1, 1000), st.lists(st.floats(0, 30), max_size=60))
def test_no_caller_gets_more_than_the_rate(per_minute: int, pauses: list[float]) -> None:
    rates, now, admitted = Rates(per_minute), 0.0, 0
    for pause in pauses:
        now += pause
        admitted += rates.admit("a", now) is None
    assert admitted <= per_minute + now * per_minute / 60 + 1


@given(st.integers(1, 600))
def test_whoever_waits_as_told_is_admitted(per_minute: int) -> None:
    rates, now = Rates(per_minute), 0.0
    for _ in range(per_minute + 5):
        wait = rates.admit("a", now)
        if wait is not None:
            now += wait
            assert rates.admit("a", now) is None


def test_callers_are_forgotten_when_there_are_too_many() -> None:
    rates = Rates(1)
    assert rates.admit("first", 0) is None
    assert rates.admit("first", 0) is not None
    for number in range(10_000):
        rates.admit(str(number), 0)
    assert rates.admit("first", 0) is None
