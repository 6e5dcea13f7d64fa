"""What runs learned of a server is kept for a while, and as long as the server says the same."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from service.fhir.capability import parse_capability
from service.stores import Database
from service.stores.lessons import GOOD_FOR, LessonStore

BASE, STATED = "https://ehr.example.org/fhir", "d" * 64
NOW = datetime(2026, 6, 2, 8, tzinfo=UTC)


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def test_lessons_hold_for_a_week_and_for_one_statement(database: Database) -> None:
    clock = Clock()
    store = LessonStore(database, clock)
    assert store.of(BASE, STATED) == set()
    store.keep(BASE, STATED, {"post"})
    clock.now += timedelta(days=1)
    store.keep(BASE, STATED, {"post", "count:100"})
    assert store.of(BASE, STATED) == {"post", "count:100"}
    assert store.of(BASE, "e" * 64) == set()
    assert store.of("https://other.example.org/fhir", STATED) == set()
    clock.now = NOW + GOOD_FOR + timedelta(seconds=1)  # of the first, whatever was added since
    assert store.of(BASE, STATED) == set()
    store.keep(BASE, STATED, {"post"})
    assert [(one.words, one.learned) for one in store.known()] == [(("post",), clock.now)]


def test_two_runs_at_once_keep_what_both_have_learned(database: Database) -> None:
    """Whichever was first on a new server; and what one has unlearned, the other does not undo."""
    store = LessonStore(database)
    start = threading.Barrier(8)

    def learn(number: int) -> None:
        start.wait()
        store.keep(BASE, STATED, {f"count:{number}"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(learn, range(8)))
    both = {f"count:{number}" for number in range(8)}
    assert store.of(BASE, STATED) == both
    store.keep(BASE, STATED, {"post"}, known={"count:3"})
    assert store.of(BASE, STATED) == both - {"count:3"} | {"post"}


def test_lessons_can_be_forgotten(database: Database) -> None:
    store = LessonStore(database)
    store.keep(BASE, STATED, {"post"})
    assert (store.forget(BASE), store.forget(BASE)) == (True, False)
    assert store.known() == []


def test_the_digest_changes_with_what_is_stated_and_not_with_the_hour() -> None:
    def digest(*params: str, version: str = "7.2", **more: object) -> str:
        listed = [{"name": name, "type": "token"} for name in params]
        kind = {"type": "Observation", "searchParam": listed, "extension": [more]}
        statement = {
            "resourceType": "CapabilityStatement",
            "software": {"name": "HAPI", "version": version},
            "rest": [{"mode": "server", "resource": [kind]}],
            **more,
        }
        return parse_capability(statement).digest

    assert digest("code", date="2026-06-02") == digest("code", date="2026-06-03", count=12)
    assert digest("code") != digest("code", "category")
    assert digest("code") != digest("code", version="7.4")
