"""The files of `twinport run --out`: written whole or not at all, readable by their owner only."""

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from privacy import ledger
from service.cli.summary import Summary
from service.pipeline.deliver import as_bundle
from service.pipeline.make import Made
from service.pipeline.runtime import Runtime
from service.stores.ledger import SqlLedgerStore


class TwinFolder:
    """One twin's files. Only `assessments.json` leads back to the patient: it is what the server
    is sent, and its references are the server's."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        self._folder, self._runtime = folder, runtime

    def write(self, made: Made, scale: str, summary: Summary) -> None:
        self.write_own(made, scale, summary)
        write_proofs(self._folder, self._runtime)

    def write_own(self, made: Made, scale: str, summary: Summary) -> None:
        """What is this twin's alone: ledger and keys may stand once beside many twins."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        parcels = self._runtime.deliverer.parcels(made, scale)
        put(self._folder / "twin.json", made.file)
        put(self._folder / "assessments.json", as_json(as_bundle(parcels)))
        put(self._folder / "report.json", as_json(report(made, summary)))


def write_proofs(folder: Path, runtime: Runtime) -> None:
    """What twins are verified with: the ledger, and the public keys."""
    store = SqlLedgerStore(runtime.database)
    lines = b"".join(line + b"\n" for line in ledger.export(store, runtime.signer))
    put(folder / "ledger.jsonl", lines)
    put(folder / "keys.json", as_json(runtime.jwks()))


def prepare(folder: Path) -> None:
    """Find out before any work is done whether the files can be written there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "not writable")


def put(path: Path, data: bytes) -> None:
    """Whole or not at all, and for its owner alone, whatever lay there before."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def report(made: Made, summary: Summary) -> dict[str, Any]:
    """Completeness, quality and what the policy did: everything that is not the twin itself."""
    document = made.twin.document
    return {
        **summary.as_dict(),
        "completeness": document["completeness"],
        "quality": document["quality"],
        "deidentification": [
            {"type": kind, "path": path, "action": action, "n": count}
            for (kind, path, action), count in sorted(made.counts.items())
        ],
        "refused": [
            {"type": kind, "reason": reason, "n": count}
            for (kind, reason), count in sorted(made.refusals.items())
        ],
        "safety": [{"kind": kind, "type": type_, "n": count} for kind, type_, count in made.safety],
    }


def as_lines(rows: Iterable[Any]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def as_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
