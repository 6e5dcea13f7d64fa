"""Running the same thing at the same moment in several threads."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def at_once(number: int, work: Callable[[int], T]) -> list[T]:
    """``work(0) … work(number - 1)``, all let go together; an error in any is raised here."""
    gate = threading.Barrier(number)

    def step(index: int) -> T:
        gate.wait()
        return work(index)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(step, range(number)))
