"""Reads JSON from a file that we did not write: packed or not, small or huge, honest or hostile.

Whatever is wrong with it becomes one `SourceError` with the next step. The error never quotes the
file or its name: both may hold a patient's.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from service.fhir.body import CHUNK, gunzip
from service.fhir.errors import NotFhir, SourceError

DEFAULT_CAP = 1 << 30
LONGEST_LINE = 1 << 25
UNREADABLE = b"{"
"""Stands for a line that is too long to be looked at; no JSON, and so refused like it."""
MAX_DEPTH = 64
SMALL = 1 << 14
"""Bytes in which to look for something is quicker than to have numpy look at all of them"""
Lighten = Callable[[Any], list[dict[str, Any]]]
"""Takes keys with their values out of a parsed value, in place, and returns them"""
Survey = Callable[[Any], tuple[int, list[dict[str, Any]]]]
"""Walks through a parsed value: how many keys there are, and what refers"""
Wanted = Callable[[bytes], bool]
"""Whether lines, not split yet, may hold any that is looked for"""
_ESCAPED_KEY_END = re.compile(rb"\\u00(?:22|3[aA])")
_GZIP = b"\x1f\x8b"
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A JSON value and, found in the one walk that checks it, what refers to something else."""

    value: Any
    referring: list[dict[str, Any]]
    """The objects that have a `reference`, at any depth"""


def read_json(source: Path | bytes, cap: int = DEFAULT_CAP) -> Any:
    """The JSON value of a file or of bytes, unpacked if need be."""
    return read_parsed(source, cap).value


def read_parsed(
    source: Path | bytes, cap: int = DEFAULT_CAP, lighten: "Lighten | None" = None
) -> Parsed:
    """The same, with what refers."""
    return parsed(b"".join(_capped(_chunks(source), cap)), lighten)


def parse(data: bytes) -> Any:
    """Strict JSON: what two readers could understand differently is refused.

    Of a value as small as most resources are, writing it again tells what is lost sooner than a
    walk through it does.
    """
    if not _is_shallow(data) or _escapes_key_ends(data):
        return parsed(data).value
    value = _loaded(data)
    again = orjson.dumps(value)
    if again != data and not _has_exactly(data, again.count(b'":')):
        _refuse_repeated_keys(data)
    return value


def parsed(data: bytes, lighten: "Lighten | None" = None, walk: "Survey | None" = None) -> Parsed:
    """The same, with what refers. `lighten` may take out of the value what nobody will read;
    `walk`, which has to see all of it in any case, may do so in place of `survey`."""
    value = _loaded(data)
    gone = _key_ends(lighten(value)) if lighten and not _escapes_key_ends(data) else 0
    keys, referring = (walk or survey)(value)
    if not _has_exactly(data, keys + gone):
        _refuse_repeated_keys(data)
    return Parsed(value, referring)


def _loaded(data: bytes) -> Any:
    _refuse_odd_bytes(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SourceError(
            f"is not JSON (line {error.lineno}, column {error.colno})",
            "Export it again; it may have been cut off or edited.",
        ) from None


def lines(path: Path, cap: int = DEFAULT_CAP) -> Iterator[bytes]:
    """The non-empty lines of an NDJSON file, one at a time."""
    return chain.from_iterable(some_lines(path, cap))


def some_lines(
    path: Path, cap: int = DEFAULT_CAP, wanted: Wanted = lambda block: True
) -> Iterator[list[bytes]]:
    """The same, as many at a time as are read at once. Those of which none is `wanted`, which is
    asked of all of them together, are left out."""
    for some in _split(_capped(_chunks(path), cap), LONGEST_LINE, wanted):
        yield [UNREADABLE if line is None else line for line in some]


def split_lines(chunks: Iterable[bytes], longest: int = LONGEST_LINE) -> Iterator[bytes | None]:
    """The non-empty lines of a stream, None for one that is longer than `longest`.

    Holds a chunk and one line at a time, and of a line without end no more than that.
    """
    return chain.from_iterable(_split(chunks, longest, lambda block: True))


def _split(chunks: Iterable[bytes], longest: int, wanted: Wanted) -> Iterator[list[bytes | None]]:
    begun: list[bytes] = []  # the line that the next chunk goes on with
    size = 0
    for chunk in chain.from_iterable(map(_in_pieces, chunks)):
        end = chunk.rfind(b"\n") + 1
        if end:
            first = chunk.find(b"\n") + 1
            if too_long := size + first - 1 > longest:
                yield [None]
            block = chunk[first:end] if too_long else b"".join([*begun, chunk[:end]])
            if wanted(block):
                yield _clean(block.split(b"\n"), longest)
            begun, size = [], 0
        size += len(chunk) - end
        if size <= longest:
            begun.append(chunk[end:])
        else:
            begun.clear()
    yield [None] if size > longest else _clean([b"".join(begun)], longest)


def _in_pieces(chunk: bytes) -> Iterable[bytes]:
    """None larger than we read them: its lines are all in memory at once."""
    if len(chunk) <= CHUNK:
        return (chunk,)
    return (chunk[start : start + CHUNK] for start in range(0, len(chunk), CHUNK))


def _clean(found: Iterable[bytes], longest: int) -> list[bytes | None]:
    return [
        line if len(whole) <= longest else None
        for whole in found
        if (line := whole.strip()) or len(whole) > longest
    ]


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        pieces = (source[i : i + CHUNK] for i in range(0, len(source), CHUNK))
        return _unpacked(source[:2], pieces)
    return _file_chunks(source)


def _file_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            head = file.read(2)
            file.seek(0)
            yield from _unpacked(head, iter(lambda: _read(file), b""))
    except OSError:
        raise SourceError("cannot be read", "Check that it exists and may be read.") from None


def _read(file: BinaryIO) -> bytes:
    return file.read(CHUNK)


def _unpacked(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    return gunzip(pieces, "file") if head == _GZIP else pieces


def _capped(chunks: Iterator[bytes], cap: int) -> Iterator[bytes]:
    size = 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > cap:
                raise SourceError(
                    f"is larger than {cap} bytes when unpacked",
                    "Split it, or raise `limits.file_bytes`.",
                )
            yield chunk
    except NotFhir:
        raise SourceError("is damaged gzip", "Pack it again, or give it unpacked.") from None


def _refuse_odd_bytes(data: bytes) -> None:
    if data.startswith(_BOMS):
        raise SourceError("starts with a byte order mark", "Save it as UTF-8 without BOM.")
    if b"\x00" in data:
        raise SourceError("holds NUL bytes", "Save it as UTF-8 text; it may be UTF-16 or binary.")
    if not data.strip():
        raise SourceError("is empty", "Export it again.")


def survey(value: Any) -> tuple[int, list[dict[str, Any]]]:
    """One walk: how many keys there are, what refers; too deep is refused.

    Everything that is read goes through here: written for speed.
    """
    keys, depth = 0, 0
    referring: list[dict[str, Any]] = []
    level: list[Any] = [value] if type(value) in {dict, list} else []
    while level:
        if depth == MAX_DEPTH:
            raise _too_deep()
        depth += 1
        below: list[Any] = []
        for node in level:
            if type(node) is dict:
                keys += len(node)
                if "reference" in node:
                    referring.append(node)
                node = node.values()
            for inner in node:
                if (kind := type(inner)) is dict or kind is list:
                    below.append(inner)  # noqa: PERF401 - a list made for each costs more
        level = below
    return keys, referring


def _is_shallow(data: bytes) -> bool:
    """Whether there is not enough in it to be too deep."""
    return data.count(b"{") + data.count(b"[") <= MAX_DEPTH


def _escapes_key_ends(data: bytes) -> bool:
    """Whether strings may spell a `"` or `:` otherwise. Most files escape nothing of the kind:
    to see that takes no pattern."""
    return b"\\u00" in data and _ESCAPED_KEY_END.search(data) is not None


def _key_ends(gone: list[dict[str, Any]]) -> int:
    """The keys of what was taken out, and every `":` in its strings: never too few.

    The same `":` stand in the strings of the source (where none is spelled otherwise), so that
    counting them on both sides cannot hide a key that was lost. `parse` counts so too.
    """
    try:
        return orjson.dumps(gone).count(b'":')
    except orjson.JSONEncodeError:  # it writes no deeper than 254
        raise _too_deep() from None


def _too_deep() -> SourceError:
    return SourceError(f"is nested deeper than {MAX_DEPTH} levels", "This is not a FHIR record.")


def _has_exactly(data: bytes, keys: int) -> bool:
    """Whether valid JSON is sure to have no more keys than these.

    Every key ends in `":`, unless there is space before its colon. Strings can hold the same two
    characters (the quote escaped), which only makes the count larger. So without such space, a
    count that equals the keys that were parsed proves that none was lost to a namesake. Anything
    else proves nothing.
    """
    if len(data) < SMALL:
        spaced = b" :" in data or b"\t:" in data or b"\n:" in data or b"\r:" in data
        return not spaced and data.count(b'":') == keys
    characters = np.frombuffer(data, np.uint8)
    before = characters[np.flatnonzero(characters == ord(":")) - 1]
    spaced = bool(np.count_nonzero(before <= ord(" ")))
    return bool(not spaced and np.count_nonzero(before == ord('"')) == keys)


def _refuse_repeated_keys(data: bytes) -> None:
    """orjson keeps the last of two equal keys; another reader may keep the first."""
    json.loads(data, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise SourceError(
            "has the same key twice in one object",
            "Its meaning is ambiguous; have it exported again.",
        )
