"""Work that is done while another part of a run waits for somebody."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """`work` has been done when the block ends: beside it, from when what the block is given was
    called; at its end, where it never was. Its error is raised there. An error of the block itself
    goes first, and what was not begun by then is left.

    The thread is there before it is needed, and goes by itself when it has done: nobody waits for
    it to come or to go, nor does a process that ends."""
    begun, done = threading.Event(), Future[None]()
    threading.Thread(target=_when, args=(begun, work, done), name="meanwhile", daemon=True).start()
    try:
        yield begun.set
    except BaseException:
        if not begun.is_set():
            done.cancel()
        begun.set()
        if not done.cancelled():
            done.exception()  # what was begun comes to its end all the same
        raise
    begun.set()
    done.result()


def _when(begun: threading.Event, work: Callable[[], None], done: "Future[None]") -> None:
    begun.wait()
    if not done.set_running_or_notify_cancel():
        return
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - raised where the block ends
        done.set_exception(error)
    else:
        done.set_result(None)
