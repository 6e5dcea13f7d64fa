"""Twin documents as the rows that risk is measured on."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from service.stores import Database
from service.stores.twins import TwinStore
from twin_engine.document import read

Document = Mapping[str, Any]
PAGE = 200


def held(database: Database, policy: str) -> Iterator[Document]:
    """The newest version of each twin made under one policy."""
    store, offset = TwinStore(database), 0
    while page := store.newest(PAGE, offset):
        offset += len(page)
        for about in page:
            stored = store.get(about.pseudonym, about.version) if about.policy == policy else None
            if stored is not None:
                yield read(stored.payload).document


def _sex(document: Document) -> Hashable:
    found: Hashable = document["subject"].get("sex")
    return found


def _age(document: Document) -> Hashable:
    found: Hashable = document["subject"].get("age")
    return found


def _age_band(document: Document) -> Hashable:
    age = document["subject"].get("age")
    return None if age is None else age // 10 * 10


def _deceased(document: Document) -> Hashable:
    found: Hashable = document["subject"].get("deceased")
    return found


def _conditions(document: Document) -> Hashable:
    found = {item.get("group") for item in document.get("conditions", ())}
    return tuple(sorted(group for group in found if group))


# What somebody outside may know of a person, by the name it is declared under.
QUASI: Mapping[str, Callable[[Document], Hashable]] = {
    "sex": _sex,
    "age": _age,
    "age-band": _age_band,
    "deceased": _deceased,
    "conditions": _conditions,
}


def quasi_row(document: Document, names: tuple[str, ...]) -> tuple[Hashable, ...]:
    return tuple(QUASI[name](document) for name in names)


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
