"""Transactions: all of it or none, also across repositories."""

from contextlib import suppress

import pytest
from sqlalchemy import text
from support.databases import Clock

from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.database import Disk
from service.stores.errors import ConflictError, HalfDoneError
from service.stores.runs import RunStore
from service.stores.vault import SqlVaultStore


def test_changes_of_several_repositories_are_one(database: Database, clock: Clock) -> None:
    runs, audit = RunStore(database, clock), AuditStore(database, clock)

    def change_both_then_fail() -> None:
        with database.write():
            run_id = runs.enqueue(b"x", kind="run")
            audit.record(role="ehr", subject="key.1", action="run.start", outcome="ok")
            assert runs.get(run_id) is not None  # visible inside
            audit.record(role="no code", subject="key.1", action="run.start", outcome="ok")

    with pytest.raises(ValueError, match="role"):
        change_both_then_fail()
    assert runs.recent() == []
    assert audit.recent() == []


def test_a_conflict_that_is_caught_undoes_its_own_part_only(
    database: Database, clock: Clock
) -> None:
    vault, audit = SqlVaultStore(database), AuditStore(database, clock)
    vault.save("i", b"first", 0)
    with database.write():
        audit.record(role="ehr", subject="key.1", action="run.start", outcome="ok")
        with pytest.raises(ConflictError):
            vault.save("i", b"second", 0)
        audit.record(role="ehr", subject="key.1", action="run.end", outcome="conflict")
    assert len(audit.recent()) == 2
    assert vault.load("i") == (b"first", 1)


def test_of_a_transaction_whose_part_failed_nothing_is_kept(
    database: Database, clock: Clock
) -> None:
    """Also where whoever began it went on: it can't know how far the part had come."""
    audit = AuditStore(database, clock)

    def half_of_it() -> None:
        with database.write():
            audit.record(role="ehr", subject="key.1", action="run.start", outcome="ok")
            raise OSError

    def go_on() -> None:
        with database.write():
            with pytest.raises(OSError):
                half_of_it()
            audit.record(role="ehr", subject="key.1", action="run.end", outcome="ok")

    with pytest.raises(HalfDoneError):
        go_on()
    assert audit.recent() == []


def test_each_transaction_says_for_itself_when_it_is_on_the_disk(database: Database) -> None:
    asked = "SHOW synchronous_commit" if database.is_postgresql else "PRAGMA synchronous"
    waited_for = "on" if database.is_postgresql else 2

    def waits(disk: Disk) -> bool:
        with database.write(disk) as session:
            return bool(session.scalar(text(asked)) == waited_for)

    asked_in_turn = [Disk.AT_ONCE, Disk.WITH_NEXT, Disk.AT_ONCE]
    assert [waits(disk) for disk in asked_in_turn] == [True, False, True]
    with database.write(Disk.WITH_NEXT):
        assert not waits(Disk.AT_ONCE)  # who joins has no say


def test_one_that_fails_leaves_nothing_to_the_next(database: Database) -> None:
    asked = "SHOW synchronous_commit" if database.is_postgresql else "PRAGMA synchronous"
    with suppress(OSError), database.write(Disk.WITH_NEXT):
        raise OSError
    with database.write() as session:
        assert session.scalar(text(asked)) in ("on", 2)


def test_audit_events_are_kept_in_order(database: Database, clock: Clock) -> None:
    audit = AuditStore(database, clock)
    for twin in ("a", "b", "a"):
        audit.record(role="patient", subject="s.1", action="twin.read", outcome="ok", object=twin)
    assert [event.object for event in audit.recent()] == ["a", "b", "a"]
    assert [event.seq for event in audit.about("a")] == [3, 1]
    assert [event.seq for event in audit.recent(before=2)] == [1]
    assert audit.recent()[0].time == clock.now


@pytest.mark.parametrize("field", ["role", "subject", "action", "outcome", "object"])
@pytest.mark.parametrize("text", ["Erika Mustermann", "", "a@b.org", "x" * 65])
def test_free_text_cannot_enter_an_audit_event(
    database: Database, clock: Clock, field: str, text: str
) -> None:
    event = {"role": "ehr", "subject": "s", "action": "a", "outcome": "ok", "object": "p"}
    with pytest.raises(ValueError, match=field):
        AuditStore(database, clock).record(**{**event, field: text})
