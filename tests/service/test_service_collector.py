"""The search for cycles of garbage: rarer, never off, and not among what a process started with."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from service import collector
from service.cli import main


class Knot:
    """Refers to itself: only the search for cycles can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def lost_knot() -> "weakref.ref[Knot]":
    return weakref.ref(Knot())


def test_garbage_in_a_cycle_waits_longer_and_is_still_found() -> None:
    collector.relax()
    gc.collect()
    lost = lost_knot()
    kept: list[list[int]] = [[] for _ in range(collector.YOUNG // 2)]
    assert lost() is not None
    kept += [[] for _ in range(collector.YOUNG)]
    assert lost() is None


def test_what_a_process_has_loaded_is_not_looked_through_again() -> None:
    loaded, lost = [Knot()], lost_knot()
    collector.settle()
    assert lost() is None  # garbage of starting is not kept for ever
    assert gc.get_freeze_count() > 0
    assert not any(one is loaded for one in gc.get_objects())
    assert gc.get_threshold()[0] == collector.YOUNG


def test_every_command_sets_it() -> None:
    gc.set_threshold(700, 10, 10)
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert gc.get_threshold()[0] == collector.YOUNG
