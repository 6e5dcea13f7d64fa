# ruff: noqa: N818 - the names say what happened, as in service.fhir.errors
"""What can go wrong with an export, beside what can go wrong with any request.

FhirError
├── BadAnswer
│   ├── ExportFailed     the server gave up the export
│   └── NotFhir › NoResources   a file that holds none at all
├── Refused › Gone
│   └── ExportGone       the server no longer knows the export: it expired, or was deleted
├── TransportError
│   ├── NotReady         it is still at work, and our patience is at its end
│   └── TimedOut › TooSlow      one file takes longer than a file may
├── SetupError
│   └── SpoolFailed      no room, or no right to write
│       └── SpoolLost    it is not where it was
└── InHand               another process works on it
"""

from service.fhir.errors import (
    BadAnswer,
    FhirError,
    Gone,
    NotFhir,
    SetupError,
    TimedOut,
    TransportError,
)


class ExportFailed(BadAnswer):
    code = "export-failed"
    sentence = "the server gave up the export"
    next_step = "Start it again; if that fails too, its operator can say why."


class NoResources(NotFhir):
    sentence = "the file holds no resources"


class NotFhirAtAll(NoResources):
    """Sound JSON throughout, and none of it FHIR: some program's log, say. Nothing is lost."""


class TooSlow(TimedOut):
    sentence = "the file did not arrive in the time a file may take"
    next_step = "Raise `bulk.file_seconds`."


class ExportGone(Gone):
    code = "export-gone"
    sentence = "the server no longer knows this export: it has expired, or somebody deleted it"
    next_step = "Start a new one."


class NotReady(TransportError):
    code = "export-not-ready"
    sentence = "the server is still preparing the export"
    next_step = "`twinport bulk resume` goes on with it at any time; `bulk cancel` gives it up."


class InHand(FhirError):
    code = "export-in-hand"
    sentence = "another process of this machine is working on this export"
    next_step = "See `twinport bulk status`."


class SpoolFailed(SetupError):
    code = "spool"
    sentence = "the sealed spool can't be written or read"
    next_step = "Make room where `bulk.folder` lies, then `twinport bulk resume`."


class SpoolLost(SpoolFailed):
    code = "spool-lost"
    sentence = (
        "the files of this export are not on this machine, and the server was told to drop them"
    )
    next_step = "Go on with it where it was begun; or `twinport bulk cancel`, and start a new one."
