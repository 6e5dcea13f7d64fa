"""One watch for all connections: who is late is cut off, who is done is left alone."""

import os
import socket
import time
from collections.abc import Iterator

import pytest

from service.fhir.patience import _Cut


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def test_what_comes_too_late_is_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    with _Cut(pair[0], 0.05) as cut:
        assert pair[0].recv(1) == b""  # the end, long before the socket's own time-out
    assert cut.done


def test_a_sooner_one_is_not_kept_waiting_by_a_later_one(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    other, end = socket.socketpair()
    with other, end, _Cut(other, 3600) as patient, _Cut(pair[0], 0.05) as cut:
        assert pair[0].recv(1) == b""
        assert (cut.done, patient.done) == (True, False)


def test_a_connection_that_is_done_is_never_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    with _Cut(pair[0], 0.02) as cut:
        pass
    time.sleep(0.06)
    pair[1].send(b"x")
    assert (pair[0].recv(1), cut.done) == (b"x", False)


def test_a_child_process_watches_too(pair: tuple[socket.socket, socket.socket]) -> None:
    with _Cut(pair[0], 3600):
        pass  # the watch of this process runs
    child = os.fork()
    if child == 0:
        with _Cut(pair[0], 0.05):
            os._exit(0 if pair[0].recv(1) == b"" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
