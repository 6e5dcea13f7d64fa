"""What proves an entry and a twin, checked in the moment somebody looks, from a few rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from privacy.errors import PrivacyError
from privacy.ledger import START, read_canonical, sha256, split
from privacy.signing import VerificationKeys, verify
from service.stores import Database
from service.stores.ledger import SqlLedgerStore
from service.stores.twins import StoredTwin, TwinStore
from twin_engine.document import DocumentError, read

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `why` says what is wrong where it is not as it should be."""

    what: str
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Proven:
    """An entry of the ledger and what holds of it. `document`: the twin's version it is about."""

    entry: Json
    line: bytes = field(repr=False)
    digest: str
    kid: str
    checks: tuple[Check, ...]
    document: StoredTwin | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


class Proofs:
    def __init__(self, database: Database, keys: Callable[[], VerificationKeys]) -> None:
        self._ledger = SqlLedgerStore(database)
        self._twins = TwinStore(database)
        self._keys = keys

    def entry(self, seq: int) -> Proven | None:
        """Signature, number, both neighbours; and the twin's document where one belongs to it."""
        found = {
            number: line
            for number, line in self._ledger.page(after=max(seq - 2, 0), limit=3)
            if abs(number - seq) <= 1
        }
        line = found.get(seq)
        if line is None:
            return None
        data, signature = split(line)
        signed, kid = self._signed(data, signature)
        entry = _read(data)
        checks = [signed, _canonical(entry, seq), _before(entry, found.get(seq - 1), seq)]
        checks.append(_after(data, found.get(seq + 1)))
        document = self._document(entry)
        if "document" in entry:
            checks += self._of_document(entry, seq, sha256(data), document)
        return Proven(entry, line, sha256(data), kid, tuple(checks), document)

    def _signed(self, data: bytes, signature: str) -> tuple[Check, str]:
        what = "The entry's signature is that of a key published here"
        try:
            return Check(what, True), verify(signature, data, self._keys()).kid
        except PrivacyError as error:
            return Check(what, False, str(error)), ""

    def _document(self, entry: Json) -> StoredTwin | None:
        digest = entry.get("document")
        return None if digest is None else self._twins.by_digest(digest)

    def _of_document(
        self, entry: Json, seq: int, digest: str, held: StoredTwin | None
    ) -> list[Check]:
        what = "The document held here is byte by byte the one of this entry"
        if held is None:
            return [Check(what, False, "no document with this digest is held")]
        same = sha256(held.payload) == entry["document"]
        return [
            Check(what, same, "" if same else "its digest is another one"),
            self._own_signature(held, f"{seq}:{digest}"),
            _of_the_schema(held),
        ]

    def _own_signature(self, held: StoredTwin, named: str) -> Check:
        what = "The document's own signature verifies and names this entry"
        try:
            header = verify(held.proof.decode(), held.payload, self._keys()).header
        except PrivacyError as error:
            return Check(what, False, str(error))
        ok = header.get("ledger") == named
        return Check(what, ok, "" if ok else "it names another entry")


def _read(data: bytes) -> Json:
    try:
        return read_canonical(data)
    except (PrivacyError, ValueError):
        return {}


def _canonical(entry: Json, seq: int) -> Check:
    ok = entry.get("seq") == seq
    return Check(
        "It is spelled in its one form and has this number", ok, "" if ok else "it has not"
    )


def _before(entry: Json, line: bytes | None, seq: int) -> Check:
    what = "It names the entry before it" if seq > 1 else "It is the first, and names none"
    expected = START if seq == 1 else (sha256(split(line)[0]) if line else None)
    ok = entry.get("prev") == expected
    return Check(what, ok, "" if ok else "what it names is not what stands there")


def _after(data: bytes, line: bytes | None) -> Check:
    if line is None:
        return Check("It is the last entry", True)
    ok = _read(split(line)[0]).get("prev") == sha256(data)
    return Check("The next entry names it", ok, "" if ok else "the next entry names another one")


def _of_the_schema(held: StoredTwin) -> Check:
    what = "The document fits the closed schema, which has no free text"
    try:
        read(held.payload)
    except DocumentError as error:
        return Check(what, False, str(error))
    return Check(what, True)
