"""Packages from npm, as a lock file pins them: installed once, whoever asks at the same time."""

import fcntl
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

MISSING = "These tests need Node 20 or newer with npm: apt-get install nodejs npm (Debian, Ubuntu)."


def install(folder: Path, done: Callable[[], bool]) -> None:
    """`npm ci` begins by emptying the folder, so one process at a time looks and installs."""
    with (folder / ".npm-lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done():
            return
        npm = shutil.which("npm")
        assert npm, MISSING
        subprocess.run([npm, "ci", "--silent"], cwd=folder, check=True, timeout=1200)
