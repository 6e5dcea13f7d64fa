"""Reads an answer's body in pieces, never more than allowed, packed or unpacked."""

import zlib
from collections.abc import Callable, Iterator

from service.fhir.errors import NotFhir, TooLarge

CHUNK = 65536
# A single small piece may unpack to a thousand times its size; take it out in slices this large.
_SLICE = 1 << 20


def read_capped(
    read: Callable[[int], bytes],
    encoding: str,
    cap: int,
    what: str,
    still_time: Callable[[], object],
) -> bytes:
    """The whole body. `read` gives what is there, up to n bytes, and b"" at the end."""
    parts: list[bytes] = []
    size = 0
    for part in unpacked(read, encoding, what, still_time):
        size += len(part)
        if size > cap:
            raise TooLarge(what)
        parts.append(part)
    return b"".join(parts)


def unpacked(
    read: Callable[[int], bytes], encoding: str, what: str, still_time: Callable[[], object]
) -> Iterator[bytes]:
    """The body in bounded pieces, for what is too large to be held as a whole."""
    return _unpacked(_pieces(read, still_time), encoding, what)


def _pieces(read: Callable[[int], bytes], still_time: Callable[[], object]) -> Iterator[bytes]:
    while piece := read(CHUNK):
        yield piece
        still_time()


def _unpacked(pieces: Iterator[bytes], encoding: str, what: str) -> Iterator[bytes]:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return pieces
    if name in ("gzip", "x-gzip"):
        return gunzip(pieces, what)
    raise NotFhir(what, next_step="The server used a compression that was not asked for.")


def gunzip(pieces: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Unpack gzip, several members included, in bounded slices."""
    unpack = zlib.decompressobj(wbits=31)
    finished = True
    try:
        for piece in pieces:
            data, more = piece, True
            while data or more:
                out = unpack.decompress(data, _SLICE)
                yield out
                data, more = unpack.unconsumed_tail, len(out) == _SLICE
                finished = unpack.eof
                if finished:
                    data, more = unpack.unused_data, False
                    unpack = zlib.decompressobj(wbits=31)
    except zlib.error as error:
        raise NotFhir(what) from error
    if not finished:
        raise NotFhir(what, next_step="The compressed data end too early.")
