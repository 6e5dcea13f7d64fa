"""The outbox: an item is held by one sender, and ends once."""

import pytest
from support.databases import Clock
from support.threads import at_once

from service.fhir.outbox import Note, OutboxState, OutboxStore
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.outbox import SqlOutboxStore


@pytest.fixture
def outbox(database: Database, clock: Clock) -> OutboxStore:
    return SqlOutboxStore(database, clock)


def test_an_item_is_kept_once(outbox: OutboxStore) -> None:
    assert outbox.enqueue("k", b"sealed")
    assert not outbox.enqueue("k", b"other")
    item = outbox.get("k")
    assert item is not None
    assert (item.state, item.payload, item.attempt) == (OutboxState.PENDING, b"sealed", 0)
    assert outbox.get("unknown") is None


def test_of_eight_that_enqueue_the_same_one_succeeds(outbox: OutboxStore) -> None:
    assert sum(at_once(8, lambda i: outbox.enqueue("k", bytes([i])))) == 1


def test_of_eight_claimants_one_gets_the_item(outbox: OutboxStore) -> None:
    outbox.enqueue("k", b"sealed")
    claimed = [item for part in at_once(8, lambda _: outbox.claim()) for item in part]
    assert [(i.state, i.attempt) for i in claimed] == [(OutboxState.SENDING, 1)]


def test_the_oldest_comes_first_and_a_named_one_alone(outbox: OutboxStore, clock: Clock) -> None:
    for key in ("a", "b", "c"):
        outbox.enqueue(key, b"x")
        clock.forward(seconds=1)
    assert [i.key for i in outbox.claim(key="b")] == ["b"]
    assert [i.key for i in outbox.claim(limit=5)] == ["a", "c"]
    assert outbox.claim(limit=5) == []


def test_an_abandoned_item_is_claimed_again_and_the_first_sender_is_shut_out(
    outbox: OutboxStore, clock: Clock
) -> None:
    outbox.enqueue("k", b"x")
    (first,) = outbox.claim(lease_seconds=60)
    assert outbox.mark("k", first.attempt, OutboxState.SENT, result=b"sealed-ref")
    assert outbox.claim() == []
    clock.forward(seconds=61)
    (second,) = outbox.claim()
    assert (second.attempt, second.result) == (2, b"sealed-ref")
    assert not outbox.mark("k", first.attempt, OutboxState.CONFIRMED)
    assert outbox.mark("k", second.attempt, OutboxState.CONFIRMED)


@pytest.mark.parametrize(
    "final", [OutboxState.CONFIRMED, OutboxState.FAILED, OutboxState.SUPERSEDED]
)
def test_what_has_ended_stays_ended(outbox: OutboxStore, clock: Clock, final: OutboxState) -> None:
    outbox.enqueue("k", b"x")
    (item,) = outbox.claim()
    assert outbox.mark("k", item.attempt, final, detail="gone")
    clock.forward(days=1)
    assert outbox.claim() == []
    assert not outbox.mark("k", item.attempt, OutboxState.PENDING)


def test_the_audit_says_it_once_and_of_whom_moved_it(
    outbox: OutboxStore, database: Database
) -> None:
    (item,) = outbox.take("k", b"x")
    assert outbox.take("k", b"x") == []
    note = Note("twin", "prevent:observation:not-supported")
    assert outbox.mark("k", item.attempt, OutboxState.CONFIRMED, note=note)
    assert not outbox.mark("k", item.attempt, OutboxState.CONFIRMED, note=note)
    (event,) = AuditStore(database).about("twin", 10)
    assert (event.action, event.outcome) == ("write-back", note.outcome)


def test_a_released_item_may_be_claimed_at_once(outbox: OutboxStore) -> None:
    outbox.enqueue("k", b"x")
    (item,) = outbox.claim()
    assert outbox.mark("k", item.attempt, OutboxState.PENDING, detail="server-busy")
    (again,) = outbox.claim()
    assert (again.attempt, again.detail) == (2, "server-busy")


def test_what_failed_may_be_tried_again_on_request(outbox: OutboxStore) -> None:
    """Failed means that nothing was written: a later run may send it, with what it has now."""
    outbox.enqueue("k", b"first")
    (item,) = outbox.claim()
    outbox.mark("k", item.attempt, OutboxState.FAILED, detail="forbidden")
    assert outbox.enqueue("k", b"second")
    (again,) = outbox.claim()
    assert (again.payload, again.attempt, again.detail) == (b"second", 2, "")


def test_a_sender_that_lives_keeps_its_item(database: Database, clock: Clock) -> None:
    outbox = SqlOutboxStore(database, clock)
    outbox.enqueue("k", b"x")
    (item,) = outbox.claim(lease_seconds=60)
    clock.forward(seconds=50)
    assert outbox.renew("k", item.attempt, lease_seconds=60)
    clock.forward(seconds=50)
    assert outbox.claim() == []
    clock.forward(seconds=11)
    assert len(outbox.claim()) == 1
    assert not outbox.renew("k", item.attempt, lease_seconds=60)


def test_with_an_item_its_notices_are_forgotten_and_nobody_elses(database: Database) -> None:
    outbox = SqlOutboxStore(database)
    mine = ("k", "k.observation", "k.stale-1.flag", "k.observation.void-2.document")
    others = ("k2", "k2.stale-1.flag", "other")
    for key in (*mine, *others):
        outbox.enqueue(key, b"x")
    assert outbox.forget(["k", "k.observation", "k.document"]) == len(mine)
    assert [key for key in others if outbox.get(key)] == list(others)
