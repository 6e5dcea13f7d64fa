"""Where spools lie: one folder for each job, named by nothing but its random id; held by one
process at a time, by a lock that a killed process lets go of; destroyed with the job."""

import fcntl
import os
import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.bulk.errors import InHand

LOCK = "lock"


@contextmanager
def held(folder: Path, job: str) -> Iterator[Path]:
    """The job's folder, for this process alone."""
    place = folder / job
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(place / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InHand from None
        yield place
    finally:
        os.close(handle)


def is_held(folder: Path, job: str) -> bool:
    """Whether a living process works on it, on this machine."""
    if not (folder / job).is_dir():
        return False
    try:
        with held(folder, job):
            return False
    except InHand:
        return True


def destroy(folder: Path, job: str) -> None:
    shutil.rmtree(folder / job, ignore_errors=True)


def sweep(folder: Path, keep: Container[str]) -> int:
    """Destroy what belongs to no unfinished job: left by a process killed at the very end."""
    if not folder.is_dir():
        return 0
    lost = [place.name for place in folder.iterdir() if place.name not in keep]
    lost = [name for name in lost if not is_held(folder, name)]
    for name in lost:
        destroy(folder, name)
    return len(lost)
