"""Exit codes, and the one place that decides which error ends with which.

Every error a command can meet becomes one line on stderr and one of these codes. An error nobody
foresaw shows its type and place, never its message: a message can hold what a person's record held.
"""

import traceback
from enum import IntEnum

import click


class Exit(IntEnum):
    OK = 0
    INTERNAL = 1
    USAGE = 2
    INPUT = 3
    SERVER = 4
    BLOCKED = 5
    WRITE_BACK = 6
    NOT_VERIFIED = 7
    SETUP = 8
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "done",
    Exit.INTERNAL: "a defect of Twinport; the line names the place to report",
    Exit.USAGE: "the command line was not understood",
    Exit.INPUT: "the file or record can't be used; the line says why and what to do",
    Exit.SERVER: "the FHIR server could not be reached, refused, or answered nonsense",
    Exit.BLOCKED: "the privacy gate or the ledger stopped the run; nothing was handed out",
    Exit.WRITE_BACK: "the twin was made, but its results are not all on the server yet",
    Exit.NOT_VERIFIED: "a signature, digest, ledger or recomputation does not agree",
    Exit.SETUP: "configuration, keys or database need attention first",
    Exit.INTERRUPTED: "stopped from the keyboard",
}


class CommandError(Exception):
    """A foreseen end of a command: one sentence that says the next step, and the code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


def explain(error: BaseException) -> tuple[str, Exit]:
    """The line and the code for any error."""
    if isinstance(error, CommandError):
        return str(error), error.code
    if isinstance(error, click.ClickException):
        return error.format_message(), Exit.USAGE
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "stopped; nothing half-done was kept", Exit.INTERRUPTED
    return _foreseen(error) or (_defect(error), Exit.INTERNAL)


def _foreseen(error: BaseException) -> tuple[str, Exit] | None:
    """Errors of the rooms: their messages are written for people and free of values."""
    # Imported here so that `twinport --help` stays instant.
    from privacy.errors import PrivacyError
    from service.config import ConfigError
    from service.fhir.errors import FhirError, SourceError
    from service.keys.errors import KeyRefusedError
    from service.pipeline.errors import Blocked, RunError
    from service.stores.errors import StoreError
    from twin_engine.document import DocumentError

    if isinstance(error, ConfigError):
        return str(error).replace("\n", " "), Exit.SETUP
    table: list[tuple[type[BaseException], Exit]] = [
        (SourceError, Exit.INPUT),
        (FhirError, Exit.SERVER),
        (Blocked, Exit.BLOCKED),
        (KeyRefusedError, Exit.SETUP),
        (StoreError, Exit.SETUP),
        (RunError, Exit.INPUT),
        (DocumentError, Exit.INPUT),
        (PrivacyError, Exit.BLOCKED),
    ]
    for kind, code in table:
        if isinstance(error, kind):
            return str(error).replace("\n", " "), code
    return None


def _defect(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "?"
    return f"internal error ({type(error).__name__} at {place}); please report this line"
