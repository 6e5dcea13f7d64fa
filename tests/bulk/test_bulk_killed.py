"""A process that is killed at any moment is gone on with, and what it left tells nothing."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bulk_scene import TELLING, Exporting, bulk, configure, exporting, report
from flask import Response, request
from support.shell import Shell

from service.sandbox.testing import RunningSandbox

PATIENCE = 60
STAGES = ("waiting", "loading", "making")


class Stalling(Exporting):
    """Stops at one stage, once, and says so; the test kills the client and lets go."""

    def __init__(self, stage: str) -> None:
        super().__init__(lines_per_file=1)
        self._stage, self._files = stage, 0
        self.reached, self.go = threading.Event(), threading.Event()

    def respond(self, response: Response) -> Response:
        if request.endpoint == "export-status" and request.method == "GET":
            self._stall("waiting")
        if request.endpoint == "export-file":
            self._files += 1
            if self._files == 9:
                self._stall("loading")
        if request.endpoint == "export-status" and request.method == "DELETE":
            self._stall("making")
        return response

    def _stall(self, stage: str) -> None:
        if stage == self._stage and not self.reached.is_set():
            self.reached.set()
            self.go.wait(PATIENCE)


@contextmanager
def killed_at(shell: Shell, stage: str) -> Iterator[RunningSandbox]:
    persona = Stalling(stage)
    with exporting(persona) as sandbox:
        configure(shell.home, sandbox, parallel=1)
        process = shell.process("bulk", "run", "main")
        try:
            kill_at(persona, process)
            yield sandbox
        finally:
            persona.go.set()


def kill_at(persona: Stalling, process: "subprocess.Popen[bytes]") -> None:
    pause = threading.Event()
    for _ in range(PATIENCE * 10):
        if persona.reached.is_set() or process.poll() is not None:
            break
        pause.wait(0.1)
    process.kill()
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    persona.go.set()


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_export_goes_on_where_it_was(shell: Shell, stage: str) -> None:
    with killed_at(shell, stage) as sandbox:
        shown = bulk(shell, "status", "--json").json
        assert (shown["state"] != "done", shown["working"]) == (True, False)
        before = _files_fetched(sandbox)
        assert not _tells(shell.home / "spool")
        found = report(shell, "resume")
        assert (found["complete"], found["patients"]) == (True, {"new": 2})
        assert len([r for r in sandbox.requests if r.route == "export-group"]) == 1
        again = _files_fetched(sandbox) - before
        assert again < found["files"]["done"] or stage == "waiting"
        assert not list((shell.home / "spool").iterdir())


def _files_fetched(sandbox: RunningSandbox) -> int:
    return len([r for r in sandbox.requests if r.route == "export-file"])


def _tells(folder: Path) -> list[str]:
    """Which of a patient's values stand in any file, or name of one."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "spool.db" for path in files)
    text = b"".join(path.read_bytes() + str(path).encode() for path in files)
    return [word for word in (*TELLING, "38341003", "bulk/files") if word.encode() in text]


@pytest.mark.slow
def test_two_at_once_do_not_get_into_each_others_way(shell: Shell) -> None:
    persona = Stalling("loading")
    with exporting(persona) as sandbox:
        configure(shell.home, sandbox, parallel=1)
        process = shell.process("bulk", "run", "main")
        persona.reached.wait(PATIENCE)
        refused = bulk(shell, "resume")
        assert "another process" in refused.error
        assert bulk(shell, "status", "--json").json["working"] is True
        assert bulk(shell, "cancel", "main").code == 0  # while the other one works
        persona.go.set()
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 4
        assert b"cancelled" in said
    assert not list((shell.home / "spool").iterdir())


@pytest.mark.slow
def test_a_spool_that_was_moved_away_is_missed(shell: Shell, tmp_path: Path) -> None:
    with killed_at(shell, "making") as sandbox:
        (folder,) = (shell.home / "spool").iterdir()
        if bulk(shell, "status", "--json").json["state"] == "making":
            folder.rename(tmp_path / "elsewhere")
            assert "start a new one" in bulk(shell, "resume").error
        assert sandbox.base_url
