"""`twinport` for tests that start it often: forked from one that has loaded everything.

Loading takes longer than most commands. What is forked is a process like any other, with the
arguments, folder, environment and streams it is given; it can be sent signals and be killed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("forge_worker.py")

# What a shell starts: it hands over what it was started with, and ends as the command ends.
CALLER = """\
#!{python} -ISs
import json, os, signal, socket, sys

line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
umask = os.umask(0)
request = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "umask": umask,
           "environment": dict(os.environ)}}
for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(one, lambda number, _: line.send(bytes([number])))
data = json.dumps(request).encode() + b"\\n"
sent = socket.send_fds(line, [data], [0, 1, 2])
line.sendall(data[sent:])
code = int(line.recv(16))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@pytest.fixture(scope="session")
def forge() -> Iterator[Path]:
    """A folder with that `twinport`, for the front of a PATH."""
    folder = Path(tempfile.mkdtemp(prefix="forge-"))  # an address of a socket has to be short
    address = folder / "socket"
    program = folder / "twinport"
    program.write_text(CALLER.format(python=sys.executable, address=str(address)), "utf-8")
    program.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    command = [sys.executable, str(WORKER), str(address)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdin=quiet, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # it listens
        yield folder
        process.kill()
    shutil.rmtree(folder)
