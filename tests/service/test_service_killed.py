"""A process that is killed at any moment loses nothing, and nothing is written twice."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Response, request
from service_people import ONE_OF_EACH, ours, person
from support.shell import Shell, python

from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service
from service.sandbox import Persona
from service.sandbox.search import Query
from service.sandbox.store import Resource
from service.sandbox.testing import RunningSandbox, running_sandbox
from service.stores.runs import Run, RunState

PATIENCE = 30
WORKER = Path(__file__).parents[1] / "support" / "service_worker.py"
STAGES = ("pull", "before-commit", "after-commit")


def default(chosen: str) -> list[Any]:
    """Every stage; all but this one in the slow suite."""
    return [
        pytest.param(stage, marks=() if stage == chosen else pytest.mark.slow) for stage in STAGES
    ]


class Stalling(Persona):
    """Stops at one stage, once, and says so; the test kills the client and lets go.

    `before-commit`: the server writes only after its client has died."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self.reached, self.go = threading.Event(), threading.Event()

    def _stall(self, stage: str) -> None:
        if stage == self._stage and not self.reached.is_set():
            self.reached.set()
            self.go.wait(PATIENCE)

    def page(self, bundle: dict[str, Any], query: Query) -> dict[str, Any]:
        self._stall("pull")
        return bundle

    def create(self, kind: str, resource: Resource) -> Resource:
        self._stall("before-commit")
        return resource

    def respond(self, response: Response) -> Response:
        if request.method == "POST" and response.status_code < 300:
            self._stall("after-commit")
        return response


@contextmanager
def stalling(stage: str) -> Iterator[tuple[RunningSandbox, Stalling]]:
    persona = Stalling(stage)
    with running_sandbox([person("demo-008")], persona=persona) as sandbox:
        try:
            yield sandbox, persona
        finally:
            persona.go.set()


def kill_at(persona: Stalling, process: "subprocess.Popen[bytes]") -> None:
    until(lambda: persona.reached.is_set() or process.poll() is not None)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    persona.go.set()


@pytest.mark.parametrize("stage", default("after-commit"))
def test_a_killed_command_is_finished_by_running_it_again(shell: Shell, stage: str) -> None:
    with stalling(stage) as (sandbox, persona):
        command = ("run", "--server", sandbox.base_url, "--patient", "demo-008", "--json")
        kill_at(persona, shell.process(*command))
        again = shell(*command)
        assert (again.code, again.json["version"]) == (0, 1)
        assert ours(sandbox) == ONE_OF_EACH


@pytest.mark.slow
@pytest.mark.parametrize("stage", default("before-commit")[1:])
def test_the_service_finishes_what_a_killed_command_left(shell: Shell, stage: str) -> None:
    """Without anybody running the command again: the service empties the outbox."""
    with stalling(stage) as (sandbox, persona):
        kill_at(
            persona, shell.process("run", "--server", sandbox.base_url, "--patient", "demo-008")
        )
        with working() as service:
            until(lambda: service.runtime.outbox.waiting() == 0)
        written = ours(sandbox)
        assert shell("run", "--server", sandbox.base_url, "--patient", "demo-008").code == 0
        assert ours(sandbox) == ONE_OF_EACH
        assert set(written.values()) != {0}


@pytest.mark.slow
@pytest.mark.parametrize("stage", default("after-commit"))
def test_a_run_of_a_killed_service_is_finished_by_the_next(
    home: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    with stalling(stage) as (sandbox, persona):
        monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", sandbox.base_url)
        process = python(WORKER, "ehr", "demo-008", home=home)
        assert process.stdout is not None
        run_id = process.stdout.readline().decode().strip()
        kill_at(persona, process)
        with working() as service:
            run = ended(service, run_id)
            assert (run.state, run.attempt, run.error) == (RunState.DONE, 2, None)
        assert ours(sandbox) == ONE_OF_EACH


@pytest.mark.slow
def test_a_run_that_kills_every_process_ends_with_a_reason(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINPORT_JOBS__ATTEMPTS", "1")
    with stalling("pull") as (sandbox, persona):
        monkeypatch.setenv("TWINPORT_SERVERS__EHR__BASE_URL", sandbox.base_url)
        process = python(WORKER, "ehr", "demo-008", home=home)
        assert process.stdout is not None
        run_id = process.stdout.readline().decode().strip()
        kill_at(persona, process)
        with working() as service:
            run = ended(service, run_id)
    assert (run.state, run.error) == (RunState.FAILED, "worker-lost")


# -- pieces -------------------------------------------------------------------------------------


@contextmanager
def working() -> Iterator[Service]:
    """A service over the same home, after the restart."""
    service = Service(open_runtime())
    service.start_workers()
    try:
        yield service
    finally:
        service.stop_workers()
        service.runtime.close()


def ended(service: Service, run_id: str) -> Run:
    until(lambda: service.run(run_id).ended)
    return service.run(run_id)


def until(holds: Any) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE * 10):
        if holds():
            return
        pause.wait(0.1)
    raise AssertionError("it did not come to its end")
