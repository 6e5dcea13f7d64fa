"""A `twinport` that has loaded and worked out what commands share, and forks for each.

Its argument is the socket to listen at. A command arrives with all that makes it one: arguments,
folder, environment, umask and the three streams of whoever typed it. It is a real process, in a
group of its own; it ends with its caller, and gets the signals that its caller got.
"""

import importlib
import io
import json
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.orm import configure_mappers

from service import collector
from service.cli import COMMANDS, execute, main
from service.sandbox.testing import population

STREAMS = 3


def warm() -> None:
    """What every process would do again: load all commands, read the tables, weigh the policies."""
    for module, _ in COMMANDS.values():
        importlib.import_module(module)
    configure_mappers()
    with tempfile.TemporaryDirectory() as folder:
        _run_once(Path(folder))
    collector.settle()
    assert threading.active_count() == 1, "a thread does not come along into what is forked"


def _run_once(folder: Path) -> None:
    os.environ["TWINPORT_HOME"] = str(folder / "home")
    record = folder / "record.json"
    record.write_bytes(orjson.dumps(population()[0].bundle()))
    with redirect_stdout(io.StringIO()):
        assert execute(["run", "--bundle", str(record), "--out", str(folder / "out")]) == 0
    del os.environ["TWINPORT_HOME"]


def serve(path: str) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a keeper that is done is nobody's concern
    while True:
        caller, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(caller)
            os._exit(0)
        caller.close()


def _keep(caller: socket.socket) -> None:
    """One command: begun, told of its caller's signals, waited for."""
    request, streams = _received(caller)
    command = os.fork()
    if command == 0:
        caller.close()
        _become(request, streams)
        main(request["arguments"])
    for stream in (*range(STREAMS), *streams):
        os.close(stream)
    os.setpgid(command, command)
    if _told_until_it_ended(command, caller):
        _, status = os.waitpid(command, 0)
        caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    else:
        os.killpg(command, signal.SIGKILL)


def _told_until_it_ended(command: int, caller: socket.socket) -> bool:
    """False: its caller was killed, and so is the command."""
    ended = os.pidfd_open(command)
    while True:
        ready, _, _ = select.select([ended, caller], [], [])
        if ended in ready:
            return True
        signals = caller.recv(16)
        if not signals:
            return False
        for number in signals:
            os.kill(command, number)


def _received(caller: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, streams, _, _ = socket.recv_fds(caller, 1 << 16, STREAMS)
    while not data.endswith(b"\n"):
        data += caller.recv(1 << 16)
    return json.loads(data), list(streams)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    os.setpgid(0, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = ["twinport", *request["arguments"]]


if __name__ == "__main__":
    warm()
    serve(sys.argv[1])
