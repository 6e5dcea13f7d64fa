"""Bytes in, a twin out, or one clear sentence why not."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import orjson

from twin_engine.document.lineage import ENTRIES, SPARSE, entries
from twin_engine.document.octets import digest, dump
from twin_engine.document.schema import VERSION, SchemaError, check
from twin_engine.state import State

# A century of one reading a minute would be larger; no record that a person carries is.
LARGEST = 64 * 1024 * 1024


FRACTIONS = frozenset({"timesPerDay"})
"""What an entry may write with a fraction"""


class DocumentError(ValueError):
    """These bytes are not a twin this software can read. Says what and where, never a value."""


@dataclass(frozen=True, eq=False)
class Twin:
    """One version of a twin, read-only, beside the bytes it was read from."""

    document: Mapping[str, Any]
    payload: bytes
    digest: str

    @property
    def id(self) -> str:
        return str(self.document["twin"]["id"])

    @property
    def version(self) -> int:
        return int(self.document["twin"]["version"])

    @property
    def parent(self) -> str | None:
        """The digest of the version before, or None for the first."""
        above = self.document["twin"]["parent"]
        return None if above is None else str(above)

    @property
    def now(self) -> int:
        return int(self.document["twin"]["now"])

    @property
    def assessments(self) -> Sequence[Mapping[str, Any]]:
        return tuple(self.document["assessments"])

    @cached_property
    def state(self) -> State:
        return State.from_document(self.document)


def read(payload: bytes, *, largest: int = LARGEST) -> Twin:
    """Read a twin document; refuses anything this version of the software cannot vouch for."""
    _check_size(payload, largest)
    document = _parse(payload)
    _check_version(document)
    try:
        check(document)
    except SchemaError as error:
        raise DocumentError(str(error)) from None
    return _twin(document, payload)


def read_own(payload: bytes) -> Twin:
    """What `dump` has made, in this process, of a document that has been checked: to the schema it
    is that document again. (A number that JSON has not, the only thing that would come back as
    something else, no checked document holds.)"""
    _check_size(payload, LARGEST)
    return _twin(orjson.loads(payload), payload)


def _check_size(payload: bytes, largest: int) -> None:
    if len(payload) > largest:
        raise DocumentError(f"the document has {len(payload)} bytes; at most {largest} are read")


def _twin(document: Mapping[str, Any], payload: bytes) -> Twin:
    _check_positions(document)
    return Twin(document, bytes(payload), digest(payload))


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise DocumentError(f"not JSON at byte {error.pos}") from None
    if not isinstance(document, dict):
        raise DocumentError("not a twin document: the outermost value is not an object")
    if dump(document) != payload:  # bytes of ours come back the same, which a repeated key cannot
        json.loads(payload, object_pairs_hook=_refuse_repeated)
    return document


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DocumentError("an object repeats a key, so two readers could read it differently")
    return found


def _check_version(document: Mapping[str, Any]) -> None:
    heading = document.get("twin")
    version = heading.get("schema") if isinstance(heading, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise DocumentError("not a twin document: twin/schema is missing")
    if version > VERSION:
        raise DocumentError(
            f"this twin is a version {version} document and this software reads up to version "
            f"{VERSION}; update twinport to read it"
        )


def _check_positions(document: Mapping[str, Any]) -> None:
    """What a JSON Schema cannot say: columns of one length, sources that exist, order of time.

    And whole numbers written as such: to a schema 7.0 is an integer, as a position it is not.
    """
    _check_whole("twin", document["twin"].values())
    count = sum(len(row["ids"]) for row in document["sources"])
    if len({pseudonym for row in document["sources"] for pseudonym in row["ids"]}) != count:
        _refuse("sources", "names a pseudonym twice")
    for part in ("signals", "coded"):
        for concept, column in document[part].items():
            _check_column(f"{part}/{concept}", column, count)
    for part in ENTRIES:
        _check_entries(part, entries(document, part), count)
    _check_studies(document["imaging"], count)
    _check_entries("quality/setAside", document["quality"]["setAside"], count)
    _check_entries("subject", [document["subject"]], count)
    for change in ("added", "corrected"):
        _check_sources("changes", document.get("changes", {}).get(change, ()), count)
    for assessment in document["assessments"]:
        for used in assessment["inputs"]:
            _check_sources("assessments", used.get("src", ()), count)


def _check_column(path: str, column: Mapping[str, Any], count: int) -> None:
    length = len(column["t"])
    if any(len(column[name]) != length for name in ("v", "code", "src") if name in column):
        _refuse(path, "has columns of different lengths")
    if any(int(at) >= length for name in SPARSE if name in column for at in column[name]):
        _refuse(path, "has an exception for a position it does not have")
    _check_whole(path, column["t"])
    if any(a > b for a, b in zip(column["t"], column["t"][1:], strict=False)):
        _refuse(path, "is not in the order of time")
    _check_sources(path, column["src"], count)


def _check_entries(path: str, entries: Sequence[Mapping[str, Any]], count: int) -> None:
    for entry in entries:
        _check_whole(path, (v for k, v in entry.items() if not _is_fraction(k, v)))
    _check_sources(path, [entry["src"] for entry in entries if "src" in entry], count)


def _is_fraction(name: str, value: Any) -> bool:
    """Once every other day is half a time a day; twice a day is 2, never 2.0."""
    return name in FRACTIONS and isinstance(value, float) and not value.is_integer()


def _check_studies(studies: Sequence[Mapping[str, Any]], count: int) -> None:
    for study in studies:
        _check_entries("imaging/measurements", study.get("measurements", ()), count)
        for series in study.get("series", ()):
            _check_whole("imaging/series", (v for k, v in series.items() if k != "parameters"))


def _check_sources(path: str, sources: Sequence[int], count: int) -> None:
    _check_whole(path, sources)
    if sources and max(sources) >= count:
        _refuse(path, "names a source that is not listed")


def _check_whole(path: str, values: Iterable[Any]) -> None:
    if float in set(map(type, values)):
        _refuse(path, "writes a whole number with a fraction")


def _refuse(path: str, why: str) -> NoReturn:
    raise DocumentError(f"not a twin document: {path} {why}")
