"""Twins: versions follow one another and are never changed."""

import pytest
from support.databases import Clock
from support.threads import at_once

from service.stores import Database
from service.stores.errors import ConflictError
from service.stores.twins import TwinStore, TwinVersion


@pytest.fixture
def twins(database: Database, clock: Clock) -> TwinStore:
    return TwinStore(database, clock)


def _add(
    twins: TwinStore, version: int = 1, parent: str | None = None, who: str = "p"
) -> TwinVersion:
    return twins.add(
        pseudonym=who,
        version=version,
        parent=parent,
        digest=f"sha256:{who}{version}",
        payload=b'{"bytes": 1.0}',
        proof=b"header..signature",
        policy="safe-harbor",
    )


def test_the_exact_bytes_come_back(twins: TwinStore) -> None:
    about = _add(twins)
    stored = twins.get("p")
    assert stored is not None
    assert (stored.payload, stored.proof, stored.about) == (
        b'{"bytes": 1.0}',
        b"header..signature",
        about,
    )
    assert twins.by_digest("sha256:p1") == stored
    assert twins.get("q") is None
    assert twins.get("p", 2) is None


def test_a_new_version_names_the_newest_as_parent(twins: TwinStore) -> None:
    _add(twins)
    _add(twins, 2, "sha256:p1")
    assert [v.version for v in twins.versions("p")] == [1, 2]
    newest, oldest = twins.get("p"), twins.get("p", 1)
    assert newest is not None
    assert oldest is not None
    assert (newest.about.version, oldest.about.version) == (2, 1)


@pytest.mark.parametrize(
    ("version", "parent"), [(1, None), (2, None), (2, "sha256:other"), (3, "sha256:p1")]
)
def test_anything_else_is_a_conflict(twins: TwinStore, version: int, parent: str | None) -> None:
    _add(twins)
    with pytest.raises(ConflictError):
        _add(twins, version, parent)


def test_of_eight_writers_of_the_same_version_one_succeeds(twins: TwinStore) -> None:
    _add(twins)

    def write(_: int) -> bool:
        try:
            _add(twins, 2, "sha256:p1")
        except ConflictError:
            return False
        return True

    assert sum(at_once(8, write)) == 1


def test_the_list_shows_the_newest_of_each(twins: TwinStore, clock: Clock) -> None:
    _add(twins)
    clock.forward(seconds=1)
    _add(twins, who="q")
    clock.forward(seconds=1)
    _add(twins, 2, "sha256:p1")
    assert [(v.pseudonym, v.version) for v in twins.newest()] == [("p", 2), ("q", 1)]
    assert [(v.pseudonym, v.version) for v in twins.newest(limit=1, offset=1)] == [("q", 1)]
    assert twins.count() == 2
