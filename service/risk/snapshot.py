"""The risk of a twin at the moment it is made: bound into its ledger entry, and read from there."""

from collections.abc import Iterable, Mapping
from typing import Any

from privacy.risk import measure
from service.risk.settings import DEFAULT
from service.stores.risk import RiskStore

Json = dict[str, Any]

# What of an entry a history shows.
_ABOUT = ("seq", "time", "event", "twin", "policy")


def snapshot(store: RiskStore, twin: str, policy: str) -> Json:
    """Class sizes only: whole numbers, that a ledger can hold. The twin is among those counted."""
    settings = store.settings() or DEFAULT
    row = store.row(twin, settings.knows)
    classes = store.classes(policy, settings.knows)
    own = classes.get(row, 0) if row is not None else 0
    found = measure(classes)
    return {
        "knows": list(settings.knows),
        "twins": found.records,
        "classes": found.classes,
        "unique": found.unique,
        "k": found.k,
        "own": own,
        "threshold": settings.threshold,
        "wanted": settings.k,
        "met": own >= settings.k,
    }


def history(entries: Iterable[Mapping[str, Any]], policy: str | None = None) -> list[Json]:
    """The snapshots among ledger entries, in their order."""
    return [
        {**{key: entry[key] for key in _ABOUT if key in entry}, **entry["risk"]}
        for entry in entries
        if "risk" in entry and policy in {None, entry.get("policy", {}).get("id")}
    ]
