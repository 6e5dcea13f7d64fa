"""The queue of runs: never lost, never doubled."""

from functools import partial

import pytest
from support.databases import Clock
from support.threads import at_once

from service.stores import Database
from service.stores.errors import ConflictError, NotFoundError
from service.stores.runs import ClaimedRun, RunState, RunStore
from service.stores.vault import SqlVaultStore


@pytest.fixture
def runs(database: Database, clock: Clock) -> RunStore:
    return RunStore(database, clock)


def _claimed(runs: RunStore) -> ClaimedRun:
    claimed = runs.claim(lease_seconds=60)
    assert claimed is not None
    return claimed


def _state(runs: RunStore, run_id: str) -> RunState:
    run = runs.get(run_id)
    assert run is not None
    return run.state


def test_a_run_goes_from_queued_to_done(runs: RunStore) -> None:
    run_id = runs.enqueue(b"sealed", kind="run", server="ehr", requested_by="key.1")
    claimed = _claimed(runs)
    assert (claimed.run.id, claimed.sealed_request) == (run_id, b"sealed")
    assert runs.progress(run_id, claimed.owner, "pull", {"pages": 3})
    assert runs.complete(run_id, claimed.owner, twin="tw", twin_version=1, counts={"written": 2})
    run = runs.get(run_id)
    assert run is not None
    assert (run.state, run.twin, run.counts, run.ended) == (
        RunState.DONE,
        "tw",
        {"written": 2},
        True,
    )


@pytest.mark.parametrize("is_mine", [True, False])
def test_what_belongs_to_an_end_is_written_with_it(
    runs: RunStore, database: Database, is_mine: bool
) -> None:
    """Also where somebody else has the run by now: it is true all the same."""
    vault = SqlVaultStore(database)
    run_id = runs.enqueue(b"x", kind="run")
    owner = _claimed(runs).owner if is_mine else "another"
    ended = {"twin": "tw", "twin_version": 1, "counts": {}}
    beside = partial(vault.save, "i", b"first", 0)
    assert (runs.complete(run_id, owner, **ended, beside=beside) is not None) is is_mine
    assert vault.load("i") == (b"first", 1)


def test_a_run_does_not_end_without_what_belongs_to_it(runs: RunStore, database: Database) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    owner = _claimed(runs).owner
    beside = partial(SqlVaultStore(database).save, "i", b"second", 7)  # another one than was read
    with pytest.raises(ConflictError):
        runs.complete(run_id, owner, twin=None, twin_version=None, counts={}, beside=beside)
    assert _state(runs, run_id) is RunState.RUNNING


def test_runs_are_taken_in_the_order_they_came(runs: RunStore, clock: Clock) -> None:
    ids = []
    for _ in range(3):
        ids.append(runs.enqueue(b"x", kind="run"))
        clock.forward(seconds=1)
    assert [_claimed(runs).run.id for _ in ids] == ids
    assert runs.claim(lease_seconds=60) is None


def test_eight_workers_take_twenty_runs_once_each(runs: RunStore) -> None:
    ids = {runs.enqueue(b"x", kind="run") for _ in range(20)}

    def take_all(_: int) -> list[str]:
        taken = []
        while claimed := runs.claim(lease_seconds=60):
            taken.append(claimed.run.id)
        return taken

    taken = [run_id for part in at_once(8, take_all) for run_id in part]
    assert sorted(taken) == sorted(ids)


def test_of_eight_completions_one_counts(runs: RunStore) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    owner = _claimed(runs).owner
    ended = at_once(
        8, lambda _: runs.complete(run_id, owner, twin=None, twin_version=None, counts={})
    )
    assert [run for run in ended if run is not None] == [runs.get(run_id)]


def test_a_silent_worker_loses_its_run_and_can_record_nothing(runs: RunStore, clock: Clock) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    first = _claimed(runs)
    clock.forward(seconds=61)
    assert runs.recover(attempts=3) == 1
    second = _claimed(runs)
    assert second.run.attempt == 2
    assert not runs.renew(run_id, first.owner, lease_seconds=60)
    assert not runs.progress(run_id, first.owner, "pull", {})
    assert not runs.complete(run_id, first.owner, twin=None, twin_version=None, counts={})
    assert not runs.fail(run_id, first.owner, "server-refused")
    assert runs.complete(run_id, second.owner, twin=None, twin_version=None, counts={})


def test_a_living_worker_keeps_its_run(runs: RunStore, clock: Clock) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    claimed = _claimed(runs)
    clock.forward(seconds=50)
    assert runs.renew(run_id, claimed.owner, lease_seconds=60)
    clock.forward(seconds=50)
    assert runs.recover(attempts=3) == 0


def test_after_the_last_try_the_reason_is_recorded(runs: RunStore, clock: Clock) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    for _ in range(2):
        _claimed(runs)
        clock.forward(seconds=61)
        runs.recover(attempts=2)
    run = runs.get(run_id)
    assert run is not None
    assert (run.state, run.error, run.attempt) == (RunState.FAILED, "worker-lost", 2)


def test_handing_back_does_not_cost_a_try(runs: RunStore) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    for _ in range(5):
        assert runs.hand_back(run_id, _claimed(runs).owner)
    assert _claimed(runs).run.attempt == 1


def test_a_waiting_run_is_cancelled_at_once_a_running_one_is_asked(
    runs: RunStore, clock: Clock
) -> None:
    waiting = runs.enqueue(b"x", kind="run")
    assert runs.cancel(waiting) is RunState.CANCELLED
    running = runs.enqueue(b"x", kind="run")
    claimed = _claimed(runs)
    assert runs.cancel(running) is RunState.RUNNING
    assert runs.is_cancelled(running)
    assert runs.end_cancelled(running, claimed.owner)
    assert _state(runs, running) is RunState.CANCELLED


def test_a_run_cancelled_while_its_worker_died_is_not_started_again(
    runs: RunStore, clock: Clock
) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    _claimed(runs)
    runs.cancel(run_id)
    clock.forward(seconds=61)
    runs.recover(attempts=3)
    assert _state(runs, run_id) is RunState.CANCELLED


def test_an_ended_run_cannot_be_cancelled_and_an_unknown_one_is_not_found(runs: RunStore) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    runs.complete(run_id, _claimed(runs).owner, twin=None, twin_version=None, counts={})
    assert runs.cancel(run_id) is RunState.DONE
    with pytest.raises(NotFoundError):
        runs.cancel("unknown")


def test_the_sealed_request_is_destroyed_when_the_run_ends(
    runs: RunStore, database: Database
) -> None:
    from service.stores.tables import RunRow

    run_id = runs.enqueue(b"sealed", kind="run")
    runs.fail(run_id, _claimed(runs).owner, "server-refused")
    with database.read() as session:
        row = session.get(RunRow, run_id)
        assert row is not None
        assert row.sealed_request is None


@pytest.mark.parametrize("text", ["Erika Mustermann", "", "a" * 65, "Patient/1", "x\n"])
def test_only_codes_and_numbers_can_be_recorded(runs: RunStore, text: str) -> None:
    run_id = runs.enqueue(b"x", kind="run")
    owner = _claimed(runs).owner
    with pytest.raises(ValueError, match="codes"):
        runs.fail(run_id, owner, text)
    with pytest.raises(ValueError, match="codes"):
        runs.progress(run_id, owner, "pull", {text: 1})
    with pytest.raises(ValueError, match="codes"):
        runs.enqueue(b"x", kind=text)


def test_recent_runs_and_their_numbers(runs: RunStore, clock: Clock) -> None:
    first = runs.enqueue(b"x", kind="run", requested_by="key.1")
    clock.forward(seconds=1)
    second = runs.enqueue(b"x", kind="run", requested_by="key.2")
    assert [run.id for run in runs.recent()] == [second, first]
    assert [run.id for run in runs.recent(requested_by="key.1")] == [first]
    assert runs.counts_by_state() == {"queued": 2}


def test_work_done_elsewhere_is_noted_as_done(runs: RunStore, clock: Clock) -> None:
    run_id = runs.note(
        kind="run", server="ehr", twin="tw", twin_version=2, counts={"kept": 3}, started=clock.now
    )
    run = runs.get(run_id)
    assert run is not None
    assert (run.state, run.twin, run.twin_version) == (RunState.DONE, "tw", 2)
    assert runs.claim(lease_seconds=60) is None
    assert [run.id for run in runs.of_twin("tw")] == [run_id]
