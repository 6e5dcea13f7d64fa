"""Exit codes, and the one place that decides which error ends with which.

Every error a command can meet becomes one line on stderr and one of these codes. An error nobody
foresaw shows its type and place, never its message: a message can hold what a person's record held.
"""

import os
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
    PARTIAL = 9
    NOT_READY = 10
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "done",
    Exit.INTERNAL: "a defect of Twinport; the line names the place to report",
    Exit.USAGE: "the command line was not understood, or names what does not exist here",
    Exit.INPUT: "the file or record can't be used; the line says why and what to do",
    Exit.SERVER: "the FHIR server could not be reached, refused, or answered nonsense",
    Exit.BLOCKED: "the gate, the ledger or the patient stopped it; nothing was handed out",
    Exit.WRITE_BACK: "the twin was made, but its results are not all on the server yet",
    Exit.NOT_VERIFIED: "a signature, digest, ledger or recomputation does not agree",
    Exit.SETUP: "configuration, keys, database or a folder need attention first",
    Exit.PARTIAL: "all that could be done is done; part of the export is missing, see its report",
    Exit.NOT_READY: "the server is still preparing the export; go on with it later",
    Exit.INTERRUPTED: "stopped from the keyboard",
}


class CommandError(Exception):
    """A foreseen end of a command: one sentence that says the next step, and the code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


def explain(error: BaseException) -> tuple[str, Exit]:
    """The line and the code for any error."""
    message, code = _explained(error)
    return " ".join(message.split()), code


def _explained(error: BaseException) -> tuple[str, Exit]:
    if isinstance(error, CommandError):
        return str(error), error.code
    if isinstance(error, click.ClickException):
        return _usage(error), Exit.USAGE
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "stopped; the same command again goes on from here", Exit.INTERRUPTED
    return _foreseen(error) or (_defect(error), Exit.INTERNAL)


def _usage(error: click.ClickException) -> str:
    """Surplus words are not repeated: they may be a patient's id or the name of a file."""
    message = error.format_message().partition("(")[0].rstrip(" .")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "twinport"
    if "unexpected extra argument" not in message:
        message = error.format_message().rstrip(".")
    return f"{message}; see `{path} --help`"


def _foreseen(error: BaseException) -> tuple[str, Exit] | None:
    """Errors of the rooms: their messages are written for people and free of values."""
    for kinds, code in _table():
        if isinstance(error, kinds):
            return str(error), _asked_wrongly(error) or code
    return _of_the_machine(error)


def _asked_wrongly(error: BaseException) -> Exit | None:
    """A name given on the command line that nothing has, told from an installation not ready."""
    unknown = {"unknown-server", "unknown-model", "unknown-policy", "bad-as-of"}
    return Exit.USAGE if getattr(error, "code", None) in unknown else None


def _table() -> list[tuple[tuple[type[BaseException], ...], Exit]]:
    """The first that fits decides. Imported here so that `twinport --help` stays instant."""
    from privacy.errors import KeyRefusedError, PolicyError, PrivacyError, VaultError
    from service.bulk.errors import InHand, NotReady
    from service.config import ConfigError
    from service.fhir.errors import FhirError, SetupError, SourceError
    from service.pipeline.errors import (
        Blocked,
        NotConfigured,
        NotConsented,
        RunError,
        WriteBackFailed,
    )
    from service.stores.errors import StoreError
    from twin_engine.document import DocumentError

    return [
        ((NotReady,), Exit.NOT_READY),
        ((ConfigError, SetupError, NotConfigured, StoreError, InHand), Exit.SETUP),
        ((KeyRefusedError, PolicyError, VaultError), Exit.SETUP),
        ((SourceError, DocumentError), Exit.INPUT),
        ((FhirError,), Exit.SERVER),
        ((Blocked, NotConsented, PrivacyError), Exit.BLOCKED),
        ((WriteBackFailed,), Exit.WRITE_BACK),
        ((RunError,), Exit.INPUT),
    ]


def _of_the_machine(error: BaseException) -> tuple[str, Exit] | None:
    """Disk and database. Their own words may quote a path or a statement's parameters."""
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, DBAPIError):
        kind = type(error).__name__
        return f"the database can't be used ({kind}); see `twinport config`", Exit.SETUP
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        return f"a file or folder can't be used ({reason}); see `twinport config`", Exit.SETUP
    return None


def _defect(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "?"
    return f"internal error ({type(error).__name__} at {place}); please report this line"
