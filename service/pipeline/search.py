"""The gate's search for a long record: some resources at a time, each against the whole document.

Every identifying value of the source is searched for. That not all are spelled out at once bounds
the memory, and changes nothing about what is found.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from privacy import gate

AT_ONCE = 10_000


def searched(
    payload: bytes, resources: Sequence[Any], allowed: Collection[str], at_once: int = AT_ONCE
) -> gate.GateResult:
    """`searched` counts a value once for every part of the record that holds it."""
    results = [
        gate.check(payload, gate.collect_identifiers(part), allowed)
        for part in _parts(resources, at_once)
    ]
    hits = dict.fromkeys(hit for result in results for hit in result.hits)
    return gate.GateResult(tuple(hits), sum(result.searched for result in results))


def _parts(resources: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(resources), size):
        yield resources[start : start + size]
