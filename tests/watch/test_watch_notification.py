"""What servers send, as it is read: in whatever order, twice, late, or never."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.stores.watches import Hook, HookState
from service.watch.notification import Kind, Notification, UnreadableError, read_body
from service.watch.numbering import Heard, close, hear

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PATIENCE = timedelta(seconds=30)
LOOK, WHOLE, NOTHING = Heard(True), Heard(True, True), Heard()


def hook(last: int = 0) -> Hook:
    return Hook("h", "w", "ehr", "*", "backport", HookState.ACTIVE, "", last, [], None, 0, None,
                None, NOW, 0, b"", None)  # fmt: skip


def event(*numbers: int, deleted: bool = False) -> Notification:
    total = max(numbers)
    return Notification(Kind.EVENT, "active", total, tuple(numbers), deleted)


def after(*told: Notification, last: int = 0) -> tuple[Hook, list[Heard]]:
    one = hook(last)
    return one, [hear(one, item, NOW, PATIENCE) for item in told]


def bundle(kind: str, *numbers: str, total: str = "0", method: str = "POST") -> bytes:
    events = [{"name": "notification-event", "part": [{"name": "event-number", "valueString": n}]}
              for n in numbers]  # fmt: skip
    head = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "status", "valueCode": "active"},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": total},
            *events,
        ],
    }
    entries: list[Any] = [{"resource": head}, *({"request": {"method": method}} for _ in numbers)]
    return orjson.dumps({"resourceType": "Bundle", "type": "history", "entry": entries})


# -- reading -----------------------------------------------------------------------------------

READ = {
    "r4 without payload": (b"", Notification(Kind.SOMETHING)),
    "r4 with payload": (b'{"resourceType":"Observation","id":"1"}', Notification(Kind.SOMETHING)),
    "handshake": (bundle("handshake"), Notification(Kind.HANDSHAKE, "active", 0)),
    "heartbeat": (bundle("heartbeat", total="7"), Notification(Kind.HEARTBEAT, "active", 7)),
    "event": (bundle("event-notification", "3", total="3"), event(3)),
    "several": (bundle("event-notification", "5", "6", "7", total="7"), event(5, 6, 7)),
    "deleted": (bundle("event-notification", "3", total="3", method="DELETE"),
                event(3, deleted=True)),
    "empty content": (bundle("event-notification", total="4"), event(4)),
    "a younger kind": (bundle("tea-time"), Notification(Kind.OTHER, "active", 0)),
    "odd numbers": (bundle("event-notification", "x", "-1", "1e3", "٣", "2", total="2"), event(2)),
    "r4b": (
        b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"SubscriptionStatus",'
        b'"status":"active","type":"event-notification","eventsSinceSubscriptionStart":"2",'
        b'"notificationEvent":[{"eventNumber":"2"}]}}]}',
        event(2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_every_form_is_read(name: str) -> None:
    body, expected = READ[name]
    assert read_body(body) == expected


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"7", b"{}", b'{"resourceType":"Bundle"}', b'{"resourceType":"Bundle","entry":7}',
     b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"}}]}'],
)  # fmt: skip
def test_what_is_none_of_them_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_body(body)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceType", "entry", "resource", "parameter", "name", "part", "type"]
            ),
            inner | st.sampled_from(["Bundle", "Parameters", "SubscriptionStatus"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json)
def test_anything_is_read_or_refused(value: Any) -> None:
    with suppress(UnreadableError, orjson.JSONEncodeError):
        read_body(orjson.dumps(value))


# -- counting ----------------------------------------------------------------------------------


def test_events_in_order_are_a_look_each() -> None:
    one, heard = after(event(1), event(2), event(3))
    assert (one.last, one.ahead, heard) == (3, [], [LOOK, LOOK, LOOK])


def test_a_duplicate_is_nothing_new() -> None:
    one, heard = after(event(1), event(1), event(2), event(1))
    assert (one.last, heard) == (2, [LOOK, NOTHING, LOOK, NOTHING])


def test_a_missing_one_is_waited_for_and_may_come_late() -> None:
    one, _ = after(event(1), event(2), event(4))
    assert (one.last, one.ahead, one.gap_since) == (2, [4], NOW)
    assert hear(one, event(3), NOW, PATIENCE) == LOOK
    assert (one.last, one.ahead, one.gap_since) == (4, [], None)


def test_several_in_one_bundle() -> None:
    one, heard = after(event(5, 6, 7), last=4)
    assert (one.last, heard) == (7, [LOOK])


def test_a_deletion_needs_everything() -> None:
    _, heard = after(event(1, deleted=True))
    assert heard == [WHOLE]


def test_a_heartbeat_moves_nothing_unless_it_counts_more() -> None:
    one, heard = after(Notification(Kind.HEARTBEAT, "active", 2), last=2)
    assert (one.last, one.seen, heard) == (2, NOW, [NOTHING])
    one, heard = after(Notification(Kind.HEARTBEAT, "active", 5), last=2)
    assert (one.last, heard) == (5, [WHOLE])


def test_a_handshake_begins_anew_and_what_was_missed_is_pulled() -> None:
    one, heard = after(Notification(Kind.HANDSHAKE, "requested", 9), last=4)
    assert (one.state, one.last, heard) == (HookState.ACTIVE, 9, [WHOLE])


def test_a_server_that_gives_up_says_so() -> None:
    one, heard = after(Notification(Kind.HEARTBEAT, "error", 2), last=2)
    assert (one.state, heard) == (HookState.ERROR, [WHOLE])


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8), max_size=3))
def test_in_any_order_each_counts_once_and_a_gap_is_never_overlooked(
    order: list[int], lost: set[int]
) -> None:
    one = hook()
    heard = [hear(one, event(n), NOW, PATIENCE) for n in order if n not in lost]
    heard += [hear(one, event(n), NOW, PATIENCE) for n in order if n not in lost]
    assert sum(item.look for item in heard) == 8 - len(lost)
    came = [n for n in range(1, 9) if n not in lost]
    first_missing = min(lost, default=9)
    assert one.last == first_missing - 1
    assert one.ahead == [n for n in came if n > first_missing]
    assert (one.gap_since is not None) == bool(one.ahead)
    close(one, max([one.last, *one.ahead]))
    assert hear(one, event(9), NOW, PATIENCE).look
