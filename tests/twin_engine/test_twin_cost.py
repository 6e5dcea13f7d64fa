"""The cost of a document grows with its facts, not with their square: work is counted."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.twins import facts, pseudonym, twin

from mappings.vocabulary.facts import Mapped, Measurement, SetAside
from twin_engine.document import clinical_digest, diff, dump, read
from twin_engine.state import State


def record(count: int) -> Mapped:
    readings = [
        Measurement("heart-rate", i % 800, 60.0 + i % 40, pseudonym(str(i))) for i in range(count)
    ]
    aside = [SetAside("heart-rate", "implausible", pseudonym(f"a{i}"), i) for i in range(count)]
    return facts(measurements=readings, set_aside=aside)


def work(action: Callable[[], Any]) -> int:
    """How many calls and lines of Python an action takes."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def read_state(document: Any) -> None:
    state = State.from_document(document)
    state.latest("heart-rate")
    state.latest("heart-rate", within_days=30)
    state.usual("heart-rate", within_days=365)


ACTIONS: dict[str, Callable[[Mapped, Any], Any]] = {
    "build": lambda mapped, _: twin(mapped),
    "next version": lambda mapped, document: twin(mapped, parent=document),
    "read": lambda _, document: read(dump(document)),
    "clinical digest": lambda _, document: clinical_digest(document),
    "difference": lambda _, document: diff(document, document),
    "state": lambda _, document: read_state(document),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_twice_the_facts_are_twice_the_work(name: str) -> None:
    small, large = record(300), record(600)
    of_small, of_large = twin(small), twin(large)
    ACTIONS[name](small, of_small)  # what is made once is made before counting
    first = work(lambda: ACTIONS[name](small, of_small))
    second = work(lambda: ACTIONS[name](large, of_large))
    assert second <= 2.1 * first
