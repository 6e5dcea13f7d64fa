"""Work that is done while another part of a run waits for somebody."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """`work` has been done when the block ends: beside it, from when what the block is given was
    called; at its end, where it never was. Its error is raised there. An error of the block itself
    goes first, and what was not begun by then is left.

    The thread is there before it is needed: to start one would make the caller wait for it."""
    begun, left = threading.Event(), threading.Event()

    def when_begun() -> None:
        begun.wait()
        if not left.is_set():
            work()

    with ThreadPoolExecutor(1, "meanwhile") as beside:
        done = beside.submit(when_begun)
        try:
            yield begun.set
        except BaseException:
            if not begun.is_set():
                left.set()
            begun.set()
            raise
        begun.set()
        done.result()
