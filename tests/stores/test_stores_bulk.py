"""Exports under way: one for each population, ended once, and then without anything sealed."""

from datetime import UTC, datetime, timedelta

import pytest

from service.stores import Database
from service.stores.bulk import BulkJob, BulkState, BulkStore
from service.stores.errors import ConflictError

SEALED = b"sealed"


@pytest.fixture
def store(database: Database) -> BulkStore:
    moments = (datetime(2026, 6, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(100))
    return BulkStore(database, lambda: next(moments))


def begun(store: BulkStore, lane: str = "lane") -> BulkJob:
    return store.create(
        lane=lane, server="main", level="group", changes=False, seal=lambda _: SEALED
    )


def test_one_population_is_exported_once_at_a_time(store: BulkStore) -> None:
    first = begun(store)
    with pytest.raises(ConflictError):
        begun(store)
    other = begun(store, "another")
    assert {job.id for job in store.unfinished()} == {first.id, other.id}
    assert [job.id for job in store.unfinished(lane="lane")] == [first.id]
    assert store.end(first.id, BulkState.DONE)
    assert begun(store).id != first.id


def test_what_ended_is_not_changed_any_more_and_keeps_no_secret(store: BulkStore) -> None:
    job = begun(store)
    assert job.sealed == SEALED
    assert store.update(job.id, state=BulkState.LOADING, counts={"files": 3})
    assert store.end(job.id, BulkState.CANCELLED)
    assert not store.update(job.id, state=BulkState.MAKING)
    assert not store.end(job.id, BulkState.DONE, complete=True)
    ended = store.get(job.id)
    assert ended is not None
    assert (ended.state, ended.sealed, ended.complete) == (BulkState.CANCELLED, None, False)
    assert ended.counts == {"files": 3}


def test_the_next_one_begins_where_the_last_complete_one_ended(store: BulkStore) -> None:
    times = [datetime(2026, 5, day, tzinfo=UTC) for day in (1, 2, 3)]
    for time, complete in zip(times, (True, True, False), strict=True):
        job = begun(store)
        store.update(job.id, transaction_time=time)
        store.end(job.id, BulkState.DONE, complete=complete)
    assert store.last_time("lane") == times[1]
    assert store.last_time("another") is None
    assert [job.transaction_time for job in store.recent(1)] == [times[2]]


def test_errors_are_words(store: BulkStore) -> None:
    with pytest.raises(ValueError, match="codes"):
        store.end(begun(store).id, BulkState.FAILED, error="Jane Roe was not found")
