"""The gate's search for a long record: some resources at a time, each against the whole document.

Every identifying value of the source is searched for. That not all are spelled out at once bounds
the memory, and changes nothing about what is found.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

from privacy import gate
from privacy.dicom import collect_dicom

AT_ONCE = 10_000


def searched(
    payload: bytes,
    resources: Sequence[Any],
    allowed: Collection[str],
    at_once: int = AT_ONCE,
    *,
    series: Mapping[str, Sequence[Any]] = MappingProxyType({}),
    collected: gate.IdentifyingValues | None = None,
) -> gate.GateResult:
    """`searched` counts a value once for every part of the record that holds it. `series`: the
    DICOM metadata of the record's images. `collected`: the values of the resources, where they
    have been collected before."""
    values = _values(resources, at_once, series) if collected is None else [collected]
    results = [gate.check(payload, some, allowed) for some in values]
    hits = dict.fromkeys(hit for result in results for hit in result.hits)
    return gate.GateResult(tuple(hits), sum(result.searched for result in results))


class Collecting:
    """The values of a record that comes bit by bit; none where it is too long for all at once."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._left = at_once
        self._found = gate.IdentifyingValues()

    def add(self, resources: Sequence[Any]) -> None:
        self._left -= len(resources)
        if self._left < 0:
            self._found = gate.IdentifyingValues()
            return
        more, found = gate.collect_identifiers(resources), self._found
        found.words |= more.words
        found.codes |= more.codes
        found.dates |= more.dates

    @property
    def values(self) -> gate.IdentifyingValues | None:
        return self._found if self._left >= 0 else None


def _values(
    resources: Sequence[Any], at_once: int, series: Mapping[str, Sequence[Any]]
) -> Iterator[gate.IdentifyingValues]:
    yield from map(gate.collect_identifiers, _parts(resources, at_once))
    if series:
        found = gate.IdentifyingValues()
        collect_dicom(chain.from_iterable(series.values()), found)
        yield found


def _parts(resources: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(resources), size):
        yield resources[start : start + size]
