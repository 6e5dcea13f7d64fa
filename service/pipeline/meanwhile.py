"""Work that is done while another part of a run waits for somebody."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """`work` has been done when the block ends: beside it, from when what the block is given was
    called; at its end, where it never was. Its error is raised there. An error of the block itself
    goes first, and what was not begun by then is left."""
    with ThreadPoolExecutor(1, "meanwhile") as beside:
        begun: list[Future[None]] = []
        yield lambda: begun.append(beside.submit(work))
        if not begun:
            work()
        for one in begun:
            one.result()
