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
from service.fhir.lined import Lined

AT_ONCE = 10_000


def searched(
    payload: bytes,
    resources: Sequence[Any],
    allowed: Collection[str],
    at_once: int = AT_ONCE,
    *,
    series: Mapping[str, Sequence[Any]] = MappingProxyType({}),
    collected: gate.Growing | None = None,
) -> gate.GateResult:
    """`searched` counts a value once for every part of the record that holds it. `series`: the
    DICOM metadata of the record's images. `collected`: the values of the resources, where they
    have been collected before."""
    if collected is None:
        results = [gate.check(payload, some, allowed) for some in _collected(resources, at_once)]
    else:
        results = [gate.check(payload, collected.values, allowed, collected.known)]
    results += [gate.check(payload, some, allowed) for some in _of_images(series)]
    hits = dict.fromkeys(hit for result in results for hit in result.hits)
    return gate.GateResult(tuple(hits), sum(result.searched for result in results))


class Collecting:
    """The values of a record that comes bit by bit; none where it is too long for all at once."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._left = at_once
        self._found = gate.Growing()

    def add(self, resources: Sequence[Any]) -> None:
        self._left -= len(resources)
        if self._left < 0:
            self._found = gate.Growing()
            return
        self._found.add(gate.collect_identifiers(resources))

    @property
    def values(self) -> gate.Growing | None:
        return self._found if self._left >= 0 else None


def _collected(resources: Sequence[Any], at_once: int) -> Iterator[gate.IdentifyingValues]:
    for start in range(0, len(resources), at_once):
        some = resources[start : start + at_once]
        yield some.identifying() if isinstance(some, Lined) else gate.collect_identifiers(some)


def _of_images(series: Mapping[str, Sequence[Any]]) -> Iterator[gate.IdentifyingValues]:
    if series:
        found = gate.IdentifyingValues()
        collect_dicom(chain.from_iterable(series.values()), found)
        yield found
