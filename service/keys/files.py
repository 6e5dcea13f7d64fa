"""Key files: created whole or not at all, and read only while nobody else could have read them."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.keys.errors import KeyRefusedError


def prepare_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    _check_private(folder, os.lstat(folder), f"chmod 700 {folder}", directory=True)


def create(path: Path, content: bytes) -> bool:
    """Write a new file atomically. False when it exists: whoever came first keeps it.

    The content is complete before the name appears, so a process starting at the same moment
    never reads half a key.
    """
    draft = _draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    _sync_folder(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Exchange a file's content in one step: after a crash it is the old one or the new one."""
    draft = _draft(path, content)
    draft.replace(path)
    _sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the keys of a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes:
    """The content of a key file that is ours, a plain file, and closed to everybody else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        reason = f"{path}: cannot be opened as a plain file ({type(error).__name__})"
        raise KeyRefusedError(f"{reason}. Next: check its owner and mode") from error
    with os.fdopen(descriptor, "rb") as file:
        # The open file is checked, not its name: the name could be exchanged in between.
        _check_private(path, os.fstat(descriptor), f"chmod 600 {path}", directory=False)
        return file.read(65_536)


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_private(path: Path, found: os.stat_result, step: str, *, directory: bool) -> None:
    kind = stat.S_ISDIR if directory else stat.S_ISREG
    if not kind(found.st_mode):
        what = "folder" if directory else "plain file"
        raise KeyRefusedError(
            f"{path}: is not a {what}. Next: remove it and see where it came from"
        )
    if found.st_uid != os.geteuid():
        raise KeyRefusedError(f"{path}: belongs to another user. Next: chown it to this one")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeyRefusedError(f"{path}: other users may open it. Next: {step}")
