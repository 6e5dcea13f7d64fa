"""Twin documents as what risk is measured on."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from service.stores import Database
from service.stores.risk import Traits
from service.stores.twins import TwinStore

Document = Mapping[str, Any]


def documents(database: Database, twins: Sequence[str]) -> Iterator[Document]:
    """The newest version of each. They were checked when they were made."""
    store = TwinStore(database)
    for twin in twins:
        stored = store.get(twin)
        if stored is not None:
            yield orjson.loads(stored.payload)


def traits_of(document: Document) -> Traits:
    """What an outsider may know of the person."""
    subject = document["subject"]
    groups = {item.get("group") for item in document.get("conditions", ())}
    return Traits(
        subject.get("sex"),
        subject.get("age"),
        subject.get("deceased"),
        tuple(sorted(group for group in groups if group)),
    )


def facts(document: Document) -> set[Hashable]:
    """What an attacker may have heard: measured values and diagnoses, without their times."""
    found: set[Hashable] = {
        (concept, value)
        for concept, signal in document.get("signals", {}).items()
        for value in signal["v"]
    }
    found |= {
        (concept, answer)
        for concept, signal in document.get("coded", {}).items()
        for answer in signal["code"]
    }
    conditions = document.get("conditions", ())
    return found | {("condition", item["code"]) for item in conditions if "code" in item}


def panel(document: Document) -> set[Hashable]:
    """The values of the day on which most was measured, without that day."""
    days: dict[int, set[Hashable]] = defaultdict(set)
    minutes = 1440 if document["twin"]["timeUnit"] == "min" else 1
    for concept, signal in document.get("signals", {}).items():
        for time, value in zip(signal["t"], signal["v"], strict=True):
            days[time // minutes].add((concept, value))
    return max(days.values(), key=len, default=set())
