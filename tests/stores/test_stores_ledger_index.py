"""The tables beside the ledger say what its lines say, and pages find things by their indexes."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from support.databases import Clock

from privacy import ledger
from privacy.signing import SigningKey
from service.stores import Database
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import EntryFilter, LedgerIndex, SumRow, is_at
from service.stores.tables import LedgerRow

SIGNER = SigningKey.generate()
ONE, OTHER = "A" * 22, "B" * 21 + "A"
POLICY = {"id": "safe-harbor", "version": 1, "digest": "sha256:1"}


def count(kind: str, path: str, action: str, n: int) -> dict:
    return {"type": kind, "path": path, "action": action, "n": n}


def made(twin: str, *counts: dict, **more: object) -> dict:
    gate = {"passed": True, "searched": 3, "hits": []}
    return {"event": "twin-made", "twin": twin, "policy": POLICY, "counts": list(counts),
            "refusals": [], "gate": gate, **more}  # fmt: skip


NAME = count("Patient", "name", "drop", 2)
BIRTH = count("Patient", "birthDate", "birth", 1)
CODE = count("Observation", "code.coding", "known-code", 5)
DISPLAY = count("Observation", "code.coding.display", "drop", 5)
BLOCKED = {
    "event": "twin-blocked",
    "twin": OTHER,
    "policy": POLICY,
    "gate": {"passed": False, "searched": 3, "hits": [{"path": "signals", "rule": "name"}]},
}
ERASED = {"event": "erased", "twin": ONE, "twins": [ONE, OTHER], "results": 0}


@pytest.fixture
def chain(database: Database, clock: Clock) -> SqlLedgerStore:
    store = SqlLedgerStore(database, clock)
    for entry in (made(ONE, NAME, BIRTH), made(OTHER, NAME, CODE, DISPLAY), BLOCKED, ERASED):
        ledger.append(store, SIGNER, entry)
        clock.forward(days=1)
    return store


@pytest.fixture
def index(database: Database, chain: SqlLedgerStore) -> LedgerIndex:
    return LedgerIndex(database)


def numbers(index: LedgerIndex, where: EntryFilter) -> list[int]:
    found, total = index.entries(where, limit=10)
    assert total == len(found)
    return [entry.seq for entry in found]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (EntryFilter(), [4, 3, 2, 1]),
        (EntryFilter(event="twin-made"), [2, 1]),
        (EntryFilter(passed=False), [3]),
        (EntryFilter(policy="safe-harbor"), [3, 2, 1]),
        (EntryFilter(policy="date-shift"), []),
        (EntryFilter(twin=ONE), [4, 1]),
        (EntryFilter(twin="BBB"), [4, 3, 2]),
        (EntryFilter(twin=ONE, event="erased"), [4]),
    ],
)
def test_entries_are_found_by(index: LedgerIndex, where: EntryFilter, expected: list[int]) -> None:
    assert numbers(index, where) == expected


def test_a_page_says_how_many_there_are(index: LedgerIndex) -> None:
    found, total = index.entries(EntryFilter(), limit=2, offset=1)
    assert ([entry.seq for entry in found], total) == ([3, 2], 4)


def test_a_certificate_is_found_from_every_twin_it_names(index: LedgerIndex) -> None:
    assert index.about(ONE) == [1, 4]
    assert index.about(OTHER) == [2, 3, 4]


def test_an_entry_is_summed_up(index: LedgerIndex) -> None:
    (first,) = (e for e in index.entries(EntryFilter(), limit=9)[0] if e.seq == 2)
    assert (first.kept, first.changed, first.removed) == (5, 0, 7)


def test_places_add_up_over_the_ledger(index: LedgerIndex) -> None:
    found = {(p.path, p.amount.value): (p.entries, p.leaves) for p in index.places("Patient")}
    assert found == {("name", "removed"): (2, 4), ("birthDate", "changed"): (1, 1)}


def test_a_path_is_found_with_what_lies_below_it(index: LedgerIndex) -> None:
    below = [place.path for place in index.places("Observation", "code")]
    assert sorted(below) == ["code.coding", "code.coding.display"]
    assert index.places("Observation", "co") == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("code.coding", True),
        ("code.coding.display", True),
        ("code._coding", True),
        ("code", False),
        ("code.codings", False),
        ("_code", False),
    ],
)
def test_what_stands_at_a_place(path: str, expected: bool) -> None:
    assert is_at(path, "code.coding") is expected


def test_a_place_knows_where_it_was_last(index: LedgerIndex) -> None:
    (name,) = index.places("Patient", "name")
    assert (name.entries, name.leaves, name.last) == (2, 4, 2)


def test_a_period_has_its_first_moment_and_not_its_last(index: LedgerIndex, clock: Clock) -> None:
    start = clock.now - timedelta(days=4)
    assert list(index.numbers(start, start + timedelta(days=1))) == [[1]]
    assert list(index.numbers(start + timedelta(days=1), clock.now)) == [[2, 3, 4]]
    assert list(index.numbers(clock.now, clock.now + timedelta(days=1))) == []
    assert index.undated() == 0


# -- against the ledger ----------------------------------------------------------------------------


def differences(index: LedgerIndex, chain: SqlLedgerStore) -> list[str]:
    wrong: list[str] = []
    assert len(list(index.checked(ledger.export(chain, SIGNER), wrong))) == 5
    return wrong


def test_the_tables_agree_with_the_ledger(index: LedgerIndex, chain: SqlLedgerStore) -> None:
    assert differences(index, chain) == []


def test_a_changed_count_is_noticed_and_mended_from_the_ledger(
    database: Database, index: LedgerIndex, chain: SqlLedgerStore
) -> None:
    with database.write() as session:
        session.execute(update(SumRow).where(SumRow.type == "Patient").values(content=b"{}"))
    assert differences(index, chain) == ["counts"]
    assert index.rebuild() == 4
    assert differences(index, chain) == []


def test_a_missing_entry_is_noticed(database: Database, index: LedgerIndex) -> None:
    chain = SqlLedgerStore(database)
    with database.write() as session:
        session.execute(delete(LedgerRow).where(LedgerRow.seq == 4))
    wrong: list[str] = []
    list(index.checked(chain.lines(), wrong))
    assert wrong == ["entries"]


def test_an_older_ledger_is_sorted_in_and_times_survive(
    database: Database, index: LedgerIndex, clock: Clock
) -> None:
    before = index.entries(EntryFilter(), limit=9)
    period = (clock.now - timedelta(days=9), clock.now)
    assert (index.rebuild(), index.catch_up()) == (4, 0)
    assert index.entries(EntryFilter(), limit=9) == before
    assert list(index.numbers(*period)) == [[1, 2, 3, 4]]
