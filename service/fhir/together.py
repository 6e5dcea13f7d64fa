"""Several requests at once, and what they come to."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def side_by_side(
    works: Sequence[Callable[[], T]], most: int, then: Callable[[], None] | None = None
) -> list[T]:
    """Results in the order of the works, all of which have come to their end; at most so many wait
    for somebody at once. `then` is called when the first of them do. Of several errors the first in
    that order is raised. The threads go by themselves: nobody waits for that."""
    pool = ThreadPoolExecutor(max(1, min(most, len(works))), "beside")
    running = [pool.submit(work) for work in works]
    pool.shutdown(wait=False)
    try:
        if then is not None:
            then()
    finally:
        wait(running)
    return [done.result() for done in running]


def begun(work: Callable[[], T]) -> "Future[T]":
    """What a work will have come to, which another thread does meanwhile. The thread goes by
    itself."""
    pool = ThreadPoolExecutor(1, "begun")
    done = pool.submit(work)
    pool.shutdown(wait=False)
    return done
