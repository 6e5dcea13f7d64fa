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
) -> gate.GateResult:
    """`searched` counts a value once for every part of the record that holds it. `series`: the
    DICOM metadata of the record's images."""
    results = [
        gate.check(payload, values, allowed) for values in _values(resources, at_once, series)
    ]
    hits = dict.fromkeys(hit for result in results for hit in result.hits)
    return gate.GateResult(tuple(hits), sum(result.searched for result in results))


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
