"""Audit events found by who, what, about which twin and when; read through without a page."""

from datetime import timedelta

import pytest
from support.databases import Clock

from service.stores import Database
from service.stores.audit import AuditFilter, AuditStore

TWIN = "A" * 22


@pytest.fixture
def store(database: Database, clock: Clock) -> AuditStore:
    made = AuditStore(database, clock)
    for role, subject, action, twin in (
        ("ehr", "key.1", "run", None),
        ("ehr", "key.1", "twin.read", TWIN),
        ("patient", "patient.1", "twin.own", TWIN),
        ("privacy-officer", "privacy-officer:b", "ledger.read", TWIN),
    ):
        made.record(role=role, subject=subject, action=action, outcome="done", object=twin)
        clock.forward(hours=12)
    return made


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (AuditFilter(), [4, 3, 2, 1]),
        (AuditFilter(object=TWIN), [4, 3, 2]),
        (AuditFilter(action="run"), [1]),
        (AuditFilter(role="ehr", object=TWIN), [2]),
        (AuditFilter(subject="key.1"), [2, 1]),
        (AuditFilter(subject="nobody"), []),
    ],
)
def test_events_are_found_by(store: AuditStore, where: AuditFilter, expected: list[int]) -> None:
    assert [event.seq for event in store.search(where)] == expected
    assert [event.seq for event in store.events(where)] == expected[::-1]
    assert store.count(where) == len(expected)


def test_a_period_has_its_first_moment_and_not_its_last(store: AuditStore, clock: Clock) -> None:
    begin = clock.now - timedelta(hours=48)
    day = AuditFilter(start=begin, end=begin + timedelta(hours=24))
    assert [event.action for event in store.events(day)] == ["run", "twin.read"]
    assert store.counts(day) == {("ehr", "run"): 1, ("ehr", "twin.read"): 1}


def test_pages_follow_each_other(store: AuditStore) -> None:
    assert [e.seq for e in store.search(limit=2)] == [4, 3]
    assert [e.seq for e in store.search(limit=2, before=3)] == [2, 1]
    assert [e.seq for e in store.search(limit=2, offset=3)] == [1]


def test_the_kinds_of_events_there_are(store: AuditStore) -> None:
    assert store.actions() == ["ledger.read", "run", "twin.own", "twin.read"]


def test_more_than_a_batch_is_read_through(database: Database) -> None:
    store = AuditStore(database)
    with database.write():
        for _ in range(1003):
            store.record(role="ehr", subject="key.1", action="run", outcome="done")
    assert [event.seq for event in store.events()] == list(range(1, 1004))
