"""The ledger: what was done to make each twin, append-only, hash-chained, every head signed.

One line per entry:

    {"entry":{...canonical JSON...},"head":"<detached JWS over the bytes of the entry>"}

An entry holds its number, the SHA-256 of the entry before it, and counts, digests and pseudonyms;
never a source value or an unkeyed hash of one. An export ends with a signed closing line that names
the last entry, so that a cut tail is noticed.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from privacy.errors import LedgerError, SignatureError
from privacy.policy import Policy
from privacy.signing import SigningKey, VerificationKeys, no_duplicates, verify

LedgerEntry = dict[str, Any]
START = "sha256:" + "0" * 64  # what the first entry names as its predecessor
_LINE = re.compile(rb'\{"entry":(\{.*\}),"head":"([A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+)"\}')
_CLOSING = re.compile(rb'\{"closing":(\{.*\}),"head":"([A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+)"\}')


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: the number and digest of its last entry."""

    seq: int = 0
    digest: str = START


class LedgerStore(Protocol):
    """What the ledger needs of a database."""

    def head(self) -> Head: ...

    def append(self, seq: int, digest: str, line: bytes) -> None:
        """Store atomically; ConflictError when `seq` is already taken."""
        ...

    def lines(self) -> Iterator[bytes]: ...


def canonical(entry: Mapping[str, Any]) -> bytes:
    """One spelling of an entry. Without floats this is RFC 8785 for ASCII names."""
    check_plain(entry)
    try:  # the same bytes, sooner; it knows no number of more than 64 bits
        return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        pass
    return json.dumps(
        entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def read_canonical(data: bytes) -> dict[str, Any]:
    """The entry of these bytes, if they are the one spelling it may have.

    What comes out of the fast library as it went in has sorted names, none of them twice; numbers
    with a point are refused by the reader. Whatever is not so plain is judged step by step.
    """
    entry: dict[str, Any]
    try:
        entry = json.loads(data, parse_float=_no_float, parse_constant=_no_float)
        if data.isascii() and orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) == data:
            return entry
    except (ValueError, TypeError):
        pass
    entry = json.loads(data, object_pairs_hook=no_duplicates)
    if canonical(entry) != data:
        raise LedgerError("the entry is not in its canonical form")
    return entry


def _no_float(text: str) -> None:
    raise ValueError


_LEAVES = frozenset({str, int, bool, type(None)})


def check_plain(value: Any) -> None:
    if type(value) in _LEAVES:
        return
    if isinstance(value, dict | Mapping):
        if not _are_plain_names(value):
            raise LedgerError("names in a ledger entry are ASCII strings")
        inside: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    else:
        raise LedgerError(f"a ledger entry cannot hold a {type(value).__name__}")
    for inner in inside:
        if type(inner) not in _LEAVES:
            check_plain(inner)


def _are_plain_names(names: Iterable[Any]) -> bool:
    """Joined and looked at once: an entry has hundreds of objects of four names each."""
    try:
        return "".join(names).isascii()
    except TypeError:
        return False


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def coarse_time(policy: Policy, at: datetime) -> str:
    """As exactly as the policy lets the ledger tell: exact time and `now` give all dates back."""
    utc = at.astimezone(UTC)
    return f"{utc.year:04}" if policy.time.ledger == "year" else f"{utc:%Y-%m-%dT%H:%M:%SZ}"


def twin_entry(
    *,
    policy: Policy,
    software: str,
    twin: str,
    document: bytes,
    counts: Mapping[tuple[str, str, str], int],
    refusals: Mapping[tuple[str, str], int],
    gate: Mapping[str, Any],
    at: datetime,
    risk: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> LedgerEntry:
    """What is recorded when a twin is made; `append` adds the number and the predecessor.

    `risk`: class sizes among the twins held at that moment.
    """
    return {
        "event": "twin-made",
        "time": coarse_time(policy, at),
        "policy": policy.as_reference(),
        "software": software,
        "twin": twin,
        "document": sha256(document),
        "counts": [
            {"type": kind, "path": path, "action": action, "n": number}
            for (kind, path, action), number in sorted(counts.items())
        ],
        "refusals": [
            {"type": kind, "reason": reason, "n": number}
            for (kind, reason), number in sorted(refusals.items())
        ],
        "gate": dict(gate),
        **({} if risk is None else {"risk": dict(risk)}),
        **(extra or {}),
    }


def obligations(labels: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """Security labels of the sources, for `extra`: whoever uses the twin has to honour them."""
    rows = [{"system": s, "code": code, "n": n} for (s, code), n in sorted(labels.items())]
    return {"labels": rows} if rows else {}


def append(store: LedgerStore, signer: SigningKey, entry: Mapping[str, Any]) -> Head:
    """Chain, sign and store an entry; the new head. ConflictError: somebody was first, retry."""
    if {"seq", "prev"} & entry.keys():
        raise LedgerError("the number and the predecessor are the ledger's to give")
    head = store.head()
    data = canonical({**entry, "seq": head.seq + 1, "prev": head.digest})
    line = b'{"entry":' + data + b',"head":"' + signer.sign(data).encode() + b'"}'
    store.append(head.seq + 1, sha256(data), line)
    return Head(head.seq + 1, sha256(data))


def export(store: LedgerStore, signer: SigningKey) -> Iterator[bytes]:
    """The whole ledger as JSON lines, closed by a signed line that names its end."""
    last = Head()
    for line in store.lines():
        entry, _ = split(line)
        last = Head(last.seq + 1, sha256(entry))
        yield line
    yield closing_line(last, signer)


def closing_line(head: Head, signer: SigningKey) -> bytes:
    data = canonical({"seq": head.seq, "digest": head.digest})
    return b'{"closing":' + data + b',"head":"' + signer.sign(data).encode() + b'"}'


def split(line: bytes) -> tuple[bytes, str]:
    """The exact bytes of an entry, and its signature."""
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise LedgerError("not a ledger line")
    return found[1], found[2].decode()


# Erasure -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificate:
    """That the way back from some twins was destroyed. `since`: later entries that somebody could
    only have caused who still had a way back; a certificate that holds has none."""

    seq: int
    digest: str
    entry: LedgerEntry
    since: tuple[int, ...]


def certificate(lines: Iterable[bytes], name: str) -> Certificate | None:
    """The certificate of a twin in a ledger, which the caller has verified."""
    found: tuple[int, str, LedgerEntry] | None = None
    since: list[int] = []
    for line in lines:
        if _CLOSING.fullmatch(line.strip()):
            continue
        data, _ = split(line)
        entry = json.loads(data)
        if entry.get("event") == "erased" and name in entry["twins"]:
            found, since = (entry["seq"], sha256(data), entry), []
        elif found is not None and _leads_back(entry) and entry.get("twin") in found[2]["twins"]:
            since.append(entry["seq"])
    return None if found is None else Certificate(*found, tuple(since))


def _leads_back(entry: LedgerEntry) -> bool:
    return entry.get("event") in {"twin-made", "twin-blocked", "reidentify"}


# Verifying -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    line: int  # counted from 1
    what: str


@dataclass(slots=True)
class VerifyReport:
    """What is wrong with a ledger, by line. `contiguous`: nothing is missing between entries."""

    problems: list[Problem] = field(default_factory=list)
    entries: int = 0
    first: int = 0
    last: Head = field(default_factory=Head)
    contiguous: bool = True
    closed: bool = False
    events: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_ledger(
    lines: Iterable[bytes],
    keys: VerificationKeys,
    *,
    whole: bool = True,
    at_least: Head | None = None,
) -> VerifyReport:
    """Check an exported ledger, offline.

    `whole`: it must start at entry 1, have every entry and end with its closing line. An excerpt
    (`whole=False`) may leave entries out, but not change, repeat or re-order them. `at_least` is a
    head the reader knows from elsewhere (a twin's signature, yesterday's export): it must occur.
    """
    reader = _Reader(keys, whole, at_least)
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.read(number, line.strip())
    reader.finish()
    return reader.report


class _Reader:
    def __init__(self, keys: VerificationKeys, whole: bool, at_least: Head | None) -> None:
        self.keys, self.whole, self.wanted = keys, whole, at_least
        self.report = VerifyReport()
        self.line = 0

    def problem(self, what: str) -> None:
        self.report.problems.append(Problem(self.line, what))

    def read(self, number: int, line: bytes) -> None:
        self.line = number
        if self.report.closed:
            self.problem("there is something after the closing line")
        closing = _CLOSING.fullmatch(line)
        if closing is not None:
            self.close(closing[1], closing[2].decode())
            return
        try:
            data, signature = split(line)
            entry = self.signed(data, signature)
        except (LedgerError, SignatureError) as error:
            self.problem(str(error))
            return
        self.chain(entry, data)

    def signed(self, data: bytes, signature: str) -> dict[str, Any]:
        verify(signature, data, self.keys)
        return read_canonical(data)

    def chain(self, entry: dict[str, Any], data: bytes) -> None:
        report, seq = self.report, entry.get("seq")
        if type(seq) is not int or seq < 1:
            self.problem("the entry has no number")
            return
        expected = report.last.seq + 1
        if seq == expected and (report.entries or seq == 1):
            if entry.get("prev") != report.last.digest:
                self.problem(f"entry {seq} does not follow from the one before it")
        elif report.entries and seq < expected:
            self.problem(f"entry {seq} stands out of order")
        else:
            report.contiguous = report.contiguous and not report.entries
            if self.whole:
                self.problem(f"entry {expected} is missing")
        report.first = report.first or seq
        report.entries += 1
        report.last = Head(seq, sha256(data))
        report.events[str(entry.get("event"))] += 1
        if self.wanted == report.last:
            self.wanted = None

    def close(self, data: bytes, signature: str) -> None:
        self.report.closed = True
        try:
            closing = self.signed(data, signature)
        except (LedgerError, SignatureError) as error:
            self.problem(f"closing line: {error}")
            return
        if Head(closing.get("seq", 0), closing.get("digest", "")) != self.report.last:
            self.problem("the closing line names another last entry: entries were cut off")

    def finish(self) -> None:
        self.line += 1
        if self.whole and not self.report.closed:
            self.problem("there is no closing line: the end may have been cut off")
        if self.wanted is not None:
            self.problem(f"entry {self.wanted.seq}, which is known to exist, does not occur")
