"""The job runner: every run ends once, whatever happens to its worker."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from support.aes_sealer import AesSealer

from service.config import Jobs
from service.jobs import (
    Handler,
    JobRunner,
    Outcome,
    RunAgainError,
    RunContext,
    RunFailedError,
    RunStopped,
)
from service.stores import Database
from service.stores.runs import Run, RunState, RunStore
from service.stores.tables import RunRow

PATIENCE = 30
Start = Callable[[Handler], JobRunner]


@pytest.fixture
def store(database: Database) -> RunStore:
    return RunStore(database)


@pytest.fixture
def start(store: RunStore) -> Iterator[Start]:
    runners: list[JobRunner] = []

    def begin(handler: Handler, **settings: float) -> JobRunner:
        config = Jobs(**{"workers": 1, "poll_seconds": 0.02, **settings})  # type: ignore[arg-type]
        runners.append(JobRunner(store, {"run": handler}, config, AesSealer()))
        runners[-1].start()
        return runners[-1]

    yield begin
    for runner in runners:
        runner.stop(0)


def _ended(runner: JobRunner, run_id: str) -> Run:
    run = runner.wait(run_id, PATIENCE)
    assert run is not None
    assert run.ended
    return run


def _until(true: Callable[[], bool]) -> bool:
    return any(true() or threading.Event().wait(0.01) for _ in range(100 * PATIENCE))


def test_a_run_is_carried_out_with_its_request(start: Start) -> None:
    def handler(context: RunContext) -> Outcome:
        context.progress("pull", {"pages": 2})
        assert context.request == {"patient": "123"}
        return Outcome("tw", 1, {"written": 2})

    runner = start(handler)
    run = _ended(runner, runner.enqueue({"patient": "123"}, server="ehr"))
    assert (run.state, run.twin, run.twin_version) == (RunState.DONE, "tw", 1)
    assert (run.stage, run.counts, run.attempt) == ("pull", {"written": 2}, 1)


def test_the_request_is_sealed_and_bound_to_its_run(
    start: Start, store: RunStore, database: Database
) -> None:
    go = threading.Event()

    def handler(context: RunContext) -> Outcome:
        go.wait(PATIENCE)
        return Outcome()

    runner = start(handler)
    runner.enqueue({"patient": "Mustermann"})
    with database.read() as session:
        (row,) = session.query(RunRow).all()
        assert row.sealed_request is not None
        assert b"Mustermann" not in row.sealed_request
        with pytest.raises(InvalidTag):
            AesSealer().open(row.sealed_request, b"run:another")
    go.set()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunFailedError("patient-unknown"), "patient-unknown"),
        (RunAgainError("server-away"), "server-away"),
        (RuntimeError("Erika Mustermann"), "internal-error"),
    ],
)
def test_a_failure_leaves_its_code_and_nothing_else(
    start: Start, error: Exception, code: str
) -> None:
    def handler(context: RunContext) -> Outcome:
        raise error

    runner = start(handler)
    run = _ended(runner, runner.enqueue({}))
    assert (run.state, run.error) == (RunState.FAILED, code)
    assert run.attempt == (3 if isinstance(error, RunAgainError) else 1)


def test_the_worker_goes_on_after_a_failure(start: Start) -> None:
    def handler(context: RunContext) -> Outcome:
        if context.request["bad"]:
            raise ValueError
        return Outcome()

    runner = start(handler)
    bad, good = runner.enqueue({"bad": True}), runner.enqueue({"bad": False})
    assert _ended(runner, bad).state is RunState.FAILED
    assert _ended(runner, good).state is RunState.DONE


def test_a_running_run_is_cancelled_at_its_next_check(start: Start, store: RunStore) -> None:
    started, tried = threading.Event(), []

    def handler(context: RunContext) -> Outcome:
        started.set()
        while True:
            try:
                context.check()
            except Exception:  # noqa: BLE001 - as careless code in a handler might
                tried.append("swallowed")
            threading.Event().wait(0.01)

    runner = start(handler)
    run_id = runner.enqueue({})
    assert started.wait(PATIENCE)
    store.cancel(run_id)
    assert _ended(runner, run_id).state is RunState.CANCELLED
    assert tried == []


def test_a_stopping_process_hands_its_run_back_and_the_next_one_finishes_it(
    start: Start, store: RunStore
) -> None:
    started = threading.Event()

    def endless(context: RunContext) -> Outcome:
        started.set()
        while True:
            context.check()
            threading.Event().wait(0.01)

    first = start(endless)
    run_id = first.enqueue({})
    assert started.wait(PATIENCE)
    first.stop(0)
    run = store.get(run_id)
    assert run is not None
    assert (run.state, run.attempt) == (RunState.QUEUED, 0)
    assert _ended(start(lambda _: Outcome()), run_id).state is RunState.DONE


def test_a_stopping_process_finishes_what_it_can(start: Start, store: RunStore) -> None:
    started, go = threading.Event(), threading.Event()

    def handler(context: RunContext) -> Outcome:
        started.set()
        go.wait(PATIENCE)
        context.check()
        return Outcome()

    runner = start(handler)
    run_id = runner.enqueue({})
    assert started.wait(PATIENCE)
    threading.Timer(0.1, go.set).start()
    runner.stop(PATIENCE)
    run = store.get(run_id)
    assert run is not None
    assert run.state is RunState.DONE


def test_the_heartbeat_keeps_a_long_run(store: RunStore, start: Start) -> None:
    """Work lasting several leases is not taken over by the second process looking for it."""
    taken = []

    def slow(context: RunContext) -> Outcome:
        taken.append(context.attempt)
        for _ in range(30):
            context.check()
            threading.Event().wait(0.1)
        return Outcome()

    first = start(slow, lease_seconds=1)
    run_id = first.enqueue({})
    start(slow, lease_seconds=1)
    assert _ended(first, run_id).state is RunState.DONE
    assert taken == [1]


def test_a_worker_that_lost_its_lease_is_told_and_records_nothing(
    start: Start, store: RunStore, database: Database
) -> None:
    started, told = threading.Event(), threading.Event()

    def handler(context: RunContext) -> Outcome:
        started.set()
        try:
            while True:
                context.progress("pull")
                threading.Event().wait(0.01)
        except RunStopped:
            told.set()
            raise

    runner = start(handler)
    run_id = runner.enqueue({})
    assert started.wait(PATIENCE)
    with database.write() as session:
        row = session.get(RunRow, run_id)
        assert row is not None
        row.owner = "another"
    assert told.wait(PATIENCE)
    run = store.get(run_id)
    assert run is not None
    assert run.state is RunState.RUNNING


def test_an_idle_worker_gets_a_run_as_it_is_written_down(start: Start, store: RunStore) -> None:
    """Also where it looks at the queue once a minute."""
    runner = start(lambda _: Outcome(), poll_seconds=60)
    for _ in range(20):
        assert _ended(runner, runner.enqueue({})).state is RunState.DONE


def test_who_waits_is_handed_the_run_as_it_was_recorded(start: Start, store: RunStore) -> None:
    runner = start(lambda _: Outcome("tw", 1, {"written": 2}), poll_seconds=60)
    ended = [_ended(runner, runner.enqueue({})) for _ in range(20)]
    assert ended == [store.get(run.id) for run in ended]
    assert runner._awaited == {}


def test_what_was_large_is_let_go_of_after_the_caller_was_told(start: Start) -> None:
    events: list[str] = []

    class Large:
        def __del__(self) -> None:
            events.append("gone")

    runner = start(lambda _: Outcome(held=Large()), poll_seconds=60)
    told = runner._tell_done
    runner._tell_done = lambda: (events.append("told"), told())  # type: ignore[method-assign,assignment]
    _ended(runner, runner.enqueue({}))
    runner.stop()
    assert events[:2] == ["told", "gone"]


def test_a_worker_has_time_while_it_waits(start: Start) -> None:
    begun, go = threading.Event(), threading.Event()

    def handler(_: RunContext) -> Outcome:
        begun.set()
        go.wait(PATIENCE)
        return Outcome()

    runner = start(handler, poll_seconds=60)
    assert _until(lambda: runner.has_time)
    run_id = runner.enqueue({})
    assert begun.wait(PATIENCE)
    assert not runner.has_time
    go.set()
    assert _ended(runner, run_id).state is RunState.DONE
    assert _until(lambda: runner.has_time)


def test_what_waits_comes_first(start: Start, store: RunStore) -> None:
    """A worker with nothing to do does not pass over a run that waited before it looked."""
    carried: list[str] = []

    def handler(context: RunContext) -> Outcome:
        carried.append(context.run_id)
        return Outcome()

    runner = start(handler, poll_seconds=60)
    threading.Event().wait(0.2)  # it has looked, and waits
    early = "run-that-came-by-another-way"
    store.enqueue(AesSealer().seal(b"{}", b"run:" + early.encode()), kind="run", run_id=early)
    late = runner.enqueue({})
    assert _ended(runner, late).state is RunState.DONE
    assert carried == [early, late]


def test_a_run_within_a_larger_transaction_is_begun_after_it(
    start: Start, store: RunStore, database: Database
) -> None:
    runner = start(lambda _: Outcome(), poll_seconds=0.02)
    with database.write():
        run_id = runner.enqueue({})
        run = store.get(run_id)
        assert run is not None
        assert run.state is RunState.QUEUED
    assert _ended(runner, run_id).state is RunState.DONE


def test_what_is_written_beside_a_run_is_written_with_it_or_not_at_all(
    start: Start, store: RunStore
) -> None:
    def beside(_: str) -> None:
        raise OSError

    runner = start(lambda _: Outcome())
    with pytest.raises(OSError):
        runner.enqueue({}, beside=beside)
    assert store.recent() == []
    assert _ended(runner, runner.enqueue({})).state is RunState.DONE


def test_an_unknown_kind_is_refused_before_anything_is_written(
    start: Start, store: RunStore
) -> None:
    runner = start(lambda _: Outcome())
    with pytest.raises(ValueError, match="no handler"):
        runner.enqueue({}, kind="other")
    assert store.recent() == []


def test_a_run_whose_process_was_killed_is_finished_once_by_the_next(
    store: RunStore, database_url: str, tmp_path: Path
) -> None:
    """kill -9 in the middle of a run; a second process carries it out; one completion."""
    log = tmp_path / "log"
    log.touch()
    run_id = "run-that-is-killed"
    sealed = AesSealer().seal(b"{}", b"run:" + run_id.encode())
    store.enqueue(sealed, kind="run", run_id=run_id)
    with _worker(database_url, log, "hang") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"started 1\n"
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait(PATIENCE) == -signal.SIGKILL
    run = store.get(run_id)
    assert run is not None
    assert run.state is RunState.RUNNING
    with _worker(database_url, log, "finish") as second:
        assert second.stdout is not None
        assert second.stdout.readline() == b"started 2\n"
        assert second.wait(PATIENCE) == 0
    run = store.get(run_id)
    assert run is not None
    assert (run.state, run.attempt, run.counts) == (RunState.DONE, 2, {"written": 1})
    assert log.read_text() == "finished 2\n"


@contextmanager
def _worker(url: str, log: Path, behaviour: str) -> "Iterator[subprocess.Popen[bytes]]":
    script = Path(__file__).parents[1] / "support" / "job_worker.py"
    command = [sys.executable, str(script), url, str(log), behaviour]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
